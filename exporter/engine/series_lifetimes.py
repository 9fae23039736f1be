"""When each series was seen, and how much of it was learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SeriesLifetimes"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class SeriesLifetimes:
    """Times of each row, Unix seconds: `first` sample that was to be learned (NaN before), `last` sample, `admitted`.

    `count` is how many samples were learned.
    """

    def __init__(self) -> None:
        self.first = np.zeros(0)
        self.last = np.zeros(0)
        self.admitted = np.zeros(0)
        self.count = np.zeros(0, np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name, old in list(vars(self).items()):
            new = np.zeros(capacity, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def admit(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Begin anew for the series that `rows` were given to."""
        self.first[rows] = np.nan
        self.last[rows] = at
        self.admitted[rows] = at
        self.count[rows] = 0

    def see(self, rows: slice, times: FloatArray, here: BoolArray, learned: BoolArray) -> None:
        """Note which series have samples at `times`, and which of them may be learned; shapes (t, n).

        A series that was only seen while nothing was to be learned is not known for as long: `first` does not count it.
        """
        first, last = times[learned.argmax(axis=0)], times[len(times) - 1 - here[::-1].argmax(axis=0)]
        self.first[rows] = np.where(learned.any(axis=0) & np.isnan(self.first[rows]), first, self.first[rows])
        self.last[rows] = np.where(here.any(axis=0), last, self.last[rows])
