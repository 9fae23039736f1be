"""When each series was seen, and how much of it was learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Register"]

FloatArray = npt.NDArray[np.float64]


class Register:
    """Times of each row, Unix seconds: `first` and `last` sample (NaN before the first), `admitted` to the row.

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

    def see(self, rows: slice, times: FloatArray, here: npt.NDArray[np.bool_]) -> None:
        """Note which series have samples at `times`; `here` has shape (t, n)."""
        some = here.any(axis=0)
        first, last = times[here.argmax(axis=0)], times[len(times) - 1 - here[::-1].argmax(axis=0)]
        self.first[rows] = np.where(some & np.isnan(self.first[rows]), first, self.first[rows])
        self.last[rows] = np.where(some, last, self.last[rows])
