"""Seasonal-trend decomposition by loess as matrices.

Without robustness iterations every step of STL [1]_ is a weighted sum of the values in the window, and so is
the whole decomposition. For a window of fixed length the weights are computed once; a decomposition of many
series is then one matrix product. With several seasons they are taken out in turn, as MSTL [2]_ does.

References
----------
.. [1] R. B. Cleveland, W. S. Cleveland, J. E. McRae, I. Terpenning (1990), STL: A seasonal-trend decomposition
   procedure based on loess. Journal of Official Statistics 6(1).
.. [2] K. Bandara, R. J. Hyndman, C. Bergmeir (2021), MSTL: A seasonal-trend decomposition algorithm for time
   series with multiple seasonal patterns. arXiv:2107.13462.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Decomposition", "Season", "decomposition", "loess"]

FloatArray = npt.NDArray[np.float64]
Degree = Literal[0, 1]

INNER = 5
"""Rounds of season and trend within one STL: the common choice without robustness iterations."""
ROUNDS = 2
"""How often each of several seasons is estimated, as in MSTL; with one season once is enough."""


@dataclass(frozen=True, slots=True)
class Season:
    """A season of STL.

    Attributes
    ----------
    period : int >= 2, samples
    window : odd int >= 3, periods
        Span of the loess that smooths the same place of successive periods: the larger, the steadier the season.
    degree : 0 or 1
        Whether that place is locally constant or locally linear.
    trend : odd int > period, samples
        Span of the loess of the trend; None: what Cleveland et al. recommend.
    trend_degree : 0 or 1
        Whether the trend is locally constant or locally linear.
    """

    period: int
    window: int
    degree: Degree = 1
    trend: int | None = None
    trend_degree: Degree = 1

    @property
    def trend_span(self) -> int:
        """Span of the loess of the trend, samples."""
        return _odd(int(np.ceil(1.5 * self.period / (1.0 - 1.5 / self.window)))) if self.trend is None else self.trend


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Matrices of shape (count, count) that map a window to its parts. The parts add up to the window.

    Attributes
    ----------
    seasons : tuple of Season
        Shortest first.
    seasonal : tuple of ndarray
        One matrix a season.
    trend, residual : ndarray
    """

    seasons: tuple[Season, ...]
    seasonal: tuple[FloatArray, ...]
    trend: FloatArray
    residual: FloatArray

    def ahead(self, step: int) -> FloatArray:
        """Return the weights of the value expected at a place near the end of the window, shape (count,).

        It is the last trend plus what each season was in the newest period that has that place.

        Parameters
        ----------
        step : int
            Samples after the last one of the window: 1 is the next sample, 0 the last one.
        """
        weights: FloatArray = self.trend[-1].copy()
        for season, matrix in zip(self.seasons, self.seasonal, strict=True):
            behind = (1 - step) % season.period
            weights += matrix[-behind if behind else -season.period]
        return weights


@lru_cache(maxsize=8)
def decomposition(count: int, seasons: tuple[Season, ...]) -> Decomposition:
    """Return the maps of a window.

    Parameters
    ----------
    count : int
        Samples of the window; at least the longest period.
    seasons : tuple of Season
        Ordered from the shortest to the longest.

    Raises
    ------
    ValueError
        The window is shorter than a period.
    """
    if count < max(season.period for season in seasons):
        raise ValueError(f"a window of {count} samples is shorter than a period")
    maps = [_stl(count, season) for season in seasons]
    left = np.eye(count)
    seasonal = [np.zeros((count, count)) for _ in seasons]
    trend = left
    for _ in range(ROUNDS if len(seasons) > 1 else 1):
        for index, (season_of, trend_of) in enumerate(maps):
            left = left + seasonal[index]
            seasonal[index] = season_of @ left
            trend = trend_of @ left
            left = left - seasonal[index]
    result = Decomposition(seasons, tuple(seasonal), trend, left - trend)
    for matrix in (*result.seasonal, result.trend, result.residual):
        matrix.setflags(write=False)  # They are shared by all that ask for the same.
    return result


