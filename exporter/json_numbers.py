"""Numbers in JSON, which has neither NaN nor infinities."""

from __future__ import annotations

import math

__all__ = ["finite_number", "number_or_infinity"]


def finite_number(value: float) -> float | None:
    """Return a number, also one of numpy's, as it goes into JSON; None where it is not finite.

    >>> finite_number(1.5), finite_number(math.inf)
    (1.5, None)
    """
    return float(value) if math.isfinite(value) else None


def number_or_infinity(value: float) -> float | str | None:
    """Return a number as it goes into JSON, an infinity as Prometheus writes it, None for NaN.

    >>> number_or_infinity(1.5), number_or_infinity(-math.inf), number_or_infinity(math.nan)
    (1.5, '-Inf', None)
    """
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return finite_number(value)
