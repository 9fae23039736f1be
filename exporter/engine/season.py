"""The season of a series, weekly, daily or none, from what its buckets have learned.

The share of the variance that the hour of the day and the hour of the week explain [1]_, less what as many buckets
explain of mere chance: each visit of an hour counts once, because noise may last for an hour.

References
----------
.. [1] R. A. Fisher (1925), Statistical Methods for Research Workers, chapter VII: the correlation ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.seconds import HOUR

__all__ = ["DAILY", "NONE", "SEASONS", "UNKNOWN", "WEEKLY", "season_of"]

FloatArray = npt.NDArray[np.float64]
Stats = npt.NDArray[np.float32]

UNKNOWN, WEEKLY, DAILY, NONE = range(4)
SEASONS = ("unknown", "weekly", "daily", "none")

ENOUGH = 1.8
"""Visits of the hours of the week before the season is decided: two, up to a few samples that are missing."""
SHARE = 0.1
"""Part of the variance that a season must explain, and that a week must explain beyond the day: beyond chance,
and worth the samples that a finer bucket costs."""
PEAK = 1.5
"""Standard deviations of an hour of the day. A week in which one hour is so much off has its season, however small its
share: one dip every Sunday evening."""
DAY_PEAK = 0.6
"""Standard deviations of an hour of the day. A week in which one day is so much off on average has its season: a
weekend that is a few per cent lower is a small share of the variance, and lies outside for two days."""
_MEAN, _STD, _WEIGHT = 0, 1, -1


def season_of(week: Sequence[Stats], day: Sequence[Stats]) -> npt.NDArray[np.int8]:
    """Return the season of each series, shape (n,): one of `UNKNOWN`, `WEEKLY`, `DAILY`, `NONE`.

    Parameters
    ----------
    week, day : sequences of ndarray, shape (m, n), of length 168 and 24
        Statistics of the hours: mean and std first, weight in seconds last.
    """
    by_week, visits = _explained(week)
    by_day, days = _explained(day)
    by_week, by_day = _beyond_chance(by_week, visits), _beyond_chance(by_day, days)
    peak, days_off = np.zeros(len(visits)), np.zeros((7, len(visits)))
    for hour, bucket in enumerate(week):
        daily = day[hour % 24].astype(np.float64)
        off = np.abs(bucket[_MEAN] - daily[_MEAN]) / daily[_STD]
        peak = np.fmax(peak, np.where(bucket[_WEIGHT] > 0.0, off, 0.0))
        signed = np.where((bucket[_WEIGHT] > 0.0) & (daily[_STD] > 0.0), bucket[_MEAN] - daily[_MEAN], 0.0)
        days_off[hour // 24] += np.where(daily[_STD] > 0.0, signed / np.where(daily[_STD] > 0.0, daily[_STD], 1.0), 0.0)
    day_peak = np.abs(days_off).max(axis=0) / 24.0
    weekly = (by_week - np.maximum(by_day, 0.0) > SHARE) | (peak > PEAK) | (day_peak > DAY_PEAK)
    season = np.where(weekly, WEEKLY, np.where(by_day > SHARE, DAILY, NONE))
    return np.where(visits >= ENOUGH, season, UNKNOWN).astype(np.int8)


def _explained(buckets: Sequence[Stats]) -> tuple[FloatArray, FloatArray]:
    """Return the share of the variance that lies between buckets, and how often each was visited."""
    weights, means, squares, within = np.zeros((4, buckets[0].shape[1]))
    for bucket in buckets:
        mean, std, weight = (bucket[which].astype(np.float64) for which in (_MEAN, _STD, _WEIGHT))
        weights += weight
        means += weight * mean
        squares += weight * mean * mean
        within += weight * std * std
    between = np.maximum(squares / weights - (means / weights) ** 2, 0.0)
    return between / (between + within / weights), weights / (HOUR * len(buckets))


def _beyond_chance(share: FloatArray, visits: FloatArray) -> FloatArray:
    """Return the adjusted correlation ratio; 0 where nothing varies."""
    adjusted = 1.0 - (1.0 - share) * visits / (visits - 1.0)
    return np.where(np.isfinite(adjusted), adjusted, 0.0)
