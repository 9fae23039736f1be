"""The daemon's own evaluators over a range of the past, on a simulated clock.

Evaluators, groups, alerts, storms, causes and the calendar are those of the daemon. Only the ports differ: slots are
answered from range queries, alerts are recorded instead of stored and sent, and there is no metrics page.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import Step
from exporter.alerting.suppressed import SuppressionCodes
from exporter.backtest.past_answers import HistoryReplay
from exporter.backtest.recorder import AlertRecorder, MetricsRecorder, ReplayStore
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
from exporter.evaluation.admission import Admission
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.scheduled_queries import ScheduledQueries
from exporter.evaluation.sources import Sources
from exporter.exposition import SelfMetrics
from exporter.multivariate.group_evaluator import job_of, members_of
from exporter.multivariate.groups import Groups
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.schedule import slot_at
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["ReplayResult", "TimeSpan", "Watcher", "replay"]

log = logging.getLogger(__name__)

_TRIES = 3
"""Attempts in vain to read history, one after the other."""
_BEFORE = 86400.0
"""Seconds before the range in which changes are looked for."""
_DEPENDENCIES_EVERY = 86400.0
"""Seconds between two queries for dependencies: who calls whom changes with releases."""
_PROGRESS_EVERY = 50
"""Slots between two reports of progress."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The slots from `start` to `end`, both included, Unix seconds."""

    start: float
    end: float

    def slots(self, interval: float, offset: float) -> Iterator[float]:
        """Yield the instants of a grid."""
        number = round((slot_at(self.start, interval, offset) - offset) / interval)
        while (slot := round(number * interval + offset, 3)) <= self.end:
            if slot >= self.start:
                yield slot
            number += 1


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay recorded.

    Attributes
    ----------
    groups : tuple of str
        The jobs of the groups, under which their alerts are recorded.
    warnings : mapping of str to tuple of str
        Warnings of Prometheus by query.
    """

    within: TimeSpan
    plans: tuple[QueryPlan, ...]
    groups: tuple[str, ...]
    record: AlertRecorder
    warnings: Mapping[str, tuple[str, ...]]


Write = Callable[[float, Mapping[str, NDArray[np.float64]], Sequence[bytes]], None]


class Watcher:
    """Observer of a replay; every method does nothing unless it is overridden."""

    def on_learning(self, query: str, share: float) -> None:
        """History is read: 0 to 1."""

    def on_progress(self, share: float) -> None:
        """So much of the range is done: 0 to 1."""

    def on_verdict(self, evaluator: QueryEvaluator, verdict: Verdict) -> None:
        """A slot of a query was evaluated; its alerts are recorded."""

    def on_start(self, record: AlertRecorder, evaluators: Mapping[str, QueryEvaluator]) -> None:
        """Everything is learned, and the first slot comes next."""


class _Clock:
    """The time of the replay."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _AtOnce(Executor):
    """Runs in place what the daemon runs in the background, so that a replay is deterministic."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as fault:
            done.set_exception(fault)
        return done


def replay(
    config: Config,
    within: TimeSpan,
    *,
    only: Collection[str] | None = None,
    connect: Callable[[PrometheusSettings], PrometheusApi],
    sleep: Callable[[float], None],
    watchers: Sequence[Watcher] = (),
    page: Write | None = None,
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

    Raises
    ------
    ExporterError
        Prometheus did not answer; there are no partial results.
    """
    with closing(Sources(config.servers, connect)) as sources:
        return _Replay(config, within, only, sources, sleep, watchers, page).run()


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
    ) -> None:
        self._within, self._sources, self._sleep, self._watchers = within, sources, sleep, watchers
        self._config = config
        self._clock = clock = _Clock(within.start)
        # Chosen from the plans of all, because where slots lie depends on groups.
        self._plans = tuple(_without_search(plan) for plan in config.plans() if only is None or plan.name in only)
        names = {plan.name for plan in self._plans}
        self._configured = [group for group in config.groups if names.issuperset(group.queries)]
        events = ActiveEvents()
        events.configure(config.calendar, config.global_.timezone)
        self.record = AlertRecorder(events.rules)
        self._evaluators: dict[str, QueryEvaluator] = {}
        self._answers: dict[str, HistoryReplay] = {}
        self._groups = Groups(lambda query: self._evaluators[query].progress, training=_AtOnce())
        causes = RootCauses()
        jobs = names.union(map(job_of, self._configured))
        causes.configure(config.dependencies, jobs, map(members_of, self._configured))
        likely = LikelyCauses()
        likely.configure(config.causes, {plan.name: plan.unit for plan in self._plans})
        metrics = SelfMetrics(CollectorRegistry())
        changes = ChangeLog()
        changes.configure(config.changes)
        after = {query.name: query.after_change for query in config.queries if query.after_change is not None}
        self._queries = ScheduledQueries(
            config,
            sources,
            metrics,
            causes,
            changes,
            changed=lambda: events.widen(changes.bands(after)),
            unlearn=events.unlearn,
            past=True,
        )
        # All at once: a slot only sees those before it.
        self._queries.read_changes(within.start - _BEFORE, within.end)
        admission = Admission(lambda: [evaluator.learner.engine for evaluator in self._evaluators.values()], metrics)
        admission.configure(config.limits)
        for name in sources.apis:
            self._queries.cover(name, within.start, within.end)
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
            on_verdict=self._on_verdict,
            co_occurrence=CoOccurrence(),
            root_causes=causes,
            likely_causes=likely,
            changes=changes,
            needs_history=True,
        )
        self._contexts = {name: self._context_of(name, ports) for name in sources.apis}

    def _context_of(self, name: str, ports: Ports) -> EvaluationContext:
        """Return what evaluators of queries of one source share."""
        own = replace(
            ports,
            api=self._sources.apis[name],
            connect=partial(self._sources.connect, name),
            cover_incidents=partial(self._queries.cover, name),
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
            api, context = self._sources.apis[plan.source], self._contexts[plan.source]
            # How many series there are at the end; and if Prometheus does not answer, that shows at once.
            series = max(1, len(api.instant(plan.expr, last - offset, timeout=plan.timeout).keys))
            answers = HistoryReplay(api, plan, last=last, query_offset=offset, series=series, sleep=self._sleep)
            context = replace(context, ports=replace(context.ports, api=answers))
            self._answers[plan.name] = answers
            self._evaluators[plan.name] = QueryEvaluator(plan, context, Step(alerts={}), started=within.start)
        plans = {plan.name: plan for plan in self._plans}
        self._groups.apply(
            self._configured,
            plans,
            self._contexts,
            at=within.start,
            last_step=lambda _: Step(alerts={}),
            removed=lambda *_: None,
        )
        for name, evaluator in self._evaluators.items():
            self._learn(evaluator, slots[name][0] - plans[name].interval)
        for watcher in self._watchers:
            watcher.on_start(self.record, self._evaluators)
        self._run_slots(slots)
        for scores in self.record.scores.values():
            scores.settle()
        warnings = {name: tuple(answers.warnings) for name, answers in self._answers.items() if answers.warnings}
        return ReplayResult(within, self._plans, tuple(self._groups.evaluators), self.record, warnings)

    def _learn(self, evaluator: QueryEvaluator, at: float) -> None:
        name = evaluator.plan.name
        beat = evaluator.learner.beat

        def report_progress() -> None:
            beat()
            for watcher in self._watchers:
                watcher.on_learning(name, evaluator.learner.progress)

        evaluator.learner.beat = report_progress
        tries, state = 0, None
        while tries < _TRIES:
            if evaluator.prepare(at):
                for watcher in self._watchers:
                    watcher.on_learning(name, 1.0)
                return
            # Where it came further, or asks for less from now on, this was no attempt in vain.
            before, state = state, (evaluator.learner.progress, evaluator.learner.remark)
            tries = 1 if state != before else tries + 1
            self._sleep(max(2.0**tries, evaluator.resting))
        raise ExporterError(f"{name}: history could not be read: {evaluator.trouble}")

    def _run_slots(self, slots: Mapping[str, Sequence[float]]) -> None:
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
                self._answers[name].fetch(slot)
                evaluator = self._evaluators[name]
                evaluator.run(slot)
                if evaluator.judged != slot:
                    raise ExporterError(f"{name}: a slot could not be judged: {evaluator.trouble}")
            if number % _PROGRESS_EVERY == 0:
                for watcher in self._watchers:
                    watcher.on_progress(number / total)
        for watcher in self._watchers:
            watcher.on_progress(1.0)

    def _on_verdict(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable, _: SuppressionCodes) -> None:
        self.record.add_verdict(plan, verdict, table)
        for watcher in self._watchers:
            watcher.on_verdict(self._evaluators[plan.name], verdict)


def _without_search(plan: QueryPlan) -> QueryPlan:
    """Return a plan without the search for changepoints, which only appear in metrics of the daemon."""
    return replace(plan, drift=plan.drift.model_copy(update={"changepoints": False}))
