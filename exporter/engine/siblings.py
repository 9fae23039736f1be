"""The older series of a query at some instants: they say where a series should be that has few samples of its own."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from exporter.engine.detectors.base import FloatArray
from exporter.engine.seconds import DAY

__all__ = ["UNTIL", "Siblings"]

UNTIL = DAY
"""Age in seconds from which on the detectors vote."""
SIBLINGS = 8
"""Older series of the query that say something about a new one."""
COMPARED = 1024
"""Of them, at most so many are looked at."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """Values of the older series of the query at some instants: tenth, median, ninth tenth; (3, t), source units.

    NaN where there are too few.
    """

    quantiles: FloatArray

    @classmethod
    def of(cls, observed: FloatArray, first: FloatArray, times: FloatArray) -> Siblings:
        """Return those of the rows that are older than a day; shapes (t, size), (size,) and (t,)."""
        quantiles, begin = np.full((3, len(times)), np.nan), 0
        while begin < len(times):
            old, end = np.flatnonzero(times[begin] - first >= UNTIL), len(times)
            if len(old) < len(first):
                # With the instants more of them are that old.
                later = times[begin + 1 :].tolist()
                end = begin + 1 + bisect_right(later, len(old), key=lambda at: int((at - first >= UNTIL).sum()))
                if len(old) >= SIBLINGS:
                    quantiles[:, begin:end] = _tenths(observed[begin:end, old[:: -(-len(old) // COMPARED)]])
            begin = end
        return cls(quantiles)


def _tenths(observed: FloatArray) -> FloatArray:
    """Return tenth, median and ninth tenth of the samples of each instant, shape (t, m) to (3, t)."""
    quantiles = np.full((3, len(observed)), np.nan)
    for index, row in enumerate(np.sort(np.where(np.isfinite(observed), observed, np.nan), axis=1)):
        here = row[: np.count_nonzero(~np.isnan(row))]
        if len(here) >= SIBLINGS:
            last = len(here) - 1
            quantiles[:, index] = here[[last // 10, last // 2, last - last // 10]]
    return quantiles
