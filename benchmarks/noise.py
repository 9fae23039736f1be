"""Series without incidents, of eight kinds of noise: what a metric does when nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from exporter.engine.seconds import DAY

__all__ = ["KINDS", "MONDAY", "Samples"]

FloatArray = npt.NDArray[np.float64]
Samples = Callable[[FloatArray, int, np.random.Generator], FloatArray]
"""Times of shape (t,), Unix seconds, and how many series, to samples of shape (t, series)."""

MONDAY = 1_760_313_600.0
"""Unix seconds of a Monday, 00:00 UTC."""


def normal(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """White noise."""
    return 100.0 + 10.0 * rng.standard_normal((len(times), count))


def student(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Student's t with three degrees of freedom."""
    return 100.0 + 6.0 * rng.standard_t(3.0, (len(times), count))


def lognormal(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Skewed, as latencies are."""
    return 20.0 * np.exp(0.4 * rng.standard_normal((len(times), count)))


def counts(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Events, 10 to 40 in a slot by the time of the day."""
    return rng.poisson(25.0 * (1.0 + 0.6 * _daily(times)), (len(times), count)).astype(np.float64)


def correlated(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """An autoregressive process, 0.9 from slot to slot."""
    return 100.0 + 10.0 * _autoregressive(len(times), count, 0.9, rng)


def seasonal(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Traffic by day and week, with noise that grows with it."""
    return _traffic(times) * np.exp(0.05 * rng.standard_normal((len(times), count)))


def wandering(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Traffic whose level wanders for hours."""
    level = 1.0 + 0.05 * _autoregressive(len(times), count, 0.98, rng)
    return _traffic(times) * level + 2.0 * rng.standard_normal((len(times), count))


def bursty(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Noise whose size changes by itself: hours of quiet, hours of storm."""
    size = np.exp(0.6 * _autoregressive(len(times), count, 0.98, rng))
    return 100.0 + 5.0 * size * rng.standard_normal((len(times), count))


def _daily(times: FloatArray) -> FloatArray:
    return np.sin(2.0 * np.pi * times / DAY)[:, None]


def _traffic(times: FloatArray) -> FloatArray:
    weekend = (times // DAY + 3) % 7 >= 5
    return 100.0 + 40.0 * _daily(times) - 15.0 * weekend[:, None]


def _autoregressive(length: int, count: int, share: float, rng: np.random.Generator) -> FloatArray:
    fresh = np.sqrt(1.0 - share**2) * rng.standard_normal((length, count))
    out, value = np.empty_like(fresh), rng.standard_normal(count)
    for index, step in enumerate(fresh):
        value = share * value + step
        out[index] = value
    return out


KINDS: dict[str, Samples] = {
    each.__name__: each for each in (normal, student, lognormal, counts, correlated, seasonal, wandering, bursty)
}
