"""All groups of the configuration, over reloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from exporter.alerting.alert import Step
from exporter.config.model import AlertingGroup
from exporter.config.plan import QueryPlan
from exporter.correlation.loads import Loads, RowLoads
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
        Returns how much of its history a query has learned, 0 to 1.
    training : Executor, optional
        Where forests are trained; a thread of its own unless it is given, so that no slot waits for one.
    """

    def __init__(self, progress: Callable[[str], float], *, training: Executor | None = None) -> None:
        self._progress = progress
        self.inputs = GroupInputs()
        """The newest verdicts of their queries."""
        self._loads = Loads()
        self.evaluators: dict[str, GroupEvaluator] = {}
        """The groups in force, by the names of their jobs."""
        self._training = training or ThreadPoolExecutor(1, thread_name_prefix="forest")

    def apply(
        self,
        groups: Sequence[AlertingGroup],
        plans: Mapping[str, QueryPlan],
        contexts: Mapping[str, EvaluationContext],
        *,
        at: float,
        last_step: Callable[[str], Step],
        removed: Callable[[str, Step], None],
    ) -> None:
        """Put a configuration into force. A group whose metrics did not change keeps its learned state.

        Parameters
        ----------
        groups : sequence of AlertingGroup
        plans : mapping
            Of all queries, by name.
        contexts : mapping
            By source; a group has that of its first query.
        at : float, Unix seconds
            Now.
        last_step : callable
            Returns the alerts of a new job as an earlier process or configuration left them.
        removed : callable
            Called with the alerts of a job that is gone.
        """
        labels = {query: {group.by for group in groups if query in group.queries} for query in plans}
        self.inputs.configure({query: frozenset(by) for query, by in labels.items() if by})
        self.retire()
        evaluators = {}
        for group in groups:
            context = contexts[plans[group.queries[0]].source]
            members, before = [plans[query] for query in group.queries], self.evaluators.get(job_of(group))
            last = last_step(job_of(group)) if before is None else before.leave(group.rule, context, at=at)
            started = at if before is None else before.rows.alert_store.succeeded
            evaluators[job_of(group)] = GroupEvaluator(
                group,
                members,
                context,
                self.inputs,
                self._training,
                last,
                started=started,
                progress=self._progress,
                loads=self._loads,
                before=before,
            )
        for job in self.evaluators.keys() - evaluators.keys():
            ports = next(iter(contexts.values())).ports
            ports.exposition.withdraw_group(self.evaluators[job].settings.name)
            ports.metrics.forget(job)
            self.inputs.keep_past(job, ())
            removed(job, self.evaluators[job].rows.alert_store.left)
        self.evaluators = evaluators
        self._loads.configure({job: (each.interval, each.settings.queries) for job, each in evaluators.items()}, at)

    def statuses(self) -> list[GroupStatus]:
        """Return the newest status of each group that has one; safe from any thread."""
        return [status for group in list(self.evaluators.values()) if (status := group.status) is not None]

    def wants(self, query: str) -> bool:
        """Return whether a query is in a group."""
        return self.inputs.wants(query)

    def add_history(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on a slot of the past; called by the evaluator of the query, which alone changes `table`."""
        self.inputs.put(plan, verdict, table)

    def past_due(self, query: str) -> bool:
        """Return whether a group waits for the past of a query that has learned it before the group was there."""
        return self.inputs.past_progress(query) < 1.0

    def begin_past(self, query: str) -> None:
        """Drop what was read of that past: it is read from its begin."""
        self.inputs.ask_past([query])

    def past_goes_on(self, query: str, progress: float) -> None:
        """Note how much of it is read, 0 to 1."""
        self.inputs.past_goes_on(query, progress)

    def add_past(self, plan: QueryPlan, verdict: Verdict) -> None:
        """Take the verdict on a slot of it."""
        self.inputs.put_past(plan, verdict)

    def end_past(self, plan: QueryPlan, table: SeriesTable | None) -> None:
        """Take the rows of these verdicts; None: they cannot be had."""
        self.inputs.end_past(plan.name, table)

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on the newest slot, and evaluate the groups that are complete with it."""
        self.inputs.put(plan, verdict, table)
        for group in list(self.evaluators.values()):
            if plan.name in group.settings.queries:
                group.arrived()

    def loads(self, query: str, at: float, size: int) -> RowLoads | None:
        """Return which rows of a query are under a load that a group recognises; None where it is in no group."""
        return self._loads.of(query, at, size)

    def retire(self) -> None:
        """End all groups; their learned state is stored."""
        for group in self.evaluators.values():
            group.retire()

    def close(self) -> None:
        """End for good."""
        self.retire()
        self._training.shutdown(wait=False, cancel_futures=True)
