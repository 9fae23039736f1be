"""The memory that answers may take while they are read and decoded, of all queries together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from exporter.errors import Reason
from exporter.http_client import Fault

__all__ = ["AnswerBudget", "AnswerSize"]

_LEAST = 16 * 2**20
"""Bytes that there are in any case: an answer of the series that are learned must be read."""


class AnswerBudget:
    """Counts what answers take; one client's calls and those of others may share it.

    Parameters
    ----------
    room : callable
        Returns the bytes that all answers may take now.
    """

    def __init__(self, room: Callable[[], float] = lambda: float("inf")) -> None:
        self._room = room
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def answer(self) -> Iterator[AnswerSize]:
        """Yield the size of one answer; it is given back at the end."""
        size = AnswerSize(self)
        try:
            yield size
        finally:
            with self._lock:
                self._taken -= size.bytes
            size.closed = True

    def take(self, size: AnswerSize, count: int) -> bool:
        """Take memory for an answer; return whether there is so much."""
        room = max(_LEAST, self._room())
        with self._lock:
            # A thread that was left behind at its deadline may still read.
            if size.closed or self._taken + count > room:
                return False
            self._taken += count
            size.bytes += count
            return True


class AnswerSize:
    """What one answer takes of a budget.

    Attributes
    ----------
    bytes : int
        Taken so far.
    closed : bool
        Whether it was given back.
    """

    def __init__(self, budget: AnswerBudget) -> None:
        self.bytes = 0
        self.closed = False
        self._budget = budget

    def fits(self, count: int) -> bool:
        """Take so many more bytes; return whether there were so many."""
        return self._budget.take(self, count)

    def read(self, count: int) -> None:
        """Take the bytes of a piece that was read; raises `Fault` where there are not so many."""
        if not self.fits(count):
            raise Fault(Reason.TOO_LARGE, "the answer is larger than limits.max_memory has room for")
