"""The threshold that a budget asks for, from how many alerts each threshold would have raised.

The wanted threshold is mostly rarer than anything in the history, so the curve is continued by a generalised Pareto
distribution [1]_ over the highest reference level that enough alerts came above, fitted by probability-weighted
moments [2]_. Those are two integrals over the curve of counts, ``a0 = integral of S`` and ``a1 = integral of
S**2 / 2``, where S is the part of the alerts at the reference that would be left at a higher threshold.

References
----------
.. [1] J. Pickands (1975), Statistical inference using extreme order statistics. Annals of Statistics 3(1).
.. [2] J. R. M. Hosking, J. R. Wallis (1987), Parameter and quantile estimation for the generalized Pareto
   distribution. Technometrics 29(3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors.base import BLOCK

__all__ = ["GRID", "LEAST", "LEVELS", "MOST", "WEEK", "Budget", "Calibration", "calibrate"]

FloatArray = npt.NDArray[np.float64]

WEEK = 7 * 86400.0
LEAST, MOST = 0.3, 10.0
"""Thresholds, in severities. Below them an alert would mean nothing; what is above them nobody wants to miss, whatever
the budget is."""
LEVELS = 512
GRID = np.geomspace(LEAST, 30.0, LEVELS).astype(np.float32)
"""Thresholds at which alerts are counted; 0.9 % apart."""
ENOUGH = 0.98 * WEEK
"""Seconds of history at the query's own interval before a threshold is calibrated."""
FEWEST = 30
"""Alerts above the reference level of the fit: with fewer nothing is fitted. More make it steadier and take it farther
from where it is asked."""
TIMES = 1.5
"""Alerts above the reference level, in those that are wanted."""
TOGETHER = 720.0
"""Seconds within which all that begins is one alert; a slot at least, and a block of slots at most."""
SHARE = 0.2
"""Part of such spans that may have an alert at the reference level; with more, several would count as one."""
_SHAPE = 0.45
"""Shapes of the tail beyond this have no standard error, and come from few alerts."""
_Z90 = 1.645
_WIDEST = 20.0
_KNOWN = 20.0
REMEMBERED = 8640.0
"""Slots in which a count fades to a third, though not in less than a week or more than the window of the baseline: a
series gets quieter with every sample that is known of it, so alerts of many slots ago say too much."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many alerts a query may raise, and what makes one.

    Attributes
    ----------
    rate : float, alerts a second
    needed : int
        Anomalous slots in a row that fire an alert.
    kept : int
        Normal slots in a row that end it.
    interval : float, seconds
        Between slots. Samples that stand for another time are of another grain and are not counted.
    """

    rate: float
    needed: int
    kept: int
    interval: float

    def memory(self, window: float) -> float:
        """Return in how many seconds a count fades, where the baseline forgets in `window`."""
        return min(window, max(WEEK, REMEMBERED * self.interval))

    @property
    def together(self) -> int:
        """Slots within which all that begins is one alert."""
        return min(BLOCK, max(1, int(TOGETHER // self.interval)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of the threshold of a query.

    Attributes
    ----------
    threshold : float
        Severities are divided by it; 1 until it is `fitted`.
    fitted : bool
    expected, lower, upper : float
        Alerts a second at this threshold, and the interval that holds the true rate with a probability of 90 %;
        NaN where nothing can be said.
    shape : float
        Of the tail: 0 is exponential, above is heavier.
    peaks : float
        Alerts at the reference level that it was fitted to.
    history : float, seconds
        That were counted.
    """

    threshold: float = 1.0
    fitted: bool = False
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    shape: float = math.nan
    peaks: float = 0.0
    history: float = 0.0


def calibrate(
    counts: FloatArray, seconds: float, history: float, budget: Budget, clumps: FloatArray | float = 1.0
) -> Calibration:
    """Return the threshold at which alerts begin as often as the budget allows.

    Parameters
    ----------
    counts : ndarray, shape (LEVELS,)
        Alerts that began at each threshold of `GRID`.
    seconds : float
        In which they were counted, faded as they are.
    history : float, seconds
        Without fading.
    budget : Budget
    clumps : ndarray, shape (LEVELS,)
        Variance of the alerts of a day, in their mean: 1 where they come independently of each other.
    """
    # A long alert may fall into several at a higher threshold; fewer are never left for it.
    curve = np.maximum.accumulate(counts[::-1])[::-1]
    if history < ENOUGH or curve[0] < FEWEST:
        return Calibration(peaks=float(curve[0]), history=history)
    wanted = budget.rate * seconds
    spans = seconds / (budget.interval * budget.together)
    enough = min(max(FEWEST, TIMES * wanted), max(SHARE * spans, FEWEST), curve[0])
    at = int(np.flatnonzero(curve >= enough)[-1])
    tail = _Pareto.fit(GRID[at:].astype(np.float64), curve[at:])
    threshold = float(np.clip(tail.level(wanted), LEAST, MOST))
    clumped = math.sqrt(max(1.0, float(np.broadcast_to(clumps, LEVELS)[at])))
    expected, error = tail.count(threshold), tail.error(threshold)
    counted = float(curve[min(int(np.searchsorted(GRID, threshold)), LEVELS - 1)])
    if max(counted, expected) >= _KNOWN and not 0.5 < counted / expected < 2.0:
        # The tail has a shape of its own here, and there are enough alerts to know without the fit.
        expected = max(counted, 1.0)
        error = 1.0 / math.sqrt(expected)
    spread = math.exp(min(_Z90 * clumped * error, _WIDEST))
    each = 1.0 / seconds
    return Calibration(
        threshold, True, expected * each, expected / spread * each, expected * spread * each,
        tail.shape, tail.peaks, history,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pareto:
    """How many alerts are left above a level, over a reference level."""

    reference: float
    peaks: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, levels: FloatArray, curve: FloatArray) -> _Pareto:
        left = curve / curve[0]
        first = float(np.trapezoid(left, levels))
        second = float(np.trapezoid(left * left, levels)) / 2.0
        if first - 2.0 * second <= 1e-9 * first:
            return cls(float(levels[0]), float(curve[0]), max(first, 1e-6), 0.0)
        shape = float(np.clip(2.0 - first / (first - 2.0 * second), -_SHAPE, _SHAPE))
        # With the shape held at a limit, the scale still gives the mean excess that was seen.
        return cls(float(levels[0]), float(curve[0]), max(first * (1.0 - shape), 1e-6), shape)

    def level(self, count: float) -> float:
        """Return the level that `count` alerts are left above."""
        ratio = math.log(max(self.peaks / count, 1e-12))
        if abs(self.shape) < 1e-6:
            return self.reference + self.scale * ratio
        return self.reference + self.scale * math.expm1(self.shape * ratio) / self.shape

    def count(self, level: float) -> float:
        """Return how many alerts are left above a level."""
        distance = max(0.0, level - self.reference) / self.scale
        if abs(self.shape) < 1e-6:
            return self.peaks * math.exp(-distance)
        return float(self.peaks * max(1.0 + self.shape * distance, 1e-12) ** (-1.0 / self.shape))

    def error(self, level: float) -> float:
        """Return the standard error of the logarithm of `count`, by the delta method on Hosking's covariance."""
        k = -self.shape if abs(self.shape) > 1e-4 else 1e-4
        x = max(0.0, level - self.reference)
        y = max(1.0 - k * x / self.scale, 1e-6)
        by_scale = x / (self.scale**2 * y)
        by_shape = -math.log(y) / k**2 - x / (self.scale * k * y)
        of_scale = self.scale**2 * (7 + 18 * k + 11 * k**2 + 2 * k**3)
        both = self.scale * (2 + k) * (2 + 6 * k + 7 * k**2 + 2 * k**3)
        of_shape = (1 + k) * (2 + k) ** 2 * (1 + k + 2 * k**2)
        fit = by_scale**2 * of_scale + 2 * by_scale * by_shape * both + by_shape**2 * of_shape
        return math.sqrt((1.0 + max(fit, 0.0) / ((1 + 2 * k) * (3 + 2 * k))) / self.peaks)
