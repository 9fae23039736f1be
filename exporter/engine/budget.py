"""Alert budgets: the threshold at which a query raises about as many alerts as somebody is willing to read.

How many alerts a threshold would have raised is counted for every threshold at once. A series whose severity was
at least *u* for as many slots as ``for`` asks for has an open alert at *u*, and it stays open until the severity
was below *u* for as many slots as ``keep_firing_for`` asks for. So what is open is one number for each series, the
**height**: the alert is open at every threshold up to it. Where the height rises from *a* to *b*, an alert begins at
every threshold in between, and nothing else has to be kept of it.

What begins within twelve minutes counts once, however many series it are: one storm is one alert. The counts fade
with the window of the baseline, and so does the time that they were made in.

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
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors.base import BLOCK

__all__ = ["SETTLED", "WEEK", "Budget", "Calibration", "Tail", "calibrate"]

FloatArray = npt.NDArray[np.float64]

WEEK = 7 * 86400.0
LEAST, MOST = 0.3, 10.0
"""Thresholds, in severities. Below them an alert would mean nothing; what is above them nobody wants to miss, whatever
the budget is."""
LEVELS = 512
GRID = np.geomspace(LEAST, 30.0, LEVELS).astype(np.float32)
"""Thresholds at which alerts are counted; 0.9 % apart."""
SETTLED = 2 * WEEK
"""Age of a series from which on its severities count: the hours of the week are known then. A series that still
learns raises more alerts than it ever will again."""
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
EVERY = 3600.0
"""Seconds of history between two calibrations."""
PATIENCE = 86400.0
"""Seconds that a calibration waits for open alerts to end, so that an incident does not mute itself."""
_SHAPE = 0.45
"""Shapes of the tail beyond this have no standard error, and come from few alerts."""
_Z90 = 1.645
_RING = 64
_DAY = 86400.0
_SAME = 0.01
_WIDEST = 20.0
_KNOWN = 20.0


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


class Tail:
    """Alerts that each threshold would have raised. Arrays have the rows as last axis.

    Parameters
    ----------
    budget : Budget
    memory : float, seconds
        Over which counts fade.

    Attributes
    ----------
    calibration : Calibration
        In force.
    """

    def __init__(self, budget: Budget, memory: float) -> None:
        self.budget = budget
        self.memory = memory
        self.calibration = Calibration()
        self._height, self._last = np.zeros((2, 0), np.float32)
        self._low = _Window(budget.needed, np.minimum)
        self._high = _Window(budget.kept, np.maximum)
        self._counts = np.zeros(LEVELS)
        # Whether an alert began, in each span of the block under way.
        self._begun = np.zeros((math.ceil(BLOCK / budget.together), LEVELS), np.bool_)
        # Alerts of the day under way, and the squares of those of the days before: how much they come in clumps.
        self._today = np.zeros(LEVELS)
        self._squares = np.zeros(LEVELS)
        # Of the block under way: samples of series, and instants.
        self._samples = self._instants = 0
        # Faded seconds of all series together, and how many series there are; seconds of the query in all, and since
        # the last calibration; faded days, and seconds of the day under way.
        self._exposure = self._series = self._history = self._since = self._days = self._day = 0.0

    def fits(self, seconds: float) -> bool:
        """Return whether samples that stand for so many seconds are of the grain of the query's slots."""
        return abs(seconds / self.budget.interval - 1.0) <= _SAME

    def configure(self, budget: Budget) -> None:
        """Count on for another budget; what makes an alert must be the same."""
        if budget != self.budget:
            self.budget = budget
            self.calibrate()

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._height, self._last = _wider(self._height, capacity), _wider(self._last, capacity)
        self._low.ring, self._high.ring = _wider(self._low.ring, capacity), _wider(self._high.ring, capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        for array in self.arrays().values():
            array[..., rows] = 0.0

    def see(self, rows: slice, slot: int, severity: FloatArray) -> None:
        """Note severities that have not been divided by any threshold.

        Parameters
        ----------
        slot : int
            Number of the first instant; only differences matter.
        severity : ndarray, shape (t, n)
            NaN: there is nothing to say, or no alert could come of it.
        """
        height, last = self._height[rows], self._last[rows]
        for index, exact in enumerate(severity, slot):
            here = ~np.isnan(exact)
            # Where nothing is known, what waits goes on waiting.
            last[here] = exact[here]
            lowest, highest = self._low.put(index, rows, last), self._high.put(index, rows, last)
            rises = np.flatnonzero(here & (lowest > height) & (lowest >= GRID[0]))
            if len(rises):
                self._begin(index % BLOCK // self.budget.together, height[rises], lowest[rises])
            height[here] = np.maximum(lowest, np.minimum(height, highest))[here]
            self._samples += int(np.count_nonzero(here))

    def _begin(self, span: int, below: npt.NDArray[np.float32], upto: npt.NDArray[np.float32]) -> None:
        """Note that alerts begin at all thresholds above `below` and up to `upto`, of some series."""
        first, last = (np.searchsorted(GRID, edge, side="right") for edge in (below, upto))
        change = np.bincount(first, minlength=LEVELS + 1) - np.bincount(last, minlength=LEVELS + 1)
        self._begun[span] |= np.cumsum(change)[:LEVELS] > 0

    def passed(self, instants: int) -> None:
        """Note that so many instants of a block are complete."""
        self._instants += instants

    def close(self) -> None:
        """End a block; calibrate where it is time."""
        seconds, samples = self._instants * self.budget.interval, self._samples
        if samples:
            fade = math.exp(-seconds / self.memory)
            self._counts *= fade
            self._counts += self._begun.sum(axis=0)
            self._exposure = self._exposure * fade + samples * self.budget.interval
            share = 1.0 if not self._history else min(1.0, seconds / _DAY)
            self._series += share * (samples / self._instants - self._series)
            self._history += seconds
            self._since += seconds
            self._pass_day(seconds)
        self._begun[...] = False
        self._samples = self._instants = 0
        if self._since >= EVERY and not (self._since < PATIENCE and self._is_open()):
            self.calibrate()

    def _pass_day(self, seconds: float) -> None:
        self._today += self._begun.sum(axis=0)
        self._day += seconds
        if self._day >= _DAY:
            fade = math.exp(-self._day / self.memory)
            self._squares = self._squares * fade + self._today**2
            self._days = self._days * fade + 1.0
            self._today[:] = self._day = 0.0

    def _is_open(self) -> bool:
        calibration = self.calibration
        return calibration.fitted and bool((self._height >= calibration.threshold).any())

    def calibrate(self) -> None:
        """Find the threshold for the budget by what was counted so far."""
        self._since = 0.0
        # As if there had always been as many series as there are now.
        seconds = self._exposure / max(self._series, 1e-9)
        mean = self._counts * _DAY / max(seconds, 1.0)
        clumps = (self._squares / max(self._days, 1.0) - mean**2) / np.maximum(mean, 1e-9)
        self.calibration = calibrate(self._counts, seconds, self._history, self.budget, clumps)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what has a value a row, by name."""
        return {"height": self._height, "last": self._last, "low": self._low.ring, "high": self._high.ring}

    def state(self) -> FloatArray:
        """Return everything else, one number after the other."""
        found = self.calibration
        fit = (found.threshold, found.fitted, found.expected, found.lower, found.upper, found.shape, found.peaks)
        sums = (self._samples, self._instants, self._exposure, self._series, self._history, self._since)
        last = (found.history, self._days, self._day)
        levels = [self._counts, self._today, self._squares, self._begun.ravel()]
        return np.concatenate([*levels, sums, fit, last]).astype(np.float64)

    def restore(self, state: npt.NDArray[Any]) -> bool:
        """Go on from what `state` gave; False, with nothing changed, where it does not fit."""
        if state.shape != self.state().shape:
            return False
        count = 3 + len(self._begun)
        levels, rest = state[: count * LEVELS].reshape(count, LEVELS).copy(), state[count * LEVELS :].tolist()
        self._counts, self._today, self._squares, self._begun = *levels[:3], levels[3:].astype(np.bool_)
        self._samples, self._instants = int(rest[0]), int(rest[1])
        self._exposure, self._series, self._history, self._since = rest[2:6]
        threshold, fitted, *others, self._days, self._day = rest[6:]
        self.calibration = Calibration(threshold, bool(fitted), *others)
        return True


class _Window:
    """The least, or the largest, of the last values of every row.

    Long windows are kept in at most 64 pieces, so their length is rounded up to whole pieces.
    """

    def __init__(self, length: int, join: np.ufunc) -> None:
        self._piece = math.ceil(length / _RING)
        self._join = join
        self.ring = np.zeros((math.ceil(length / self._piece), 0), np.float32)

    def put(self, index: int, rows: slice, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Add the values of an instant; return the least or largest of the window."""
        ring = self.ring[:, rows]
        piece, inside = divmod(index, self._piece)
        now = ring[piece % len(ring)]
        now[...] = self._join(now, values) if inside else values
        found: npt.NDArray[np.float32] = self._join.reduce(ring, axis=0) if len(ring) > 1 else now.copy()
        return found


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


def _wider(array: npt.NDArray[np.float32], capacity: int) -> npt.NDArray[np.float32]:
    wider = np.zeros((*array.shape[:-1], capacity), np.float32)
    wider[..., : array.shape[-1]] = array
    return wider
