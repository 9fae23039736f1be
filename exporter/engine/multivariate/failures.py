"""Metrics that fail under a load, from the begin of an anomaly to its end.

What fails under a load has the alert of its query, and that of its entity is held. Whether there is a load is uncertain
in single samples, and an alert must not come and go with them: it is decided while the anomaly begins, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.joint import Array, Rows

__all__ = ["Failures"]

BoolArray = npt.NDArray[np.bool_]

_ONSET = 5
"""Instants from the begin of an anomaly in which it may prove to be a failure under a load: one more than the samples
of which the mean shows a load."""
_CALM = 3
"""Instants without an anomaly after which the next one is another."""
_LINGERING = 24
"""Instants for which it is still what failed after its last anomalous sample: the score of its entity is smoothed, and
lasts longer. What is anomalous then is another anomaly."""
_OLDEST = 10_000


class Failures:
    """What is decided of the anomaly of each entity.

    Parameters
    ----------
    metrics : int
    """

    def __init__(self, metrics: int) -> None:
        self._metrics = metrics
        self._own: dict[str, Array] = {
            "anomaly_age": np.zeros(0, np.int16),  # Instants since it began; 0: there is none.
            "anomaly_calm": np.zeros(0, np.int16),  # Instants since the newest that was anomalous.
            "failing_for": np.zeros((0, metrics), np.int8),  # More instants for which each metric is what failed.
        }

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        for name, old in self._own.items():
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            self._own[name] = new

    def forget(self, rows: Rows) -> None:
        """Begin anew for `rows`, shape (m,)."""
        for array in self._own.values():
            array[rows] = 0

    def step(self, failing: BoolArray, unwell: BoolArray, anomalous: BoolArray) -> BoolArray:
        """Return which metrics fail under a load, shape (n, p).

        Parameters
        ----------
        failing, unwell : ndarray of bool, shape (n, p)
            Metrics that do so by the newest samples, and those that were anomalous in one of them.
        anomalous : ndarray of bool, shape (n,)
            Entities that are.
        """
        age, calm, left = (array[: len(failing)] for array in self._own.values())
        calm[...] = np.where(anomalous, 0, np.minimum(calm + 1, _CALM))
        age[...] = np.where(anomalous | ((age > 0) & (calm < _CALM)), np.minimum(age + 1, _OLDEST), 0)
        lasts = (failing & (age <= _ONSET)[:, None]) | ((left > 0) & unwell)
        left[...] = np.where(lasts, _LINGERING, np.maximum(left - 1, 0))
        left[age == 0] = np.where(failing[age == 0], _LINGERING, 0)
        return left > 0

    def arrays(self) -> dict[str, Array]:
        """Return the state, by name."""
        return self._own

    def restore(self, parts: Mapping[str, Array], size: int) -> None:
        """Restore the stored state of `size` entities; what does not fit begins anew."""
        fresh = Failures(self._metrics)
        fresh.grow(size)
        if all(name in parts and parts[name].shape == array.shape for name, array in fresh._own.items()):
            self._own = {name: parts[name].astype(array.dtype) for name, array in fresh._own.items()}
        else:
            self._own = fresh._own
