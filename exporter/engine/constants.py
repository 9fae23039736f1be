"""Numbers as arrays without axes.

They do what a scalar of numpy does, to the last bit. With a scalar numpy first makes such an array, which takes as long
as the arithmetic of a few series.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array

__all__ = ["NAN", "UNITY", "ZERO", "double", "single"]


def single(value: float) -> Array:
    """Return a number as float32."""
    return np.array(value, np.float32)


def double(value: float) -> Array:
    """Return a number as float64."""
    return np.array(value, np.float64)


ZERO, UNITY, NAN = single(0.0), single(1.0), single(np.nan)
