"""How an anomaly came about, from the samples before it: at once, slowly, over hours, or by a change of the noise.

No score follows from it. Alerts say the shape, and what rises slowly within a load that was expected does not alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Shape", "ShapeKind", "climbs", "explained_by_load", "shape_of"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
ShapeKind = Literal["jump", "build-up", "drift", "drop", "level shift", "missing", "frozen", "noisier"]

_HOURS = 6
"""Hours that a drift takes at least: a quarter of a day."""
_TOTAL = 0.3
"""Part of half the width of the band that a drift covers at least."""
_NOISE = 4.0
"""And how many times what single hours stray from it."""
_BETTER = 0.6
"""A slope is believed where it leaves at most this part of the squares that the best step leaves."""
_SUDDEN = 0.5
"""Part of the way that one sample goes in a jump."""
_INSIDE, _THERE = 0.5, 0.9
"""Half-widths of the band within which a way begins, and the part of its end at which it is over."""
_LASTING, _SINGLE = 2.0, 3.0
"""Upper quartiles of the steps of a noisy series that a jump is more than: where the median of three samples goes with
it, and where no later sample confirms it."""
_HELD = 8
"""Equal samples of what is frozen."""
_STRAY = 0.7
"""The mean in standard deviations of what is noisier, and not higher or lower, at most."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an anomaly.

    Attributes
    ----------
    kind : str
    hours : int
        Of a drift: how many hours ago it began.
    before, after : float
        Of a drift: the deviation then and now, in half-widths of the band.
    """

    kind: ShapeKind
    hours: int = 0
    before: float = 0.0
    after: float = 0.0


def shape_of(deviations: FloatArray, values: FloatArray, hours: FloatArray, *, adds_up: bool) -> Shape | None:
    """Return the shape of an anomaly, or None where the samples do not say.

    Parameters
    ----------
    deviations : ndarray, shape (t,)
        Of the newest samples from what was expected, oldest first, in half-widths of the band; NaN: no sample.
    values : ndarray, shape (t,)
        The samples themselves, in any unit.
    hours : ndarray, shape (h,)
        Mean deviation of each of the last hours, oldest first; the last one is going on.
    adds_up : bool
        Whether a detector of sums calls it anomalous: then it is no sample that is far off.
    """
    drift = _drift(hours, adds_up=adds_up)
    if drift is not None:
        return drift
    seen = ~np.isnan(deviations)
    away, values = deviations[seen], values[seen]
    if len(away) < 2:
        return None
    if len(away) >= _HELD and (np.ptp(values[-_HELD:]) == 0.0) and np.abs(away[-1]) < 1.0:
        return Shape("frozen")
    if (away > 1.0).any() and (away < -1.0).any() and abs(away.mean()) < _STRAY * away.std():
        return Shape("noisier")
    side = 1.0 if away[-1] >= 0.0 else -1.0
    way = side * away
    inside = np.flatnonzero(way < _INSIDE)
    if not len(inside):
        # Longer ago than the newest samples: by the hours.
        way = side * hours[~np.isnan(hours)]
        inside = np.flatnonzero(way < _INSIDE)
        if not len(inside):
            return None
    way = way[inside[-1] :]
    # It went nowhere: no samples since, or the last one inside was nearly as far out as those since.
    end = int(np.argmax(way >= _THERE * way.max()))
    if end == 0:
        return None
    sudden = np.diff(way[: end + 1]).max() >= _SUDDEN * (way[end] - way[0])
    if side < 0.0:
        return Shape("drop")
    return Shape("jump" if sudden else "build-up")


def climbs(deviations: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return which series have left their band upward sample by sample, and which by a jump; both of shape (m,).

    Those of which the samples do not say are neither. In a jump one sample goes half the way or more, also where the
    series climbs on from there, and where it had climbed before.

    Parameters
    ----------
    deviations : ndarray, shape (t, m)
        Of the newest samples from what was expected, oldest first, in upper half-widths of the band; NaN: no sample.
    """
    order, seen = np.arange(len(deviations))[:, None], ~np.isnan(deviations)
    newest = np.maximum.accumulate(np.where(seen, order, 0), axis=0)
    way = np.take_along_axis(deviations, newest, axis=0)
    # Of noise a single sample is a jump and its median is none; what stays where it jumped to is one by both.
    smooth = np.median([way, way[np.maximum(order[:, 0] - 1, 0)], way[np.maximum(order[:, 0] - 2, 0)]], axis=0)
    steps = np.abs(np.diff(way, axis=0))
    measured = ~np.isnan(steps).all(axis=0)
    noise = np.full(way.shape[1], np.nan)  # A series without samples is neither.
    noise[measured] = np.nanquantile(steps[:, measured], 0.75, axis=0)
    with np.errstate(invalid="ignore"):
        left, sudden = _leaves(smooth, _LASTING * noise)
        sudden |= _leaves(way, _SINGLE * noise)[1]
        return left & ~sudden & ~(way < -1.0).any(axis=0), sudden


