"""The interval of the mean of a Poisson distribution, from one count."""

from __future__ import annotations

__all__ = ["poisson_interval"]


def poisson_interval(count: float) -> tuple[float, float]:
    """Return the exact 90 % interval of the mean number of events, of which so many were counted.

    >>> tuple(round(end, 2) for end in poisson_interval(10))
    (5.43, 16.96)
    """
    from scipy.special import gammaincinv  # Heavy, and most who import this never call it.

    lower = float(gammaincinv(count, 0.05)) if count else 0.0
    return lower, float(gammaincinv(count + 1.0, 0.95))
