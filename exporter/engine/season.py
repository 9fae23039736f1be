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

from exporter.engine.constants import UNITY
from exporter.engine.ordered import add_to, add_up, any_of
from exporter.engine.seconds import HOUR

__all__ = ["DAILY", "NONE", "SEASONS", "UNKNOWN", "WEEKLY", "note_errors", "note_steps", "season_of", "wandering"]

FloatArray = npt.NDArray[np.float64]
Stats = npt.NDArray[np.float32]

UNKNOWN, WEEKLY, DAILY, NONE = range(4)
SEASONS = ("unknown", "weekly", "daily", "none")

ENOUGH = 1.8
"""Visits of the hours of the week before the season is decided: two, up to a few samples that are missing."""
SHARE = 0.1
"""Part of the variance that a season must explain, and that a week must explain beyond the day: beyond chance,
and worth the samples that a finer bucket costs."""
PEAK, PEAK_BY_CHANCE = 1.5, 3.2
"""Standard deviations of an hour of the day. A week in which one hour is so much off has its season, however small its
share: one dip every Sunday evening. The second is divided by the square root of the visits: so far the farthest of the
hours is by chance where the noise lasts for a day."""
DAY_PEAK = 0.6
"""Standard deviations of an hour of the day. A week in which one day is so much off on average has its season: a
weekend that is a few per cent lower is a small share of the variance, and lies outside for two days."""
COMPARED = 300.0
"""Hours that were predicted by the hour of the week, of the day and by all hours before their errors are compared."""
TAKEN, KEPT = 0.95, 1.05
"""Part of the mean square error of the coarser bucket that the finer one must stay below to be taken, and to be kept.
Where noise lasts for hours or days the hours of the week explain much of the past by chance, and nothing of the
future."""
ERRORS = 336.0
"""Hours that the errors are means of."""
NEARER, AWAY = 0.5, 0.05
"""An hour goes on from the one before where it is nearer to it than this part of its distance from its buckets, and
this part of the standard deviation of all hours away from them."""
STEPS = 168.0
"""Hours that the share of those is a mean of."""
WANDERS, STILL_WANDERS = 0.72, 0.3
"""Share from which on a series wanders: the clock says nothing of it, whatever its buckets hold. Below the second it no
longer does."""
_MEAN, _STD, _WEIGHT = 0, 1, -1


