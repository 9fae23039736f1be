"""Mean and covariance of the vectors of every entity, learned in blocks with a memory, and whitening by them.

Vectors of a block are kept until it is full; then they are folded into the means and covariances of all entities in
a few array operations. So one instant costs next to nothing, and instants one by one or many give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "Covariances", "whitening"]

FloatArray = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]

BLOCK = 12
"""Vectors that are learned at once."""
_PRIOR = 1.0
"""Vectors a metric that an entity must have seen before its own correlations weigh as much as those of all."""
_IDENTITY = 3.0
"""Vectors a metric for which the identity stands: metrics are independent until seen otherwise."""
_LEAST_SPREAD, _LEAST_OF_ALL = 0.003, 1e-5
"""Parts of its level, and of the mean level of all entities, that a metric strays at least: less is rounding, and a
constant that moves by it is no news."""
_YOUNG = 10
"""Blocks for which an entity is whitened anew after each of them, because each of them changes much."""
_WIDER = 10.0
"""Times its spread before, from which on a metric is whitened anew at once."""
_TINY = 1e-12
"""Spread of what never moved and is zero: any other value is news."""
_LARGEST = 1e15
"""Beyond, squares would not be finite in single precision."""
_OWN = ("mean", "covariance", "count", "level", "whitening", "blocks")


class Covariances:
    """Means and covariances of one kind of vector.

    Parameters
    ----------
    metrics : int
    ridge : float
        Variance that is added to every standardised metric: differences of metrics that are all but equal are rounding
        and not knowledge.
    memory : float, seconds
    refit : float, seconds
        Time between two whitenings of an entity: taking a covariance apart is the dear part.
    """

    def __init__(self, metrics: int, *, ridge: float, memory: float, refit: float) -> None:
        self.ridge = ridge
        self._metrics, self._memory, self._refit = metrics, memory, refit
        p = metrics
        self._own: dict[str, Array] = {
            "mean": np.zeros((0, p)),
            "covariance": np.zeros((0, p, p), np.float32),
            "count": np.zeros((0, p), np.float32),
            "level": np.zeros((0, p)),
            "whitening": np.zeros((0, p, p), np.float32),
            "blocks": np.zeros(0, np.int32),
        }
        self._block = np.full((BLOCK, 0, p), np.nan, np.float32)
        self._steps = np.zeros(2)
        """Vectors in the block, and blocks."""

    @property
    def count(self) -> Array:
        """How many vectors were learned, by entity and metric, faded; shape (n, p)."""
        return self._own["count"]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        size = len(self._own["count"])
        for name, old in self._own.items():
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[:size] = old
            self._own[name] = new
        block = np.full((BLOCK, capacity, self._metrics), np.nan, np.float32)
        block[:, :size] = self._block
        self._block = block

    def forget(self, rows: Rows) -> None:
        """Reset the entities in `rows`."""
        for array in self._own.values():
            array[rows] = 0
        self._block[:, rows] = np.nan

    def whiten(self, vectors: FloatArray, rows: Rows | slice = slice(None)) -> FloatArray:
        """Return whitened vectors, shape (n, p); 0 where a metric is missing (NaN) or nothing was learned of it.

        They are those of the entities in `rows`, by default the first n.
        """
        if isinstance(rows, slice):
            rows = slice(len(vectors))
        own = {name: self._own[name][rows] for name in ("count", "mean", "whitening")}
        seen = own["count"] > 0.0
        present = ~np.isnan(vectors) & seen
        away = np.where(present, vectors - own["mean"], 0.0)
        white = np.matmul(own["whitening"], away[:, :, None])[:, :, 0].astype(np.float64)
        partial = np.flatnonzero((present != seen).any(axis=1) & (present.sum(axis=1) >= 2))
        if len(partial):
            some = present[partial]
            those = partial if isinstance(rows, slice) else rows[partial]
            matrices = self._matrices(those, self._common(), some)
            white[partial] = np.matmul(matrices, away[partial][:, :, None])[:, :, 0]
        return np.where(present, white, 0.0)

    def scale(self, size: int) -> tuple[FloatArray, FloatArray]:
        """Return means and spreads of the first `size` entities, shape (size, p); 0 where nothing was learned."""
        spread = self._spread(slice(size))
        return self._own["mean"][:size], np.where(self._own["count"][:size] > 0.0, spread, 0.0)

    def scaled(self, rows: Rows) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return mean, spread (m, p) and correlation (m, p, p) of the entities in `rows`."""
        spread, correlation = self._standard(rows)
        return self._own["mean"][rows], spread, self._shrunk(rows, correlation, self._common())

    def learn(self, vectors: FloatArray, level: FloatArray, seconds: float) -> None:
        """Keep one vector of every entity, shape (n, p), NaN = not to be learned; learn the block when it is full.

        Parameters
        ----------
        level : ndarray, shape (n, p)
            The size of the metrics, as `vectors` in source units.
        """
        index = int(self._steps[0])
        self._block[index, : len(vectors)] = np.clip(vectors, -_LARGEST, _LARGEST)
        own = self._own["level"][: len(vectors)]
        size = np.abs(level)
        finite = np.isfinite(size)
        gain = 1.0 / np.clip(self._own["count"][: len(vectors)], 1.0, 2000.0)
        own[finite] += (gain * (size - own))[finite]
        self._steps[0] += 1.0
        if index + 1 == BLOCK:
            self._fold(seconds)

    def _fold(self, seconds: float) -> None:
        block = self._block.astype(np.float64)
        present = ~np.isnan(block)
        number = present.sum(axis=0)
        rows = np.flatnonzero(number.any(axis=1))
        self._steps[:] = 0.0, self._steps[1] + 1.0
        decay = np.exp(-BLOCK * seconds / self._memory)
        self._own["count"] *= np.float32(decay)
        before = self._spread(rows)
        if len(rows):
            self._add(rows, block[:, rows], present[:, rows], number[rows])
        self._block[...] = np.nan
        self._own["blocks"][rows] += 1
        # Entities take turns, so that no block is dear.
        turns = max(1, round(self._refit / (BLOCK * seconds)))
        due = (rows + int(self._steps[1])) % turns == 0
        # A constant that has moved has another mean now: in its old spread it would be far from it.
        due |= (self._spread(rows) > _WIDER * before).any(axis=1)
        self.refit(rows[due | (self._own["blocks"][rows] <= _YOUNG)])

    def _add(self, rows: Rows, block: FloatArray, present: npt.NDArray[np.bool_], number: Array) -> None:
        own = self._own
        before = own["count"][rows].astype(np.float64)
        after = before + number
        mean = np.where(present, block, 0.0).sum(axis=0) / np.maximum(number, 1)
        step = np.where(number > 0, mean - own["mean"][rows], 0.0)
        away = np.where(present, block - mean, 0.0).transpose(1, 2, 0)
        both = present.transpose(1, 2, 0).astype(np.float64)
        pair = both @ both.swapaxes(1, 2)
        old = np.minimum(before[:, :, None], before[:, None, :])
        new = np.maximum(old + pair, 1.0)
        total = old * own["covariance"][rows] + away @ away.swapaxes(1, 2)
        total += old * pair / new * step[:, :, None] * step[:, None, :]
        own["covariance"][rows] = np.where(pair > 0.0, total / new, own["covariance"][rows])
        own["mean"][rows] += step * number / np.maximum(after, 1.0)
        own["count"][rows] = after

    def limit(self, rows: Rows, count: float) -> None:
        """Let what the entities in `rows` have learned weigh as much as so many vectors at most."""
        self._own["count"][rows] = np.minimum(self._own["count"][rows], np.float32(count))

    def refit(self, rows: Rows) -> None:
        """Whiten the entities in `rows` anew."""
        if len(rows):
            seen = self._own["count"][rows] > 0.0
            self._own["whitening"][rows] = self._matrices(rows, self._common(), seen)

    def _spread(self, rows: Rows | slice) -> FloatArray:
        variance = np.einsum("npp->np", self._own["covariance"][rows]).astype(np.float64)
        seen = self._own["blocks"] > 0
        least = _LEAST_OF_ALL * self._own["level"][seen].mean(axis=0) if seen.any() else 0.0
        spread: FloatArray = np.sqrt(variance) + _LEAST_SPREAD * self._own["level"][rows] + least + _TINY
        return spread

    def _standard(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return the spread, shape (m, p), and the correlations, shape (m, p, p), as they were seen."""
        covariance = self._own["covariance"][rows].astype(np.float64)
        spread = self._spread(rows)
        return spread, covariance / spread[:, :, None] / spread[:, None, :]

    def _common(self) -> FloatArray:
        """Return the correlations of all entities together, shape (p, p)."""
        rows = np.flatnonzero(self._own["blocks"] > 0)
        pair = self._pairs(rows)
        identity = _IDENTITY * self._metrics
        total = (pair * self._standard(rows)[1]).sum(axis=0) + identity * np.eye(self._metrics)
        common: FloatArray = total / (pair.sum(axis=0) + identity)
        return common

    def _pairs(self, rows: Rows) -> FloatArray:
        count = self._own["count"][rows].astype(np.float64)
        return np.minimum(count[:, :, None], count[:, None, :])

    def _shrunk(self, rows: Rows, correlation: FloatArray, common: FloatArray) -> FloatArray:
        pair, prior = self._pairs(rows), _PRIOR * self._metrics
        shrunk: FloatArray = (pair * correlation + prior * common) / (pair + prior)
        return shrunk

    def _matrices(self, rows: Rows, common: FloatArray, present: npt.NDArray[np.bool_]) -> FloatArray:
        """Return what whitens vectors in source units, shape (m, p, p)."""
        spread, correlation = self._standard(rows)
        return whitening(self._shrunk(rows, correlation, common), present, self.ridge) / spread[:, None, :]

    # ------------------------------------------------------------------ state

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name, with the entity as first axis where there is one."""
        return {**self._own, "block": self._block.swapaxes(0, 1), "steps": self._steps}

    def restore(self, parts: Mapping[str, Array], size: int) -> bool:
        """Restore the state of `size` entities; False, with nothing changed, where it does not fit."""
        for name, mine in self.arrays().items():
            shape = mine.shape if name == "steps" else (size, *mine.shape[1:])
            if name not in parts or parts[name].shape != shape:
                return False
            if name != "block" and not np.isfinite(parts[name]).all():
                return False
        self._own = {name: parts[name].astype(self._own[name].dtype) for name in _OWN}
        self._block = np.ascontiguousarray(parts["block"].swapaxes(0, 1), np.float32)
        self._steps = parts["steps"].astype(np.float64)
        return True


def whitening(covariance: FloatArray, present: npt.NDArray[np.bool_] | None, ridge: float = 0.0) -> FloatArray:
    """Return the symmetric whitening matrix of each covariance matrix, shape (n, p, p).

    Parameters
    ----------
    covariance : ndarray, shape (n, p, p)
        Symmetric; it need not be positive definite.
    present : ndarray of bool, shape (n, p), or None
        Metrics to whiten among themselves, as if there were no others; None: all.
    ridge : float
        Variance that is added to every metric.

    Examples
    --------
    >>> whitening(np.array([[[4.0, 0.0], [0.0, 1.0]]]), None)[0]
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    if present is not None:
        both = present[:, :, None] & present[:, None, :]
        covariance = np.where(both, covariance, np.eye(covariance.shape[-1]))
    values, vectors = np.linalg.eigh(covariance)
    scale = 1.0 / np.sqrt(np.maximum(values + ridge, 1e-6))
    white: FloatArray = (vectors * scale[:, None, :]) @ vectors.swapaxes(1, 2)
    return white
