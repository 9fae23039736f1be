"""Watchdog of an evaluator's threads: whether each has given a sign of life in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

__all__ = ["PATIENCE", "Watchdog"]

PATIENCE = 60.0
"""Seconds that a step of an evaluation may take beyond the deadlines of the servers that it asks."""


class Watchdog:
    """The deadline of the next sign of life of each thread that works."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    @contextmanager
    def working(self, seconds: float) -> Iterator[None]:
        """Watch this thread; it may wait for servers for `seconds` at first."""
        self.beat(seconds)
        try:
            yield
        finally:
            self._until.pop(threading.get_ident(), None)

    def beat(self, seconds: float = 0.0) -> None:
        """Give a sign of life; this thread may wait for a server for `seconds` now."""
        self._until[threading.get_ident()] = monotonic() + seconds + PATIENCE

    @property
    def stopped(self) -> bool:
        """Whether a thread has missed its deadline."""
        now = monotonic()
        return any(now > until for until in list(self._until.values()))
