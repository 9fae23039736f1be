"""Forecasts of all series of a query at an instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.forecast.settings import LimitSettings

__all__ = ["LEVELS", "Forecast"]

FloatArray = npt.NDArray[np.float64]

LEVELS = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
"""Probabilities that a limit is reached by a time."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts of all rows from an instant on; NaN = none. Source units.

    Attributes
    ----------
    at : float, Unix seconds
    horizons : ndarray, shape (h,), seconds
    value, lower, upper : ndarray, shape (h, size)
        The band holds four values of five.
    times : ndarray, shape (5, size), optional
        Seconds until the limit is reached, at the probabilities `LEVELS`; inf = not within 30 days.
    probability : ndarray, shape (size,), optional
        That the limit is reached within the time that alerts.
    near : ndarray of bool, shape (size,), optional
        Whether that is probable enough to alert, or was and has not become much less probable.
    limit : LimitSettings, optional
    """

    at: float
    horizons: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    times: FloatArray | None = None
    probability: FloatArray | None = None
    near: npt.NDArray[np.bool_] | None = None
    limit: LimitSettings | None = None
