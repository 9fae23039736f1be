"""How far the metrics of each entity stray by themselves, as part of what is expected: the measure of a common factor.

The spread of a query's baseline holds for one hour of the week and has its events in it, so after one load it would
take a failure for another. This is of all hours, and of what is no load.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.joint import Array, FloatArray, Rows

__all__ = ["GrowthNoise"]

_ENOUGH = 48.0
"""Samples of a metric before its own noise counts; until then it is that of the baseline."""
_MEMORY = 2000.0
"""Samples that are remembered."""
_FARTHEST = 3.0
"""Standard deviations that a sample counts at most: events are not noise."""
_YOUNG = 12.0
"""Samples that all count in full."""
_NORMAL = np.sqrt(np.pi / 2.0)
"""Standard deviation over mean absolute deviation, for a normal distribution."""


class GrowthNoise:
    """Mean absolute growth of each metric of each entity.

    Parameters
    ----------
    metrics : int
    """

    def __init__(self, metrics: int) -> None:
        self._metrics = metrics
        self._size = np.zeros((0, metrics), np.float32)
        self._count = np.zeros((0, metrics), np.float32)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        empty = np.zeros((capacity - len(self._size), self._metrics), np.float32)
        self._size, self._count = (np.concatenate([old, empty]) for old in (self._size, self._count))

    def forget(self, rows: Rows) -> None:
        """Reset the entities in `rows`."""
        self._size[rows] = self._count[rows] = 0.0

    def of(self, matrix: GroupMatrix) -> FloatArray:
        """Return one standard deviation as part of what is expected, shape (n, p), as `GroupMatrix.noise`."""
        size, count = self._size[: len(matrix.z)], self._count[: len(matrix.z)]
        return np.where((count >= _ENOUGH) & ~np.isnan(matrix.z), _NORMAL * size, matrix.noise)

    def learn(self, matrix: GroupMatrix, load: FloatArray) -> None:
        """Learn an instant; `load`, shape (n,), is NaN where there is none."""
        size, count = self._size[: len(matrix.z)], self._count[: len(matrix.z)]
        counted = np.isfinite(matrix.growth) & ~np.isnan(matrix.z) & np.isnan(load)[:, None]
        new = np.abs(np.where(counted, matrix.growth, 0.0))
        new = np.where(count < _YOUNG, new, np.minimum(new, _FARTHEST * _NORMAL * size))
        count += np.where(counted & (count < _MEMORY), 1.0, 0.0).astype(np.float32)
        size += np.where(counted, (new - size) / np.maximum(count, 1.0), 0.0).astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """Return the state, by name."""
        return {"noise_size": self._size, "noise_count": self._count}

    def restore(self, parts: Mapping[str, Array], size: int) -> None:
        """Restore the stored state of `size` entities; where it does not fit, it is learned anew."""
        stored = [parts.get(name) for name in ("noise_size", "noise_count")]
        shape = (size, self._metrics)
        if all(array is not None and array.shape == shape and np.isfinite(array).all() for array in stored):
            self._size, self._count = (np.array(array, np.float32) for array in stored)
        else:
            self._size, self._count = np.zeros((2, *shape), np.float32)
