"""A value that is never zero at this hour, and is zero.

A drop to exactly zero can be within three standard deviations where values vary much. That it never happened says more:
neither at this hour of the week, nor at any hour unless zero is far from the mean of this one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.absence import Habit, lasting
from exporter.engine.baseline import BucketStats
from exporter.engine.detectors.columns import Column

__all__ = ["NeverZero"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FAR = 3.0
"""Standard deviations that zero must be from the mean of this hour of the week, where other hours have zeros."""


class NeverZero(Habit):
    """At which hours of the week each series has been zero, a bit each, and for how long it is now; 29 bytes a series.

    A zero that is over before anything is said is learned, one that was an anomaly is not.
    """

    def __init__(self) -> None:
        super().__init__("zeros", hours=Column((21,), np.uint8))

    def see(
        self,
        rows: slice,
        hour: int,
        value: FloatArray,
        learn: BoolArray,
        stats: BucketStats,
        nothing: FloatArray,
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
        nothing : ndarray, shape (n,)
            The value zero in the units of `stats`.
        """
        state = self.columns.of(rows)
        hours, bit = state["hours"], np.uint8(1 << hour % 8)
        zero, other = value == 0.0, ~np.isnan(value) & (value != 0.0)
        known = np.zeros(len(value), np.bool_) if stats.fine is None else stats.fine
        far = np.abs(stats.mean - nothing) >= FAR * stats.std
        odd = zero & known & ~self.accepted(rows) & ((hours[hour // 8] & bit) == 0) & (far | ~hours.any(axis=0))
        short = other & (state["seconds"] > 0.0) & (state["seconds"] < lasting(step))
        hours[hour // 8] |= np.where(((zero & ~odd) | short) & learn, bit, np.uint8(0))
        self.note(rows, odd & learn, other & learn, learn, step, after)
        return self.severity(rows, odd, step)
