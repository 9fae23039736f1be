"""Where the cycles of queries leave what groups need: the newest reading, and which thing each row belongs to.

While a group has not begun, the readings of slots before the newest are kept too: it learns from them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.engine.multivariate import GroupInput, reading_of
from exporter.engine.series import Labels, SeriesTable, key_of
from exporter.engine.verdict import Verdict

__all__ = ["Left", "GroupInputs", "things_of"]

_KEPT, _KEPT_VALUES = 2000, 2_000_000
"""Readings of a query that are kept at most, and values in them: 24 MB."""


@dataclass(frozen=True, slots=True)
class Left:
    """What one query left for one choice of labels.

    Attributes
    ----------
    reading : GroupInput
    things : sequence of bytes or None, by the rows of the query
        The thing of each series as a JSON object; None: it belongs to none. The same object as long as nothing changed.
    ready : ndarray of bool, by the rows of the query
        Whether the series is old enough to alert.
    """

    reading: GroupInput
    things: Sequence[bytes | None]
    ready: npt.NDArray[np.bool_]


class GroupInputs:
    """The newest readings; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: Mapping[str, frozenset[tuple[str, ...]]] = {}
        self._left: dict[tuple[str, tuple[str, ...]], Left] = {}
        self._rows: dict[tuple[str, tuple[str, ...]], tuple[SeriesTable, int]] = {}
        self._past: dict[str, deque[GroupInput]] = {}
        self._keepers: dict[str, frozenset[str]] = {}

    def want(self, wanted: Mapping[str, frozenset[tuple[str, ...]]]) -> None:
        """Say by which labels each query is read; everything else is dropped."""
        with self._lock:
            self._wanted = wanted
            for query, by in [(query, by) for query, by in self._left if by not in wanted.get(query, ())]:
                del self._left[query, by], self._rows[query, by]

    def wants(self, query: str) -> bool:
        """Return whether a query is in a group."""
        return bool(self._wanted.get(query))

    def keep(self, group: str, queries: Collection[str]) -> None:
        """Keep the past of some queries from now on for a group, and of no others for it."""
        with self._lock:
            self._keepers[group] = frozenset(queries)
            kept = frozenset[str]().union(*self._keepers.values())
            self._past = {query: self._past.get(query) or deque(maxlen=_KEPT) for query in kept}

    def past(self, query: str) -> list[GroupInput]:
        """Return the readings of a query that were kept, in the order of time."""
        with self._lock:
            return list(self._past.get(query, ()))

    def put(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Leave a verdict; called by the cycle of the query, which alone changes `table`."""
        wanted = self._wanted.get(plan.name)
        if not wanted:
            return
        reading = reading_of(verdict, plan.min_deviation, plan.min_relative_deviation)
        with self._lock:
            past = self._past.get(plan.name)
            if past is not None:
                past.append(reading.halved())
                while len(past) > max(2, _KEPT_VALUES // max(1, table.size)):
                    past.popleft()
        for by in wanted:
            key, rows = (plan.name, by), (table, table.version)
            with self._lock:
                left = self._left.get(key)
                same = left is not None and self._rows.get(key) == rows
            things = left.things if left is not None and same else things_of(table, by)
            with self._lock:
                self._left[key], self._rows[key] = Left(reading, things, verdict.ready), rows

    def get(self, query: str, by: tuple[str, ...]) -> Left | None:
        """Return what a query left last."""
        with self._lock:
            return self._left.get((query, by))


def things_of(table: SeriesTable, by: tuple[str, ...]) -> list[bytes | None]:
    """Return the thing of every row: the values of the labels `by`, as a JSON object; None where one is missing."""
    things: list[bytes | None] = [None] * table.size
    known: dict[Labels, bytes] = {}
    wanted = frozenset(by)
    for row, labels in table.items():
        chosen = tuple(pair for pair in labels if pair[0] in wanted)
        if len(chosen) == len(wanted):
            if chosen not in known:
                known[chosen] = key_of(chosen)
            things[row] = known[chosen]
    return things
