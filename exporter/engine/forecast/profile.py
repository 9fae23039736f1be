"""What a series is at a time of the day and of the week, from the days and weeks before."""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array
from exporter.engine.forecast.past import Past, Slots

__all__ = ["WeekProfile", "mean_of"]

DAYS = 7
WEEKS = 4
_LEAST = 4
"""Values from which on the largest and the smallest are left out."""
_TRUST = 0.5
"""Part of the way from the day to the week that four weeks carry."""


class WeekProfile:
    """The profile of series, shape (k, n): the mean of seven days, and a part of the way to that of four weeks.

    Parameters
    ----------
    past : Past
    """

    def __init__(self, past: Past) -> None:
        self._past = past

    def at(self, slots: Slots, as_of: Slots) -> tuple[Array, Array]:
        """Return the profile at `slots` as it was at the slots `as_of`, shape (k,) both.

        Returns
        -------
        profile : ndarray of float32, shape (k, n)
            NaN where there is nothing to go by.
        other : ndarray of float32, shape (2, k, n)
            How far the mean of the weeks and the last day are from it.
        """
        past = self._past
        days = np.maximum(1, -(-(slots - as_of) // past.per_day))
        daily = np.stack([past.at(slots - (days + day) * past.per_day) for day in range(DAYS)])
        day, _ = mean_of(daily)
        week, count = mean_of(self._weeks(slots, as_of, days))
        week = np.where(count > 0.0, week, day)
        profile = day + _TRUST * (week - day) * (count / (count + np.float32(1.0)))
        return profile, np.nan_to_num(np.stack([week - profile, daily[0] - profile]))

    def _weeks(self, slots: Slots, as_of: Slots, days: Slots) -> Array:
        past = self._past
        weeks = -(-days // DAYS)
        # Of a week there are four values, so that the neighbours are taken as well where slots are short.
        near = (-1, 0, 1) if past.per_day > 24 else (0,)
        means = []
        for week in range(WEEKS):
            then = slots - (weeks + week) * DAYS * past.per_day
            means.append(mean_of(np.stack([past.at(np.minimum(then + by, as_of)) for by in near]), trim=False)[0])
        return np.stack(means)


def mean_of(values: Array, *, trim: bool = True) -> tuple[Array, Array]:
    """Return the mean along the first axis, without the largest and the smallest, and how many values there are.

    NaN is no value; of none the mean is NaN.
    """
    here = ~np.isnan(values)
    count = here.sum(axis=0, dtype=np.float32)
    total = np.where(here, values, np.float32(0.0)).sum(axis=0)
    mean = total / count
    if not trim:
        return mean, count
    inner = (total - np.fmax.reduce(values, axis=0) - np.fmin.reduce(values, axis=0)) / (count - np.float32(2.0))
    return np.where(count >= _LEAST, inner, mean), count
