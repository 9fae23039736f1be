"""What is anomalous whatever the detectors say: values that cannot be, zeros that never were, series that are away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.absence import WEEK, Absence, Past
from exporter.engine.baseline import BucketStats
from exporter.engine.never_zero import NeverZero
from exporter.engine.series import SeriesTable
from exporter.engine.series_family import SeriesFamily
from exporter.engine.series_lifetimes import SeriesLifetimes
from exporter.engine.settings import DetectionSettings
from exporter.engine.verdict import Verdicts

__all__ = ["Circumstances", "Overrides"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

IMPOSSIBLE = 5.0
"""Severity of a value that cannot be: as sure as five times the threshold."""
YOUNG = WEEK
"""For so long a new series says that its family comes and goes."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else is known of some series at some instants of one hour.

    Attributes
    ----------
    hour : int
        Of the week.
    complete : ndarray of bool, shape (t,)
        Instants at which every series that exists is in the answer.
    past : Past
    last : ndarray, shape (n,), Unix seconds
        The newest sample before these instants.
    stats : BucketStats
    nothing : ndarray, shape (n,)
        The value zero in the units of `stats`.
    low, high : float
        What can be, in source units.
    downward : bool
        Whether a value that is too low counts.
    step, after : float, seconds
        What a sample stands for, and how long it takes until what is unusual is accepted.
    """

    hour: int
    complete: BoolArray
    past: Past
    last: FloatArray
    stats: BucketStats
    nothing: FloatArray
    low: float
    high: float
    downward: bool
    step: float
    after: float


class Overrides:
    """What is remembered of each row for that; see `Absence` and `NeverZero`."""

    def __init__(self) -> None:
        self._absence, self._zeros, self._kin = Absence(), NeverZero(), SeriesFamily()

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._absence.grow(capacity)
        self._zeros.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._absence.forget(rows)
        self._zeros.forget(rows)

    def accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Take it as normal that `rows` are away, or zero, until that ends."""
        self._absence.accept(rows)
        self._zeros.accept(rows)

    def close(self, rows: slice, passed: float) -> None:
        """Let so many seconds pass."""
        self._absence.close(rows, passed)
        self._zeros.close(rows, passed)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all of the state, by name."""
        return self._absence.arrays() | self._zeros.arrays()

    def see(
        self,
        rows: slice,
        when: slice,
        verdicts: Verdicts,
        learn: BoolArray,
        around: Circumstances,
        detection: DetectionSettings,
    ) -> FloatArray:
        """Take in samples; note in `verdicts` who is away, and return the severities, shape (t, n); 0 = nothing odd."""
        value = verdicts.observed[when, rows]
        here = ~np.isnan(value)
        severity = np.where(here & ~((value >= around.low) & (value <= around.high)), IMPOSSIBLE, 0.0)
        if detection.never_zero and around.downward and ((value == 0.0).any() or self._zeros.going_on(rows)):
            for index, (one, ok) in enumerate(zip(value, learn, strict=True)):
                odd = self._zeros.see(
                    rows, around.hour, one, ok, around.stats, around.nothing, step=around.step, after=around.after
                )
                severity[index] = np.maximum(severity[index], odd)
                verdicts.zero[when.start + index, rows] = odd > 0.0
        if detection.missing_series and (not here.all() or self._absence.going_on(rows)):
            last = around.last.copy()
            for index, at in enumerate(verdicts.times[when].tolist()):
                awaited, odd = self._absence.see(
                    rows, at, here[index], learn[index], around.past, around.complete[index], around.step, around.after
                )
                severity[index] = np.maximum(severity[index], odd)
                verdicts.missing_since[when.start + index, rows] = np.where(awaited, last, np.nan)
                verdicts.absent[when.start + index, rows] = odd > 0.0
                last[here[index]] = at
        return severity

    def excuse(self, when: slice, verdicts: Verdicts, table: SeriesTable, register: SeriesLifetimes) -> None:
        """Take back of the verdicts at some instants that series are away whose family comes and goes."""
        for index in (when.start + np.flatnonzero(verdicts.absent[when].any(axis=1))).tolist():
            at, rows = float(verdicts.times[index]), np.flatnonzero(verdicts.absent[index])
            first = register.first[: table.size]
            excused = rows[self._kin.renewed(table, rows, np.flatnonzero((first <= at) & (first > at - YOUNG)))]
            verdicts.absent[index, excused] = verdicts.ready[index, excused] = False
            for said in (verdicts.score, verdicts.votes, verdicts.missing_since):
                said[index, excused] = np.nan
            for edge in (verdicts.expected, verdicts.lower, verdicts.upper):
                edge[index, excused] = np.nan
