"""The threshold that meets an alert budget, from how many alerts each threshold would have raised.

The budget is mostly rarer than anything in the history, so the curve is extrapolated by a generalised Pareto
distribution [1]_ over the highest reference level that enough alerts exceed. Shape and scale are those of maximum
likelihood [2]_, whose standard errors are known [3]_, also for heavy tails.

References
----------
.. [1] J. Pickands (1975), Statistical inference using extreme order statistics. Annals of Statistics 3(1).
.. [2] S. D. Grimshaw (1993), Computing maximum likelihood estimates for the generalized Pareto distribution.
   Technometrics 35(2).
.. [3] R. L. Smith (1987), Estimating tails of probability distributions. Annals of Statistics 15(3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors.base import BLOCK
from exporter.engine.false_alerts import ENOUGH_FOR_RATE, UNKNOWN_RATE, FalseRate, JudgedAlerts, false_rate
from exporter.engine.seconds import WEEK

__all__ = [
    "GRID", "LEAST", "LEVELS", "MOST", "Budget", "Calibration", "ParetoTail", "calibrate", "descending",
    "with_false_rate",
]  # fmt: skip

FloatArray = npt.NDArray[np.float64]

LEAST, MOST = 0.3, 10.0
"""Thresholds, in severities. An alert below means nothing; one above is never dropped, whatever the
budget is."""
LEVELS = 512
GRID = np.geomspace(LEAST, 30.0, LEVELS).astype(np.float32)
GRID[np.abs(GRID - 1.0).argmin()] = 1.0
"""Thresholds at which alerts are counted; 0.9 % apart, and the default one among them: many alerts reach no higher."""
ENOUGH = 0.98 * WEEK
"""Seconds of history at the query's own interval before a threshold is calibrated: a week has every hour, and the last
slots of it may be missing."""
FEWEST = 30
"""Alerts above the reference level of the fit: with fewer nothing is fitted. More make it steadier and take it farther
from where it is asked."""
TIMES = 1.5
"""Alerts above the reference level, in those that the budget allows."""
JUMP = 0.67
"""Part of the alerts at the reference that is left a step of the grid higher. Less is a jump, and the tail begins above
it: `novelty` holds an anomaly at exactly its threshold, and with ``for`` that ends most alerts of bursty series. A fit
from below the jump gave 2.9 alerts for a budget of one."""
FEWEST_ABOVE_JUMP = 10
"""Alerts that a tail above a jump is fitted to at least."""
TOGETHER = 720.0
"""Seconds within which all that begins is one alert; a slot at least, and a block of slots at most."""
SHARE = 0.2
"""Part of such spans that may have an alert at the reference level; with more, several would count as one."""
_SHAPE_MIN, _SHAPE_MAX = -0.45, 0.95
"""Below, the standard error of the fit is not known; above, the tail has no mean. Both come from few alerts."""
_Z90 = 1.645
"""Standard deviations to both ends of what holds 90 % of a normal distribution."""
_WIDEST = 20.0
"""Logarithm of the widest ratio of an end of the interval to its middle: beyond, nothing is known."""
_COUNTED = 20.0
"""Alerts whose number is known as well without a fit: its standard error is 22 %."""
FADING_SLOTS = 8640.0
"""Slots in which a count fades to a third, though not in less than a week or more than the window of the baseline: a
series gets quieter with every sample that it learns, so alerts of many slots ago count too much."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many alerts a query may raise, and what makes one.

    Attributes
    ----------
    rate : float or None, alerts a second
        None where the query has no budget: its threshold is 1, and alerts are counted only to estimate their rate.
    needed : int
        Anomalous slots in a row that fire an alert.
    kept : int
        Normal slots in a row that end it.
    interval : float, seconds
        Between slots. Samples that stand for another time are of another grain and are not counted.
    """

    rate: float | None
    needed: int
    kept: int
    interval: float

    def fading(self, window: float) -> float:
        """Return in how many seconds a count fades, where the baseline forgets in `window`."""
        if self.rate is None:
            return window
        return min(window, max(WEEK, FADING_SLOTS * self.interval))

    @property
    def together(self) -> int:
        """Slots within which all that begins is one alert."""
        return min(BLOCK, max(1, int(TOGETHER // self.interval)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold of a query and how far it can be trusted.

    Attributes
    ----------
    threshold : float
        Severities are divided by it; 1 until it is `fitted`.
    fitted : bool
    expected, lower, upper : float
        Alerts a second at this threshold, and the interval that holds the true rate with a probability of 90 %;
        NaN where it is not fitted.
    shape : float
        Of the tail: 0 is exponential, above is heavier.
    peaks : float
        Alerts at the reference level that it was fitted to.
    history : float, seconds
        That were counted.
    false : FalseRate
        Of these alerts those that are false; NaN where there is too little to estimate it.
    """

    threshold: float = 1.0
    fitted: bool = False
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    shape: float = math.nan
    peaks: float = 0.0
    history: float = 0.0
    false: FalseRate = UNKNOWN_RATE


