"""What a time of the week was like before, in source units: for explanations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DAY", "EVERY", "WEEK", "BucketSummary"]

FloatArray = npt.NDArray[np.float64]

WEEK, DAY, EVERY = range(3)
"""Which bucket a series is judged against: this hour of the week, of the day, or all times."""


@dataclass(frozen=True, slots=True)
class BucketSummary:
    """Statistics of some series; arrays of shape (m,), NaN where nothing was learned.

    Attributes
    ----------
    scope : ndarray of int
        `WEEK`, `DAY` or `EVERY`.
    visits : ndarray of float64
        Weeks or days that are in it, as far back as the window goes.
    """

    mean: FloatArray
    std: FloatArray
    q1: FloatArray
    q3: FloatArray
    scope: npt.NDArray[np.int8]
    visits: FloatArray
