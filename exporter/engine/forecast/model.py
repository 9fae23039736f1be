"""Forecasts of many series at once: a profile, what is left of the deviations from it, and the errors that were.

A forecast is the profile at that time plus a weighted sum of running means of the deviations from it. Weights and the
band follow from forecasts at many past origins, each made of what came before it; a horizon is fitted together with
its neighbours. The band is between the tenths of those errors on either side, wider at hours at which the series is
less regular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.engine.columns import Array
from exporter.engine.forecast.past import Past, Slots, squared
from exporter.engine.forecast.profile import WeekProfile, mean_of
from exporter.engine.forecast.weights import FEATURES, HALF_LIVES, prior, weigh
from exporter.engine.seconds import DAY, HOUR

__all__ = ["KNOTS", "Fit", "at_horizons", "fit", "move_on"]

_NEAR = np.array([1, 2, 3, 6, 12]) * 300.0
_FAR = np.array([2.0, 4.0, 8.0, 16.0, 24.0, 36.0, 48.0, 72.0, 168.0]) * HOUR
_HOURLY = np.concatenate([np.array([1.0]) * HOUR, _FAR])
KNOTS = np.concatenate([_NEAR, _FAR])
"""Seconds ahead at which there are weights; those between follow by the logarithm of time."""
_ORIGINS = 80
_SPAN = 14
"""Days of past origins."""
_POOLED = 2
_ENOUGH = 20
"""Past errors that a band needs."""
_WIDER_NEAR, _WIDER_FAR = 1.12, (1.22, 1.32, 1.42)
"""Errors of what was fitted to them are too small by so much: within the hour; after two hours, a day, three days."""
_TAIL = 0.1


@dataclass(frozen=True, slots=True)
class Fit:
    """What forecasts of series are made of, in the units of the fit (source units or their square root).

    Attributes
    ----------
    weights : ndarray of float32, shape (k, 8, n)
        By knot.
    errors : ndarray of float32, shape (k, 2, n)
        Distance to the ends of the band; NaN where too little is known.
    spread : ndarray of float32, shape (24, n)
        How irregular each hour of the day is; 1 on average.
    means : ndarray of float32, shape (5, n)
        Running means of the deviations, up to the slot before the newest.
    """

    weights: Array
    errors: Array
    spread: Array
    means: Array


def fit(far: Past, near: Past | None) -> Fit:
    """Fit series.

    Parameters
    ----------
    far : Past
        Of some weeks.
    near : Past, optional
        Of the last days in slots of five minutes, up to the same time; None where samples are too far apart.
    """
    profile, n = WeekProfile(far), far.values.shape[1]
    first = far.newest - _SPAN * far.per_day - far.per_day + 1
    slots = np.arange(max(first, far.oldest + far.per_day), far.newest + 1)
    shape, _ = profile.at(slots, slots - 1)
    away = far.at(slots) - shape
    means = _running(away, far.seconds, np.zeros((len(HALF_LIVES), n), np.float32))
    spread = _by_hour(np.abs(away), slots, far.per_day)
    knots = _HOURLY if near is None else _FAR
    steps = np.rint(knots / far.seconds).astype(np.intp)
    span = _SPAN * far.per_day
    features = np.zeros((len(steps), FEATURES, _ORIGINS, n), np.float32)
    target = np.empty((len(steps), _ORIGINS, n), np.float32)
    times = np.empty((len(steps), _ORIGINS), np.intp)
    for knot, step in enumerate(steps.tolist()):
        last = len(slots) - 1 - step
        if last < far.per_day:
            target[knot], times[knot] = np.nan, far.newest
            continue
        origin = np.linspace(max(0, last - span), last, _ORIGINS).astype(np.intp)
        then = slots[origin] + step
        level, other = profile.at(then, slots[origin])
        features[knot, 1 : 1 + len(HALF_LIVES)] = means[origin].swapaxes(0, 1)
        features[knot, 1 + len(HALF_LIVES) :] = other
        target[knot], times[knot] = far.at(then) - level, then
    before = prior(knots / HOUR)
    before[:, 1] += before[:, 0]
    weights, errors = _learn(features, target, before, spread, times, far.per_day, skip=1)
    errors *= np.interp(np.log(knots), np.log([2 * HOUR, DAY, 3 * DAY]), _WIDER_FAR)[:, None, None]
    if near is None:
        blank = len(_NEAR) - 1
        weights = np.concatenate([np.repeat(weights[:1], blank, axis=0), weights])
        errors = np.concatenate([np.repeat(errors[:1], blank, axis=0), errors])
        return Fit(weights, errors, spread, means[-2])
    close, tight, newest = _fit_near(near, far, shape, slots, means, spread)
    weights, errors = np.concatenate([close, weights]), np.concatenate([tight, errors])
    for knot in reversed(range(len(_NEAR))):
        errors[knot] = np.where(np.isnan(errors[knot]), errors[knot + 1], errors[knot])
    return Fit(weights, errors, spread, newest)


def _fit_near(
    near: Past, far: Past, shape: Array, slots: Slots, means: Array, spread: Array
) -> tuple[Array, Array, Array]:
    """Return weights, errors and running means from slots of five minutes."""
    ratio = round(far.seconds / near.seconds)
    every = np.arange(near.oldest, near.newest + 1)
    within = every // ratio
    every, within = every[within >= slots[0]], within[within >= slots[0]]
    away = near.at(every) - shape[within - slots[0]]
    n = away.shape[1]
    start = within[0] - 1 - slots[0] if len(within) else -1
    seed = means[start] if start >= 0 else np.zeros((len(HALF_LIVES), n), np.float32)
    running = _running(away, near.seconds, seed)
    steps = np.rint(_NEAR / near.seconds).astype(np.intp)
    origins = np.arange(0, max(len(every) - int(steps[-1]), 0), 3)
    features = np.zeros((len(steps), FEATURES, len(origins), n), np.float32)
    target = np.empty((len(steps), len(origins), n), np.float32)
    times = np.empty((len(steps), len(origins)), np.intp)
    for knot, step in enumerate(steps.tolist()):
        origin = origins + int(steps[-1]) - step
        features[knot, 0] = away[origin]
        features[knot, 1 : 1 + len(HALF_LIVES)] = running[origin].swapaxes(0, 1)
        target[knot], times[knot] = away[origin + step], within[origin + step]
    weights, errors = _learn(features, target, prior(_NEAR / HOUR), spread, times, far.per_day, skip=0)
    return weights, errors * np.float32(_WIDER_NEAR), running[-2]


def _learn(
    features: Array, target: Array, before: Array, spread: Array, times: Slots, per_day: int, *, skip: int
) -> tuple[Array, Array]:
    """Return weights of all features, shape (k, 8, n), and the tenths of the errors, shape (k, 2, n)."""
    used = slice(skip, FEATURES) if skip else slice(0, 1 + len(HALF_LIVES))
    chosen = features[:, used]
    present = ~np.isnan(target) & ~np.isnan(chosen).any(axis=1)
    target = np.where(present, target, np.float32(0.0))
    chosen = np.where(present[:, None], chosen, np.float32(0.0))
    some, rest = weigh(chosen, target, present, before[:, used], _POOLED)
    weights = np.zeros((len(features), FEATURES, features.shape[-1]), np.float32)
    weights[:, used] = some
    even = np.where(present, rest / _irregular(spread, times, per_day), np.nan)
    errors = np.empty((len(features), 2, features.shape[-1]), np.float32)
    for knot in range(len(features)):
        own = present[knot].sum(axis=0) >= _ENOUGH
        near = even[max(0, knot - 1) : knot + 2].reshape(-1, even.shape[-1])
        errors[knot] = np.where(own, _tails(near), np.nan)
    errors[:, 0], errors[:, 1] = np.minimum(errors[:, 0], 0.0), np.maximum(errors[:, 1], 0.0)
    return weights, errors


def _tails(values: Array) -> Array:
    """Return the tenths of values on either side, NaN left out, shape (2, n)."""
    ordered = np.sort(values, axis=0)  # NaN last.
    last = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    tails = []
    for part in (_TAIL, 1.0 - _TAIL):
        place = part * last
        low = np.floor(place).astype(np.intp)
        high = np.minimum(low + 1, last)
        column = np.arange(values.shape[1])
        tails.append(ordered[low, column] + (place - low) * (ordered[high, column] - ordered[low, column]))
    return np.stack(tails)


def _running(away: Array, seconds: float, begin: Array) -> Array:
    """Return the running means of deviations, shape (t, 5, n), from those before the first."""
    result = np.empty((len(away), *begin.shape), np.float32)
    state = begin.copy()
    for at, deviation in enumerate(away):
        move_on(state, deviation, seconds)
        result[at] = state
    return result


def move_on(means: Array, deviation: Array, seconds: float) -> None:
    """Let running means, shape (5, n), follow a deviation, shape (n,), in place; NaN: they stay."""
    part = (1.0 - 0.5 ** (seconds / HOUR / HALF_LIVES)).astype(np.float32)[:, None]
    means += part * np.where(np.isnan(deviation), np.float32(0.0), deviation - means)


def _by_hour(size: Array, slots: Slots, per_day: int) -> Array:
    """Return the mean size of deviations at each hour of the day against all, the neighbours taken along."""
    hour = slots % per_day * 24 // per_day
    newest = slots > slots[-1] - 7 * per_day
    means = np.stack([mean_of(size[newest & (hour == each)], trim=False)[0] for each in range(24)])
    ratio = np.nan_to_num(means / (mean_of(size, trim=False)[0] + np.float32(1e-30)), nan=1.0)
    smooth = (np.roll(ratio, 1, axis=0) + 2.0 * ratio + np.roll(ratio, -1, axis=0)) / 4.0
    result: Array = np.sqrt((np.clip(smooth, 0.05, 20.0) + 0.1) / 1.1).astype(np.float32)
    return result


def _irregular(spread: Array, slots: Slots, per_day: int) -> Array:
    return spread[slots % per_day * 24 // per_day]


def at_horizons(fitted: Fit, past: Past, deviations: Array, seconds: Array, since: float, root: Array) -> Array:
    """Return forecasts: lower end, middle, upper end of the band; shape (3, h, n), source units.

    Parameters
    ----------
    past : Past
        Up to now, rooted.
    deviations : ndarray, shape (6, n)
        The newest deviation and its running means.
    seconds : ndarray, shape (h,)
        Ahead of now.
    since : float
        Seconds from the beginning of the newest slot of `past` to now.
    root : ndarray of bool, shape (n,)
        Series whose fit is of square roots.
    """
    as_of = np.full(len(seconds), past.newest)
    # The profile is one of means of slots; between their middles it goes along a line.
    place = past.newest + (since + seconds) / past.seconds - 0.5
    low = np.floor(place).astype(np.intp)
    part = (place - low).astype(np.float32)[:, None]
    left, right = (WeekProfile(past).at(slots, as_of) for slots in (low, low + 1))
    profile = left[0] + part * (right[0] - left[0])
    other = left[1] + part * (right[1] - left[1])
    ahead = np.log(np.clip(seconds, KNOTS[0], KNOTS[-1]))
    knots = np.log(KNOTS)
    knot = np.clip(np.searchsorted(knots, ahead, side="right") - 1, 0, len(knots) - 2)
    way = ((ahead - knots[knot]) / (knots[knot + 1] - knots[knot])).astype(np.float32)[:, None]
    middle = profile
    for feature, value in enumerate([*deviations, *other]):
        weights = fitted.weights[:, feature]
        middle = middle + ((1.0 - way) * weights[knot] + way * weights[knot + 1]) * value
    irregular = _irregular(fitted.spread, low + 1, past.per_day)
    after = np.where(way > 0.0, fitted.errors[np.minimum(knot + 1, len(knots) - 1), 0:2].swapaxes(0, 1), 0.0)
    errors = (1.0 - way) * fitted.errors[knot].swapaxes(0, 1) + way * after
    result = np.stack([middle + errors[0] * irregular, middle, middle + errors[1] * irregular])
    result[1] = np.where(np.isnan(result[0]), np.nan, result[1])
    return squared(result.astype(np.float64), root)
