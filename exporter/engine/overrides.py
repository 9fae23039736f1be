"""Anomalies that need no vote: impossible values, zeros where there never were any, and missing series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.absence import Absence, Attendance, Habit, lasting
from exporter.engine.baseline import BucketStats
from exporter.engine.columns import Column
from exporter.engine.detectors.base import CERTAIN
from exporter.engine.ordered import all_of, any_of
from exporter.engine.seconds import WEEK
from exporter.engine.series import SeriesFamily, SeriesLifetimes, SeriesTable
from exporter.engine.settings import DetectionSettings
from exporter.engine.verdict import Verdicts

__all__ = ["NeverZero", "OverrideContext", "Overrides"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

YOUNG = WEEK
"""For so long a new series shows that its family comes and goes: services are deployed every few days."""
FAR = 3.0
"""Standard deviations that zero must be from the mean of this hour of the week, where other hours have zeros: the usual
limit of a control chart."""


@dataclass(frozen=True, slots=True)
class OverrideContext:
    """Facts about some series at some instants of one hour.

    Attributes
    ----------
    hour : int
        Of the week.
    complete : ndarray of bool, shape (t,) or (t, n)
        Instants at which every series that exists is in the answer, of all rows or of each.
    attendance : Attendance
    last : ndarray, shape (n,), Unix seconds
        The newest sample before these instants.
    stats : BucketStats
    zero : ndarray, shape (n,)
        The value zero in the units of `stats`.
    low, high : float, or ndarray of shape (n,)
        What can be, in source units.
    downward : bool, or ndarray of shape (n,)
        Whether a value that is too low counts.
    step, after : float, seconds
        What a sample stands for, and how long it takes until what is unusual is accepted.
    """

    hour: int
    complete: BoolArray
    attendance: Attendance
    last: FloatArray
    stats: BucketStats
    zero: FloatArray
    low: float | FloatArray
    high: float | FloatArray
    downward: bool | BoolArray
    step: float
    after: float


class NeverZero(Habit):
    """At which hours of the week each series has been zero, a bit each, and for how long it is now; 29 bytes a series.

    A drop to exactly zero can be within three standard deviations where values vary much. It is anomalous where it
    never happened at this hour of the week, nor at any hour unless zero is far from the mean of this one. A zero that
    is over before it is anomalous is learned.
    """

    def __init__(self) -> None:
        super().__init__("zeros", hours=Column((21,), np.uint8))

    def update(
        self,
        rows: slice,
        hour: int,
        value: FloatArray,
        learn: BoolArray,
        stats: BucketStats,
        zero: FloatArray,
        *,
        step: float,
        after: float,
    ) -> FloatArray:
        """Note the samples of one instant, and return how bad it is that they are zero, shape (n,).

        Parameters
        ----------
        hour : int
            Of the week.
        value : ndarray, shape (n,)
            Source units; NaN = no sample.
        learn : ndarray of bool, shape (n,)
        stats : BucketStats
        zero : ndarray, shape (n,)
            The value zero in the units of `stats`.
        """
        state = self.columns.views(rows)
        hours, bit = state["hours"], np.uint8(1 << hour % 8)
        is_zero, other = value == 0.0, ~np.isnan(value) & (value != 0.0)
        odd = is_zero & self._never(rows, hour, stats, zero)
        short = other & (state["seconds"] > 0.0) & (state["seconds"] < lasting(step))
        hours[hour // 8] |= np.where(((is_zero & ~odd) | short) & learn, bit, np.uint8(0))
        self.note(rows, odd & learn, other & learn, learn, step, after)
        return self.severity(rows, odd, step)

    def pass_over(
        self, rows: slice, hour: int, is_zero: BoolArray, learn: BoolArray, stats: BucketStats, zero: FloatArray
    ) -> bool:
        """Note samples, shape (t, n) both, if no zero among them can be anomalous; return whether so; see `update`."""
        if self.going_on(rows) or any_of(is_zero & self._never(rows, hour, stats, zero)):
            return False
        hours, bit = self.columns.views(rows)["hours"][hour // 8], np.uint8(1 << hour % 8)
        hours |= np.where((is_zero & learn).any(axis=0), bit, np.uint8(0))
        return True

    def _never(self, rows: slice, hour: int, stats: BucketStats, zero: FloatArray) -> BoolArray:
        """Return for which rows a zero would be anomalous, shape (n,)."""
        hours = self.columns.views(rows)["hours"]
        fine = np.zeros(hours.shape[1], np.bool_) if stats.fine is None else stats.fine
        far = np.abs(stats.mean - zero) >= FAR * stats.std
        seen = (hours[hour // 8] & np.uint8(1 << hour % 8)) != 0
        never: BoolArray = fine & ~self.accepted(rows) & ~seen & (far | ~hours.any(axis=0))
        return never


class Overrides:
    """State of each row for such anomalies; see `Absence` and `NeverZero`."""

    def __init__(self) -> None:
        self._absence, self._zeros, self._families = Absence(), NeverZero(), SeriesFamily()

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

    def overdue(self, size: int) -> BoolArray:
        """Return which of the first `size` rows are away though they are due, and not for so long that it is normal."""
        overdue: BoolArray = self._absence.columns.views(slice(0, size))["seconds"] > 0.0
        return overdue

    def fade(self, rows: slice, seconds: float) -> None:
        """Let habits fade for so many seconds."""
        self._absence.fade(rows, seconds)
        self._zeros.fade(rows, seconds)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all of the state, by name."""
        return self._absence.arrays() | self._zeros.arrays()

    def update(
        self,
        rows: slice,
        when: slice,
        verdicts: Verdicts,
        learn: BoolArray,
        context: OverrideContext,
        detection: DetectionSettings,
    ) -> FloatArray:
        """Take in samples; note in `verdicts` which series are missing or zero; return severities, shape (t, n)."""
        value = verdicts.observed[when, rows]
        here = ~np.isnan(value)
        severity = np.where(here & ~((value >= context.low) & (value <= context.high)), CERTAIN, 0.0)
        low = value if context.downward is True else np.where(context.downward, value, np.nan)
        zeros, hour, stats, zero = low == 0.0, context.hour, context.stats, context.zero
        if (
            detection.never_zero
            and (any_of(zeros) or self._zeros.going_on(rows))
            and not self._zeros.pass_over(rows, hour, zeros, learn, stats, zero)
        ):
            for index, (now, ok) in enumerate(zip(low, learn, strict=True)):
                odd = self._zeros.update(rows, hour, now, ok, stats, zero, step=context.step, after=context.after)
                severity[index] = np.maximum(severity[index], odd)
                verdicts.zero[when.start + index, rows] = odd > 0.0
        away = not all_of(here) and any_of(~here & self._due(verdicts.times[when], context))
        if detection.missing_series and (away or self._absence.going_on(rows)):
            last = context.last.copy()
            for index, at in enumerate(verdicts.times[when].tolist()):
                missing, odd = self._absence.update(
                    rows,
                    at,
                    here[index],
                    learn[index],
                    context.attendance,
                    context.complete[index],
                    context.step,
                    context.after,
                )
                severity[index] = np.maximum(severity[index], odd)
                verdicts.missing_since[when.start + index, rows] = np.where(missing, last, np.nan)
                verdicts.absent[when.start + index, rows] = odd > 0.0
                last[here[index]] = at
        return severity

    @staticmethod
    def _due(times: FloatArray, context: OverrideContext) -> BoolArray:
        """Return at which instants each row is due, and would be in the answer; shape (t, n)."""
        complete = context.complete if context.complete.ndim == 2 else context.complete[:, None]
        due: BoolArray = context.attendance.due(times[:, None]) & complete
        return due

    def clear_replaced(self, when: slice, verdicts: Verdicts, table: SeriesTable, lifetimes: SeriesLifetimes) -> None:
        """Clear missing-series verdicts for series whose siblings are routinely replaced."""
        for index in (when.start + np.flatnonzero(verdicts.absent[when].any(axis=1))).tolist():
            at, rows = float(verdicts.times[index]), np.flatnonzero(verdicts.absent[index])
            first = lifetimes.first[: table.size]
            replaced = rows[self._families.renewed(table, rows, np.flatnonzero((first <= at) & (first > at - YOUNG)))]
            verdicts.absent[index, replaced] = verdicts.ready[index, replaced] = False
            for column in (verdicts.score, verdicts.votes, verdicts.missing_since):
                column[index, replaced] = np.nan
            for edge in (verdicts.expected, verdicts.lower, verdicts.upper):
                edge[index, replaced] = np.nan
