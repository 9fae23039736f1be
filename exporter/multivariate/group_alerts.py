"""The alerts of one group: from its verdicts to explained alerts of entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate, AlertState, Step, fingerprint
from exporter.alerting.explanation.explanation import explain_entity, unexplained
from exporter.alerting.explanation.input import EntityInput, MetricShare
from exporter.alerting.explanation.links import generator_url
from exporter.alerting.storm import RowStates
from exporter.alerting.suppressed import SuppressionCodes
from exporter.config.model import AlertingGroup
from exporter.config.plan import QueryPlan
from exporter.engine.multivariate import Group, GroupMatrix, GroupVerdict
from exporter.engine.seconds import HOUR
from exporter.engine.series import SeriesTable
from exporter.evaluation.alert_inquiries import inquiries_of
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult
from exporter.suppression.suppressed_rows import suppressed_rows

__all__ = ["GroupAlerts"]

BoolArray = npt.NDArray[np.bool_]

_LINGERS = 12
"""Slots for which the score of a group may still be high after all of its metrics are normal: it is smoothed. Whatever
is anomalous for longer alerts."""


class GroupAlerts:
    """All alerts of one group.

    Parameters
    ----------
    job : str
        The name under which they are stored; no query has it.
    settings : AlertingGroup
        Without `alert` it has scores only, and what it had before ends.
    plans : sequence of QueryPlan
        Of its queries, in its order.
    restored : Step
        As an earlier process or configuration left them.
    succeeded : float, Unix seconds
        The newest slot that was judged; before the first one, the start of the program.
    """

    def __init__(
        self,
        job: str,
        settings: AlertingGroup,
        plans: Sequence[QueryPlan],
        context: EvaluationContext,
        restored: Step,
        *,
        succeeded: float,
    ) -> None:
        self.group = settings.name
        self.plans = plans
        self.context = context
        interval = max(plan.interval for plan in plans)
        self.alert_store = AlertStore(job, context, restored, interval=interval, succeeded=succeeded)
        self.rows = RowAlerts(self.group, "group", settings.rule, context, self.alert_store, shard=plans[0].shard)
        self.rows.inquiries = inquiries_of(settings.rule, context, interval=interval)
        self._over: BoolArray | None = None
        """Entities whose incident is over, in the newest slot."""

    def evaluate(
        self, verdict: GroupVerdict, matrix: GroupMatrix, group: Group, mature: BoolArray, *, complete: bool
    ) -> None:
        """Make the alerts of a slot durable and hand them to the senders.

        Parameters
        ----------
        matrix : GroupMatrix
            The inputs of the verdict.
        group : Group
            That gave it.
        mature : ndarray of bool, shape (n,)
            Whether enough of its metrics are old enough to alert.
        complete : bool
            Whether all queries had a whole answer, so that an entity without metrics is gone.
        """
        if self._idle:
            return
        table = group.table
        present = (~np.isnan(matrix.z)).sum(axis=1) > 0
        self._over = over = self._incident_over(verdict, table)
        states = RowStates(verdict.at, verdict.anomalous & mature & ~over, ~np.isnan(verdict.score), present)

        def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
            return [self._candidate(verdict, matrix, group, request) for request in requests]

        step = self.rows.evaluate(SlotResult(states, verdict.score, table, explain, partial=not complete))
        self.alert_store.commit(verdict.at, step)
        self.alert_store.succeeded = verdict.at
        self._send()

    def suppressed(self, verdict: GroupVerdict, table: SeriesTable, mature: BoolArray) -> SuppressionCodes:
        """Return which entities do not alert whatever their score, and why, shape (n,)."""
        mask = self.context.ports.masks.row_mask("group", self.group, self.rows.rule, table, verdict.at)
        over = self._over if self._over is not None and len(self._over) == len(verdict.score) else None
        return suppressed_rows(~np.isnan(verdict.score), mature, mask, ~np.isnan(verdict.load), over=over)

    def _incident_over(self, verdict: GroupVerdict, table: SeriesTable) -> BoolArray:
        """Return which entities are anomalous only because an alert of one of their queries was, shape (n,).

        That one began before the group, and has ended because its series is normal; no other one is open.
        """
        over = np.zeros(len(verdict.score), np.bool_)
        for row in np.flatnonzero(verdict.anomalous).tolist() if self.rows.rule is not None else ():
            entity = table.labels(row)
            ends = self.context.ports.root_causes.recovered_beside({**dict(entity), "group": self.group})
            if ends is None or verdict.at - ends[1] > _LINGERS * self.alert_store.interval:
                continue
            alert = self.alert_store.alerts.get(fingerprint(self.rows.labels(entity, row)))
            onset = alert.active_at if alert is not None and alert.is_open else verdict.at
            over[row] = onset >= ends[0]
        return over

    def hold(self, slot: float) -> None:
        """Go on without a verdict for this slot: alerts keep firing for a while."""
        if not self._idle:
            self.alert_store.record(slot, self.alert_store.hold(slot))
            self._send()

    def _send(self) -> None:
        self.alert_store.send()
        states = Counter(alert.state for alert in self.alert_store.alerts.values())
        for state in AlertState:
            self.context.ports.metrics.alerts.labels(query=self.alert_store.name, state=str(state)).set(states[state])

    @property
    def _idle(self) -> bool:
        return self.rows.rule is None and not self.alert_store.alerts

    def _candidate(
        self, verdict: GroupVerdict, matrix: GroupMatrix, group: Group, request: ExplanationRequest
    ) -> AlertCandidate:
        row, entity = request.row, group.table.labels(request.row)
        labels = self.rows.labels(entity, row)
        alert = self.alert_store.alerts.get(fingerprint(labels))
        began = verdict.at if alert is None or not alert.is_open else alert.active_at
        templates = {} if self.rows.rule is None else self.rows.rule.annotations
        since = began if request.since is None else request.since
        explanation = self.context.ports.containment.run(
            "explanation",
            self.alert_store.name,
            lambda: explain_entity(
                self._explained(verdict, matrix, group, row, labels, since, in_storm=request.in_storm), templates
            ),
            unexplained(self.group, labels, entity, templates),
        )
        worst = int(np.argmax(verdict.share[row]))
        return AlertCandidate(
            labels, explanation, generator_url(self.context.settings.source_url, self.plans[worst].expr)
        )

    def _explained(
        self,
        verdict: GroupVerdict,
        matrix: GroupMatrix,
        group: Group,
        row: int,
        labels: Mapping[str, str],
        since: float,
        *,
        in_storm: bool,
    ) -> EntityInput:
        """Return what the texts of an entity are made of."""
        share = verdict.share[row].tolist()
        columns = zip(self.plans, share, matrix.z[row].tolist(), matrix.growth[row].tolist(), strict=True)
        metrics = [MetricShare(plan.name, *numbers) for plan, *numbers in columns]
        shape = group.shape_of(row, int(np.argmax(share))) or ""
        return EntityInput(
            self.group,
            labels,
            dict(group.table.labels(row)),
            tuple(sorted(metrics, key=lambda metric: (-metric.share, metric.query))),
            score=float(verdict.score[row]),
            since=since,
            at=verdict.at,
            external_url=self.context.settings.external_url,
            in_storm=in_storm,
            # A jump that lasts is a level.
            shape="level shift" if shape == "jump" and verdict.at - since >= HOUR else shape,
        )
