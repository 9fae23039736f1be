"""The alerts of one query: what its verdicts say of each series, in words where somebody is told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial as bound

import numpy as np

from exporter.alerting.alert import Alert, AlertCandidate, AlertState, Step, fingerprint
from exporter.alerting.explanation.links import generator_url
from exporter.alerting.storm import RowStates
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.explanation_builder import ExplanationBuilder
from exporter.evaluation.row_alerts import ExplanationRequest, RowAlerts, SlotResult

__all__ = ["AlertEvaluator"]


class AlertEvaluator:
    """All alerts of one query, and how they follow from its verdicts.

    Parameters
    ----------
    plan : QueryPlan
    context : EvaluationContext
    restored : Step
        What an earlier run left; committed with the first step.
    succeeded : float, Unix seconds
        The newest slot with a good answer; before the first one, the start of the program.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext, restored: Step, *, succeeded: float) -> None:
        self.plan = plan
        self.context = context
        self.book = AlertStore(plan.name, context, restored, interval=plan.interval, succeeded=succeeded)
        """Keeps and sends them."""
        self.rows = RowAlerts(plan.name, "query", plan.alert, context, self.book, shard=plan.shard)
        """Which series each is about."""

    @property
    def alerts(self) -> dict[str, Alert]:
        """All alerts by fingerprint."""
        return self.book.alerts

    def configure(self, plan: QueryPlan, context: EvaluationContext, table: SeriesTable, *, at: float) -> None:
        """Go on under another configuration. Alerts that it gives other labels end: they are those of another rule."""
        self.plan, self.context = plan, context
        self.book.interval = plan.interval
        self.rows.configure(plan.alert, context, table, at=at)

    def judge(self, verdict: Verdict, engine: Engine, *, partial: bool) -> Step:
        """Return the step that a verdict leads to.

        Parameters
        ----------
        engine : Engine
            That gave it.
        partial : bool
            The answer may be incomplete, so it does not say that a series is gone.

        Raises
        ------
        DuplicateAlert
        """
        table = engine.table
        self.context.ports.co_occurrence.update(self.plan.name, verdict, table)
        present = ~np.isnan(verdict.observed) | verdict.absent
        if self.plan.alert is None or self.plan.alert.no_data != "resolve":
            # What is due goes on until it is back, or until that it is away becomes what the alert says.
            present |= ~np.isnan(verdict.missing_since)
        known = present & ~np.isnan(verdict.score)
        said = RowStates(verdict.at, verdict.anomalous & verdict.ready, known, present)
        explained = bound(self._findings, ExplanationBuilder(self.plan, self.context, verdict, engine), table)
        return self.rows.judge(SlotResult(said, verdict.score, table, explained, partial))

    def _findings(
        self, telling: ExplanationBuilder, table: SeriesTable, asked: Sequence[ExplanationRequest]
    ) -> list[AlertCandidate]:
        telling.look_at([one.row for one in asked])
        source = generator_url(self.context.settings.source_url, self.plan.expr)
        return [self._finding(telling, table, one, source) for one in asked]

    def _finding(
        self, telling: ExplanationBuilder, table: SeriesTable, asked: ExplanationRequest, source: str
    ) -> AlertCandidate:
        row = asked.row
        labels = self.rows.labels(table.labels(row))
        known = self.alerts.get(fingerprint(labels))
        since = self.context.ports.co_occurrence.since(self.plan.name, row, telling.at)
        # An earlier run may have seen it turn.
        if asked.since is not None:
            since = asked.since
        elif known is not None and known.state is not AlertState.RESOLVED:
            since = min(since, known.active_at)
        explanation = telling.explain(row, labels, since, in_storm=asked.in_storm)
        return AlertCandidate(labels, explanation, source, observation=telling.observation(row))
