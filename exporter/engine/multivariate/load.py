"""Coordinated load: all metrics of an entity up together by about the same factor.

A batch job or a good day for sales multiplies requests, processor time and bytes alike. Every metric is then far
from its expected value, and nothing is broken. A failure pulls metrics apart instead: some rise, others stay or fall.
Under load too: so what is judged then is how far each metric is from the common factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.inputs import GroupMatrix

__all__ = ["Load", "load_of"]

FloatArray = npt.NDArray[np.float64]

SMALLEST = 0.02
"""Logarithm of the smallest factor that is a load: 2 %. Less is noise that happens to agree."""
SPREAD = 0.25
"""How far a metric may be from the common factor at most, as part of its logarithm: bytes do not
grow just as requests do."""
NOISES = 3.0
"""And beside that, how many of its own standard deviations: the usual limit of noise."""
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


@dataclass(frozen=True, slots=True)
class Load:
    """Which entities may be under load, and how far their metrics are from it.

    Attributes
    ----------
    factor : ndarray, shape (n,)
        The common factor of each entity whose metrics are all up together; NaN for the others.
    rows : ndarray of intp, shape (m,)
        Entities that have one.
    left : ndarray, shape (m, p)
        Of `rows`: what the common factor leaves of the distance from the mean, in standard deviations; 0 = missing.
    direction : ndarray, shape (m, p)
        How these distances grow with the logarithm of the factor; 0 for metrics that have nothing to do with it.
    spread : ndarray, shape (m, p)
        How far metrics are from a common factor of this size where nothing is wrong, in standard deviations.
    """

    factor: FloatArray
    rows: npt.NDArray[np.intp]
    left: FloatArray
    direction: FloatArray
    spread: FloatArray


def load_of(matrix: GroupMatrix) -> Load:
    """Find the entities whose metrics are all up together.

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
        together = ~counted | (distance <= SPREAD * factor[:, None] + NOISES * noise)
        number = counted.sum(axis=1)
        certain = (counted & (matrix.z >= CERTAIN)).sum(axis=1)
        loaded = (number >= 2) & (factor >= SMALLEST) & (2 * certain >= number) & together.all(axis=1)
        times = np.where(loaded, np.exp(factor), np.nan)
    rows = np.flatnonzero(loaded)
    some, common = counted[rows], times[rows, None]
    unit = np.maximum(np.where(some, matrix.noise[rows], 1.0), QUIETEST)
    left = np.where(some, (np.exp(growth[rows]) - common) / unit, 0.0)
    spread = np.where(some, common * np.expm1(_TYPICAL_SPREAD * np.log(common)) / unit, 0.0)
    return Load(times, rows, left, np.where(some, common / unit, 0.0), spread)
