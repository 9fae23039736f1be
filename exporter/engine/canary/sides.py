"""The difference of two sides in one slot: of equal numbers of series, and how far their choice alone can move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.canary.sequential import PAIRS

__all__ = ["Sides", "compare_sides", "spread_of_sides"]

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_CHOICE = 3.0
"""Standard errors by which the choice of series moves a difference at most."""
_ENOUGH = 4
"""Series of both sides from which their spread is known."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of every comparison in one slot; arrays of shape (n,), NaN where a side has no sample.

    Attributes
    ----------
    value : ndarray, shape (2, n)
        Of the baseline and of the candidate, source units: the mean of their series, or the quantile.
    count : ndarray, shape (2, n)
        How many series they have.
    pairs : ndarray, shape (PAIRS, n)
        Candidate less baseline, of as many series of each side: where the sides do not differ, these are as often
        above zero as below, also where one side has few series with values that are not symmetric.
    """

    value: FloatArray
    count: npt.NDArray[np.intp]
    pairs: FloatArray


def compare_sides(values: FloatArray, place: Rows, side: Rows, comparisons: int, quantile: float | None) -> Sides:
    """Return the sides of a slot.

    Parameters
    ----------
    values : ndarray, shape (size,)
        Samples by row; NaN = none.
    place : ndarray, shape (size,)
        The comparison of each row; -1: it has none.
    side : ndarray, shape (size,)
        0: baseline, 1: candidate.
    comparisons : int
        n.
    quantile : float or None
        None: the mean.
    """
    rows = np.flatnonzero((place >= 0) & np.isfinite(values))
    key = place[rows] * 2 + side[rows]
    order = np.argsort(key, kind="stable")
    rows, key = rows[order], key[order]
    count = np.bincount(key, minlength=2 * comparisons).reshape(comparisons, 2).T
    value = _statistic(values[rows], key, 2 * comparisons, quantile).reshape(comparisons, 2).T
    # Series in the order of their rows, cut into parts of the size of the smaller side.
    first = np.searchsorted(key, np.arange(2 * comparisons))
    size = np.maximum(count.min(axis=0), 1)
    part = (np.arange(len(rows)) - first[key]) // size[key // 2]
    last = count.T.reshape(-1)[key] // size[key // 2]
    whole = part < np.minimum(last, PAIRS)
    parts = _statistic(
        values[rows[whole]], key[whole] * PAIRS + part[whole], 2 * comparisons * PAIRS, quantile
    ).reshape(comparisons, 2, PAIRS)
    # The smaller side is in every pair.
    single = size[:, None] == count.T
    parts = np.where(single[:, :, None], parts[:, :, :1], parts)
    pairs = (parts[:, 1] - parts[:, 0]).T
    # Of two sides of one size there is one pair.
    pairs[1:, single.all(axis=1)] = np.nan
    return Sides(value, count, pairs)


def spread_of_sides(level: FloatArray, place: Rows, side: Rows, comparisons: int) -> FloatArray:
    """Return how large a difference the choice of series can make, shape (n,), source units; 0 where that is unknown.

    Series of one side differ for good: one machine is slower than another. That moves a difference in each slot alike,
    so that no number of slots tells it from one of the sides; how much it may be follows from how much the series of
    each side differ among themselves.

    Parameters
    ----------
    level : ndarray, shape (size,)
        The mean of each row over time; NaN = it has none.
    """
    rows = np.flatnonzero((place >= 0) & np.isfinite(level))
    key = place[rows] * 2 + side[rows]
    count = np.bincount(key, minlength=2 * comparisons).astype(np.float64)
    with np.errstate(all="ignore"):
        mean = np.bincount(key, level[rows], 2 * comparisons) / count
        squares = np.bincount(key, (level[rows] - mean[key]) ** 2, 2 * comparisons)
        freedom = count.reshape(comparisons, 2).sum(axis=1) - 2.0
        each = (1.0 / count).reshape(comparisons, 2).sum(axis=1)
        error = np.sqrt(squares.reshape(comparisons, 2).sum(axis=1) / freedom * each)
    return np.where((freedom >= _ENOUGH - 2) & np.isfinite(error), _CHOICE * error, 0.0)


def _statistic(values: FloatArray, key: Rows, keys: int, quantile: float | None) -> FloatArray:
    """Return the mean or a quantile of the values of each key, shape (keys,); NaN where it has none."""
    count = np.bincount(key, minlength=keys)
    with np.errstate(all="ignore"):
        if quantile is None:
            return np.bincount(key, values, keys) / count
    ordered = values[np.lexsort((values, key))]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    place = first + quantile * np.maximum(count - 1, 0)
    result = np.full(keys, np.nan)
    here = count > 0
    low = np.floor(place[here]).astype(np.intp)
    high = np.minimum(low + 1, (first + count - 1)[here])
    part = place[here] - low
    result[here] = ordered[low] * (1.0 - part) + ordered[high] * part
    return result
