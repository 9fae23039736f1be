"""What runs evaluators: the schedule, whose threads are replaced where it dies, and the reader of histories."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping
from time import monotonic

from exporter.config.model import Config
from exporter.engine.engine import Engine
from exporter.engine.together import Steps
from exporter.errors import ExporterError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.history_reader import HistoryReader
from exporter.exposition import SelfMetrics
from exporter.schedule import Job, Schedule, slot_at

__all__ = ["PATIENCE", "Evaluators", "Workers", "end", "pools"]

log = logging.getLogger(__name__)

_REVIVALS, _REVIVAL_PERIOD = 5, 600.0
"""Threads are replaced so many times in so many seconds; then the process gives up."""
PATIENCE = 2.0
"""Seconds that a reload or the end waits for slots under way before their queries are broken off, and then again."""


class Evaluators:
    """The evaluators of queries that are in force.

    Attributes
    ----------
    by_query : mapping of str to QueryEvaluator
        Replaced as a whole and never changed, so that any thread may read it.
    """

    def __init__(self) -> None:
        self.by_query: Mapping[str, QueryEvaluator] = {}

    def engines(self) -> list[Engine]:
        """Return the engines of all queries."""
        return [evaluator.learner.engine for evaluator in self.by_query.values()]

    def shadow_engines(self) -> list[Engine]:
        """Return the engines of the shadows of queries."""
        engines = [evaluator.shadow.engine for evaluator in self.by_query.values()]
        return [engine for engine in engines if engine is not None]

    def progress(self, query: str) -> float:
        """Return how much of its history a query has learned, 0 to 1; 0 where it is not there."""
        evaluator = self.by_query.get(query)
        return 0.0 if evaluator is None else evaluator.progress

    def reservations(self) -> list[str]:
        """Return a line for each query of whose series not all are judged."""
        lines = []
        for name, evaluator in sorted(self.by_query.items()):
            if not evaluator.ready:
                lines.append(f"{name}: history is being read, {evaluator.progress:.0%}; it has no scores so far")
            elif evaluator.judged == -math.inf and evaluator.trouble is None:
                lines.append(f"{name}: not yet evaluated; its first slot is to come")
            elif evaluator.judged_ratio < 1.0:
                why = evaluator.trouble or evaluator.remark or "its newest answer was not judged"
                lines.append(f"{name}: {evaluator.judged_ratio:.0%} of its series are judged: {why}")
        return lines

    def any_stuck(self) -> bool:
        """Return whether an evaluator hangs."""
        return any(evaluator.stuck for evaluator in self.by_query.values())


class Workers:
    """Runs the slots of evaluators and other jobs, and has history read beside them.

    Parameters
    ----------
    pools : mapping of str to int
        Jobs that run at the same time, by pool: the jobs of a query are in that of its source.
    clock : callable
        The wall clock, in Unix seconds.
    """

    def __init__(self, pools: Mapping[str, int], *, clock: Callable[[], float], metrics: SelfMetrics) -> None:
        self._pools = dict(pools)
        self._clock = clock
        self._metrics = metrics
        self._evaluators: Mapping[str, QueryEvaluator] = {}
        self._jobs: Mapping[str, Job] = {}
        self._in_preparation: set[QueryEvaluator] = set()
        self._revivals: list[float] = []
        self._stopping = False
        self._schedule = self._new_schedule()
        self._reader = HistoryReader()

    def start(self) -> None:
        """Begin to run slots, and to read history."""
        self._schedule.start()
        self.prepare()

    def set(
        self,
        evaluators: Mapping[str, QueryEvaluator],
        others: Mapping[str, Job],
        pools: Mapping[str, int],
        *,
        new_threads: bool = False,
    ) -> None:
        """Replace what is run: a job for every evaluator, and others.

        Parameters
        ----------
        new_threads : bool
            Go on with new threads; runs in the old ones that are under way go on.
        """
        self._pools = dict(pools)
        self._evaluators = evaluators
        self._jobs = {**{name: self._job(evaluator) for name, evaluator in evaluators.items()}, **others}
        if new_threads:
            self._replace_threads()
        else:
            self._schedule.set(self._jobs, self._pools)

    def prepare(self) -> None:
        """Have history read for the evaluators that need it."""
        for evaluator in self._evaluators.values():
            self._prepare(evaluator)

    def watch(self) -> None:
        """Plan runs again if the clock was set, and replace a scheduler that died.

        Raises
        ------
        ExporterError
            It dies again and again.
        """
        self._schedule.check_clock()
        if not self._schedule.alive:
            self.count_revival("scheduler")
            log.error("the scheduler died and is started again")
            self._replace_threads()

    def count_revival(self, worker: str) -> None:
        """Count that something has to be replaced.

        Raises
        ------
        ExporterError
            It is too often: the process has to be started again.
        """
        self._metrics.worker_restarts_total.labels(worker=worker).inc()
        now = monotonic()
        self._revivals = [*(at for at in self._revivals if now - at < _REVIVAL_PERIOD), now]
        if len(self._revivals) > _REVIVALS:
            raise ExporterError(f"a {worker} dies again and again")

    def stop(self) -> None:
        """Start no more runs; those under way go on."""
        self._stopping = True
        self._reader.stop()
        self._schedule.stop()

    def _replace_threads(self) -> None:
        self._schedule.stop()
        self._schedule = self._new_schedule()
        self._schedule.set(self._jobs)
        self._schedule.start()

    def _new_schedule(self) -> Schedule:
        return Schedule(self._pools, clock=self._clock, failed=self._job_failed)

    def _job(self, evaluator: QueryEvaluator) -> Job:
        def run(slot: float) -> None:
            evaluator.run(slot)
            self._prepare(evaluator)  # Again, where the last attempt failed or a long gap opened.

        missed = self._metrics.cycles_missed_total.labels(query=evaluator.plan.name)
        return Job(evaluator.plan.interval, evaluator.plan.offset, run, missed.inc, evaluator.plan.source)

    def _job_failed(self, name: str) -> None:
        if name in self._evaluators:
            self._metrics.cycles_failed_total.labels(query=name).inc()

    def _prepare(self, evaluator: QueryEvaluator) -> None:
        if not evaluator.history_due or self._stopping or evaluator in self._in_preparation:
            return
        self._in_preparation.add(evaluator)

        def prepare() -> Steps[bool]:
            try:
                plan = evaluator.plan
                return (yield from evaluator.preparing(slot_at(self._clock(), plan.interval, plan.offset)))
            finally:
                self._in_preparation.discard(evaluator)

        try:
            self._reader.submit(evaluator.plan.source, prepare(), lambda: evaluator.retired)
        except RuntimeError:
            # The end came in between, or the system has no more threads; then the next slot tries again.
            self._in_preparation.discard(evaluator)


def pools(config: Config) -> dict[str, int]:
    """Return how many jobs run at the same time, by pool: those of each source, and the others."""
    # Beside queries a source is asked for dependencies, changes and incidents; groups ask no server.
    return {"": 4, **{name: server.concurrency + 3 for name, server in config.servers.items()}}


def end(evaluators: Collection[QueryEvaluator], cancel: Callable[[], None]) -> bool:
    """End evaluators: wait a little for slots under way, then break their queries off; False where one hangs."""
    for evaluator in evaluators:
        evaluator.leave()
    for _ in range(2):
        deadline = monotonic() + PATIENCE
        # All of them are asked, so that one that hangs does not make the others look as if they did.
        ended = [evaluator.join(max(0.0, deadline - monotonic())) for evaluator in evaluators]
        if all(ended):
            return True
        cancel()
    hanging = [evaluator.plan.name for evaluator in evaluators if not evaluator.ended]
    log.error("a run hangs and is left behind", extra={"queries": ",".join(hanging)})
    return False
