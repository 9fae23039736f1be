"""When to run: slots on a grid, one run at a time for each query.

The only place that reads the wall clock; elsewhere time is an argument. Evaluation instants are fixed,
shifted for each query so that they do not all start together (`exporter.config.plan`), and a slot that was missed is
counted and not run later: its samples are read from Prometheus instead.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

__all__ = ["Job", "Schedule", "slot_at", "wall_clock"]

log = logging.getLogger(__name__)

_STEP = 2.0
"""Seconds by which the wall clock may drift from the monotonic clock before the runs are planned again."""


def wall_clock() -> float:
    """Return the time, in Unix seconds."""
    return time.time()  # noqa: TID251 - this is the replacement that the ban names.


def slot_at(now: float, interval: float, offset: float) -> float:
    """Return the newest evaluation instant not after `now`, in Unix seconds, to the millisecond.

    >>> slot_at(125.0, interval=60.0, offset=10.0)
    70.0
    """
    # Rounded, so that an instant is always the same number: a slot that was learned from history must not look newer
    # than the same slot when it was judged.
    return round(math.floor((now - offset) / interval) * interval + offset, 3)


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic job: calls `run(slot)` at every slot, and `missed(count)` for slots that passed without a run.

    `interval` and `offset` are seconds: the grid that the slots lie on. `pool` names the threads that it runs in.
    """

    interval: float
    offset: float
    run: Callable[[float], None]
    missed: Callable[[int], None]
    pool: str = ""


class _Grid(BaseTrigger):  # type: ignore[misc] # The library has no types.
    """The next instant of a grid, however many have passed.

    The library's own trigger makes every one of them up first: when a machine that booted in 1970 is told the time,
    that is a thousand million of them.
    """

    def __init__(self, interval: float, offset: float) -> None:
        self._interval = interval
        self._offset = offset

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:  # noqa: ARG002
        """Return the first instant after `now`."""
        return now + timedelta(seconds=self._interval - (now.timestamp() - self._offset) % self._interval)


class Schedule:
    """Runs jobs on their grids, in pools of threads: jobs that hang hold up nothing of another pool.

    Parameters
    ----------
    pools : mapping of str to int
        Jobs that run at the same time, by pool.
    clock : callable
        The wall clock, in Unix seconds.
    failed : callable
        Called with the name of a job that raised; the job goes on at its next slot.
    """

    def __init__(self, pools: Mapping[str, int], *, clock: Callable[[], float], failed: Callable[[str], None]) -> None:
        self._clock = clock
        self._failed = failed
        self._done: dict[str, float] = {}
        self._ran: dict[str, float] = {}
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._drift = clock() - time.monotonic()
        self._pools: dict[str, str] = {}
        self._made: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # A late run is better than none (the default grace of one second starves jobs), and one is enough.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._on_error, EVENT_JOB_ERROR)
        self._add_pools(pools)

    def start(self) -> None:
        """Begin to run."""
        self._scheduler.start()

    def set(self, jobs: Mapping[str, Job], pools: Mapping[str, int] | None = None) -> None:
        """Replace the jobs, and the pools. A job that stays under its name with the same grid runs no slot twice."""
        with self._lock:
            before = dict(self._pools)
            self._add_pools(pools or {})
            old, self._jobs = self._jobs, dict(jobs)
            for name in old.keys() - jobs.keys():
                self._scheduler.remove_job(name)
                self._done.pop(name, None)
                self._ran.pop(name, None)
            for name, job in jobs.items():
                if name not in old or (old[name].interval, old[name].offset) != (job.interval, job.offset):
                    self._plan(name, job)
                elif before.get(old[name].pool) != self._pools[job.pool]:
                    self._scheduler.modify_job(name, executor=self._pools[job.pool])

    def _add_pools(self, pools: Mapping[str, int]) -> None:
        """Make pools that are new or have another size; the threads of one that is not used any more sleep."""
        for name, size in pools.items():
            alias = f"{name}/{size}"
            if alias not in self._made:
                self._scheduler.add_executor(ThreadPoolExecutor(size), alias)
                self._made.add(alias)
            self._pools[name] = alias

    def _plan(self, name: str, job: Job) -> None:
        self._done[name] = slot_at(self._clock(), job.interval, job.offset)
        self._ran[name] = time.monotonic()
        trigger = _Grid(job.interval, job.offset)
        self._scheduler.add_job(
            self._run, trigger, args=(name,), id=name, executor=self._pools[job.pool], replace_existing=True
        )

    def _run(self, name: str) -> None:
        with self._lock:
            job = self._jobs.get(name)
            if job is None:
                return
            # The library does not say for which instant it runs us; the grid does.
            slot = slot_at(self._clock() + 0.001, job.interval, job.offset)
            gone = slot - self._done[name]
            if gone <= 0:
                return
            self._done[name] = slot
            mono, self._ran[name] = self._ran[name], time.monotonic()
            passed = self._ran[name] - mono
        missed = round(gone / job.interval) - 1
        if gone - passed > max(job.interval, _STEP):
            # The clock was set, or the machine slept: one event, and not a million slots that nobody could have run.
            missed = min(missed, max(0, round(passed / job.interval) - 1) + 1)
        if missed > 0:
            job.missed(missed)
        job.run(slot)

    def check_clock(self) -> bool:
        """Plan all runs again if the wall clock was set; return whether it was. Cheap: call it every few seconds."""
        drift = self._clock() - time.monotonic()
        if abs(drift - self._drift) < _STEP:
            return False
        log.warning("the wall clock was set; runs are planned anew", extra={"seconds": round(drift - self._drift, 3)})
        self._drift = drift
        with self._lock:
            for name, job in self._jobs.items():
                self._plan(name, job)
        return True

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs, by name."""
        with self._lock:
            return dict(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether the thread that starts the runs is there."""
        thread = getattr(self._scheduler, "_thread", None)
        return bool(self._scheduler.running and thread is not None and thread.is_alive())

    def stop(self) -> None:
        """Start no more runs; those under way go on."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _on_error(self, event: JobExecutionEvent) -> None:
        log.error(
            "a run failed", extra={"query": event.job_id, "error": repr(event.exception)}, exc_info=event.exception
        )
        self._failed(event.job_id)
