"""Series that are cleaned again and again: disks with rotation, leaks with restarts, pools that are recycled.

What matters there is not where the line goes on to, but whether a cycle comes that reaches the limit before its end.
Cycles to come are drawn from those that were: how long they last, how much is left after a clean-up, how fast it grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["clean_ups", "times_by_cycles"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HOURS = 720.0
_DRAWS = 100
_MOST_CYCLES = 130
"""In 720 hours; shorter cycles are gone through in strides."""
_NEWEST = 8
"""Slots whose distance from the fit says where the cycle under way is."""
_KEPT = 24
"""Newest cycles that others are drawn from."""
_PART = 0.25
"""Part of the range of a series that a fall must have to be a clean-up,"""
_SIGMA = 8.0
"""and changes from one slot to the next (robust standard deviation)."""
_FALL = 4
"""Slots that a clean-up may take."""
_REGULAR = 0.08
"""Coefficient of variation of the lengths of cycles, below which they are cleaned by the clock."""
_TREND = 2.5
"""Standard errors from which on what is left after a clean-up is said to rise."""


def clean_ups(past: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return the slots that are the first after a clean-up, and those of the falls themselves; shape (t, n) both.

    Parameters
    ----------
    past : ndarray, shape (t, n)
        Without gaps, oldest first.
    """
    t, n = past.shape
    steps = np.diff(past, axis=0)
    noise = 1.4826 * np.median(np.abs(steps - np.median(steps, axis=0)), axis=0)
    low, high = np.partition(past, (t // 50, t - 1 - t // 50), axis=0)[[t // 50, t - 1 - t // 50]]
    fall = np.zeros((t, n))
    for slots in range(1, _FALL + 1):
        np.maximum(fall[slots:], past[:-slots] - past[slots:], out=fall[slots:])
    deep = fall > np.maximum(_SIGMA * noise, np.maximum(_PART * (high - low), 1e-12 * np.abs(high)))
    after = np.concatenate([past[1:], np.full((1, n), np.inf)])
    ends = deep & (after >= past - 2.0 * noise)
    first = ends.copy()
    for slots in range(1, _FALL + 1):
        first[slots:] &= ~ends[:-slots]
    falling = first.copy()
    for slots in range(1, _FALL):
        falling[:-slots] |= first[slots:]
    falling[1:] |= first[:-1]
    return first, falling


@dataclass(frozen=True, slots=True)
class _Cycles:
    """The cycles of series: shape (n,), or (k, n) with NaN; slots and values."""

    lengths: FloatArray
    elapsed: FloatArray
    now: FloatArray
    floor: FloatArray
    floor_slope: FloatArray
    floor_error: FloatArray
    floor_spread: FloatArray
    rate: FloatArray
    rate_spread: FloatArray
    noise: FloatArray


def times_by_cycles(past: FloatArray, first: BoolArray, falling: BoolArray, hours: float) -> FloatArray:
    """Return draws of the hours until series reach zero, ascending, shape (100, n); inf = not in 720 hours.

    Parameters
    ----------
    past : ndarray, shape (t, n)
        Distance from the limit, negative below it; without gaps, oldest first.
    first, falling : ndarray of bool, shape (t, n)
        See `clean_ups`; every series has at least one.
    hours : float
        Of a slot.
    """
    cycles = _cycles(past, first, falling)
    n = past.shape[1]
    random = np.random.default_rng(20)
    lengths, regular, jitter = _lengths(cycles)
    mean = np.nanmean(lengths, axis=0)
    stride = np.maximum(1.0, np.ceil(HOURS / hours / mean / _MOST_CYCLES))
    count = np.sum(~np.isnan(lengths), axis=0)
    order = np.sort(lengths, axis=0)  # NaN last.

    def draw() -> FloatArray:
        chosen = order[(random.random((_DRAWS, n)) * count).astype(np.intp), np.arange(n)]
        drawn: FloatArray = chosen * np.exp(jitter * random.standard_normal((_DRAWS, n)))
        return np.where(regular, mean, drawn)

    start = np.zeros((_DRAWS, n))
    left = np.maximum(_longer_than(cycles.elapsed, draw) - cycles.elapsed, 1.0)
    reached = np.full((_DRAWS, n), np.inf)
    tilt = random.standard_normal((_DRAWS, n))
    base = cycles.now + cycles.floor_spread * 0.5 * random.standard_normal((_DRAWS, n))
    # A clean-up falls anywhere within the slot before the first that is clean.
    early = 0.5 + random.random((_DRAWS, n))
    rate = cycles.rate * np.exp(cycles.rate_spread * random.standard_normal((_DRAWS, n)))
    # The first sample that is over the limit is one whose noise is high.
    ahead = cycles.noise * np.sqrt(2.0 * np.log1p(cycles.noise / np.maximum(rate, 1e-300)))
    ahead = np.minimum(ahead, 2.0 * cycles.noise)
    end = HOURS / hours
    for _ in range(_MOST_CYCLES):
        gap = -(base + ahead)
        needed = np.where(rate > 0.0, gap / np.maximum(rate, 1e-300), np.inf)
        hits = (np.isinf(reached)) & (start <= end) & ((needed <= left - early) | (gap <= 0.0))
        reached[hits] = (start + np.maximum(needed, 0.0))[hits]
        start = start + left * np.where(start > 0.0, stride, 1.0)
        if not ((start <= end) & np.isinf(reached)).any():
            break
        left = draw()
        slope = cycles.floor_slope + tilt * cycles.floor_error
        base = cycles.floor + slope * start + cycles.floor_spread * random.standard_normal((_DRAWS, n))
    times = np.sort(reached, axis=0) * hours
    result: FloatArray = np.where(times <= HOURS, times, np.inf)
    return result


def _longer_than(elapsed: FloatArray, draw: Callable[[], FloatArray]) -> FloatArray:
    """Draw lengths of the cycle that is going on: it has lasted for `elapsed` already."""
    chosen = draw()
    for _ in range(8):
        short = chosen <= elapsed
        if not short.any():
            break
        chosen = np.where(short, draw(), chosen)
    return np.where(chosen <= elapsed, elapsed + 0.15 * np.abs(chosen), chosen)


def _lengths(cycles: _Cycles) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Return lengths to draw from, whether they are regular, and how much lengths differ from those that were seen."""
    lengths = cycles.lengths.copy()
    none = np.isnan(lengths).all(axis=0)
    lengths[0, none] = np.maximum(cycles.elapsed[none], 1.0)
    count = np.sum(~np.isnan(lengths), axis=0)
    mean = np.nanmean(lengths, axis=0)
    variation = np.where(count >= 3, np.nanstd(lengths, axis=0) / mean, 0.3)
    regular = (count >= 3) & (np.nanmax(np.abs(lengths - mean), axis=0) <= np.maximum(1.5, _REGULAR * mean))
    return lengths, regular, np.clip(0.35 * variation, 0.02, 0.3)


def _cycles(past: FloatArray, first: BoolArray, falling: BoolArray) -> _Cycles:
    t = len(past)
    slot = np.arange(t)[:, None]
    begin = np.maximum.accumulate(np.where(first, slot, -1), axis=0)
    last = begin[-1]
    # Samples of whole cycles: the beginning of what ends with the first clean-up is unknown.
    used = (begin >= 0) & ~falling
    since, began = np.where(used, slot - begin, 0).astype(np.float64), np.where(used, begin - t + 1, 0).astype(float)
    weight = used.astype(np.float64)
    total = np.maximum(weight.sum(axis=0), 1.0)
    middle = [np.einsum("tn,tn->n", weight, part) / total for part in (past, since, began)]
    y, x, b = (np.where(used, part - mean, 0.0) for part, mean in zip((past, since, began), middle, strict=True))
    xx, bb, xb = ((left * right).sum(axis=0) for left, right in ((x, x), (b, b), (x, b)))
    xy, by = (x * y).sum(axis=0), (b * y).sum(axis=0)
    several = first.sum(axis=0) >= 3
    determinant = xx * bb - xb * xb
    solvable = several & (determinant > 1e-9 * xx * bb)
    slope = np.where(solvable, (xx * by - xb * xy) / np.where(solvable, determinant, 1.0), 0.0)
    rate = (xy - slope * xb) / np.maximum(xx, 1e-300)
    rest = np.where(used, y - rate * x - slope * b, 0.0)
    spread, counted = _between(rest, used, first)
    error = spread / np.sqrt(np.maximum(bb / total * np.maximum(counted, 1.0), 1e-300))
    error *= np.sqrt(counted / np.maximum(counted - 2.0, 1.0))
    rising = solvable & (np.abs(slope) > _TREND * error)
    plain = xy / np.maximum(xx, 1e-300)
    slope, rate = np.where(rising, slope, 0.0), np.where(rising, rate, plain)
    rest = np.where(used, y - rate * x - slope * b, 0.0)
    spread, _ = _between(rest, used, first)
    floor = middle[0] - rate * middle[1] - slope * middle[2]
    latest = used[-_NEWEST:] & (begin[-_NEWEST:] == last)
    near = np.where(latest, rest[-_NEWEST:], 0.0).sum(axis=0) / np.maximum(latest.sum(axis=0), 1)
    now = floor + slope * (last - t + 1.0) + rate * (t - 1.0 - last) + near
    now = np.where(latest.any(axis=0), now, past[-1])
    noise = np.sqrt((rest**2).sum(axis=0) / total)
    steps = np.diff(past, axis=0)
    noise = np.minimum(noise, 1.05 * np.median(np.abs(steps - np.median(steps, axis=0)), axis=0))
    rate_spread = np.clip(np.where(rate > 0, spread / np.maximum(rate * middle[1] * 2.0, 1e-300), 0.0), 0.01, 0.3)
    return _Cycles(
        _cycle_lengths(first),
        t - 1.0 - last,
        now,
        floor,
        slope,
        np.where(rising, error, 0.0),
        spread,
        rate,
        rate_spread,
        np.sqrt(3.0) * noise,
    )


def _between(rest: FloatArray, used: BoolArray, first: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return how far cycles are from the fit as a whole (standard deviation), and how many there are."""
    n = rest.shape[1]
    number = np.cumsum(first, axis=0)
    most = int(number[-1].max()) + 1
    key = number * n + np.arange(n)
    chosen = used.ravel()
    sums = np.bincount(key.ravel()[chosen], rest.ravel()[chosen], most * n).reshape(most, n)
    sizes = np.bincount(key.ravel()[chosen], minlength=most * n).reshape(most, n)
    present = sizes > 0
    means = np.where(present, sums / np.maximum(sizes, 1), 0.0)
    counted = present.sum(axis=0).astype(np.float64)
    return np.sqrt((means**2).sum(axis=0) / np.maximum(counted, 1.0)), counted


def _cycle_lengths(first: BoolArray) -> FloatArray:
    """Return the slots from one clean-up to the next, newest last, shape (k, n); NaN where there are fewer."""
    n = first.shape[1]
    column, at = np.nonzero(first.T)
    lengths = np.diff(at).astype(np.float64)
    same = column[1:] == column[:-1]
    lengths, owner = lengths[same], column[1:][same]
    counts = np.bincount(owner, minlength=n)
    rank = counts[owner] - 1 - (np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts))
    result = np.full((_KEPT, n), np.nan)
    kept = rank < _KEPT
    result[rank[kept], owner[kept]] = lengths[kept]
    return result
