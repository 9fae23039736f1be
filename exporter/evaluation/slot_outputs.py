"""What follows from a slot that was scored: alerts, durable before they are sent, page, groups, and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from exporter.alerting.alert import Step
from exporter.config.plan import QueryPlan
from exporter.evaluation.budget_usage import BudgetUsage
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.query_alerts import AlertEvaluator
from exporter.evaluation.query_metrics import QueryMetrics
from exporter.evaluation.scored_slot import ScoredSlot
from exporter.exposition import PageRows, scores_of

__all__ = ["SlotOutputs"]

_KNOWS_ABSENCE = 14 * 86400.0
"""Seconds of history after which the engine knows at which hours of the week a series is away."""


@dataclass(frozen=True, slots=True)
class SlotOutputs:
    """Where the results of the slots of one query go."""

    plan: QueryPlan
    context: EvaluationContext
    alerts: AlertEvaluator
    page: PageRows
    metrics: QueryMetrics
    budget_usage: BudgetUsage

    def put(
        self,
        scored: ScoredSlot,
        phase: Callable[[str], AbstractContextManager[None]],
        *,
        filtered: bool,
        has_history: bool,
    ) -> None:
        """Write, publish and send what follows from a slot.

        Parameters
        ----------
        phase : callable
            Takes the time of a phase.
        filtered : bool
            Whether the expression leaves out series by their value.
        has_history : bool
            Whether history was learned.
        """
        context, plan, verdict, table, metrics = self.context, self.plan, scored.verdict, scored.table, self.metrics
        with phase("judge"):
            step = self.alerts.evaluate(verdict, table, scored.details, scored.elsewhere)
        with phase("commit"):
            self.alerts.alert_store.commit(verdict.at, step)
        with phase("publish"):
            prefixes = self.page.prefixes(verdict.score)
            suppressed = self.alerts.suppressed(verdict, table)
            utf8 = self.page.utf8_prefixes(prefixes)
            context.ports.exposition.publish(plan.name, prefixes, scores_of(verdict), suppressed, utf8)
            self._contain("groups", lambda: context.ports.groups.add(plan, verdict, table))
            self._contain("canary", lambda: context.ports.canaries.add(plan, verdict, table))
            context.ports.on_verdict(plan, verdict, table, suppressed)
        self.alerts.alert_store.send()
        self.alerts.alert_store.succeeded = verdict.at
        metrics.judged(
            verdict,
            scored.aligned,
            scored.frame,
            self.page,
            series=len(table),
            interval=plan.interval,
            never_empty=not filtered and not verdict.at - scored.first_at >= _KNOWS_ABSENCE,
            history=has_history,
        )
        self._contain("metrics", lambda: self._note(scored, step))

    def hold(self, slot: float) -> None:
        """Go on without a verdict for a slot: what is firing stays firing for a while."""
        self.alerts.alert_store.record(slot, self.alerts.alert_store.hold(slot))
        self.context.ports.canaries.hold(self.plan, slot)

    def withdraw(self, *, series: int) -> None:
        """Show no score of so many series, and send the alerts again."""
        self.context.ports.exposition.withdraw(self.plan.name)
        self.metrics.series(no_data=series)
        self.alerts.alert_store.send()
        self._note_alerts()

    def _contain(self, part: str, call: Callable[[], None]) -> None:
        self.context.ports.containment.run(part, self.plan.name, call, None)

    def _note(self, scored: ScoredSlot, step: Step) -> None:
        """Set the metrics that do not say how much was judged."""
        metrics, mature_at = self.metrics, scored.first_at + self.plan.baseline.min_history
        metrics.beginning(scored.first_score_at, mature_at if self.plan.alert is not None else np.nan)
        self._note_alerts()
        metrics.expect(scored.calibration)
        self.budget_usage.update(scored.verdict.at, step.transitions, scored.calibration)

    def _note_alerts(self) -> None:
        self.metrics.alerts(self.alerts.alerts.values())
        self.metrics.disagrees(self.alerts.rows.disagreement())
