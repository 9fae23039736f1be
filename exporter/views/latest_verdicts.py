"""The newest verdict of every query for the pages, and where in its band each series has been.

The evaluator of a query puts it here and never waits; it is never changed afterwards, so readers need no lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from exporter.alerting.suppressed import SuppressionCodes
from exporter.config.plan import QueryPlan
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["ABSENT", "POINTS", "SCALE", "LatestVerdicts", "LatestVerdict", "SeriesNames"]

Places = npt.NDArray[np.int8]

POINTS = 60
"""Samples of every series that are remembered: sixty bytes a series."""
SCALE = 40
"""Steps of a place from the expected value to an edge of the band."""
ABSENT = -128
"""Where there was no sample, or no verdict on it."""
_FARTHEST = 3 * SCALE


class SeriesNames:
    """The label sets of a query by row, None where a row has no series; the same object while nothing changed."""

    def __init__(self, labels: Sequence[Labels | None]) -> None:
        self.labels = labels

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """Whether a row has a series, shape (size,)."""
        return np.fromiter((labels is not None for labels in self.labels), np.bool_, len(self.labels))

    @cached_property
    def texts(self) -> list[str]:
        """Every label set as one lower-case text, to be searched; empty where a row has no series."""
        return ["" if labels is None else " ".join(f'{k}="{v}"' for k, v in labels).lower() for labels in self.labels]

    @cached_property
    def label_names(self) -> frozenset[str]:
        """The names of all labels of the series."""
        return frozenset({name for labels in self.labels if labels is not None for name, _ in labels})


@dataclass(frozen=True, slots=True)
class LatestVerdict:
    """The newest verdict of one query. Never changed.

    Attributes
    ----------
    names : SeriesNames
        Of the rows of the verdict.
    places : ndarray of int8, shape (60, size)
        Where in its band each sample was, oldest first: 0 as expected, 40 at an edge, 120 three times as far or
        farther, negative below; -128 where there is no verdict.
    suppressed : ndarray of int8, shape (size,)
        Which series do not alert whatever their score, and why.
    """

    plan: QueryPlan
    verdict: Verdict
    names: SeriesNames
    places: Places
    suppressed: SuppressionCodes


class LatestVerdicts:
    """Takes the verdicts of all queries; safe for many readers, and one writer a query."""

    def __init__(self) -> None:
        self._latest: dict[str, LatestVerdict] = {}
        self._rows: dict[str, tuple[SeriesTable, int]] = {}

    def put(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable, suppressed: SuppressionCodes) -> None:
        """Take a verdict; called by the evaluator of the query, which alone changes `table`."""
        before, rows = self._latest.get(plan.name), (table, table.version)
        size = len(verdict.score)
        if before is not None and self._rows.get(plan.name) == rows:
            names = before.names
        else:
            names = SeriesNames(_labels(table, size))
        places = np.full((POINTS, size), ABSENT, np.int8)
        if before is not None:
            kept = min(size, before.places.shape[1])
            places[:-1, :kept] = before.places[1:, :kept]
            if names is not before.names:
                pairs = enumerate(zip(names.labels, before.names.labels, strict=False))
                places[:, [row for row, (new, old) in pairs if new is not old and new != old]] = ABSENT
        places[-1] = _places(verdict)
        self._rows[plan.name] = rows
        self._latest[plan.name] = LatestVerdict(plan, verdict, names, places, suppressed)

    def get(self, query: str) -> LatestVerdict | None:
        """Return the newest verdict of a query, or None."""
        return self._latest.get(query)

    def keep(self, queries: Collection[str]) -> None:
        """Forget all other queries."""
        for gone in self._latest.keys() - set(queries):
            self._latest.pop(gone, None)
            self._rows.pop(gone, None)


def _labels(table: SeriesTable, size: int) -> list[Labels | None]:
    labels: list[Labels | None] = [None] * size
    for row, series in table.items():
        if row < size:
            labels[row] = series
    return labels


def _places(verdict: Verdict) -> Places:
    """Return where in its band each sample is, shape (size,)."""
    with np.errstate(all="ignore"):
        off = verdict.observed - verdict.expected
        above, below = verdict.upper - verdict.expected, verdict.expected - verdict.lower
        # With one edge only, the other side is drawn as wide.
        near, far = np.where(off >= 0, (above, below), (below, above))
        width = np.where(np.isnan(near), far, near)
        place = np.where(off == 0, 0.0, off / width)
        steps = np.clip(np.rint(place * SCALE), -_FARTHEST, _FARTHEST)
    return np.where(np.isnan(steps), ABSENT, steps).astype(np.int8)
