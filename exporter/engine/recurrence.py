"""What comes with regularity: anomalies at the same hour on most days, or a month apart.

A nightly job is normal from the fourth night on, and a batch at the end of the month from the third month on.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import UNITY, ZERO, single
from exporter.engine.ordered import any_of

__all__ = ["MARKS", "DailyMarks", "Runs"]

HOURS = 24
OFTEN = 3
"""Days of the last four with an anomaly at an hour of the day that make it normal there."""
_EARLIER_DAYS = np.uint8(0x1E)
_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
MONTHS = ((28, 31), (59, 62))
"""Days from one month to the next, and to the one after, at least and at most: of the same day, or of the last one.

The first and the last working day of a month are farther apart: they are compared as such."""
SHORTEST_MONTH = 27
"""Days after which a run may be one of the month before: no two last or first days, or working days, are closer."""
KEPT = 12
"""Runs of anomalies that are kept: two months may have an incident a week beside the batch."""
GAP = 6
"""Hours after which an anomaly is another run."""
LASTS = 12
"""Hours after the begin of a run of one month that it goes on, where that of the other month did."""
BEYOND = single(1.3)
"""What recurs must be this many times as severe as before."""
VARIES = single(2.0)
"""What recurs may have been so many times as severe in a month as in the other."""
SIZE_MAX = single(6e4)
_NEVER = np.iinfo(np.int32).min // 2

MARKS = {
    "marks": Column((HOURS,), np.uint8),  # Whether each hour of the day had an anomaly; a bit a day, today is 1.
}
"""State for the layout of a detector."""


class DailyMarks:
    """The anomalies of some series at the hours of the last days.

    Parameters
    ----------
    state : dict
        With the arrays of `MARKS`.
    hour : int
        Number of the hour of all samples, local time.
    """

    def __init__(self, state: dict[str, Array], hour: int) -> None:
        self._marks, self._hour = state["marks"], hour % HOURS

    def note(self, anomalous: Array) -> None:
        """Mark the series, shape (n,), with an anomaly."""
        if any_of(anomalous):
            self._marks[self._hour] |= anomalous.astype(np.uint8)

    def often(self) -> Array:
        """Return which series, shape (n,), had an anomaly about this hour on three of the last four days."""
        marks, hour = self._marks, self._hour
        days = (marks[(hour - 1) % HOURS] | marks[hour] | marks[(hour + 1) % HOURS]) & _EARLIER_DAYS
        often: Array = _BITS[days] >= OFTEN if any_of(days) else np.zeros(len(days), np.bool_)
        return often

    @staticmethod
    def next_day(state: dict[str, Array], rows: npt.NDArray[np.intp] | slice) -> Array:
        """Begin a new day for `rows`, and return their marks."""
        shifted: Array = state["marks"][:, rows] << np.uint8(1)
        state["marks"][:, rows] = shifted
        return shifted


class Runs(Columns):
    """The last runs of anomalies of each series, whatever found them, and what is normal now by those of months ago."""

    def __init__(self) -> None:
        super().__init__(
            {
                "run_hours": Column((2, KEPT), np.int32, _NEVER),  # First and last hour of each, newest first.
                "run_sizes": Column((KEPT,), np.float16),  # How severe they were; negative: below the expected value.
                "run_hour": Column((), np.int32, _NEVER),  # Number of the hour that goes on, local time.
                "run_normal": Column((), np.float32, 1.0),  # What months had; negative: below.
            }
        )

    def normal(self, rows: slice, hour: int) -> Array:
        """Return the severities above and below that are normal in an hour of that number: what months had.

        Shape (2, n), at least 1. A batch of the end of the month does not hide an outage that comes with it.
        """
        state = self.views(rows)
        if hour != int(state["run_hour"].max()):
            state["run_normal"][...] = 1.0
            if any_of((state["run_sizes"] != 0.0) & (state["run_hours"][0] <= hour - HOURS * SHORTEST_MONTH)):
                above, below = (BEYOND * _of_months(state, hour, side) for side in (1.0, -1.0))
                state["run_normal"][...] = np.where(above >= below, np.maximum(above, 1.0), -below)
            state["run_hour"][...] = hour
        normal = state["run_normal"]
        return np.asarray(np.maximum(np.array((normal, -normal)), UNITY))

    def note(self, rows: slice, hour: int, above: Array, below: Array) -> None:
        """Note the severities of samples of an hour, shape (t, n), without what is normal."""
        severity = np.fmax(above, below)
        anomalous = severity >= 1.0
        if not any_of(anomalous):
            return
        state = self.views(rows)
        which = np.flatnonzero(anomalous.any(axis=0))
        hours, sizes = state["run_hours"], state["run_sizes"]
        new = which[hour - hours[1, 0, which] > GAP]
        if len(new):
            for kept, value in ((hours[0], hour), (hours[1], hour), (sizes, 0.0)):
                kept[1:, new] = kept[:-1, new]
                kept[0, new] = value
        hours[1, 0, which] = hour
        sides = np.nan_to_num(np.stack([above[:, which], below[:, which]]))
        size = np.minimum(np.maximum(*sides), SIZE_MAX).astype(np.float16)
        # The first of equally severe samples says which side it is.
        place = size.argmax(axis=0), np.arange(len(which))
        size, (up, down) = size[place], sides[:, *place]
        signed = np.where(up >= down, size, -size)
        sizes[0, which] = np.where(size > np.abs(sizes[0, which]), signed, sizes[0, which])


def _of_months(state: dict[str, Array], hour: int, side: float) -> Array:
    """Return how severe it was about this hour a month ago and two months ago on a side, shape (n,); else 0."""
    begin, end = state["run_hours"]
    least_severe, most_severe = np.full((2, begin.shape[1]), np.inf, np.float32)
    most_severe[:] = 0.0
    sizes = np.maximum(np.float32(side) * state["run_sizes"].astype(np.float32), ZERO)
    if not any_of(sizes):
        return np.zeros(begin.shape[1], np.float32)
    workdays, covered = _workdays_before(hour // HOURS), np.zeros(begin.shape[1], np.bool_)
    for (least, most), days in zip(MONTHS, workdays, strict=True):
        since, begun = (hour - begin + 1) % HOURS, begin + HOURS * least <= hour + 1
        # A run that was normal again before its end, because it had lasted, is as long as that of the other month.
        covers, goes_on = begun & (end + HOURS * most >= hour - 1), begun & (begin + LASTS + HOURS * most >= hour - 1)
        for day in days:
            there = (begin <= HOURS * (day + 1)) & (end >= HOURS * day)
            covers, goes_on = covers | there, goes_on | there
        covers &= (since <= end - begin + 2) & (sizes > 0.0)
        here = covers | (goes_on & (since <= LASTS + 1) & (sizes > 0.0))
        if not any_of(here):
            return np.zeros(begin.shape[1], np.float32)
        covered |= covers.any(axis=0)
        severity = np.maximum.reduce(np.where(here, sizes, ZERO))
        least_severe, most_severe = np.minimum(least_severe, severity), np.maximum(most_severe, severity)
    return np.asarray(np.where(covered, np.minimum(most_severe, VARIES * least_severe), ZERO))


@functools.lru_cache(maxsize=64)
def _workdays_before(day: int) -> tuple[list[int], list[int]]:
    """Return days of the month before and of the one before that which are as `day` is: its first or last working day.

    All are days since 1970, local time; empty where `day` is neither.
    """
    date = np.datetime64(day, "D")
    month = date.astype("datetime64[M]")
    before: tuple[list[int], list[int]] = ([], [])
    for first in (True, False):
        if _workday_of(month, first=first) == date:
            for back, days in enumerate(before, start=1):
                days.append(int(_workday_of(month - back, first=first).astype(np.int64)))
    return before


def _workday_of(month: np.datetime64, *, first: bool) -> np.datetime64:
    """Return the first or the last day of a month from Monday to Friday."""
    if first:
        return np.busday_offset(month.astype("datetime64[D]"), 0, roll="forward")
    return np.busday_offset((month + 1).astype("datetime64[D]"), -1, roll="forward")
