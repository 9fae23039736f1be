"""Index of anomalous series across queries; lists co-occurring anomalies for an alert."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.input import CoOccurrentSeries
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["CoOccurrence", "CoOccurrences"]

WINDOW = 600.0
"""Seconds between two onsets that still count as the same time."""
_KEPT = 20
"""Series of a query that are kept with their labels, those with the highest scores."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _AnomalousRows:
    """The anomalous series of one query. Never changed.

    Attributes
    ----------
    since : ndarray, shape (size,)
        When each row became anomalous, Unix seconds; NaN where it is not.
    worst : tuple of (int, CoOccurrentSeries)
        Rows with the highest scores.
    """

    since: npt.NDArray[np.float64]
    worst: tuple[tuple[int, CoOccurrentSeries], ...]


class CoOccurrence:
    """The anomalous series of all queries. Each query has one writer; any thread may read."""

    def __init__(self) -> None:
        self._queries: dict[str, _AnomalousRows] = {}

    def update(self, query: str, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict of a slot: which series of a query are anomalous."""
        rows = np.flatnonzero(verdict.anomalous & verdict.ready)
        before = self._queries.get(query)
        if not len(rows):
            if before is not None and before.worst:
                self._queries[query] = _AnomalousRows(np.zeros(0), ())
            return
        since = np.full(len(verdict.score), np.nan)
        since[rows] = verdict.at
        if before is not None:
            lasting = rows[rows < len(before.since)]
            since[lasting] = np.fmin(before.since[lasting], verdict.at)
        score = verdict.score[rows]
        worst = rows[np.argsort(-score, kind="stable")[:_KEPT]].tolist()
        described = (
            (row, CoOccurrentSeries(query, dict(table.labels(row)), float(since[row]), float(verdict.score[row])))
            for row in worst
        )
        self._queries[query] = _AnomalousRows(since, tuple(described))

    def since(self, query: str, row: int, at: float) -> float:
        """Return when a row became anomalous, Unix seconds; `at`, which is now, where it is not anomalous."""
        rows = self._queries.get(query)
        since = math.nan if rows is None or row >= len(rows.since) else float(rows.since[row])
        return at if math.isnan(since) else since

    def onsets(self, query: str, size: int) -> npt.NDArray[np.float64]:
        """Return when the rows of a query became anomalous, Unix seconds, shape (size,); NaN where they are not."""
        since, rows = np.full(size, np.nan), self._queries.get(query)
        if rows is not None:
            since[: len(rows.since)] = rows.since[:size]
        return since

    def keep(self, queries: Collection[str]) -> None:
        """Forget all other queries."""
        for removed in self._queries.keys() - set(queries):
            self._queries.pop(removed, None)

    def forget(self, query: str) -> None:
        """Forget a query, whose rows are other series from now on."""
        self._queries.pop(query, None)

    def near(self, query: str, since: float) -> CoOccurrences:
        """Return what became anomalous at about `since`, Unix seconds, for the alerts of a query."""
        queries = list(self._queries.items())
        counts = {name: int(np.count_nonzero(np.abs(rows.since - since) <= WINDOW)) for name, rows in queries}
        count, own = sum(counts.values()), counts.get(query, 0)
        # Other queries first: that more series of the same query are anomalous says less.
        queries.sort(key=lambda item: item[0] == query)
        worst = [
            ((name, row), series)
            for name, rows in queries
            for row, series in rows.worst
            if abs(series.since - since) <= WINDOW
        ]
        worst.sort(key=lambda entry: (entry[0][0] == query, -entry[1].score))
        return CoOccurrences(tuple(worst[: _SHOWN + 1]), count, own)


@dataclass(frozen=True, slots=True)
class CoOccurrences:
    """What became anomalous at about the same time.

    Attributes
    ----------
    worst : tuple
        (query, row) and the series, one more than is shown.
    count : int
        All of them.
    own : int
        Those of the same query.
    """

    worst: tuple[tuple[tuple[str, int], CoOccurrentSeries], ...]
    count: int
    own: int

    def besides(self, query: str, row: int) -> tuple[tuple[CoOccurrentSeries, ...], int]:
        """Return the worst series other than a row of a query, and how many there are."""
        others = [series for place, series in self.worst if place != (query, row)]
        return tuple(others[:_SHOWN]), max(self.count - 1, len(others))

    def elsewhere(self, query: str) -> tuple[tuple[CoOccurrentSeries, ...], int]:
        """Return the worst series of other queries, and how many there are."""
        others = [series for (name, _), series in self.worst if name != query]
        return tuple(others[:_SHOWN]), max(self.count - self.own, len(others))
