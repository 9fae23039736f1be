"""The canary of one query: compare a slot, alert, publish, checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate, AlertState, Observation, Step
from exporter.alerting.explanation.explanation import explain_canary
from exporter.alerting.explanation.input import CanaryInput
from exporter.alerting.explanation.links import generator_url
from exporter.alerting.settings import AlertSettings, StormSettings
from exporter.alerting.storm import RowStates
from exporter.canary.canary_status import CanaryStatus, comparison_statuses
from exporter.config.plan import QueryPlan
from exporter.correlation.canary_roles import CanaryRoles, ComparedSides, RoleAssignment
from exporter.correlation.canary_settings import CanarySettings
from exporter.engine.canary.comparisons import CanaryVerdict, Comparisons
from exporter.engine.canary.settings import ComparisonSettings
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.alert_inquiries import inquiries_of
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult
from exporter.evaluation.table_job import TableJob
from exporter.exposition import PageRows
from exporter.store import LearnedState

__all__ = ["CanaryEvaluator", "canary_job", "rule_of"]

log = logging.getLogger(__name__)

_ROLES = "roles"
_BASELINES = "baselines"


class CanaryEvaluator(TableJob):
    """Compares the samples of one query; owns the tests, their rows on the page, their alerts.

    Parameters
    ----------
    plan : QueryPlan
        It has a canary.
    restored : Step
        Its alerts as an earlier process or configuration left them.
    started : float, Unix seconds
        Now, or the newest slot that was compared.
    before : CanaryEvaluator, optional
        The one of an earlier configuration, which has ended.
    """

    kind, label = "canary", "query"

    def __init__(
        self,
        plan: QueryPlan,
        settings: CanarySettings,
        context: EvaluationContext,
        restored: Step,
        *,
        started: float,
        before: CanaryEvaluator | None = None,
    ) -> None:
        super().__init__(plan.name, canary_job(plan), _identity(plan, settings), context)
        self.plan, self.settings = plan, settings
        self.status = CanaryStatus(plan.name, None, ())
        self._sides: dict[int, ComparedSides] = {}
        self._different: frozenset[int] = frozenset()
        self._owners: list[Labels | None] = []
        self._owners_of: tuple[SeriesTable | None, int] = (None, -1)
        self.comparisons, self.roles = Comparisons(_complete(plan, settings)), CanaryRoles(settings)
        self.baselines: dict[int, str] = {}
        """What the baseline of each comparison is called, by row."""
        self._page = PageRows("query", plan.name)
        self._rule = rule_of(settings)
        self.alert_store = AlertStore(self.job, context, restored, interval=plan.interval, succeeded=started)
        self.rows = RowAlerts(plan.name, "query", self._rule, context, self.alert_store)
        self.rows.inquiries = inquiries_of(self._rule, context, interval=plan.interval)
        if before is not None and before.ended and before.identity == self.identity:
            self.comparisons, self.roles, self.baselines = before.comparisons, before.roles, before.baselines
            self.comparisons.settings = _complete(plan, settings)
            self.saved, self.status = before.saved, before.status
        else:
            self._restore()

    def add(self, verdict: Verdict, table: SeriesTable) -> None:
        """Compare the samples of a slot; called by the evaluator of the query, which alone changes `table`."""
        with self._lock:
            if self._retired or verdict.at <= self.comparisons.at:
                return
            try:
                self._compare(verdict, table)
            except Exception:
                log.exception("a canary could not be compared", extra={"query": self.plan.name})
                self._hold(verdict.at)

    def hold(self, slot: float) -> None:
        """Go on without an answer: alerts keep firing for a while."""
        with self._lock:
            if not self._retired:
                self._hold(slot)

    def _hold(self, slot: float) -> None:
        self.context.ports.exposition.withdraw_canary(self.plan.name)
        if not self._idle:
            self.alert_store.record(slot, self.alert_store.hold(slot))
            self._send()

    def _compare(self, verdict: Verdict, table: SeriesTable) -> None:
        at, comparisons = verdict.at, self.comparisons
        values = np.where(np.isfinite(verdict.observed), verdict.observed, np.nan)
        roles = self.roles.assign(table, ~np.isnan(values), at)
        rows = self._admit(roles, at)
        # The last is that of rows that are in no comparison.
        place = np.append(rows, -1)[roles.place]
        result = comparisons.step(at, values, place, roles.side, self.plan.interval, self._renewed(table))
        placed = [(sides, row) for sides, row in zip(roles.sides, rows.tolist(), strict=True) if row >= 0]
        self._sides = {row: sides for sides, row in placed}
        self._page.claim((row for row, _ in comparisons.table.items()), comparisons.table)
        different = frozenset(np.flatnonzero(result.different).tolist())
        if different != self._different:
            # An alert lives on what was seen: a restart must not take it from under one.
            self._different = different
            self._save()
        self._alert(result, complete=verdict.complete)
        self._publish(result)
        chosen = [(sides, row) for sides, row in placed if result.compared[row] or result.slots[row]]
        statuses = comparison_statuses(result, [sides for sides, _ in chosen], [row for _, row in chosen])
        self.status = CanaryStatus(self.plan.name, at, statuses)
        expired = comparisons.expire(at).tolist()
        self._page.release(expired)
        for row in expired:
            self.baselines.pop(row, None)
        self._apply_feedback(at)
        if at - self.saved >= self.context.settings.checkpoint_interval:
            self._save()

    def _admit(self, roles: RoleAssignment, at: float) -> npt.NDArray[np.intp]:
        """Return the row of each comparison; one whose baseline is another now begins anew."""
        rows = self.comparisons.admit([sides.key for sides in roles.sides], at)
        changed = []
        for row, sides in zip(rows.tolist(), roles.sides, strict=True):
            if row >= 0 and self.baselines.get(row, sides.baseline) != sides.baseline:
                changed.append(row)
            self.baselines[row] = sides.baseline
        if changed:
            self.comparisons.forget(np.array(changed, np.intp))
        return rows

    def _renewed(self, table: SeriesTable) -> npt.NDArray[np.intp]:
        """Return the rows of the query that have another series than before."""
        if self._owners_of == (table, table.version):
            return np.zeros(0, np.intp)
        owners: list[Labels | None] = [None] * table.size
        for row, labels in table.items():
            owners[row] = labels
        before = self._owners + [None] * (table.size - len(self._owners))
        self._owners, self._owners_of = owners, (table, table.version)
        return np.array([row for row in range(table.size) if owners[row] is not before[row]], np.intp)

    def _alert(self, result: CanaryVerdict, *, complete: bool) -> None:
        if self._idle:
            return
        states = RowStates(result.at, result.different, ~np.isnan(result.score), result.compared)

        def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
            return [self._candidate(result, request) for request in requests]

        step = self.rows.evaluate(
            SlotResult(states, result.score, self.comparisons.table, explain, partial=not complete)
        )
        self.alert_store.commit(result.at, step)
        self.alert_store.succeeded = result.at
        self._send()

    def _candidate(self, result: CanaryVerdict, request: ExplanationRequest) -> AlertCandidate:
        row, plan = request.row, self.plan
        series, sides = self.comparisons.table.labels(row), self._sides[row]
        labels = self.rows.labels(series, row)
        own = dict(series)
        since = float(result.since[row])
        source = CanaryInput(
            plan.name,
            own,
            {name: own[name] for name in self.settings.by if name in own},
            sides.baseline,
            sides.candidate,
            baseline=float(result.baseline[row]),
            candidate=float(result.candidate[row]),
            floor=float(result.floor[row]),
            counts=(int(result.count[0, row]), int(result.count[1, row])),
            since=since if np.isfinite(since) else result.at,
            at=result.at,
            p_value=float(result.p_value[row]),
            alpha=self.settings.alpha,
            slots=int(result.slots[row]),
            zone=plan.zone,
            quantile=self.settings.quantile,
            unit=plan.unit,
            external_url=self.context.settings.external_url,
        )
        rule = self._rule
        explanation = replace(explain_canary(source, {} if rule is None else rule.annotations), labels=labels)
        observation = Observation.of(
            result.at, observed=source.candidate, expected=source.baseline, score=float(result.score[row])
        )
        url = generator_url(self.context.settings.source_url, plan.expr)
        return AlertCandidate(labels, explanation, url, since=source.since, observation=observation)

    def _publish(self, result: CanaryVerdict) -> None:
        prefixes = self._page.prefixes(result.score)
        metrics = {
            "anomaly_canary_score": result.score,
            "anomaly_canary_p_value": result.p_value,
            "anomaly_canary_candidate_value": np.where(result.compared, result.candidate, np.nan),
            "anomaly_canary_baseline_value": np.where(result.compared, result.baseline, np.nan),
        }
        utf8 = self._page.utf8_prefixes(prefixes)
        self.context.ports.exposition.publish_canary(self.plan.name, prefixes, metrics, utf8)

    def _send(self) -> None:
        self.alert_store.send()
        states = Counter(alert.state for alert in self.alert_store.alerts.values())
        for state in AlertState:
            self.context.ports.metrics.alerts.labels(query=self.job, state=str(state)).set(states[state])

    @property
    def _idle(self) -> bool:
        return self._rule is None and not self.alert_store.alerts

    # ------------------------------------------------------------------ state

    @property
    def table(self) -> SeriesTable:
        """The comparisons."""
        return self.comparisons.table

    @property
    def newest(self) -> float:
        """The newest slot that was compared, Unix seconds."""
        return self.comparisons.at

    def _accept(self, rows: npt.NDArray[np.intp]) -> None:
        self.comparisons.accept(rows)

    def _parts(self) -> dict[str, npt.NDArray[Any]]:
        baselines = np.frombuffer(json.dumps(sorted(self.baselines.items())).encode(), np.uint8).copy()
        return {**self.comparisons.arrays(), _ROLES: self.roles.dump(), _BASELINES: baselines}

    def _take(self, stored: LearnedState) -> bool:
        parts, roles = dict(stored.parts), CanaryRoles(self.settings)
        try:
            baselines = {int(row): str(name) for row, name in json.loads(parts[_BASELINES].tobytes())}
            fits = roles.restore(parts[_ROLES].astype(np.uint8))
        except (KeyError, ValueError, TypeError):
            return False
        if not fits or not self.comparisons.restore(stored.at, parts, stored.series):
            return False
        self.roles, self.baselines = roles, baselines
        return True


def canary_job(plan: QueryPlan) -> str:
    """Return the name under which alerts and state of the canary of a query are kept; no query can have it."""
    return f"(canary) {plan.name}"


def rule_of(settings: CanarySettings) -> AlertSettings | None:
    """Return the rule of its alerts; comparisons are never joined to a storm."""
    rule = settings.rule
    return None if rule is None else rule.model_copy(update={"storm": StormSettings(enabled=False)})


def _complete(plan: QueryPlan, settings: CanarySettings) -> ComparisonSettings:
    """Return what decides about a difference, with what the query says where the canary says nothing."""
    return ComparisonSettings(
        quantile=settings.quantile,
        direction=settings.direction or plan.direction,
        min_deviation=plan.min_deviation if settings.min_deviation is None else settings.min_deviation,
        min_relative_deviation=settings.min_relative_deviation,
        alpha=settings.alpha,
    )


def _identity(plan: QueryPlan, settings: CanarySettings) -> str:
    """Hash what stored state depends on."""
    parts = [plan.expr, plan.source, plan.interval, settings.label, settings.by, settings.baseline, settings.candidate]
    return hashlib.sha256(json.dumps([*parts, settings.quantile, 1]).encode()).hexdigest()[:32]
