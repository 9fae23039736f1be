"""Coordinated load: all metrics of an entity up together by about the same factor.

A batch job or a good day for sales multiplies requests, processor time and bytes alike. Every metric is then far
from its expected value, and nothing is broken. A failure pulls metrics apart instead: some rise, others stay or fall.
Under load too: so what is judged then is how far each metric is from the common factor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.inputs import GroupMatrix

__all__ = ["distances", "load_of", "spread_of"]

FloatArray = npt.NDArray[np.float64]

SMALLEST = 0.02
"""Logarithm of the smallest factor that is a load: 2 %. Less is noise that happens to agree."""
SPREAD = 0.25
"""How far a metric may be from the common factor at most, as part of its logarithm: bytes do not
grow just as requests do."""
NOISES = 3.0
"""And beside that, how many of its own standard deviations: the usual limit of noise."""
_NOISES_OF_ALL = 4.0
"""As many where every metric must be so near in a single sample: of several, one is three off every now and then."""
UP = 0.5
"""Part of the common factor, by its logarithm, that a metric that goes with it is up at least: nearer to the factor
than to what is usual."""
_UP_NOISES = 1.5
"""Less so many of its standard deviations, in a single sample."""
_TYPICAL_SPREAD = 0.15
"""How far metrics typically are from the common factor, as part of its logarithm: the standard deviation
(docs/groups.md)."""
_NOISE_FLOOR, NOISE_CEILING = 0.05, 0.5
"""No metric is so quiet that it decides the factor alone, or so noisy that everything agrees with it."""
QUIETEST = 0.01
"""Noise, as part of what is expected, that a metric has at least when it is compared with the common factor:
no two metrics follow a load to the percent."""
CERTAIN = 2.0
"""Standard deviations from which a metric is certainly up; at least half of them must be, or noise that agrees were a
load."""


def load_of(matrix: GroupMatrix) -> FloatArray:
    """Return the common factor of each entity whose metrics are all up together, shape (n,); NaN for the others.

    A metric that is expected to be zero and is zero does not speak against it: zero times a factor is zero.
    One for which a ratio has no meaning does.
    """
    present = ~np.isnan(matrix.z)
    growth = np.where(present, matrix.growth, 0.0)
    zero = present & (growth == 0.0) & (matrix.z == 0.0)
    counted = present & ~zero
    with np.errstate(all="ignore"):
        noise = np.clip(np.where(counted, matrix.noise, 0.0), 0.0, NOISE_CEILING)
        weight = np.where(counted, 1.0 / np.maximum(noise, _NOISE_FLOOR) ** 2, 0.0)
        factor = (weight * np.where(np.isfinite(growth), growth, 0.0)).sum(axis=1) / weight.sum(axis=1)
        distance = np.abs(growth - factor[:, None])
        together = distance <= SPREAD * factor[:, None] + _NOISES_OF_ALL * noise
        together &= growth >= UP * factor[:, None] - _UP_NOISES * noise
        together |= ~counted
        number = counted.sum(axis=1)
        certain = (counted & (distances(matrix) >= CERTAIN)).sum(axis=1)
        loaded = (number >= 2) & (factor >= SMALLEST) & (2 * certain >= number) & together.all(axis=1)
        times: FloatArray = np.where(loaded, np.exp(factor), np.nan)
    return times


def distances(matrix: GroupMatrix) -> FloatArray:
    """Return how far metrics are up, in standard deviations, shape (n, p): by that of the hour, or by all hours."""
    with np.errstate(all="ignore"):
        ratio = np.where(np.isfinite(matrix.growth), np.expm1(matrix.growth) / matrix.noise, -np.inf)
        return np.fmax(matrix.z, np.where(np.isfinite(ratio), ratio, -np.inf))


def spread_of(factor: FloatArray) -> FloatArray:
    """Return how far metrics are from loads of these factors where nothing is wrong, as part of what is expected.

    >>> spread_of(np.array([1.0, 1.5])).round(3)
    array([0.   , 0.094])
    """
    return factor * np.expm1(_TYPICAL_SPREAD * np.log(factor))
