"""What a series did lately: the deviation of the newest samples, and of each of the last hours.

An alert says by it how an anomaly came about: by a jump, slowly, or over hours; see `exporter.engine.shape`. Nothing is
judged by it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.ordered import add_to
from exporter.engine.seconds import HOUR

__all__ = ["HOURS", "NEWEST", "RecentDeviations"]

FloatArray = npt.NDArray[np.float64]

NEWEST = 16
"""Samples that are kept."""
HOURS = 48
"""Hours that are kept: twice the time in which a leak is to be found."""
_NEVER = np.iinfo(np.int32).min


class RecentDeviations(Columns):
    """The newest deviations of each row from what was expected, in baseline units."""

    def __init__(self) -> None:
        super().__init__(
            {
                "recent_samples": Column((NEWEST,), np.float32, np.nan),  # Deviations, oldest first.
                "recent_values": Column((NEWEST,), np.float32, np.nan),  # And the samples themselves.
                "recent_hours": Column((HOURS,), np.float32, np.nan),  # By number of the hour.
                "recent_sum": Column((), np.float64),  # Of the hour that is going on.
                "recent_count": Column((), np.int32),
                "recent_hour": Column((), np.int32, _NEVER),
            }
        )

    def note(self, rows: slice, times: FloatArray, sample: FloatArray, expected: FloatArray, usual: FloatArray) -> None:
        """Note samples of one hour.

        Parameters
        ----------
        times : ndarray, shape (t,), Unix seconds
        sample : ndarray, shape (t, n), baseline units
            NaN: none.
        expected, usual : ndarray, shape (n,) or (t, n)
            What the newest samples are compared with, and what hours are: the buckets, which do not follow a trend.
        """
        state, hour = self.views(rows), int(times[0] // HOUR)
        before = int(state["recent_hour"].max())
        if hour != before:
            self._end_hour(state, before, hour)
        for name, new in (("recent_samples", sample - expected), ("recent_values", sample)):
            newest, kept = state[name], max(0, NEWEST - len(new))
            newest[:kept] = newest[NEWEST - kept :]
            newest[kept:] = new[kept - NEWEST :]
        deviation = sample - usual
        here = ~np.isnan(deviation)
        add_to(state["recent_sum"], np.where(here, deviation, 0.0))
        state["recent_count"] += here.sum(axis=0)

    def _end_hour(self, state: dict[str, Array], before: int, hour: int) -> None:
        hours, count = state["recent_hours"], state["recent_count"].astype(np.int64)
        if before != _NEVER:
            hours[before % HOURS] = np.where(count > 0, state["recent_sum"] / np.maximum(count, 1), np.nan)
        # The hours that were skipped forget what they were two days before.
        for skipped in range(max(before + 1, hour - HOURS + 1), hour + 1):
            hours[skipped % HOURS] = np.nan
        state["recent_sum"][...] = 0.0
        state["recent_count"][...] = 0
        state["recent_hour"][...] = hour

    def move(self, rows: npt.NDArray[np.intp], by: FloatArray) -> None:
        """Follow the level of `rows`, which has moved `by`, shapes (m,)."""
        state = self.arrays()
        for name in ("recent_samples", "recent_hours"):
            state[name][:, rows] -= by.astype(np.float32)
        state["recent_sum"][rows] -= by * state["recent_count"][rows]

    def of(self, rows: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return deviations and values of the newest samples of `rows`, (16, m), and the deviations of their hours.

        These have shape (48, m), and the last one is going on. All are oldest first; NaN: none.
        """
        state = self.arrays()
        hour = int(state["recent_hour"].max())
        count = state["recent_count"][rows].astype(np.int64)
        now = np.where(count > 0, state["recent_sum"][rows] / np.maximum(count, 1), np.nan)
        hours = np.roll(state["recent_hours"][:, rows], -(hour % HOURS) - 1, axis=0)
        hours = np.concatenate([hours[:-1], now[None]])
        columns = (state["recent_samples"][:, rows], state["recent_values"][:, rows], hours)
        samples, values, means = (column.astype(np.float64) for column in columns)
        return samples, values, means
