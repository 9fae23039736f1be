"""How the mean of an hour rises or falls within it, by the means of the hours beside it, where that predicts better.

Buckets are means of whole hours. On a steep flank of the day the first samples of an hour are as far below its mean
as the last ones are above. A line through the hour is as steep as the means of the hours beside it say, but never so
steep that it passes one of them [1]_: a step from one hour to the next has no line. It is zero on average, so the mean
of the hour stays. A series is judged along it only while it predicts the samples better by a good part.

References
----------
.. [1] B. van Leer (1977), Towards the ultimate conservative difference scheme IV. J. Comput. Phys. 23(3).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import UNITY, ZERO
from exporter.engine.ordered import add_to, any_of
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Slope", "line_through", "rise_between"]

FloatArray = npt.NDArray[np.float64]

ERRORS = 7.0 * DAY
"""Seconds that the errors are means of. Of a few hours, a steep one or what an incident has left decides for all."""
SETTLED = DAY
"""Seconds that are compared before a line is used."""
TAKEN, KEPT = 0.6, 0.8
"""Part of the mean square error without the line that the one with it must stay below to be used, and to stay so."""
CLIP = 3.0
"""Standard deviations beyond the line that a sample counts as away at most: an incident says nothing about it."""


class Slope(Columns):
    """Whether a line through the hour predicts the samples of each series better than its mean."""

    def __init__(self) -> None:
        super().__init__(
            {
                "errors": Column((2,), np.float32),  # Mean square distance from the mean and from the line,
                "compared": Column((), np.float32),  # of so many seconds.
                "sums": Column((2,), np.float32),  # Of those of the block.
                "seen": Column((), np.int16),
                "used": Column((), np.bool_),
            }
        )

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return {f"slope/{name}": array for name, array in self._arrays.items()}

    def used(self, rows: slice, line: FloatArray | None) -> FloatArray | None:
        """Return the line where it is used, shape (t, n), and 0 elsewhere; None: nowhere."""
        used = self.views(rows)["used"]
        return None if line is None or not any_of(used) else np.where(used, line, 0.0)

    def note(self, rows: slice, distance: FloatArray, line: FloatArray, std: FloatArray) -> None:
        """Note samples that are learned.

        Parameters
        ----------
        distance : ndarray, shape (t, n)
            From the mean of the hour, baseline units; NaN does not count.
        line : ndarray, shape (t, n)
            How far from it they would be; 0: there is none.
        std : ndarray, shape (n,)
            The noise of the hour, > 0. What is loud is not to outweigh what is quiet.
        """
        state = self.views(rows)
        counts = ~np.isnan(distance) & ~np.isnan(std) & (line != 0.0)
        errors = np.array((distance, distance - line)) / std
        most = CLIP + np.abs(line) / std
        squares = np.where(counts, np.minimum(errors * errors, most * most), 0.0).astype(np.float32)
        add_to(state["seen"], counts.astype(np.int16))
        for total, each in zip(state["sums"], squares, strict=True):
            add_to(total, each)

    def end_block(self, rows: slice, seconds: float) -> None:
        """Learn the block that has ended, of samples that stand for so many seconds each."""
        state = self.views(rows)
        seen = state["seen"].astype(np.float32)
        if not any_of(seen):
            return
        compared = state["compared"]
        lasted = seen * np.float32(seconds)
        compared += lasted
        np.minimum(compared, np.float32(ERRORS), out=compared)
        share = lasted / np.maximum(compared, UNITY)
        mean = state["sums"] / np.maximum(seen, UNITY)
        state["errors"] += np.where(seen > 0.0, share * (mean - state["errors"]), ZERO)
        flat, along = state["errors"]
        part = np.where(state["used"], np.float32(KEPT), np.float32(TAKEN))
        state["used"][...] = (compared >= SETTLED) & (along < part * flat)
        state["sums"][...] = 0.0
        state["seen"][...] = 0


def line_through(times: FloatArray, step: float, rise: FloatArray | None) -> FloatArray | None:
    """Return how far the mean of the hour is higher at some of its instants, shape (t, n); None: nowhere.

    Parameters
    ----------
    times : ndarray, shape (t,)
        Local seconds.
    step : float, seconds
        How far samples that are learned are apart: of two an hour, a mean of the hour is as good.
    rise : ndarray, shape (n,), optional
        Within the hour.
    """
    if rise is None or step >= HOUR / 2.0:
        return None
    place = (times % HOUR + 0.5 * step) / HOUR - 0.5
    return place[:, None] * rise


def rise_between(before: FloatArray, here: FloatArray, after: FloatArray) -> FloatArray:
    """Return how far the mean rises within an hour, by its own and those of the hours beside it; 0 where one is NaN.

    >>> rise_between(np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 2.0]), np.array([2.0, 9.0, 1.0]))
    array([1., 0., 0.])
    """
    left, right = here - before, after - here
    rise = np.minimum(np.abs(0.5 * (after - before)), 2.0 * np.minimum(np.abs(left), np.abs(right)))
    return np.where(left * right > 0.0, np.copysign(rise, right), 0.0)
