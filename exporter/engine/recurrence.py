"""What comes with regularity: anomalies at the same hour on most days, or a month apart.

A nightly job is normal from the fourth night on, and a batch at the end of the month from the third month on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns

__all__ = ["MARKS", "DailyMarks", "Runs"]

HOURS = 24
OFTEN = 3
"""Days of the last four with an anomaly at an hour of the day that make it normal there."""
_EARLIER_DAYS = np.uint8(0x1E)
_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
MONTHS = ((28, 31), (59, 62))
"""Days from one month to the next, and to the one after, at least and at most."""
KEPT = 12
"""Runs of anomalies that are kept: two months may have an incident a week beside the batch."""
GAP = 6
"""Hours after which an anomaly is another run."""
BEYOND = np.float32(1.3)
"""What recurs must be this many times as severe as before."""
SIZE_MAX = np.float32(6e4)
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
        if anomalous.any():
            self._marks[self._hour] |= anomalous.astype(np.uint8)

    def often(self) -> Array:
        """Return which series, shape (n,), had an anomaly about this hour on three of the last four days."""
        marks, hour = self._marks, self._hour
        days = (marks[(hour - 1) % HOURS] | marks[hour] | marks[(hour + 1) % HOURS]) & _EARLIER_DAYS
        often: Array = _BITS[days] >= OFTEN if days.any() else np.zeros(len(days), np.bool_)
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
                "run_sizes": Column((KEPT,), np.float16),  # How severe they were.
                "run_hour": Column((), np.int32, _NEVER),  # Number of the hour that goes on, local time.
                "run_normal": Column((), np.float32, 1.0),
            }
        )

    def normal(self, rows: slice, hour: int) -> Array:
        """Return the severity that is normal in an hour of that number, shape (n,), at least 1: what months had."""
        state = self.views(rows)
        if hour != int(state["run_hour"].max()):
            state["run_normal"][...] = np.maximum(BEYOND * _of_months(state, hour), np.float32(1.0))
            state["run_hour"][...] = hour
        return state["run_normal"]

    def note(self, rows: slice, hour: int, severity: Array) -> None:
        """Note the severities of samples of an hour, shape (t, n), without what is normal."""
        anomalous = severity >= 1.0
        if not anomalous.any():
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
        size = np.minimum(np.fmax.reduce(severity[:, which]), SIZE_MAX).astype(np.float16)
        sizes[0, which] = np.maximum(sizes[0, which], size)


def _of_months(state: dict[str, Array], hour: int) -> Array:
    """Return how severe it was about this hour both a month ago and two months ago, shape (n,); else 0."""
    begin, end = state["run_hours"]
    severity = np.full(begin.shape[1], np.inf, np.float32)
    for least, most in MONTHS:
        here = (begin + HOURS * least <= hour + 1) & (end + HOURS * most >= hour - 1)
        if not here.any():
            return np.zeros(begin.shape[1], np.float32)
        here &= (hour - begin + 1) % HOURS <= end - begin + 2
        sizes = np.where(here, state["run_sizes"].astype(np.float32), np.float32(0.0))
        severity = np.minimum(severity, np.maximum.reduce(sizes))
    return severity
