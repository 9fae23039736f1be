"""The alerts of one query: from its verdicts to a step, with explanations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate, Step, fingerprint
from exporter.alerting.explanation.explanation import unexplained
from exporter.alerting.settings import AlertSettings
from exporter.alerting.storm import RowStates
from exporter.alerting.suppressed import SuppressionCodes
from exporter.config.plan import QueryPlan
from exporter.engine.row_details import RowDetails
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.alert_inquiries import inquiries_of
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.climbs import Climbs, climbs_of, with_climbs
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.explanation_builder import ExplanationBuilder
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult
from exporter.suppression.suppressed_rows import suppressed_rows

__all__ = ["AlertEvaluator", "row_states"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def row_states(rule: AlertSettings | None, verdict: Verdict) -> RowStates:
    """Return what a verdict says of each row to a rule."""
    present = ~np.isnan(verdict.observed) | verdict.absent
    if rule is None or rule.no_data != "resolve":
        # The alert of an overdue series continues until the series is back, or until the alert says that it is missing.
        present |= ~np.isnan(verdict.missing_since)
    if verdict.unread is not None:
        # An alert of such a series is neither missing nor normal: it goes on.
        present |= verdict.unread
    scored = present & ~np.isnan(verdict.score)
    return RowStates(verdict.at, verdict.anomalous & verdict.ready, scored, present)


class AlertEvaluator:
    """All alerts of one query, and how they follow from its verdicts.

    Parameters
    ----------
    restored : Step
        What an earlier run left; committed with the first step.
    succeeded : float, Unix seconds
        The newest slot with a good answer; before the first one, the start of the program.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext, restored: Step, *, succeeded: float) -> None:
        self.plan = plan
        self.context = context
        self.alert_store = AlertStore(plan.name, context, restored, interval=plan.interval, succeeded=succeeded)
        """Keeps and sends them."""
        self.rows = RowAlerts(plan.name, "query", plan.alert, context, self.alert_store, shard=plan.shard)
        """Which series each is about."""
        self.rows.inquiries = inquiries_of(plan.alert, context, interval=plan.interval, plan=plan)
        self._climbs: Climbs | None = None
        """Of the newest slot."""

    @property
    def alerts(self) -> dict[str, Alert]:
        """All alerts by fingerprint."""
        return self.alert_store.alerts

    def configure(self, plan: QueryPlan, context: EvaluationContext, table: SeriesTable, *, at: float) -> None:
        """Apply another configuration. Alerts that would have other labels end: they belong to another rule."""
        self.plan, self.context = plan, context
        self.alert_store.interval = plan.interval
        self.rows.configure(plan.alert, context, table, at=at)
        self.rows.inquiries = inquiries_of(plan.alert, context, interval=plan.interval, plan=plan)

    def evaluate(
        self,
        verdict: Verdict,
        table: SeriesTable,
        details: Callable[[Rows], RowDetails],
        elsewhere: Callable[[], Sequence[bytes]] | None = None,
    ) -> Step:
        """Return the step that follows from a verdict.

        Parameters
        ----------
        details : callable
            Returns what explanations say of anomalous rows, shape (m,), ascending.
        elsewhere : callable, optional
            Returns the label sets of the answer that belong to other shards.
        """
        ports, name, run = self.context.ports, self.plan.name, self.context.ports.containment.run
        run("co-occurrence", name, partial(ports.co_occurrence.update, name, verdict, table), None)
        run("likely causes", name, partial(ports.likely_causes.update, name, verdict, table), None)
        states = row_states(self.plan.alert, verdict)
        if self.rows.is_idle(states, table):
            self._climbs = None
            return Step(alerts={})
        multiple = self._multiple(verdict, table)
        builder = ExplanationBuilder(self.plan, self.context, verdict, table, details, multiple)

        def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
            rows = [request.row for request in requests if not request.recovered]
            run("explanation", name, lambda: builder.prepare(rows), None)
            return [self._candidate(builder, table.labels(request.row), request) for request in requests]

        load: tuple[BoolArray, BoolArray] | tuple[None, None] = (None, None)
        held, waiting = run("load", name, partial(self.loads, verdict, table), load)
        self._climbs = run("shape", name, partial(self._climbing, verdict, table, details), None)
        slot = SlotResult(
            states,
            verdict.score,
            table,
            explain,
            partial=not verdict.complete,
            elsewhere=elsewhere,
            held=held,
            waiting=waiting,
        )
        return self.rows.evaluate(with_climbs(slot, self._climbs))

    def _multiple(self, verdict: Verdict, table: SeriesTable) -> FloatArray | None:
        """Return the multiple of the ordinary value that is expected of each row, shape (size,); None: nowhere."""
        plan = self.plan
        mask = self.context.ports.masks.row_mask("query", plan.name, plan.alert, table, verdict.at)
        return None if mask is None else mask.samples.factor

    def _climbing(self, verdict: Verdict, table: SeriesTable, details: Callable[[Rows], RowDetails]) -> Climbs | None:
        """Return the rows that climbed during an event or under a load."""
        plan = self.plan
        if plan.alert is None or not verdict.anomalous.any():
            return None
        load, before = self.load_factor(verdict, table), partial(self.rows.climbed, table)
        return climbs_of(verdict, self._multiple(verdict, table), load, details, before)

    def load_factor(self, verdict: Verdict, table: SeriesTable) -> FloatArray | None:
        """Return the factor of the load of the group of each row, shape (size,), NaN: there is none; None: nowhere."""
        loads = self.context.ports.groups.loads(self.plan.name, verdict.at, table.size)
        return None if loads is None else loads.factor

    def loads(self, verdict: Verdict, table: SeriesTable) -> tuple[BoolArray, BoolArray] | tuple[None, None]:
        """Return the rows that are anomalous by a load of their group, and those of which it does not know yet."""
        ports = self.context.ports
        loads = ports.groups.loads(self.plan.name, verdict.at, table.size)
        if loads is None or self.plan.alert is None:
            return None, None
        since = ports.co_occurrence.onsets(self.plan.name, table.size)
        return loads.held, loads.suspected | loads.unsettled(since, self.plan.alert.for_)

    def suppressed(self, verdict: Verdict, table: SeriesTable) -> SuppressionCodes:
        """Return which rows do not alert whatever their score, and why, shape (size,)."""
        plan = self.plan
        mask = self.context.ports.masks.row_mask("query", plan.name, plan.alert, table, verdict.at)
        loads = self.context.ports.groups.loads(plan.name, verdict.at, table.size)
        held, expected = None if loads is None else loads.held, None
        if (climbs := self._climbs) is not None:
            expected = climbs.expected
            held = climbs.under_load if held is None else held | climbs.under_load
        return suppressed_rows(~np.isnan(verdict.observed) | verdict.absent, verdict.ready, mask, held, expected)

    def _candidate(self, builder: ExplanationBuilder, series: Labels, request: ExplanationRequest) -> AlertCandidate:
        row, labels = request.row, self.rows.labels(series, request.row)
        alert = self.alerts.get(fingerprint(labels))
        ports, name, run = self.context.ports, self.plan.name, self.context.ports.containment.run
        since = run("co-occurrence", name, partial(ports.co_occurrence.since, name, row, builder.at), builder.at)
        # An earlier run may have seen the beginning.
        if request.since is not None:
            since = request.since
        elif alert is not None and alert.is_open:
            since = min(since, alert.active_at)
        otherwise = unexplained(name, labels, series, {} if self.plan.alert is None else self.plan.alert.annotations)
        shape = alert.annotations.get("shape", "") if alert is not None and alert.is_open else ""
        about = {"in_storm": request.in_storm, "recovered": request.recovered}
        explain = partial(builder.explain, row, labels, since, **about, shape=shape)
        explanation = run("explanation", name, explain, otherwise)
        return AlertCandidate(labels, explanation, builder.generator_url, observation=builder.observation(row))
