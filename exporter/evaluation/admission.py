"""Admission of new series, by `limits.max_series` and `limits.max_memory`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exporter.config.model import LimitsSettings
from exporter.engine.engine import Engine
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Aligned
from exporter.exposition import SelfMetrics

__all__ = ["Admission", "Occupied"]

_PROGRAM = 128 * 2**20
"""Bytes of the program itself, without any series."""
_SHARE = 0.8
"""Share of what the process may have for its series; the rest is for answers while they are read, and for charts."""
_BESIDE = 3072
"""Bytes of a series beside its learned arrays: labels, verdict, lines of the page, its part of one answer."""

_OF_AN_ANSWER = 768
"""Those of them that are its part of an answer."""


class Occupied(Protocol):
    """What the series of a query take up; see `Engine`."""

    @property
    def table(self) -> SeriesTable:
        """The series."""

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""


class Admission:
    """Decides how many new series the limits leave room for.

    Memory is computed and not measured: a new series has learned little of what it will have learned in a week, and
    a refusal must not depend on what else the process did lately.

    Parameters
    ----------
    engines : callable
        Returns the engines of all queries.
    shadows : callable
        Returns the engines of shadows: they take memory, and no series from a query.
    memory_limit : callable
        Returns the bytes that the process may have, or None: the default of `limits.max_memory` follows from it.
    """

    def __init__(
        self,
        engines: Callable[[], Iterable[Occupied]],
        metrics: SelfMetrics,
        *,
        shadows: Callable[[], Iterable[Occupied]] = tuple,
        memory_limit: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._engines, self._shadows = engines, shadows
        self._limits = LimitsSettings()
        self._memory_limit = memory_limit
        self._max_memory: int | None = None
        self._metrics = metrics
        metrics.memory_expected_bytes.set_function(self.memory)
        self._lock = threading.Lock()
        self._refused: dict[int, int] = {}
        self.reached = False
        """Whether the limits of all queries together have left no room for a series."""

    def configure(self, limits: LimitsSettings) -> None:
        """Set the limits; series that were admitted stay."""
        self._limits = limits
        most: int | None = limits.max_memory
        if most is None and (available := self._memory_limit()) is not None:
            most = round(_SHARE * available)
        self._max_memory = most
        self._metrics.memory_limit_bytes.set(float("inf") if most is None else most)

    def memory(self) -> int:
        """Return how many bytes the program takes once all of its series have learned everything they can."""
        return _PROGRAM + sum(
            engine.capacity * engine.row_bytes + len(engine.table) * _BESIDE
            for engine in (*self._engines(), *self._shadows())
        )

    def left(self, engine: Occupied) -> int:
        """Return how many more series an engine may admit; negative by how many there are too many."""
        return self._by_memory(engine, self._series_left(), self._bytes_left())

    def exceeded(self) -> bool:
        """Return whether an engine has more series than it may."""
        # Added up once, and not by each engine: there may be hundreds.
        room, bytes_left = self._series_left(), self._bytes_left()
        return any(self._by_memory(engine, room, bytes_left) < 0 for engine in self._engines())

    def _series_left(self) -> int:
        return self._limits.max_series - sum(len(engine.table) for engine in self._engines())

    def _bytes_left(self) -> int | None:
        return None if self._max_memory is None else self._max_memory - self.memory()

    @staticmethod
    def _by_memory(engine: Occupied, room: int, bytes_left: int | None) -> int:
        if bytes_left is not None:
            free = engine.capacity - len(engine.table)
            # The arrays of free rows are there already.
            new = (bytes_left - free * _BESIDE) // (engine.row_bytes + _BESIDE)
            room = min(room, free + new if new >= 0 else min(free, bytes_left // _BESIDE))
        return room

    def answer_room(self) -> float:
        """Return how many bytes answers may take while they are read, all together."""
        if self._max_memory is None:
            return float("inf")
        # What each series takes has its part of an answer in it.
        own = _OF_AN_ANSWER * sum(len(engine.table) for engine in self._engines())
        return self._max_memory - self.memory() + own

    def admit(
        self,
        engine: Engine,
        keys: Sequence[bytes],
        values: npt.NDArray[np.float64],
        at: float,
        *,
        most: int,
        complete: bool,
    ) -> tuple[Aligned, Sequence[int]]:
        """Put the samples of an answer into rows, as `Engine.align` does, as far as new series are admitted.

        Series that are gone give way; of an answer that is not `complete` nobody knows which these are.

        Parameters
        ----------
        most : int
            Series that the query may have.

        Returns
        -------
        Aligned, and the rows of the series that gave way
        """
        table = engine.table
        # Held until the series are admitted, so that two queries do not both get the rest.
        with self._lock:
            table.limit = max(0, min(most, len(table) + self.left(engine)))
            by_all = table.limit < most
            gone = engine.give_way(keys, self._claimed(engine)) if complete else []
            aligned = engine.align(keys, values, at)
            # How many series of the newest answer there was no room for.
            self._refused[id(engine)] = refused = aligned.refused if by_all else 0
            self.reached |= refused > 0 or (by_all and bool(gone))
        return aligned, gone

    def admit_beside(
        self,
        engine: Engine,
        keys: Sequence[bytes],
        values: npt.NDArray[np.float64],
        at: float,
        *,
        most: int,
        complete: bool,
    ) -> Aligned:
        """Put samples into the rows of a shadow, as `admit` does; only memory and `most` limit how many there are."""
        table = engine.table
        with self._lock:
            table.limit = len(table) + max(0, self._by_memory(engine, most - len(table), self._bytes_left()))
            if complete:
                engine.give_way(keys)
            return engine.align(keys, values, at)

    def _claimed(self, engine: Engine) -> int:
        """Return for how many series of other queries there is no room, because the number of all is at its limit.

        A query forgets so many of its own that are gone; series of others that live take their place.
        """
        engines = list(self._engines())
        if sum(len(other.table) for other in engines) < self._limits.max_series:
            return 0
        return sum(self._refused.get(id(other), 0) for other in engines if other is not engine)
