"""How long it takes until a series reaches a limit, with its uncertainty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.forecast.cycles import clean_ups, times_by_cycles
from exporter.engine.forecast.forecast import LEVELS
from exporter.engine.forecast.growth import growth_of

__all__ = ["probability_within", "times_to_limit"]

FloatArray = npt.NDArray[np.float64]

_DEVIATES = (1.2816, 0.6745, 0.0, -0.6745, -1.2816)
_DAYS = 14
"""Of history that the growth is taken from."""
_LEAST = 24.0
"""Hours of history without which nothing is said."""
_HOUR = 3600.0
_SOONEST = 1.0 / 12.0
"""Hours: what is not yet reached is at least so far."""


def times_to_limit(past: FloatArray, newest: FloatArray, limit: float, seconds: float, *, above: bool) -> FloatArray:
    """Return the hours until series reach a limit, at each of `LEVELS`: shape (5, n).

    inf = not within 30 days; NaN = too little history to say anything.

    Parameters
    ----------
    past : ndarray, shape (t, n)
        Means of slots up to now, oldest first, source units; NaN = nothing.
    newest : ndarray, shape (n,)
        The newest sample.
    seconds : float
        Of a slot; a whole part of an hour.
    above : bool
        Whether the limit is reached from below.
    """
    per_hour = round(_HOUR / seconds)
    span = min(len(past) - len(past) % per_hour, _DAYS * 24 * per_hour)
    distance = past[len(past) - span :].astype(np.float64) - limit
    now = newest - limit
    if not above:
        distance, now = -distance, -now
    present = ~np.isnan(distance)
    enough = (present.sum(axis=0) >= _LEAST * per_hour) & present[-per_hour * 3 :].any(axis=0)
    times = np.full((len(LEVELS), past.shape[1]), np.nan)
    rows = np.flatnonzero(enough)
    if len(rows):
        whole, since = _without_gaps(distance[:, rows], present[:, rows])
        first, falling = clean_ups(whole)
        cleaned = first.any(axis=0)
        chosen = np.flatnonzero(~cleaned)
        if len(chosen):
            times[:, rows[chosen]] = _by_growth(whole[:, chosen], since[:, chosen], per_hour)
        chosen = np.flatnonzero(cleaned)
        if len(chosen):
            draws = times_by_cycles(whole[:, chosen], first[:, chosen], falling[:, chosen], 1.0 / per_hour)
            times[:, rows[chosen]] = draws[(LEVELS * len(draws)).astype(np.intp)]
    times = np.maximum(times, _SOONEST)
    return np.where(now >= 0.0, 0.0, times)


def _by_growth(whole: FloatArray, since: npt.NDArray[np.bool_], per_hour: int) -> FloatArray:
    shape = (-1, per_hour, whole.shape[1])
    growth = growth_of(whole.reshape(shape).mean(axis=1), since.reshape(shape).min(axis=1))
    steps = np.diff(whole, axis=0)
    # The first sample that is over the limit is one whose noise is high: several are near it before the path is.
    noise = np.median(np.abs(steps - np.median(steps, axis=0)), axis=0) * np.sqrt(3.0)
    times = np.empty((len(LEVELS), whole.shape[1]))
    hours = np.arange(len(growth.path))
    for level, deviate in enumerate(_DEVIATES):
        path = growth.at(deviate) + noise
        over = path >= 0.0
        reached = over.any(axis=0)
        at = np.argmax(over, axis=0)
        column = np.arange(path.shape[1])
        before = np.where(at > 0, path[at - 1, column], whole[-1])
        part = np.clip(-before / np.maximum(path[at, column] - before, 1e-300), 0.0, 1.0)
        times[level] = np.where(reached, hours[at] + part, np.inf)
    return np.sort(times, axis=0)


def _without_gaps(values: FloatArray, present: npt.NDArray[np.bool_]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return values with gaps bridged by lines, and from where on there are any; shape (t, n) both."""
    t = len(values)
    slot = np.arange(t)[:, None]
    before = np.maximum.accumulate(np.where(present, slot, -1), axis=0)
    after = np.minimum.accumulate(np.where(present, slot, t)[::-1], axis=0)[::-1]
    since = before >= 0
    left, right = (
        np.clip(np.where(since, before, after), 0, t - 1),
        np.clip(np.where(after < t, after, before), 0, t - 1),
    )
    low, high = np.take_along_axis(values, left, 0), np.take_along_axis(values, right, 0)
    part = np.where(right > left, (slot - left) / np.maximum(right - left, 1), 0.0)
    return low + part * (high - low), since


def probability_within(times: FloatArray, hours: float) -> FloatArray:
    """Return the probability that the limit is reached within so many hours, shape (n,); between `LEVELS` by lines.

    Parameters
    ----------
    times : ndarray, shape (5, n)
        From `times_to_limit`.
    """
    here = np.log(np.maximum(hours, 1e-3))
    ends = np.log(np.maximum(times, 1e-3))
    result = np.where(ends[0] <= here, LEVELS[0], np.clip(LEVELS[0] * np.exp(4.0 * (here - ends[0])), 0.0, LEVELS[0]))
    for low in range(len(LEVELS) - 1):
        begin, end = ends[low], ends[low + 1]
        inside = begin <= here
        # Towards never there is no line.
        width = np.where(inside & np.isfinite(end), end - np.where(inside, begin, 0.0), np.inf)
        part = np.where(width > 0.0, (here - np.where(inside, begin, here)) / np.where(width > 0.0, width, 1.0), 1.0)
        result = np.where(inside, LEVELS[low] + np.clip(part, 0.0, 1.0) * (LEVELS[low + 1] - LEVELS[low]), result)
    sure = ends[-1] <= here
    result = np.where(sure, 1.0 - 0.1 * np.exp(np.minimum(4.0 * (ends[-1] - here), 0.0)), result)
    return np.where(np.isnan(times[0]), np.nan, result)
