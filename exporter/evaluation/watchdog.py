"""Signs of life: who watches a query sees whether its threads still go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

__all__ = ["PATIENCE", "Watchdog"]

PATIENCE = 60.0
"""Seconds that a step of a cycle may take beyond the deadlines of the servers that it asks."""


class Watchdog:
    """Until when each thread that works has to be heard of again."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    @contextmanager
    def working(self, seconds: float) -> Iterator[None]:
        """Note that this thread works; at first for `seconds` on servers that it asks."""
        self.beat(seconds)
        try:
            yield
        finally:
            self._until.pop(threading.get_ident(), None)

    def beat(self, seconds: float = 0.0) -> None:
        """Note that this thread goes on, and may ask a server for `seconds` now."""
        self._until[threading.get_ident()] = monotonic() + seconds + PATIENCE

    @property
    def stopped(self) -> bool:
        """Whether a thread has not been heard of for longer than its step can take."""
        now = monotonic()
        return any(now > until for until in list(self._until.values()))