def season_of(
    week: Sequence[Stats], day: Sequence[Stats], errors: Stats, steps: Stats, now: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Return the season of each series, shape (n,): one of `UNKNOWN`, `WEEKLY`, `DAILY`, `NONE`.

    Parameters
    ----------
    week, day : sequences of ndarray, shape (m, n), of length 168 and 24
        Statistics of the hours: mean and std first, weight in seconds last.
    errors : ndarray, shape (4, n)
        See `note_errors`.
    steps : ndarray, shape (2, n)
        See `note_steps`.
    now : ndarray, shape (n,)
        The season so far.
    """
    weight, wanders = _weight(week), wandering(steps, now)
    visits = _visits(week, weight)
    if not any_of(visits >= ENOUGH):
        return np.where(wanders, NONE, UNKNOWN).astype(np.int8)
    by_week, by_day = _explained(week, weight), _explained(day, _weight(day))
    peak, day_peak = _peaks(week, day)
    count, of_week, of_day, of_all = errors.astype(np.float64)
    unclear = count < COMPARED
    better = unclear | (of_week < of_day * np.where(now == WEEKLY, KEPT, TAKEN))
    daily = (by_day > SHARE) & (unclear | (of_day < of_all * np.where(now == NONE, TAKEN, KEPT)))
    peaks = peak > np.maximum(PEAK, PEAK_BY_CHANCE / np.sqrt(visits))
    weekly = peaks | (better & ((by_week - np.maximum(by_day, 0.0) > SHARE) | (day_peak > DAY_PEAK)))
    season = np.where(weekly, WEEKLY, np.where(daily, DAILY, NONE))
    season = np.where(visits >= ENOUGH, season, UNKNOWN)
    return np.where(wanders, NONE, season).astype(np.int8)


def wandering(steps: Stats, now: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    """Return which series, shape (n,), wander: see `note_steps`, and the season so far."""
    wanders: npt.NDArray[np.bool_] = steps[1] >= np.where(now == NONE, STILL_WANDERS, WANDERS)
    return wanders


def note_errors(errors: Stats, value: FloatArray, means: FloatArray, counts: npt.NDArray[np.bool_]) -> None:
    """Note how well the buckets predicted the beginning of an hour.

    Parameters
    ----------
    errors : ndarray, shape (4, n)
        How many hours were compared, and the mean square errors of the buckets; changed in place.
    value : ndarray, shape (n,)
        Mean of the samples.
    means : ndarray, shape (3, n)
        Of the hour of the week, the hour of the day and all hours, before the samples were learned.
    counts : ndarray of bool, shape (n,)
        Which series have a sample, and a visit of each bucket.
    """
    errors[0] += counts
    np.minimum(errors[0], np.float32(ERRORS), out=errors[0])
    step = ((value - means) ** 2 - errors[1:]) / np.maximum(errors[0], UNITY)
    errors[1:] += np.where(counts, step, 0.0).astype(np.float32)


def note_steps(
    steps: Stats, value: FloatArray, means: FloatArray, std: FloatArray, counts: npt.NDArray[np.bool_]
) -> None:
    """Note whether the beginning of an hour goes on from the one before, or is where the clock says.

    Parameters
    ----------
    steps : ndarray, shape (2, n)
        The value of the hour before, and the share of the hours that went on; changed in place.
    value : ndarray, shape (n,)
        Mean of the samples; NaN where there is none.
    means : ndarray, shape (2, n)
        Of the hour of the week and the hour of the day, before the samples were learned; NaN where there was no visit.
    std : ndarray, shape (n,)
        Of all hours.
    counts : ndarray of bool, shape (n,)
        Which series have a sample, and a visit of the hour of the day.
    """
    before, share = steps
    away = np.fmin.reduce(np.abs(value - means))
    goes_on = (np.abs(value - before) < NEARER * away) & (away > AWAY * std)
    share += np.where(counts & ~np.isnan(before), (goes_on - share) / np.float32(STEPS), 0.0).astype(np.float32)
    np.copyto(before, value.astype(np.float32), where=~np.isnan(value))


def _peaks(week: Sequence[Stats], day: Sequence[Stats]) -> tuple[FloatArray, FloatArray]:
    """Return how far the farthest hour, and the farthest day on average, are from the hours of the day; shapes (n,)."""
    mean, std = (np.array([hour[which] for hour in day], np.float64) for which in (_MEAN, _STD))
    moves = std > 0.0
    peak, day_peak = np.zeros((2, mean.shape[1]))
    for first in range(0, len(week), len(day)):
        hours = week[first : first + len(day)]
        away, seen = np.array([hour[_MEAN] for hour in hours]) - mean, np.array([hour[_WEIGHT] for hour in hours]) > 0.0
        off = away / std
        peak = np.fmax(peak, np.fmax.reduce(np.where(seen, np.abs(off), 0.0)))
        day_peak = np.maximum(day_peak, np.abs(add_up(np.where(seen & moves, off, 0.0))))
    return peak, day_peak / len(day)


def _weight(buckets: Sequence[Stats]) -> FloatArray:
    """Return the weight of all buckets together, shape (n,), seconds."""
    seconds = np.zeros(buckets[0].shape[1])
    for first in range(0, len(buckets), 24):
        add_to(seconds, np.array([hour[_WEIGHT] for hour in buckets[first : first + 24]], np.float64))
    return seconds


def _visits(buckets: Sequence[Stats], weight: FloatArray) -> FloatArray:
    """Return how often each of the buckets was visited, shape (n,); `weight` is that of all together."""
    return weight / (HOUR * len(buckets))


def _explained(buckets: Sequence[Stats], total: FloatArray) -> FloatArray:
    """Return the share of the variance that lies between buckets, shape (n,): the adjusted correlation ratio.

    It is 0 where nothing varies; `total` is the weight of all together.
    """
    means, squares, within = np.zeros((3, buckets[0].shape[1]))
    for first in range(0, len(buckets), 24):
        part = buckets[first : first + 24]
        mean, std, weight = (np.array([hour[which] for hour in part], np.float64) for which in (_MEAN, _STD, _WEIGHT))
        add_to(means, weight * mean)
        add_to(squares, weight * mean * mean)
        add_to(within, weight * std * std)
    between = np.maximum(squares / total - (means / total) ** 2, 0.0)
    share, visits = between / (between + within / total), _visits(buckets, total)
    adjusted = 1.0 - (1.0 - share) * visits / (visits - 1.0)
    return np.where(np.isfinite(adjusted), adjusted, 0.0)
