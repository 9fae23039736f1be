"""Watchdog of an evaluator: whether its slot and its reading of history have given a sign of life in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

__all__ = ["HISTORY", "PATIENCE", "SLOT", "Watchdog"]

SLOT, HISTORY = "slot", "history"
"""What is watched. Reading history goes on in several threads, one after the other."""

PATIENCE = 60.0
"""Seconds that a step of an evaluation may take beyond the deadlines of the servers that it asks."""


class Watchdog:
    """The deadline of the next sign of life of each job that goes on."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    @contextmanager
    def working(self, job: str, seconds: float) -> Iterator[None]:
        """Watch a job; it may wait for servers for `seconds` at first."""
        self._until[job] = monotonic() + seconds + PATIENCE
        try:
            yield
        finally:
            self._until.pop(job, None)

    def beat(self, job: str, seconds: float = 0.0) -> None:
        """Give a sign of life of a job that goes on; it may wait for a server for `seconds` now."""
        if job in self._until:
            self._until[job] = monotonic() + seconds + PATIENCE

    @property
    def stopped(self) -> bool:
        """Whether a job has missed its deadline."""
        now = monotonic()
        return any(now > until for until in list(self._until.values()))
