"""What is anomalous now, of all queries: what an alert says that turned at the same time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.input import CoOccurrentSeries
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["CoOccurrence"]

WINDOW = 600.0
"""Seconds that two series may turn apart and still be said to have turned together."""
_KEPT = 20
"""Series of a query that are kept with their labels, those with the highest scores."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Query:
    """The anomalous series of one query. Never changed.

    Attributes
    ----------
    since : ndarray, shape (size,)
        When each row turned, Unix seconds; NaN where it is not anomalous.
    worst : tuple of (int, Coincidence)
        Rows with the highest scores.
    """

    since: npt.NDArray[np.float64]
    worst: tuple[tuple[int, CoOccurrentSeries], ...]


class CoOccurrence:
    """Takes the verdicts of all queries. Each query has one writer; anybody may read."""

    def __init__(self) -> None:
        self._queries: dict[str, _Query] = {}

    def put(self, query: str, verdict: Verdict, table: SeriesTable) -> None:
        """Note which series of a query are anomalous."""
        rows = np.flatnonzero(verdict.anomalous & verdict.ready)
        before = self._queries.get(query)
        if not len(rows):
            if before is not None and before.worst:
                self._queries[query] = _Query(np.zeros(0), ())
            return
        since = np.full(len(verdict.score), np.nan)
        since[rows] = verdict.at
        if before is not None:
            known = rows[rows < len(before.since)]
            since[known] = np.fmin(before.since[known], verdict.at)
        score = verdict.score[rows]
        worst = rows[np.argsort(-score, kind="stable")[:_KEPT]].tolist()
        told = (
            (row, CoOccurrentSeries(query, dict(table.labels(row)), float(since[row]), float(verdict.score[row])))
            for row in worst
        )
        self._queries[query] = _Query(since, tuple(told))

    def since(self, query: str, row: int, at: float) -> float:
        """Return when a row of a query turned, Unix seconds; `at`, which is now, where it is not anomalous."""
        one = self._queries.get(query)
        since = math.nan if one is None or row >= len(one.since) else float(one.since[row])
        return at if math.isnan(since) else since

    def keep(self, queries: Collection[str]) -> None:
        """Forget all other queries."""
        for gone in self._queries.keys() - set(queries):
            self._queries.pop(gone, None)

    def near(self, query: str, since: float) -> CoOccurrences:
        """Return what turned at about `since`, Unix seconds, for the alerts of a query."""
        known = list(self._queries.items())
        counts = {name: int(np.count_nonzero(np.abs(one.since - since) <= WINDOW)) for name, one in known}
        count, own = sum(counts.values()), counts.get(query, 0)
        # Those of other queries first: that more series of the same one turned says less.
        order = sorted(known, key=lambda item: item[0] == query)
        found = [pair for name, one in order for pair in _near(name, one, since)]
        found.sort(key=lambda pair: (pair[0][0] == query, -pair[1].score))
        return CoOccurrences(tuple(found[: _SHOWN + 1]), count, own)


def _near(query: str, one: _Query, since: float) -> Iterator[tuple[tuple[str, int], CoOccurrentSeries]]:
    return (((query, row), told) for row, told in one.worst if abs(told.since - since) <= WINDOW)


@dataclass(frozen=True, slots=True)
class CoOccurrences:
    """What turned at about one instant.

    Attributes
    ----------
    worst : tuple
        (query, row) and what is told of it, one more than is shown.
    count : int
        All of them.
    own : int
        Those of the same query.
    """

    worst: tuple[tuple[tuple[str, int], CoOccurrentSeries], ...]
    count: int
    own: int

    def besides(self, query: str, row: int) -> tuple[tuple[CoOccurrentSeries, ...], int]:
        """Return what is told to a series of itself: the worst of the others, and how many there are."""
        others = [told for where, told in self.worst if where != (query, row)]
        return tuple(others[:_SHOWN]), max(self.count - 1, len(others))

    def elsewhere(self, query: str) -> tuple[tuple[CoOccurrentSeries, ...], int]:
        """Return what is told to many series of a query: the worst of other queries, and how many there are."""
        others = [told for (name, _), told in self.worst if name != query]
        return tuple(others[:_SHOWN]), max(self.count - self.own, len(others))