def explained_by_load(observed: FloatArray, expected: FloatArray, upper: FloatArray, load: FloatArray) -> BoolArray:
    """Return where what climbs is quiet under a load of this factor: up to its square times the upper edge."""
    explained: BoolArray = (expected >= 0.0) & (observed > expected) & (load > 1.0) & (observed <= load**2 * upper)
    return explained


def _leaves(way: FloatArray, least: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return which ways of shape (t, m) lead out of the band, and which have a step of half of them and of `least`."""
    order, inside = np.arange(len(way))[:, None], way < _INSIDE
    begun = inside.any(axis=0)
    begin = np.where(begun, len(way) - 1 - np.argmax(inside[::-1], axis=0), np.argmax(~np.isnan(way), axis=0))
    # Of one that begins before the newest samples, the part is seen that is left from there.
    start = np.where(begun, np.take_along_axis(way, begin[None], axis=0)[0], _INSIDE)
    steps, after = np.diff(way, axis=0), way[1:]
    sudden = (steps >= _SUDDEN * (after - start)) & (steps > least) & (after > 1.0) & (order[1:] > begin)
    left = ((way <= 1.0) & (order >= begin)).any(axis=0) & (way[-1] > _INSIDE)
    return left, sudden.any(axis=0)


def _drift(hours: FloatArray, *, adds_up: bool) -> Shape | None:
    """Return a drift, where the hours are a level and then a slope rather than two levels."""
    kept = np.flatnonzero(~np.isnan(hours))
    if len(kept) < _HOURS + 1:
        return None
    y, x = hours[kept], (kept - kept[-1]).astype(np.float64)
    away = y - y.mean()
    # A level up to each of the hours, and a slope from it on.
    ramps = np.maximum(x - x[: len(y) - _HOURS, None], 0.0)
    rises = ramps - ramps.mean(axis=1, keepdims=True)
    slopes = rises @ away / (rises**2).sum(axis=1)
    left = ((away - slopes[:, None] * rises) ** 2).sum(axis=1)
    begin = int(np.argmin(left))
    level, total = float(y.mean() - slopes[begin] * ramps[begin].mean()), float(slopes[begin] * -x[begin])
    # Or one level up to each of the hours, and another from it on.
    count, sums = np.arange(1, len(y)), np.cumsum(away)[:-1]
    steps = (away**2).sum() - sums**2 / count - sums**2 / (len(y) - count)
    least, noise, better = (_TOTAL, _NOISE, _BETTER) if not adds_up else (0.5 * _TOTAL, 0.5 * _NOISE, 1.0)
    if abs(total) < max(least, noise * np.sqrt(left[begin] / len(y))) or left[begin] > better * float(steps.min()):
        return None
    return Shape("drift", int(-x[begin]), level, level + total)
