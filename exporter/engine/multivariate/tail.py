"""How rare a value is among past values: a histogram with decay, and a fitted tail beyond it.

Within the histogram the probability is counted; beyond its 90 % quantile a generalised Pareto distribution is
fitted by probability-weighted moments [1]_.

References
----------
.. [1] J. R. M. Hosking, J. R. Wallis (1987), Parameter and Quantile Estimation for the Generalized Pareto
   Distribution. Technometrics 29(3). doi:10.1080/00401706.1987.10488243
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "counted", "surprise"]

FloatArray = npt.NDArray[np.float64]

BINS = 96
"""Sixteen octaves, from a sixteenth to 4,096; a length is 1 on average."""
_PER_OCTAVE, _FIRST = 6, -4.0
"""Bins begin at 2**-4 and are a sixth of an octave wide; everything below is in the first, above in the last."""
_TAIL = 0.1
"""Part of the past that the tail is fitted to: less leaves too few values, more is no tail."""
_SHAPE_MAX = 0.9
"""Beyond, the mean of the tail would not be finite."""
_ALIKE = 6.0
"""Values that say no more than one: they are smoothed, so those that follow each other are alike."""
_SURPRISE_MAX = 15.0
"""A tail is not known well enough to say more."""


def counted(values: FloatArray) -> FloatArray:
    """Return how many of `values`, any shape, NaN left out, fall in each bin; shape (BINS,)."""
    finite = values[~np.isnan(values)]
    position = (np.log2(np.maximum(finite, 2.0**_FIRST)) - _FIRST) * _PER_OCTAVE
    return np.bincount(np.minimum(position.astype(np.intp), BINS - 1), minlength=BINS).astype(np.float64)


def surprise(values: FloatArray, counts: FloatArray) -> FloatArray:
    """Return -log10 of the probability of so large a value, shape of `values`; NaN stays.

    Parameters
    ----------
    values : ndarray
        Not negative.
    counts : ndarray, shape (BINS,)
        From `counted`, added up over the past; at least some.
    """
    edges = 2.0 ** (_FIRST + np.arange(BINS + 1) / _PER_OCTAVE)
    edges[0] = 0.0
    # The chance of a value beyond each edge, with half a value added so that it never is zero.
    beyond = np.append(np.cumsum(counts[::-1])[::-1], 0.0)
    chance = (beyond + 0.5) / (beyond[0] + 1.0)
    log_chance = np.log(chance)
    begin = float(np.interp(-np.log(_TAIL), -log_chance, edges))
    bulk = np.interp(values, edges, log_chance)
    shape, scale = _pareto(counts, edges, begin)
    excess = np.maximum(values - begin, 0.0) / scale
    bent = np.log1p(shape * excess) / shape if shape > 1e-6 else excess
    logarithm = np.where(values > begin, np.log(_TAIL) - bent, bulk)
    rare: FloatArray = np.minimum(-logarithm / np.log(10.0), _SURPRISE_MAX)
    return rare


def _pareto(counts: FloatArray, edges: FloatArray, begin: float) -> tuple[float, float]:
    """Return shape and scale of the excesses over `begin`."""
    low, high = np.maximum(edges[:-1], begin), edges[1:]
    part = np.clip((high - low) / (high - edges[:-1]), 0.0, 1.0)
    weight = counts * part
    excess = np.maximum(0.5 * (low + high) - begin, 0.0)
    number = weight.sum()
    if number <= 0.0:
        return 0.0, max(begin, edges[1])
    mean = float((weight * excess).sum() / number)
    larger = np.cumsum(weight[::-1])[::-1] - 0.5 * weight
    second = float((weight * excess * larger).sum() / number**2)
    spread = mean - 2.0 * second
    shape = 2.0 - mean / spread if spread > 1e-9 * mean else _SHAPE_MAX
    shape = float(np.clip(shape, 0.0, _SHAPE_MAX))
    # A tail that few values speak for is taken as wider, by two standard errors of its mean.
    caution = 1.0 + 2.0 * float(np.sqrt(_ALIKE / number))
    return shape, max(mean * (1.0 - shape) * caution, 1e-6 * edges[1])
