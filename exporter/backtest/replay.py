"""The daemon's own evaluators over a range of the past, on a simulated clock.

Evaluators, groups, alerts, storms, causes and the calendar are those of the daemon. Only the ports differ: slots are
answered from range queries, alerts are recorded instead of stored and sent, and there is no metrics page.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import Step
from exporter.alerting.suppressed import SuppressionCodes
from exporter.backtest.past_answers import HistoryReplay
from exporter.backtest.past_learning import PastLearning, is_sooner_together
from exporter.backtest.recorder import AlertRecorder, MetricsRecorder, ReplayStore
from exporter.backtest.replay_result import ReplayResult, TimeSpan
from exporter.backtest.scored_ahead import ScoredAhead
from exporter.backtest.scored_span import ScoredSpan
from exporter.backtest.scored_together import ScoredTogether, SlotScorer
from exporter.backtest.simulated import InPlace, SimulatedClock
from exporter.backtest.watcher import Watcher
from exporter.canary.canaries import Canaries
from exporter.canary.canary_evaluator import canary_job
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.correlation.changes import ChangeLog
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.errors import ExporterError
from exporter.evaluation.admission import Admission, Occupied
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.scheduled_queries import ScheduledQueries
from exporter.evaluation.sources import Sources
from exporter.exposition import SelfMetrics
from exporter.multivariate.group_evaluator import job_of, members_of
from exporter.multivariate.groups import Groups
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks
from exporter.worker_pool import WorkerPool

__all__ = ["replay"]

log = logging.getLogger(__name__)

_BEFORE = 86400.0
"""Seconds before the range in which changes are looked for."""
_DEPENDENCIES_EVERY = 86400.0
"""Seconds between two queries for dependencies: who calls whom changes with releases."""
_PROGRESS_EVERY = 50
"""Slots between two reports of progress."""
_SMALL = 30_000
"""Instants of all queries that are judged sooner than processes have started."""
_READERS = 2
"""Queries that are read at the same time from one server, as by a daemon."""


Write = Callable[[float, Mapping[str, NDArray[np.float64]], Sequence[bytes]], None]


def replay(
    config: Config,
    within: TimeSpan,
    *,
    only: Collection[str] | None = None,
    connect: Callable[[PrometheusSettings], PrometheusApi],
    sleep: Callable[[float], None],
    watchers: Sequence[Watcher] = (),
    page: Write | None = None,
    pool: WorkerPool | None = None,
) -> ReplayResult:
    """Evaluate a range of the past as a daemon would have that was started at its beginning without state.

    Parameters
    ----------
    only : collection of str, optional
        The queries that are replayed; groups of which one is missing are left out.
    connect : callable
        Makes a client of a source.
    sleep : callable
        Waits for seconds, before something is tried again.
    watchers : sequence of Watcher
    page : callable, optional
        Takes the rows of ``/metrics``, slot by slot: the slot, metrics by name, and label texts.
    pool : WorkerPool, optional
        Where history is learned and slots are scored; the result is the same. By default in this process.

    Raises
    ------
    ExporterError
        Prometheus did not answer; there are no partial results.
    """
    pool = WorkerPool() if pool is None else pool
    with closing(Sources(config.servers, connect)) as sources:
        whole = _Replay(config, within, only, sources, sleep, watchers, page, pool)
        try:
            return whole.run()
        except BaseException as error:
            # Threads that read for other queries end with it.
            whole.over = True
            sources.cancel()
            if not isinstance(error, _CrowdedError) or pool.chosen or whole.begun:
                raise
    # Nobody asked for several processes, and nothing was written.
    return replay(config, within, only=only, connect=connect, sleep=sleep, watchers=watchers, page=page)


class _CrowdedError(ExporterError):
    """All series together are more than the limits allow."""


class _Replay:
    def __init__(
        self,
        config: Config,
        within: TimeSpan,
        only: Collection[str] | None,
        sources: Sources,
        sleep: Callable[[float], None],
        watchers: Sequence[Watcher],
        page: Write | None,
        pool: WorkerPool,
    ) -> None:
        self._within, self._sources, self._sleep, self._watchers = within, sources, sleep, watchers
        self._config = config
        self.over = False
        """Whether it was broken off."""
        self.begun = False
        """Whether slots are judged, and what they say was written."""
        self._clock = clock = SimulatedClock(within.start)
        # Chosen from the plans of all, because where slots lie depends on groups.
        self._plans = tuple(_bare(plan) for plan in config.plans() if only is None or plan.name in only)
        names = {plan.name for plan in self._plans}
        self._configured = [group for group in config.groups if names.issuperset(group.queries)]
        events = ActiveEvents()
        events.configure(config.calendar, config.global_.timezone)
        self.record = AlertRecorder(events.rules)
        self._evaluators: dict[str, QueryEvaluator] = {}
        self._answers: dict[str, HistoryReplay] = {}
        self._canaries = Canaries()
        self._groups = Groups(lambda query: self._evaluators[query].progress, training=InPlace())
        causes = self._root_causes()
        likely = LikelyCauses()
        likely.configure(config.causes, {plan.name: plan.unit for plan in self._plans})
        metrics = SelfMetrics(CollectorRegistry(), read=False)
        changes = ChangeLog()
        changes.configure(config.changes)
        self._queries = self._scheduled_queries(metrics, causes, changes, events)
        self._pool = pool.for_work(small=self._instants() < _SMALL)
        self._occupied: dict[str, Occupied] = {}
        self._admission = admission = Admission(self._occupied.values, metrics)
        admission.configure(config.limits)
        settings = EvaluationSettings.of(config, sources.default, external_url="")
        ports = Ports(
            api=sources.apis[sources.default],
            connect=partial(sources.connect, sources.default),
            clock=clock,
            store=ReplayStore(self.record),
            exposition=MetricsRecorder(clock, page),
            # The alerts of a query go stale by this clock.
            alert_snapshots=AlertSnapshots(monotonic=clock),
            metrics=metrics,
            admission=admission,
            masks=SampleMasks(events, settings.external_labels),
            feedback=None,
            groups=self._groups,
            canaries=self._canaries,
            on_verdict=self._on_verdict,
            co_occurrence=CoOccurrence(),
            root_causes=causes,
            likely_causes=likely,
            changes=changes,
            needs_history=True,
            pool=self._pool,
        )
        self._contexts = {name: self._context_of(name, ports) for name in sources.apis}
        followed = {query for group in self._configured for query in group.queries}
        self._unfollowed = {
            plan.name
            for plan in self._plans
            if page is None and plan.canary is None and plan.name not in followed and not likely.measures(plan.name)
        }
        """Queries of which nothing but their own alerts sees a slot in which nothing is anomalous."""
        self._quiet: dict[str, int] = {}
        """By query, the first slot of the span under way of those that were passed over."""

    def _root_causes(self) -> RootCauses:
        """Return what looks for root causes among the queries, groups and canaries that are replayed."""
        causes = RootCauses()
        names = {plan.name for plan in self._plans}
        compared = [canary_job(plan) for plan in self._plans if plan.canary is not None]
        jobs = names.union(map(job_of, self._configured), compared)
        causes.configure(self._config.dependencies, jobs, map(members_of, self._configured))
        return causes

    def _scheduled_queries(
        self, metrics: SelfMetrics, causes: RootCauses, changes: ChangeLog, events: ActiveEvents
    ) -> ScheduledQueries:
        """Return the queries for changes, incidents and dependencies; the former two of the whole range are read."""
        config, within = self._config, self._within
        after = {query.name: query.after_change for query in config.queries if query.after_change is not None}
        queries = ScheduledQueries(
            config,
            self._sources,
            metrics,
            causes,
            changes,
            changed=lambda: events.widen(changes.bands(after)),
            unlearn=events.unlearn,
            past=True,
        )
        # All at once: a slot only sees those before it.
        queries.read_changes(within.start - _BEFORE, within.end)
        for name in self._sources.apis:
            queries.cover(name, within.start, within.end)
        return queries

    def _context_of(self, name: str, ports: Ports) -> EvaluationContext:
        """Return what evaluators of queries of one source share."""
        own = replace(
            ports,
            api=self._sources.apis[name],
            inquiry_api=self._sources.apis[name],
            connect=partial(self._sources.connect, name),
            cover_incidents=partial(self._queries.cover, name),
            reading=threading.BoundedSemaphore(_READERS),
        )
        settings = EvaluationSettings.of(self._config, name, external_url="")
        # Nothing is ever restored, so no state is written.
        return EvaluationContext(own, replace(settings, checkpoint_interval=float("inf")))

    def run(self) -> ReplayResult:
        within = self._within
        slots = {plan.name: list(within.slots(plan.interval, plan.offset)) for plan in self._plans}
        empty = [name for name, instants in slots.items() if not instants]
        if empty:
            raise ExporterError(f"the range is too short: it has no slot of {', '.join(empty)}")
        for plan in self._plans:
            last, offset = slots[plan.name][-1], self._sources.servers[plan.source].query_offset
            api = self._sources.apis[plan.source]
            # How many series there are at the end; and if Prometheus does not answer, that shows at once.
            series = max(1, len(api.instant(plan.expr, last - offset, timeout=plan.timeout).keys))
            self._answers[plan.name] = HistoryReplay(
                api, plan, last=last, query_offset=offset, series=series, sleep=self._sleep
            )
        series_of = [answers.series for answers in self._answers.values()]
        together = is_sooner_together(self._plans, series_of, self._pool.count)
        learning = WorkerPool() if together else self._pool
        for plan in self._plans:
            context = self._contexts[plan.source]
            context = replace(context, ports=replace(context.ports, api=self._answers[plan.name], pool=learning))
            evaluator = QueryEvaluator(plan, context, Step(alerts={}), started=within.start)
            self._evaluators[plan.name], self._occupied[plan.name] = evaluator, evaluator.learner.engine
        plans = {plan.name: plan for plan in self._plans}
        self._groups.apply(
            self._configured,
            plans,
            self._contexts,
            at=within.start,
            last_step=lambda _: Step(alerts={}),
            removed=lambda *_: None,
        )
        self._canaries.apply(
            plans, self._contexts, at=within.start, last_step=lambda _: Step(alerts={}), removed=lambda *_: None
        )
        with self._pool.threads() as threads:
            begins = {name: slots[name][0] - plans[name].interval for name in self._evaluators}
            past = PastLearning(self._evaluators, self._watchers, sleep=self._sleep, is_over=lambda: self.over)
            past.learn(begins, None if learning.count == 1 else threads)
            self._check_limits()
            for watcher in self._watchers:
                watcher.on_start(self.record, self._evaluators)
            self.begun = True
            self._run_slots(slots, threads)
        for scores in self.record.scores.values():
            scores.settle()
        warnings = {name: tuple(answers.warnings) for name, answers in self._answers.items() if answers.warnings}
        jobs = (*self._groups.evaluators, *self._canaries.evaluators)
        return ReplayResult(within, self._plans, jobs, self.record, warnings)

    def _instants(self) -> float:
        """Return about how many instants the engines of all queries have to judge."""
        span = self._within.end - self._within.start
        return sum(plan.baseline.window / plan.cadence + span / plan.interval for plan in self._plans)

    def _check_limits(self) -> None:
        """Raise where series were refused because of other queries: which these are depends on the order."""
        if self._pool.count > 1 and (self._admission.reached or self._admission.exceeded()):
            raise _CrowdedError(
                "there are more series than limits.max_series or limits.max_memory allows: which of them have room "
                "depends on the order of the queries, so they have to be judged by one process: --workers=1"
            )

    def _scorer(self, name: str, slots: Sequence[float], threads: Executor) -> SlotScorer:
        """Return what scores the slots of a query: elsewhere, or here, where not each can be scored with others."""
        evaluator = self._evaluators[name]
        ports = evaluator.context.ports
        begin = (evaluator.plan, evaluator.learner.engine, self._answers[name], ports.masks, slots)
        if self._pool.count == 1:
            return ScoredTogether(*begin)
        return ScoredAhead(*begin, reading=ports.reading, pool=self._pool, threads=threads)

    def _run_slots(self, slots: Mapping[str, Sequence[float]], threads: Executor) -> None:
        scorers = {name: self._scorer(name, instants, threads) for name, instants in slots.items()}
        queries = [[(slot, 0, name) for slot in instants] for name, instants in slots.items()]
        groups = [
            [(slot, 1, job) for slot in self._within.slots(group.interval, group.offset)]
            for job, group in self._groups.evaluators.items()
        ]
        total = sum(map(len, queries)) + sum(map(len, groups))
        dependencies_at = -np.inf
        for number, (slot, kind, name) in enumerate(heapq.merge(*queries, *groups)):
            self._clock.now = slot
            if slot >= dependencies_at:
                self._queries.ask_dependencies(slot)
                dependencies_at = slot + _DEPENDENCIES_EVERY
            if kind:
                self._groups.evaluators[name].run(slot)
            else:
                self._run_slot(name, slot, scorers[name])
            if number % _PROGRESS_EVERY == 0:
                for watcher in self._watchers:
                    watcher.on_progress(number / total)
        for watcher in self._watchers:
            watcher.on_progress(1.0)

    def _run_slot(self, name: str, slot: float, scorer: SlotScorer) -> None:
        evaluator = self._evaluators[name]
        if (place := scorer.next()) is None:
            evaluator.run(slot)
            if evaluator.judged != slot:
                raise ExporterError(f"{name}: a slot could not be judged: {evaluator.trouble}")
            return
        span, number = place
        if span.quiet[number] and name in self._unfollowed and evaluator.alerts.rows.rests(span.table):
            self._quiet.setdefault(name, number)
            if number == len(span) - 1:
                self._on_quiet(evaluator, span, slice(self._quiet.pop(name), number + 1))
            return
        if (begin := self._quiet.pop(name, None)) is not None:
            self._on_quiet(evaluator, span, slice(begin, number))
        if self._pool.count > 1:
            self._occupy(name, span)
        evaluator.follow(span.slot(number), span.expired if number == len(span) - 1 else ())

    def _occupy(self, name: str, span: ScoredSpan) -> None:
        """Note what the series of a query take up."""
        before, self._occupied[name] = self._occupied[name], span
        if before is not span and _size(before) != _size(span):
            self._check_limits()

    def _on_quiet(self, evaluator: QueryEvaluator, span: ScoredSpan, when: slice) -> None:
        """Count slots of a span that were passed over: no alert and no explanation follows from them."""
        if (verdicts := span.verdicts) is None:
            return
        self.record.add_verdict(evaluator.plan, verdicts, span.table, when)
        for watcher in self._watchers:
            watcher.on_quiet(evaluator, verdicts, when)

    def _on_verdict(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable, _: SuppressionCodes) -> None:
        self.record.add_verdict(plan, verdict, table)
        for watcher in self._watchers:
            watcher.on_verdict(self._evaluators[plan.name], verdict)


def _size(occupied: Occupied) -> tuple[int, int, int]:
    return len(occupied.table), occupied.capacity, occupied.row_bytes


def _bare(plan: QueryPlan) -> QueryPlan:
    """Return a plan without a shadow and the search for changepoints, which only appear in metrics of the daemon."""
    return replace(plan, drift=plan.drift.model_copy(update={"changepoints": False}), shadow=None)
