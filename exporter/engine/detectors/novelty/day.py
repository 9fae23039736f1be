"""The typical value at this time of the day, and how unlike those of earlier days the last two hours are."""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import NAN, ZERO
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import add_to, add_up, any_of, clip, count_of, median

__all__ = ["DayProfile", "day_columns"]

SLOT = 1800.0
"""Seconds of a slot: six samples of five minutes, so that one outlier does not make its mean."""
SLOTS = int(86400.0 / SLOT)
DAYS = 7
"""Days that are kept, today included: the weekend is among the six before."""
SPAN = 4
"""Slots that are compared with those of other days: two hours. Shorter is noise, longer is late."""
SHIFT = 1
"""Slots by which an earlier day may have been earlier or later: a nightly job does not start to the minute."""
_NEVER = np.iinfo(np.int32).min
_UNKNOWN = np.iinfo(np.int16).min
_MOST = np.iinfo(np.int16).max
_ROOM, _SMALL = 2.0, 1.0 / 16.0
"""The quantum is chosen so that the largest mean fits this many times, and anew where it is this part of what fits."""
_EARLIER = (-SLOTS * np.arange(1, DAYS)[:, None] + np.arange(-SHIFT, SHIFT + 1)).ravel()
"""Where an earlier day's span may end, in slots from the end of this one."""
_DAYS = -SLOTS * np.arange(1, DAYS)
_SPAN = -np.arange(SPAN)
_PLACES = _SPAN[:, None] + _EARLIER


def day_columns() -> dict[str, Column]:
    """Return the state: means of the slots of the last days, and the slot that is open."""
    return {
        "day.means": Column((DAYS * SLOTS,), np.int16, _UNKNOWN),  # In quanta, from zero of the baseline units.
        "day.quantum": Column((), np.float32),
        "day.open": Column((), np.int32, _NEVER),
        "day.sum": Column((), np.float64),
        "day.count": Column((), np.float32),
        "day.usual": Column((3,), np.float32, np.nan),
        "day.unlike": Column((), np.float32, np.nan),
    }


class DayProfile:
    """The last days of some series."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self._codes, self._quantum, self._open = columns["day.means"], columns["day.quantum"], columns["day.open"]
        self._sum, self._count = columns["day.sum"], columns["day.count"]
        self._typical, self._unlike = columns["day.usual"], columns["day.unlike"]

    def update(self, times: Array, sample: Array, usable: Array, steps: LearningSteps) -> tuple[Array, Array]:
        """Compare samples with the days before, and add those that are learned to the slot they lie in.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), local seconds
        sample : ndarray, shape (t, n)
        usable : ndarray of bool, shape (t, n)
            Others are not added.
        steps : LearningSteps

        Returns
        -------
        typical : ndarray of float32, shape (t, n)
            Median over the days of the mean at this time of the day; NaN before the first day.
        unlike : ndarray of float32, shape (t, n)
            Root mean square distance of the last full slots from the most similar earlier day's.
        """
        typical, unlike = np.empty(sample.shape, np.float32), np.empty(sample.shape, np.float32)
        slots = (times // SLOT).astype(np.int64)
        begin = 0
        while begin < len(times):
            end = int(np.searchsorted(slots[begin:] != slots[begin], True)) + begin
            here = slice(begin, end)
            slot = int(slots[begin])
            if slot != self._last():
                self._next(slot)
            noted = begin + np.flatnonzero(steps.flags[here])
            if len(noted):
                add_to(self._sum, np.where(usable[noted], sample[noted], 0.0))
                self._count += usable[noted].sum(axis=0)
            # Between the middles of two slots the typical value moves in a straight line.
            place = (times[here] / SLOT - slot - 0.5).astype(np.float32)[:, None]
            before, now, after = self._typical
            side = np.where(place > 0.0, after, before)
            typical[here] = now + np.abs(place) * np.where(np.isnan(side), ZERO, side - now)
            unlike[here] = self._unlike
            begin = end
        return typical, unlike

    def _last(self) -> int:
        """Return the slot that is open. Series without a past have none, and it does not matter which one closes."""
        return int(self._open.max())

    def _next(self, slot: int) -> None:
        """Close the open slot and open another one; by the wall clock it can be an earlier one."""
        last, size = self._last(), len(self._codes)
        follows = slot == last + 1
        if last != _NEVER:
            mean = np.where(self._count > 0.0, self._sum / np.maximum(self._count, 1.0), np.nan)
            self._codes[last % size] = self._encode(mean, last_of_day=last % SLOTS == SLOTS - 1)
            for missed in range(max(last + 1, slot - size), slot):
                self._codes[missed % size] = _UNKNOWN
            self._unlike[...] = self._distance(slot - 1)
        self._open[...] = slot
        self._sum[...], self._count[...] = 0.0, 0.0
        if follows:  # The medians of the slot before and of this one are there already.
            self._typical[:2] = self._typical[1:].copy()
        for index, beside in ((2, 1),) if follows else ((0, -1), (1, 0), (2, 1)):
            self._typical[index] = median(self._means((slot + beside + _DAYS) % size))

    def _means(self, slots: Array) -> Array:
        """Return the means of some slots, float32; NaN where there is none."""
        codes = self._codes[slots]
        return np.where(codes == _UNKNOWN, NAN, codes * self._quantum)

    def _encode(self, mean: Array, *, last_of_day: bool) -> Array:
        """Return means, shape (n,), as whole quanta; where one does not fit, the quantum of the series grows."""
        size = np.where(np.isfinite(mean), np.abs(mean), 0.0)
        largest = np.where(size > _MOST * self._quantum, size, 0.0)
        if last_of_day:
            # Days after a spike the largest mean is small against what fits: the quantum shrinks.
            codes = np.where(self._codes == _UNKNOWN, np.int16(0), self._codes)
            reached = np.maximum(np.maximum(codes.max(axis=0), -codes.min(axis=0)) * self._quantum, size)
            largest = np.where(reached < _SMALL * _MOST * self._quantum, reached, largest)
        if any_of(largest):
            rows = np.flatnonzero(largest)
            codes, before = self._codes[:, rows], self._quantum[rows]
            quantum = (_ROOM / _MOST * largest[rows]).astype(np.float32)
            rounded = clip(np.rint(codes * (before.astype(np.float64) / quantum)), -_MOST, _MOST)
            self._codes[:, rows] = np.where(codes == _UNKNOWN, _UNKNOWN, rounded)
            self._quantum[rows] = quantum
        code = np.rint(np.divide(mean, self._quantum, out=np.zeros(len(mean)), where=self._quantum > 0.0))
        return np.where(np.isnan(mean), _UNKNOWN, clip(code, -_MOST, _MOST)).astype(np.int16)

    def _distance(self, last: int) -> Array:
        """Return how unlike all earlier days the slots up to `last` are; NaN where none can be compared."""
        size = len(self._codes)
        now = self._means((last + _SPAN) % size)
        present = (~np.isnan(now)).sum(axis=0)
        squares = (self._means((last + _PLACES) % size) - now[:, None]) ** 2
        number = count_of(~np.isnan(squares))
        total = add_up(np.fmax(squares, ZERO))
        # A day of which more than half is missing is not compared.
        comparable = (number > 0) & (2 * number >= present)
        nearest = np.where(comparable, total / np.maximum(number, 1).astype(np.float32), np.float32(np.inf)).min(axis=0)
        distance: Array = np.where(nearest < np.inf, np.sqrt(nearest), NAN)
        return distance
