"""How many of the alerts that were counted are false, from how high their severities went.

Which alerts were incidents is not known. But noise falls off steeply with the severity, and incidents have all sizes.
So what went above a reference is taken for a mixture of a steep and a flat generalised Pareto distribution, fitted by
expectation maximisation [1]_ with a little prior knowledge. Each alert is false with the probability that it belongs to
the steep one. Where hardly anything was seen below the threshold, the two cannot be separated, and
alerts count as false.

What people said of alerts counts for more than what the severities look like.

References
----------
.. [1] A. P. Dempster, N. M. Laird, D. B. Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.
   Journal of the Royal Statistical Society B 39(1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.seconds import DAY, WEEK

__all__ = ["ENOUGH_FOR_RATE", "UNKNOWN_RATE", "FalseRate", "JudgedAlerts", "false_rate"]

FloatArray = npt.NDArray[np.float64]

ENOUGH_FOR_RATE = 3.0 * DAY
"""Seconds that were judged before a rate is stated: until then it would be little but the prior."""
_REFERENCE = (0.4, 0.75)
"""Severities between which the mixture begins: as high as enough is left above, because only the end of the noise's
tail has the slope that leads to the threshold."""
_FEWEST = 25.0
"""Alerts above the reference."""
_STEEP, _STEEP_WEIGHT = 6.0, 4.0
"""How fast noise falls off with the severity where nothing is known, and for how many alerts that stands. On labelled
metrics it falls by half each tenth of a severity."""
_FLAT, _OUTAGE = 1.0, 2.0
"""How fast incidents fall off at first, on labelled metrics and on generated ones of 4 to 15 standard deviations, and
the power of their tail: outages of a series with little noise are tens of severities away."""
_PRIOR_FLAT, _PRIOR_STEEP = 1.0, 2.0
"""Alerts of each kind that are added to those that were counted."""
_UNCLEAR = 12.0
"""Alerts above the lowest level at which half of what a height says is believed."""
_SHAPES, _SHAPE = (0.0, 0.2, 0.4), 0.25
"""Shapes of the noise's tail that are tried, and how far from 0 they are expected to be."""
_ROUNDS = 40
_LEAST, _MOST = 0.1 / WEEK, 0.5 / WEEK
"""Between these the rate lies that is assumed for a week before anything was counted, whatever the tail leads to. Of
series that had none for weeks, a tenth has one a week later."""
_ASSUMED = WEEK
_CONVINCED = 4.0
"""Alerts that people have judged after which half of the share that is false is theirs."""


@dataclass(frozen=True, slots=True)
class JudgedAlerts:
    """Feedback on the alerts of a query: how many were false alarms, and how many were confirmed."""

    false_alarms: int = 0
    confirmed: int = 0

    def share(self, expected: float) -> float:
        """Return the share of alerts that is false, where `expected` is what severities say of it."""
        return (expected * _CONVINCED + self.false_alarms) / (_CONVINCED + self.false_alarms + self.confirmed)


@dataclass(frozen=True, slots=True)
class FalseRate:
    """False alerts a second: expected, and the interval that holds the true rate with a probability of 90 %."""

    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan


UNKNOWN_RATE = FalseRate()