def _stl(count: int, season: Season) -> tuple[FloatArray, FloatArray]:
    """Return the matrices of season and trend of one STL, each of shape (count, count)."""
    period = season.period
    smoothed, low_pass, smoother = _smoothers(count, season)
    averaged = np.zeros((count, count))
    for lag, weight in enumerate(_averages(period)):
        averaged += weight * smoothed[lag : lag + count]
    deviation = smoothed[period : period + count] - low_pass @ averaged
    seasonal = trend = np.zeros((count, count))
    for _ in range(INNER):
        seasonal = deviation - deviation @ trend
        trend = smoother - smoother @ seasonal
    return seasonal, trend


def _averages(period: int) -> FloatArray:
    """Return the weights of averages over one period, twice, and over three samples."""
    # What is left of the season after these and a loess is no season: it is level.
    once = np.full(period, 1.0 / period)
    return np.convolve(np.convolve(once, once), np.full(3, 1 / 3))


def _smoothers(count: int, season: Season) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the smoothers of each place of the period, of what is level in the season, and of the trend."""
    places = np.arange(1, count + 1)
    low_pass = loess(count, _odd(season.period + 1), 1, places)
    return _cycles(count, season), low_pass, loess(count, season.trend_span, season.trend_degree, places)


def _cycles(count: int, season: Season) -> FloatArray:
    """Return the smoother of each place of the period over successive periods, one period longer at both ends.

    Shape (count + 2 * period, count).
    """
    period = season.period
    cycles = np.zeros((count + 2 * period, count))
    for place in range(period):
        columns = np.arange(place, count, period)
        if not len(columns):
            continue
        rows = place + period * np.arange(len(columns) + 2)
        cycles[np.ix_(rows, columns)] = _extended(len(columns), season.window, season.degree)
    return cycles


@lru_cache(maxsize=8)
def _extended(count: int, window: int, degree: Degree) -> FloatArray:
    return loess(count, window, degree, np.arange(count + 2))


def loess(count: int, span: int, degree: Degree, at: npt.NDArray[np.intp]) -> FloatArray:
    """Return the matrix of a loess smoother of equally spaced samples.

    Parameters
    ----------
    count : int
        Samples that are smoothed, at the places 1 to `count`.
    span : odd int >= 3, samples
        How many of the nearest samples have weight. Where it is larger than `count`, all have, and the weights
        fall off as if there were more.
    degree : 0 or 1
        Of the local polynomial.
    at : ndarray of int, shape (m,)
        Places at which the smoothed value is wanted; 0 and `count` + 1 are one step outside.

    Returns
    -------
    ndarray of float64, shape (m, count)
    """
    places = np.arange(1, count + 1, dtype=np.float64)
    middle = at.astype(np.float64)[:, None]
    left = np.clip(at - (span + 1) // 2 + 1, 1, max(1, count - span + 1)).astype(np.float64)[:, None]
    right = np.minimum(left + span - 1, count)
    reach = np.maximum(middle - left, right - middle) + max(0, (span - count) // 2)
    distance = np.abs(places - middle)
    # The reference implementation cuts the tricube off a little before its ends, and so do others since.
    weights = np.where(distance <= 0.001 * reach, 1.0, (1.0 - np.minimum(distance / reach, 1.0) ** 3) ** 3)
    weights[(distance > 0.999 * reach) | (places < left) | (places > right)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    if degree == 0:
        return weights
    centre = (weights * places).sum(axis=1, keepdims=True)
    spread = (weights * (places - centre) ** 2).sum(axis=1, keepdims=True)
    slanted = np.sqrt(spread) > 0.001 * (count - 1)
    slope = np.divide(middle - centre, spread, out=np.zeros_like(spread), where=slanted)
    tilted: FloatArray = weights * (1.0 + slope * (places - centre))
    return tilted


def _odd(count: int) -> int:
    return count + (count % 2 == 0)
