"""All canaries of the configuration, over reloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.alerting.alert import Step
from exporter.canary.canary_evaluator import CanaryEvaluator, canary_job, rule_of
from exporter.canary.canary_status import CanaryStatus
from exporter.config.plan import QueryPlan
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.context import EvaluationContext

__all__ = ["Canaries"]


class Canaries:
    """All canaries, over reloads."""

    def __init__(self) -> None:
        self.evaluators: dict[str, CanaryEvaluator] = {}
        """The canaries in force, by the names of their jobs."""

    def apply(
        self,
        plans: Mapping[str, QueryPlan],
        contexts: Mapping[str, EvaluationContext],
        *,
        at: float,
        last_step: Callable[[str], Step],
        removed: Callable[[str, Step], None],
    ) -> None:
        """Put a configuration into force; the parameters are those of `Groups.apply`."""
        self.retire()
        evaluators = {}
        for plan in plans.values():
            if plan.canary is None:
                continue
            context, job = contexts[plan.source], canary_job(plan)
            before = self.evaluators.get(job)
            last = last_step(job) if before is None else before.leave(rule_of(plan.canary), context, at=at)
            started = at if before is None else before.alert_store.succeeded
            evaluators[job] = CanaryEvaluator(plan, plan.canary, context, last, started=started, before=before)
        for job in self.evaluators.keys() - evaluators.keys():
            ports = next(iter(contexts.values())).ports
            ports.exposition.withdraw_canary(self.evaluators[job].plan.name)
            ports.metrics.forget(job)
            removed(job, self.evaluators[job].alert_store.left)
        self.evaluators = evaluators

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Compare the samples of the newest slot."""
        if (canary := self.evaluators.get(canary_job(plan))) is not None:
            canary.add(verdict, table)

    def hold(self, plan: QueryPlan, slot: float) -> None:
        """Note that a slot has no answer."""
        if (canary := self.evaluators.get(canary_job(plan))) is not None:
            canary.hold(slot)

    def statuses(self) -> list[CanaryStatus]:
        """Return the newest comparisons of each query that has a canary; safe from any thread."""
        return [canary.status for canary in list(self.evaluators.values())]

    def retire(self) -> None:
        """End all canaries; their state is stored."""
        for canary in self.evaluators.values():
            canary.retire()
