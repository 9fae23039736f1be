"""Which instants can be scored together, so that the result is that of one after the other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import BucketIndex
from exporter.engine.cadence import LearningGrid
from exporter.engine.rows import EngineRows
from exporter.engine.seconds import HOUR

__all__ = ["LONGEST", "TOGETHER", "SpanPlan", "can_mix"]

FloatArray = npt.NDArray[np.float64]

LONGEST, TOGETHER = 360, 60 * 256
"""Instants that are scored together at most, and samples of all series, but for a block: of more, their temporaries
would not stay in the cache. Only speed needs both."""


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """Instants that will be scored; shapes (t,).

    Attributes
    ----------
    grid : LearningGrid
    times : ndarray of float64, Unix seconds
    steps : ndarray of bool
        Instants that are learned.
    samples : ndarray of float64, shape (t, size), optional
        Unless given, nothing in them comes for the first time.
    alone : ndarray of bool, optional
        Instants that are spans of their own.
    """

    grid: LearningGrid
    times: FloatArray
    steps: npt.NDArray[np.bool_]
    samples: FloatArray | None
    alone: npt.NDArray[np.bool_] | None

    def end(
        self,
        begin: int,
        most: int,
        left: int,
        buckets_at: Callable[[float], BucketIndex],
        rows: EngineRows,
        *,
        mixed: bool,
    ) -> int:
        """Return the end of the span that begins with an instant.

        Parameters
        ----------
        most, left : int
            Instants that it may have, and those of them that may be learned.
        mixed : bool
            Whether it may have instants that are learned, and others.
        """
        limit = min(begin + most, len(self.times))
        if self.alone is not None:
            others = np.flatnonzero(self.alone[begin + 1 : limit])
            limit = begin + 1 if self.alone[begin] else begin + 1 + int(others[0]) if len(others) else limit
        limit = self._end_of_hour(begin, limit, buckets_at)
        steps = self.steps[begin:limit]
        others = steps != steps[0]
        count = len(steps)
        if others.any():
            alike = int(others.argmax())
            if not mixed:
                count = alike
            elif self.samples is not None:
                count = max(alike, _as_before(rows, self.samples[begin:limit]))
        places = np.flatnonzero(steps[:count])
        if len(places) >= left:
            count = int(places[left - 1]) + 1
        periods = self.grid.periods(self.times[begin : begin + count])
        if periods and not _lasts(rows, count * self.grid.seconds):
            count = periods[0]
        return begin + count

    def _end_of_hour(self, begin: int, limit: int, buckets_at: Callable[[float], BucketIndex]) -> int:
        """Return where the instants end, before `limit`, that lie in the hour of the first one."""
        times = self.times[begin:limit]
        # The same buckets may come again after a week.
        times = times[: int(np.searchsorted(times, times[0] + HOUR))]
        hour = buckets_at(float(times[0]))
        if buckets_at(float(times[-1])) == hour:
            return begin + len(times)
        return begin + bisect_left(times.tolist(), True, key=lambda at: buckets_at(at) != hour)


def can_mix(rows: EngineRows) -> bool:
    """Return whether instants that are learned can be scored together with others.

    Not in the day after a series was emptied: which samples were counted before an instant matters then.
    """
    return not rows.drift.restarted(slice(0, rows.size)).any()


def _as_before(rows: EngineRows, samples: FloatArray) -> int:
    """Return before which instant no series moves or is negative for the first time; samples have shape (t, size).

    Unit and sign of a series hold from the next span on.
    """
    size = samples.shape[1]
    never = ~(rows.residuals.negative[:size] & rows.trend.negative[:size])
    new: npt.NDArray[np.bool_] = np.any((samples < 0.0) & never, axis=1)
    still = np.flatnonzero(rows.scale.unit[:size] == 0.0)
    if len(still):
        value = samples[:, still]
        new |= (~np.isnan(value) & (value != rows.scale.origin[still])).any(axis=1)
    return int(new.argmax()) if new.any() else len(new)


def _lasts(rows: EngineRows, seconds: float) -> bool:
    """Return whether no level shift can be accepted in so many seconds, and no series be due to be learned anew."""
    every = slice(0, rows.size)
    longest = max(rows.shift.most_seconds(every), rows.drift.most_seconds(every))
    return longest + 2.0 * seconds < rows.settings.baseline.accept_level_shift_after