def false_rate(
    levels: FloatArray,
    curve: FloatArray,
    seconds: float,
    judged: JudgedAlerts,
    *,
    threshold: float = 1.0,
    judged_at: float = 1.0,
    clumps: float = 1.0,
) -> FalseRate:
    """Return how often false alerts are to be expected.

    The interval begins where that of a gamma distribution does, and reaches up to where all alerts were false.

    Parameters
    ----------
    levels : ndarray, shape (n,)
        Thresholds, ascending.
    curve : ndarray, shape (n,)
        Alerts that began at each, descending.
    seconds : float
        In which they were counted.
    judged : JudgedAlerts
        Of people who saw the alerts at a threshold of `judged_at`.
    threshold : float
        In force.
    clumps : float
        Variance of the alerts of a day, in their mean.
    """
    from scipy.special import gammaincinv  # Heavy, and needed once an hour.

    heights = np.append(np.sqrt(levels[:-1] * levels[1:]), levels[-1])
    number = curve - np.append(curve[1:], 0.0)
    lowest, highest = np.searchsorted(levels, _REFERENCE).tolist()
    enough = np.flatnonzero(curve >= _FEWEST)
    at = min(max(int(enough[-1]) if len(enough) else 0, lowest), highest)
    reference, total = float(levels[at]), float(curve[at])
    mixture = _fitted(heights[at:] - reference, number[at:], total)
    # Below the reference all is noise.
    share = np.where(heights < reference, 1.0, mixture.share(np.maximum(heights - reference, 0.0)))
    believed = float(curve[0]) / (float(curve[0]) + _UNCLEAR)
    share = believed * share + 1.0 - believed
    shown = int(np.searchsorted(levels, judged_at))
    alerts, false = float(number[shown:].sum()), float(number[shown:] @ share[shown:])
    if false > 0.0:
        share[shown:] = np.minimum(share[shown:] * (judged.share(false / alerts) * alerts / false), 1.0)
    level = min(int(np.searchsorted(levels, threshold)), len(levels) - 1)
    noise = total * mixture.noise_above(max(0.0, threshold - reference))
    behind = float(number[level:] @ share[level:]) + _ASSUMED * min(max(noise / seconds, _LEAST), _MOST)
    expected = behind / (seconds + _ASSUMED)
    clumped = max(1.0, clumps)
    lower = float(gammaincinv(behind / clumped, 0.05)) * clumped / (seconds + _ASSUMED)
    most = float(gammaincinv((float(curve[level]) + 1.0) / clumped, 0.95)) * clumped / seconds
    return FalseRate(expected, min(lower, expected), max(most, expected))


@dataclass(frozen=True, slots=True)
class _Mixture:
    """Excesses of noise, a steep generalised Pareto distribution, and of incidents, a flat one.

    Attributes
    ----------
    scale, shape : float
        Of the noise.
    incidents : float
        Their part.
    """

    scale: float
    shape: float
    incidents: float

    def densities(self, excess: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return those of noise and of incidents."""
        relative = excess / self.scale
        power = -1.0 - 1.0 / self.shape if self.shape else 0.0
        falls = (1.0 + self.shape * relative) ** power if self.shape else np.exp(-relative)
        flat = _FLAT * (1.0 + _FLAT / _OUTAGE * excess) ** (-1.0 - _OUTAGE)
        return (1.0 - self.incidents) / self.scale * falls, self.incidents * flat

    def share(self, excess: FloatArray) -> FloatArray:
        """Return the probability of being noise."""
        noise, incidents = self.densities(excess)
        share: FloatArray = noise / (noise + incidents)
        return share

    def noise_above(self, excess: float) -> float:
        """Return the part that is noise and goes farther."""
        relative = excess / self.scale
        if self.shape:
            return float((1.0 - self.incidents) * (1.0 + self.shape * relative) ** (-1.0 / self.shape))
        return (1.0 - self.incidents) * math.exp(-relative)

    def step(self, excess: FloatArray, number: FloatArray, total: float) -> _Mixture:
        """Return what is likelier."""
        weight = number * self.share(excess)
        many = float(weight.sum())
        pulled = excess * (1.0 + self.shape) / (1.0 + self.shape * excess / self.scale)
        scale = (float(weight @ pulled) + _STEEP_WEIGHT / _STEEP) / (many + _STEEP_WEIGHT)
        return _Mixture(scale, self.shape, (total - many + _PRIOR_FLAT) / (total + _PRIOR_FLAT + _PRIOR_STEEP))


def _fitted(excess: FloatArray, number: FloatArray, total: float) -> _Mixture:
    """Return the likeliest mixture."""
    present = number > 0.0
    excess, number = excess[present], number[present]
    best, most = _Mixture(1.0 / _STEEP, 0.0, 0.2), -math.inf
    for shape in _SHAPES:
        mixture = _Mixture(1.0 / _STEEP, shape, 0.2)
        for _ in range(_ROUNDS):
            mixture = mixture.step(excess, number, total)
        likelihood = float(number @ np.log(np.add(*mixture.densities(excess)))) - 0.5 * (shape / _SHAPE) ** 2
        if likelihood > most:
            best, most = mixture, likelihood
    return best
