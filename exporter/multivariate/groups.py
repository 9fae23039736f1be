"""All groups of the configuration, over reloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from exporter.alerting.alert import Step
from exporter.config.model import AlertingGroup
from exporter.config.plan import QueryPlan
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.context import EvaluationContext
from exporter.multivariate.group_evaluator import GroupEvaluator, job_of
from exporter.multivariate.group_inputs import GroupInputs
from exporter.multivariate.group_status import GroupStatus

__all__ = ["Groups"]


class Groups:
    """All groups, over reloads.

    Parameters
    ----------
    progress : callable
        How much of its history a query has learned, 0 to 1.
    training : Executor, optional
        Where forests are trained. Unless it is given that is a thread, so that no slot waits for one.
    """

    def __init__(self, progress: Callable[[str], float] = lambda _: 1.0, *, training: Executor | None = None) -> None:
        self._progress = progress
        self.inputs = GroupInputs()
        """The newest verdicts of their queries."""
        self.cycles: dict[str, GroupEvaluator] = {}
        """The groups in force, by the names of their jobs."""
        self._training = training or ThreadPoolExecutor(1, thread_name_prefix="forest")

    def apply(
        self,
        groups: Sequence[AlertingGroup],
        plans: Mapping[str, QueryPlan],
        context: EvaluationContext,
        *,
        at: float,
        kept: Callable[[str], Step] = lambda _: Step(alerts={}),
        left: Callable[[str, Step], None] = lambda *_: None,
    ) -> None:
        """Put a configuration into force. A group whose metrics did not change goes on with what it learned.

        Parameters
        ----------
        groups : sequence of AlertingGroup
        plans : mapping
            Of all queries, by name.
        context : EvaluationContext
        at : float, Unix seconds
            Now.
        kept : callable
            Gives what was left of the alerts of a job that is new.
        left : callable
            Takes what is left of the alerts of a job that is gone.
        """
        wanted = {query: {group.by for group in groups if query in group.queries} for query in plans}
        self.inputs.want({query: frozenset(by) for query, by in wanted.items() if by})
        self.retire()
        cycles = {}
        for group in groups:
            members, before = [plans[query] for query in group.queries], self.cycles.get(job_of(group))
            last = kept(job_of(group)) if before is None else before.leave(group, context, at=at)
            started = at if before is None else before.alerts.book.succeeded
            cycles[job_of(group)] = GroupEvaluator(
                group,
                members,
                context,
                self.inputs,
                self._training,
                last,
                started=started,
                progress=self._progress,
                before=before,
            )
        for job in self.cycles.keys() - cycles.keys():
            context.ports.exposition.withdraw_group(self.cycles[job].settings.name)
            context.ports.metrics.forget(job)
            self.inputs.keep(job, ())
            left(job, self.cycles[job].alerts.book.left)
        self.cycles = cycles

    def things(self) -> list[GroupStatus]:
        """Return what groups said last; safe from any thread."""
        return [said for cycle in list(self.cycles.values()) if (said := cycle.said) is not None]

    def wants(self, query: str) -> bool:
        """Return whether a query is in a group."""
        return self.inputs.wants(query)

    def add_history(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on a slot of the past; called by the evaluator of the query, which alone changes `table`."""
        self.inputs.put(plan, verdict, table)

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on the newest slot, and evaluate the groups that are complete with it."""
        self.inputs.put(plan, verdict, table)
        for cycle in list(self.cycles.values()):
            if plan.name in cycle.settings.queries:
                cycle.arrived()

    def retire(self) -> None:
        """End all groups; what they learned is stored."""
        for cycle in self.cycles.values():
            cycle.retire()

    def close(self) -> None:
        """End for good."""
        self.retire()
        self._training.shutdown(wait=False, cancel_futures=True)