def calibrate(
    counts: FloatArray, seconds: float, history: float, budget: Budget, clumps: FloatArray | float = 1.0
) -> Calibration:
    """Return the threshold at which alerts begin as often as the budget allows; without one, the default.

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
    curve = descending(counts)
    if budget.rate is None or history < ENOUGH or curve[0] < FEWEST:
        return Calibration(peaks=float(curve[0]), history=history)
    desired = budget.rate * seconds
    spans = seconds / (budget.interval * budget.together)
    enough = min(max(FEWEST, TIMES * desired), max(SHARE * spans, FEWEST), curve[0])
    at = int(np.flatnonzero(curve >= enough)[-1])
    above = min(at + 1, LEVELS - 1)
    if curve[above] < JUMP * curve[at] and curve[above] >= max(FEWEST_ABOVE_JUMP, TIMES * desired):
        at = above
    tail = ParetoTail.fit(GRID[at:].astype(np.float64), curve[at:])
    threshold = float(np.clip(tail.level(desired), LEAST, MOST))
    clumped = math.sqrt(max(1.0, float(np.broadcast_to(clumps, LEVELS)[at])))
    expected, error = tail.count(threshold), tail.error(threshold)
    counted = float(curve[min(int(np.searchsorted(GRID, threshold)), LEVELS - 1)])
    if max(counted, expected) >= _COUNTED and not 0.5 < counted / expected < 2.0:
        # The tail has a shape of its own here, and there are enough alerts to know without the fit.
        expected = max(counted, 1.0)
        error = 1.0 / math.sqrt(expected)
    spread = math.exp(min(_Z90 * clumped * error, _WIDEST))
    each = 1.0 / seconds
    return Calibration(
        threshold, True, expected * each, expected / spread * each, expected * spread * each,
        tail.shape, tail.peaks, history,
    )  # fmt: skip


def with_false_rate(
    calibration: Calibration,
    counts: FloatArray,
    seconds: float,
    clumps: FloatArray,
    judged: JudgedAlerts,
    judged_at: float,
) -> Calibration:
    """Return a calibration with the false alerts to be expected at its threshold.

    Parameters
    ----------
    counts, seconds, clumps
        As for `calibrate`.
    judged : JudgedAlerts
        Of people who saw the alerts at a threshold of `judged_at`.
    """
    if calibration.history < ENOUGH_FOR_RATE:
        return calibration
    threshold = calibration.threshold
    level = min(int(np.searchsorted(GRID, np.float32(threshold))), LEVELS - 1)
    rate = false_rate(
        GRID.astype(np.float64), descending(counts), seconds, judged,
        threshold=float(GRID[level]), judged_at=judged_at, clumps=float(clumps[level]),
    )  # fmt: skip
    return replace(calibration, false=rate)


def descending(counts: FloatArray) -> FloatArray:
    """Return counts of which none is below that at a higher threshold: a long alert may fall into several there."""
    curve: FloatArray = np.maximum.accumulate(counts[::-1])[::-1]
    return curve


@dataclass(frozen=True, slots=True)
class ParetoTail:
    """How many alerts are left above a level, over a reference level."""

    reference: float
    peaks: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, levels: FloatArray, curve: FloatArray) -> ParetoTail:
        """Fit the excesses over ``levels[0]`` by maximum likelihood.

        An alert counts at the middle of its step of the grid; what is above the last level is censored there. With
        ``theta = shape / scale`` given, the best shape is a mean of logarithms, so one variable is left to search.

        Parameters
        ----------
        levels : ndarray, shape (n,)
            Ascending.
        curve : ndarray, shape (n,)
            Alerts at each level, descending.
        """
        from scipy.optimize import minimize_scalar  # Heavy, and only budgets need it.

        reference, peaks = float(levels[0]), float(curve[0])
        excess, number = levels - reference, np.append(curve[:-1] - curve[1:], 0.0)
        middle = np.append(0.5 * (excess[:-1] + excess[1:]), excess[-1])[number > 0.0]
        number = number[number > 0.0]
        seen, censored, last = float(number.sum()), float(curve[-1]), float(excess[-1])
        mean = (float(number @ middle) + censored * last) / max(seen, 1.0)
        if seen <= 0.0:
            return cls(reference, peaks, max(mean, 1e-6), 0.0)
        largest = last if censored else float(middle[-1])
        median = max(float(np.interp(-0.5 * peaks, -curve, excess)), 0.5 * float(excess[1]))

        def shape_of(theta: float) -> tuple[float, float, float]:
            logs = float(number @ np.log1p(theta * middle))
            beyond = censored * math.log1p(theta * largest)
            return min(max((logs + beyond) / seen, _SHAPE_MIN), _SHAPE_MAX), logs, beyond

        def deviance(relative: float) -> float:
            if abs(relative) < 1e-7:
                return seen * (math.log(mean) + 1.0)
            theta = relative / median
            shape, logs, beyond = shape_of(theta)
            return seen * math.log(shape / theta) + (1.0 + 1.0 / shape) * logs + beyond / shape

        # The median of the distribution is (2**shape - 1) / theta, which bounds theta; the largest excess does, too.
        lowest = max(-0.95, -(1.0 - 1e-9) * median / largest)
        best = float(minimize_scalar(deviance, bounds=(lowest, 4.0), method="bounded", options={"xatol": 1e-7}).x)
        if abs(best) < 1e-7:
            return cls(reference, peaks, max(mean, 1e-6), 0.0)
        shape = shape_of(best / median)[0]
        return cls(reference, peaks, max(shape * median / best, 1e-6), shape)

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
        """Return the standard error of the logarithm of `count`, by the delta method on Smith's covariance."""
        shape = self.shape if abs(self.shape) > 1e-4 else 1e-4
        x = max(0.0, level - self.reference) / self.scale
        y = max(1.0 + shape * x, 1e-6)
        by_scale, by_shape = x / y, math.log(y) / shape**2 - x / (shape * y)  # By the logarithm of the scale.
        fit = (1.0 + shape) * (2.0 * by_scale**2 - 2.0 * by_scale * by_shape + (1.0 + shape) * by_shape**2)
        return math.sqrt((1.0 + max(fit, 0.0)) / self.peaks)
