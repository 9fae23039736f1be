"""The threads that run cycles: the schedule, and those that read history; begun anew where one hangs or dies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from exporter.errors import ExporterError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.exposition import SelfMetrics
from exporter.schedule import Job, Schedule, slot_at

__all__ = ["PATIENCE", "Workers", "end"]

log = logging.getLogger(__name__)

_REVIVALS, _REVIVAL_PERIOD = 5, 600.0
"""Threads are begun anew so many times in so many seconds; then the process gives up."""
PATIENCE = 2.0
"""Seconds that a reload or the end waits for slots under way before their queries are broken off, and then again."""
_PREPARERS = 2
"""Queries whose history is read at the same time: gentle on a Prometheus that others use too."""


class Workers:
    """Runs the slots of cycles and other jobs, and has history read beside them.

    Parameters
    ----------
    concurrency : int
        Jobs that run at the same time.
    clock : callable
        The wall clock, in Unix seconds.
    metrics : SelfMetrics
    """

    def __init__(self, concurrency: int, *, clock: Callable[[], float], metrics: SelfMetrics) -> None:
        self._concurrency = concurrency
        self._clock = clock
        self._metrics = metrics
        self._cycles: Mapping[str, QueryEvaluator] = {}
        self._jobs: Mapping[str, Job] = {}
        self._in_preparation: set[QueryEvaluator] = set()
        self._revivals: list[float] = []
        self._stopping = False
        self._schedule = self._new_schedule()
        self._preparing = _new_preparers()

    def start(self) -> None:
        """Begin to run slots, and to read history."""
        self._schedule.start()
        self.prepare()

    def set(self, cycles: Mapping[str, QueryEvaluator], others: Mapping[str, Job], *, anew: int | None = None) -> None:
        """Replace what is run: a job for every cycle, and others.

        Parameters
        ----------
        anew : int, optional
            Go on with so many threads that nothing hangs in; runs of the old ones that are under way go on.
        """
        self._cycles = cycles
        self._jobs = {**{name: self._job(cycle) for name, cycle in cycles.items()}, **others}
        if anew is None:
            self._schedule.set(self._jobs)
        else:
            self._concurrency = anew
            self._begin_anew()

    def prepare(self) -> None:
        """Have history read for the cycles that need it."""
        for cycle in self._cycles.values():
            self._prepare(cycle)

    def watch(self) -> None:
        """See to a clock that was set and to a scheduler that died.

        Raises
        ------
        ExporterError
            It dies again and again.
        """
        self._schedule.check_clock()
        if not self._schedule.alive:
            self.count_revival("scheduler")
            log.error("the scheduler died and is started again")
            self._begin_anew()

    def count_revival(self, worker: str) -> None:
        """Note that something has to be begun anew.

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
        self._preparing.shutdown(wait=False, cancel_futures=True)
        self._schedule.stop()

    def _begin_anew(self) -> None:
        self._preparing.shutdown(wait=False)
        self._preparing = _new_preparers()
        self._schedule.stop()
        self._schedule = self._new_schedule()
        self._schedule.set(self._jobs)
        self._schedule.start()

    def _new_schedule(self) -> Schedule:
        return Schedule(self._concurrency, clock=self._clock, failed=self._job_failed)

    def _job(self, cycle: QueryEvaluator) -> Job:
        def run(slot: float) -> None:
            cycle.run(slot)
            self._prepare(cycle)  # Again, where the last attempt failed or a long gap opened.

        missed = self._metrics.cycles_missed_total.labels(query=cycle.plan.name)
        return Job(cycle.plan.interval, cycle.plan.offset, run, missed.inc)

    def _job_failed(self, name: str) -> None:
        if name in self._cycles:
            self._metrics.cycles_failed_total.labels(query=name).inc()

    def _prepare(self, cycle: QueryEvaluator) -> None:
        if cycle.ready or self._stopping or cycle in self._in_preparation:
            return
        self._in_preparation.add(cycle)

        def prepare() -> None:
            try:
                cycle.prepare(slot_at(self._clock(), cycle.plan.interval, cycle.plan.offset))
            finally:
                self._in_preparation.discard(cycle)

        try:
            self._preparing.submit(prepare)
        except RuntimeError:
            # The end came in between, or the system has no more threads; then the next slot tries again.
            self._in_preparation.discard(cycle)


def end(cycles: Collection[QueryEvaluator], cancel: Callable[[], None]) -> bool:
    """End cycles: wait a little for slots under way, then break their queries off; False where one hangs."""
    for cycle in cycles:
        cycle.leave()
    for _ in range(2):
        deadline = monotonic() + PATIENCE
        # All of them are asked, so that one that hangs does not make the others look as if they did.
        ended = [cycle.join(max(0.0, deadline - monotonic())) for cycle in cycles]
        if all(ended):
            return True
        cancel()
    hanging = [cycle.plan.name for cycle in cycles if not cycle.ended]
    log.error("a run hangs and is left behind", extra={"queries": ",".join(hanging)})
    return False


def _new_preparers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PREPARERS, thread_name_prefix="history")
