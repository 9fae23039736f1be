"""The interface of joint detectors: they judge the metrics of every entity of a group in one call.

The result is a severity for each entity, 1.0 exactly at its threshold, as in every detector; NaN means "cannot say".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.inputs import GroupMatrix

__all__ = ["Array", "FloatArray", "Joint", "JointDetector", "LONGEST", "NEWEST", "Rows"]

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Array = npt.NDArray[Any]

LONGEST = 10.0
"""Standard deviations that a metric counts at most: beyond, one metric alone is enough to see it."""
NEWEST = 1.0 - 0.5 ** (1.0 / 3.0)
"""Share of the newest sample in what is taken as the present: a half-life of three samples."""


@dataclass(frozen=True, slots=True)
class Joint:
    """The result for every entity.

    Attributes
    ----------
    severity : ndarray, shape (n,)
        NaN: cannot say.
    share : ndarray, shape (n, p)
        Part of each metric in the severity, 0 to 1; their sum is 1, or 0 where there is nothing to explain.
    excused : ndarray of bool, shape (n,)
        Entities that would be anomalous, if it were not for a load on all of their metrics.
    """

    severity: FloatArray
    share: FloatArray
    excused: npt.NDArray[np.bool_]


class JointDetector(Protocol):
    """Learned state of one group, arrays with the entity as first axis where they have one."""

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""

    def forget(self, rows: Rows) -> None:
        """Reset the state of the entities in `rows`; what was learned from all of them together stays."""

    def settle(self, rows: Rows) -> None:
        """Reset the recent severity of the entities in `rows`: their present level was accepted."""

    def judge(self, at: float, matrix: GroupMatrix, load: FloatArray, seconds: float) -> Joint:
        """Judge one instant, then learn it.

        Parameters
        ----------
        at : float, Unix seconds
        matrix : GroupMatrix
            Not changed.
        load : ndarray, shape (n,)
            The common factor of entities that may be under a load, NaN for the others. Where a load is why an entity
            is not anomalous, the instant is not learned.
        seconds : float
            How much time an instant stands for.
        """

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name, as it is stored."""

    def restore(self, parts: Mapping[str, Array], size: int) -> bool:
        """Restore stored state of `size` entities; False, with nothing changed, where it does not fit."""
