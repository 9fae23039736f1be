"""The jobs of an evaluator, its slot and its reading of history: each runs once at a time, and is watched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

__all__ = ["HISTORY", "PATIENCE", "SLOT", "Jobs"]

SLOT, HISTORY = "slot", "history"
"""The jobs. Reading history goes on in several threads, one after the other."""

PATIENCE = 60.0
"""Seconds that a step of an evaluation may take beyond the deadlines of the servers that it asks."""


class Jobs:
    """A lock for each job, and the deadline of its next sign of life while it goes on."""

    def __init__(self) -> None:
        self._locks = {SLOT: threading.Lock(), HISTORY: threading.Lock()}
        self._until: dict[str, float] = {}
        self.ended = False
        """Whether `join` found that nothing runs any more."""

    @contextmanager
    def working(self, job: str, seconds: float) -> Iterator[None]:
        """Do a job once the one before has ended, and watch it; it may wait for servers for `seconds` at first."""
        with self._locks[job]:
            self._until[job] = monotonic() + seconds + PATIENCE
            try:
                yield
            finally:
                self._until.pop(job, None)

    def held(self, job: str) -> AbstractContextManager[bool]:
        """Return what keeps a job from being begun."""
        return self._locks[job]

    def beat(self, job: str, seconds: float = 0.0) -> None:
        """Give a sign of life of a job that goes on; it may wait for a server for `seconds` now."""
        if job in self._until:
            self._until[job] = monotonic() + seconds + PATIENCE

    def goes_on(self, job: str) -> bool:
        """Return whether a job is under way."""
        return job in self._until

    @property
    def stopped(self) -> bool:
        """Whether a job has missed its deadline."""
        now = monotonic()
        return any(now > until for until in list(self._until.values()))

    def join(self, timeout: float) -> bool:
        """Wait for what is under way, for `timeout` seconds at most; return whether it ended."""
        deadline = monotonic() + timeout
        for lock in self._locks.values():
            if self.ended:
                break
            if not lock.acquire(timeout=max(0.0, deadline - monotonic())):
                return False
            lock.release()
        self.ended = True
        return True
