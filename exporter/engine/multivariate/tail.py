"""Which value a small share of past values is beyond: histograms with decay, and a tail fitted to each.

Beyond the 90 % quantile of a histogram a generalised Pareto distribution is fitted by probability-weighted
covariances [1]_: a share that is smaller than one in the number of values cannot be counted.

References
----------
.. [1] J. R. M. Hosking, J. R. Wallis (1987), Parameter and Quantile Estimation for the Generalized Pareto
   Distribution. Technometrics 29(3). doi:10.1080/00401706.1987.10488243
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "counted_by_row", "exceeded"]

FloatArray = npt.NDArray[np.float64]

BINS = 96
"""Sixteen octaves, from a sixteenth to 4,096; a length is 1 on average."""
_PER_OCTAVE, _FIRST = 6, -4.0
"""Bins begin at 2**-4 and are a sixth of an octave wide; everything below is in the first, above in the last."""
_TAIL = 0.1
"""Part of the past that the tail is fitted to: less leaves too few values, more is no tail."""
_SHAPE_MAX = 0.5
"""Beyond, the spread of the tail would not be finite."""
_ALIKE = 6.0
"""Values that say no more than one: they are smoothed, so those that follow each other are alike."""


def counted_by_row(values: FloatArray, counts: npt.NDArray[np.float32]) -> None:
    """Count each value in the bin of its row; NaN is left out.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Not negative.
    counts : ndarray, shape (n, BINS)
        Changed.
    """
    rows = np.flatnonzero(~np.isnan(values))
    position = (np.log2(np.maximum(values[rows], 2.0**_FIRST)) - _FIRST) * _PER_OCTAVE
    counts[rows, np.minimum(position.astype(np.intp), BINS - 1)] += 1.0


def exceeded(counts: FloatArray, certain: float, share: float) -> FloatArray:
    """Return the value that a share of the past was beyond, shape (n,).

    Parameters
    ----------
    counts : ndarray, shape (n, BINS)
        As `counted_by_row` adds them up; some in every row.
    certain : float
        How many values speak for it; the fewer, the farther the tail reaches.
    share : float, 0 to 1
    """
    edges = 2.0 ** (_FIRST + np.arange(BINS + 1) / _PER_OCTAVE)
    edges[0] = 0.0
    beyond = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    tail = max(_TAIL, share)
    # The first bin beyond whose lower edge there is no more than the tail, and the edge within the bin before it.
    last = (beyond > tail * beyond[:, :1]).sum(axis=1) - 1
    rows = np.arange(len(counts))
    here = counts[rows, last]
    part = (beyond[rows, last] - tail * beyond[:, 0]) / np.maximum(here, 1e-12)
    begin = edges[last] + part * (edges[last + 1] - edges[last])
    shape, scale = _pareto(counts, edges, begin, certain)
    times = tail / share
    with np.errstate(invalid="ignore", divide="ignore"):
        farther = np.where(shape > 1e-6, (times**shape - 1.0) / shape, np.log(times))
    limit: FloatArray = begin + scale * farther
    return limit


def _pareto(counts: FloatArray, edges: FloatArray, begin: FloatArray, certain: float) -> tuple[FloatArray, FloatArray]:
    """Return shape and scale of the excesses over `begin`, shape (n,)."""
    low, high = np.maximum(edges[:-1], begin[:, None]), edges[1:]
    part = np.clip((high - low) / (high - edges[:-1]), 0.0, 1.0)
    weight = counts * part
    excess = np.maximum(0.5 * (low + high) - begin[:, None], 0.0)
    number = np.maximum(weight.sum(axis=1), 1e-12)
    mean = (weight * excess).sum(axis=1) / number
    larger = np.cumsum(weight[:, ::-1], axis=1)[:, ::-1] - 0.5 * weight
    second = (weight * excess * larger).sum(axis=1) / number**2
    spread = mean - 2.0 * second
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = np.where(spread > 1e-9 * mean, 2.0 - mean / spread, _SHAPE_MAX)
    shape = np.clip(shape, 0.0, _SHAPE_MAX)
    # A tail that few values speak for is taken as wider, by two standard errors of its mean.
    caution = 1.0 + 2.0 * np.sqrt(_ALIKE / max(_TAIL * certain, 1.0))
    return shape, np.maximum(mean * (1.0 - shape) * caution, 1e-6 * edges[1])
