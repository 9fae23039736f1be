"""The last weeks of every series in rings of slots, on the clock of the wall.

A slot holds the mean of the samples in it. Slots are numbered by local time, so that the same time of another day is a
whole number of days away whatever daylight saving does; an hour that comes twice overwrites itself, once a year.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array
from exporter.engine.seconds import DAY

__all__ = ["LARGEST", "FloatArray", "Past", "Rows", "Slots", "rooted", "slot_seconds", "squared"]

FloatArray = npt.NDArray[np.floating]
Slots = npt.NDArray[np.intp]
Rows = slice | npt.NDArray[np.intp]

_SHORT, _LONG = 900.0, 3600.0
"""Seconds of a slot: of samples every 15 minutes or more often, and of others."""
LARGEST = 1e30
"""Values are kept as if they ended here: float32 ends at 3.4e38."""


def slot_seconds(step: float) -> float:
    """Return how long a slot is where samples are `step` seconds apart."""
    return _SHORT if step <= _SHORT else _LONG


class Past:
    """A ring of slots over series, as a view of arrays that others own.

    Parameters
    ----------
    values : ndarray of float32, shape (slots, n)
        NaN = no sample.
    newest : int
        Number of the newest slot. What is older than the ring is long is gone.
    seconds : float
        Of a slot.
    root : ndarray of bool, shape (n,), optional
        Series whose square root is meant: noise that grows with the value is even there.
    """

    def __init__(self, values: Array, newest: int, seconds: float, root: npt.NDArray[np.bool_] | None = None) -> None:
        self.values, self.newest, self.seconds = values, newest, seconds
        self.per_day = round(DAY / seconds)
        self.root = root

    @property
    def oldest(self) -> int:
        """Number of the oldest slot."""
        return self.newest - len(self.values) + 1

    def rooted(self, root: npt.NDArray[np.bool_]) -> Past:
        """Return a copy in which the square root of some series is taken, once for all that is read of it."""
        return Past(rooted(self.values, root), self.newest, self.seconds)

    def at(self, slots: Slots) -> Array:
        """Return the values of slots, shape (len(slots), n); NaN where they are not in the ring."""
        values = self.values[slots % len(self.values)]
        beyond = (slots > self.newest) | (slots < self.oldest)
        if beyond.any():
            values[beyond] = np.nan
        return values if self.root is None else rooted(values, self.root)

    def all(self) -> Array:
        """Return all slots, oldest first."""
        return self.at(np.arange(self.oldest, self.newest + 1))


def rooted(values: Array, root: npt.NDArray[np.bool_]) -> Array:
    """Return values, shape (t, n), with the square root of the series that `root` names, shape (n,)."""
    return np.where(root, np.sqrt(np.maximum(values, 0.0)), values)


def squared(values: Array, root: npt.NDArray[np.bool_]) -> Array:
    """Undo `rooted`; what is below zero stays there."""
    return np.where(root, values * np.abs(values), values)
