"""Growth of a series without clean-ups: a line, a line that bends or jumps, a rate that doubles, a pattern of the week.

A line through six hours takes the afternoon for the trend; one through a week does not see that a leak began
yesterday. Here all shapes are fitted to the same two weeks, without the pattern of the day, and one that bends is taken
only where it explains much more than the line, in the light of how many independent samples the noise leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.ordered import median

__all__ = ["HOURS", "Growth", "growth_of"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DAY, WEEK = 24, 168
HOURS = 720
"""Hours ahead: what is not reached in a month is not said to be reached."""
_BENDS = (2, 3, 4, 6, 8, 12, 16, 20, 24, 30, 36, 42, 48, 54, 60, 72, 96, 120, 168)
"""Hours ago at which the slope may have changed."""
_PAUSES = ((4, 2), (8, 4), (12, 6), (24, 4), (24, 12), (48, 6), (48, 24), (96, 48))
"""Hours ago between which something may have grown that has stopped."""
_DOUBLINGS = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0, 11.0)
"""Days in which the rate may double."""
_CLEARLY = 0.5
"""Part of the squares of the best shape that goes on that one that has stopped may leave: better early than late."""
_EVIDENCE = 12.0
"""F statistic from which on a bend is believed where samples are independent."""
_WANDERING = 150.0
"""What is asked beyond it where they are not at all: files of random size look like bends."""
_TREND = 2.0
"""Standard errors from which on a slope is not taken for level."""
_WEEKLY = 0.4
"""Part of the errors of "each day like the median day" that "each day like a week ago" may have."""
_RELATIVE = 0.04
"""Growth itself differs by so much from the fit (standard deviation, logarithm)."""
_MOST_ALIKE = 0.995
"""Of neighbouring hours: with 1 there would be no independent sample at all."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Where series go. Shape (n,) unless noted; hours; the newest hour is 0.

    Attributes
    ----------
    level
        Now, without the pattern of the day.
    path : ndarray, shape (720, n)
        What is added to the level in each of the next hours, with the pattern of the day.
    pattern : ndarray, shape (720, n)
        The part of `path` that is the pattern of the day.
    error
        Standard error of the slope.
    noise, memory
        Standard deviation of an hour from the path, and how alike neighbouring hours are, 0 to 1.
    """

    level: FloatArray
    path: FloatArray
    pattern: FloatArray
    error: FloatArray
    noise: FloatArray
    memory: FloatArray

    def at(self, z: float) -> FloatArray:
        """Return the path that stays below with the probability of `z` standard deviations, shape (720, n)."""
        hours = np.arange(1.0, HOURS + 1)[:, None]
        wander = np.where(self.memory > 0.9, 2.0 * (1.0 - self.memory) * hours, 1.0 - self.memory ** (2.0 * hours))
        spread = np.sqrt((self.error * hours) ** 2 + self.noise**2 * np.clip(wander, 0.0, None))
        grown = self.path - self.pattern
        path: FloatArray = self.level + grown * np.exp(z * _RELATIVE) + self.pattern + z * spread
        return path


def growth_of(hourly: FloatArray, present: BoolArray) -> Growth:
    """Return where series go.

    Parameters
    ----------
    hourly : ndarray, shape (t, n)
        Means of the last hours, oldest first, without gaps; t is at most 336.
    present : ndarray of bool, shape (t, n)
        False where there was nothing yet.
    """
    t = len(hourly)
    pattern = _pattern(hourly, present)
    phase = np.arange(t + HOURS) % DAY
    plain = hourly - pattern[phase[:t]]
    fit = _fit(plain, present.astype(np.float64))
    hours = np.arange(1.0, HOURS + 1)[:, None]
    grown = np.where(fit.doubling > 0.0, fit.size * np.expm1(np.minimum(fit.doubling * hours, 50.0)), fit.slope * hours)
    weekly = _weekly(plain, present)
    if weekly.any():
        grown[:, weekly] = _repeated(plain[:, weekly])
    ahead = pattern[phase[t:]]
    wandering = fit.memory > 0.8
    level = np.where(wandering, plain[-1], fit.level)
    return Growth(level, grown + ahead, ahead, fit.error, fit.noise, fit.memory)


@dataclass(frozen=True, slots=True)
class _Fit:
    level: FloatArray
    slope: FloatArray
    size: FloatArray
    doubling: FloatArray
    error: FloatArray
    noise: FloatArray
    memory: FloatArray


@dataclass(frozen=True, slots=True)
class _Shape:
    """A way to go: its columns, shape (t, 1) or (t, n), and how it goes on.

    Attributes
    ----------
    bend : float, hours
        Since when the newest slope holds; 0: since the beginning.
    rate : float
        At which the last column grows by itself, an hour; 0: it does not.
    """

    columns: list[FloatArray]
    bend: float = 0.0
    rate: float = 0.0


def _shapes(plain: FloatArray, weight: FloatArray) -> Iterator[_Shape]:
    """Yield the shapes that may be better than a line."""
    t = len(plain)
    back = np.arange(1.0 - t, 1.0)[:, None]
    line = [np.ones((t, 1)), back / t]
    for bend in _BENDS:
        yield _Shape([*line, np.maximum(back + bend, 0.0) / t], bend=float(bend))
    for days in _DOUBLINGS:
        rate = np.log(2.0) / DAY / days
        yield _Shape([line[0], np.exp(rate * back)], rate=rate)
    # What came at once, a deploy or a copy, and what came in some hours and has stopped, does not go on.
    for begin, end in _PAUSES:
        yield _Shape([*line, np.clip(back + begin, 0.0, begin - end) / t])
    steps = np.diff(plain, axis=0) * weight[1:] * weight[:-1]
    jumps = []
    for _ in range(2):
        at = np.argmax(steps, axis=0)
        steps[at, np.arange(plain.shape[1])] = -np.inf
        jumps.append((np.arange(t)[:, None] > at).astype(np.float64))
        yield _Shape([*line, *jumps])


def _fit(plain: FloatArray, weight: FloatArray) -> _Fit:
    """Choose among the shapes; see the module."""
    t, n = plain.shape
    back, count = np.arange(1.0 - t, 1.0)[:, None], np.maximum(weight.sum(axis=0), 1.0)
    line, line_squares, line_rest = _squares([np.ones((t, 1)), back / t], plain, weight)
    level, slope, since = line[0], line[1] / t, count.copy()
    size, doubling, zero = np.zeros(n), np.zeros(n), np.zeros(n)
    rest, squares, best = line_rest, line_squares, np.full(n, np.inf)
    for shape in _shapes(plain, weight):
        parts, new, left = _squares(shape.columns, plain, weight)
        now = sum((part * column[-1] for part, column in zip(parts, shape.columns, strict=True)), zero)
        steep = parts[1] * shape.rate if shape.rate else (parts[1] + (parts[2] if shape.bend else 0.0)) / t
        fits = parts[1] > 0.0 if shape.rate else count > 2.0 * shape.bend
        memory = _memory(left, new, weight)
        evidence = (line_squares - new) / np.maximum(new, 1e-300) * _independent(count, memory)
        clear = 1.0 if shape.bend or shape.rate else _CLEARLY
        better = fits & (new < clear * best) & (evidence > _EVIDENCE + _WANDERING * np.maximum(memory - 0.5, 0.0) * 2.0)
        best = np.where(better, new, best)
        level, slope = np.where(better, now, level), np.where(better, steep, slope)
        size = np.where(better, parts[1] if shape.rate else zero, size)
        doubling = np.where(better, shape.rate, doubling)
        since = np.where(better, np.minimum(shape.bend, count) if shape.bend else count, since)
        rest, squares = np.where(better, left, rest), np.where(better, new, squares)
    memory = _memory(rest, squares, weight)
    noise = np.sqrt(squares / np.maximum(count - 3.0, 1.0))
    # What wanders is best known by its two ends.
    first = np.argmax(weight > 0.0, axis=0)
    ends = (plain[-1] - plain[first, np.arange(n)]) / np.maximum(count - 1.0, 1.0)
    slope = np.where((memory > 0.9) & np.isinf(best), ends, slope)
    independent = np.maximum(since * (1.0 - memory) / (1.0 + memory), 1.5)
    error = np.sqrt(12.0 * noise**2 / independent) / since
    none = (np.abs(slope) < _TREND * error) & (doubling == 0.0)
    return _Fit(level, np.where(none, 0.0, slope), size, doubling, error, noise, memory)


def _squares(
    columns: list[FloatArray], values: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return weighted least squares of every series: coefficients, shape (k, n), sum of squares, residuals."""
    k, n = len(columns), values.shape[1]
    gram, right = np.empty((n, k, k)), np.empty((n, k))
    for i, column in enumerate(columns):
        weighted = weight * column
        right[:, i] = np.einsum("tn,tn->n", weighted, values)
        for j in range(i, k):
            gram[:, i, j] = gram[:, j, i] = np.einsum("tn,tn->n", weighted, np.broadcast_to(columns[j], values.shape))
    gram += (1e-9 * np.einsum("nii->n", gram)[:, None, None] + 1e-300) * np.eye(k)
    solution = np.linalg.solve(gram, right[..., None])[..., 0].T.astype(np.float64)
    rest = values.copy()
    for part, column in zip(solution, columns, strict=True):
        rest -= part * column
    rest *= weight
    return solution, np.einsum("tn,tn->n", rest, rest), rest


def _memory(rest: FloatArray, squares: FloatArray, weight: FloatArray) -> FloatArray:
    """Return how alike neighbouring residuals are, 0 to 1: half of Durbin and Watson's statistic below 1."""
    steps = np.diff(rest, axis=0)
    both = weight[1:] * weight[:-1]
    ratio = np.einsum("tn,tn,tn->n", both, steps, steps) / np.maximum(squares, 1e-300)
    memory: FloatArray = np.clip(1.0 - 0.5 * ratio, 0.0, _MOST_ALIKE)
    return memory


def _independent(count: FloatArray, memory: FloatArray) -> FloatArray:
    return np.maximum(count * (1.0 - memory) / (1.0 + memory), 3.0)


def _pattern(hourly: FloatArray, present: BoolArray) -> FloatArray:
    """Return the pattern of the day, shape (24, n): median distance from the mean of the day about each hour."""
    t, n = hourly.shape
    pattern = np.zeros((DAY, n))
    if t < 3 * DAY:
        return pattern
    sums = np.cumsum(np.concatenate([np.zeros((1, n)), hourly]), axis=0)
    days = (sums[DAY:] - sums[:-DAY]) / DAY
    centred = 0.5 * (days[1:] + days[:-1])
    half = DAY // 2
    away = np.where(present[: len(centred)], hourly[half : half + len(centred)] - centred, np.nan)
    for hour in range(DAY):
        pattern[hour] = median(away[(hour - half) % DAY :: DAY])
    pattern -= pattern.mean(axis=0)
    return np.where(present.sum(axis=0) >= 3 * DAY, np.nan_to_num(pattern), 0.0)


def _weekly(plain: FloatArray, present: BoolArray) -> BoolArray:
    """Return which series grow on some days of the week only."""
    if len(plain) < 2 * WEEK:
        return np.zeros(plain.shape[1], np.bool_)
    daily = np.diff(plain[DAY - 1 :: DAY], axis=0)[-13:]
    newer = daily[7:]
    as_last_week = np.abs(newer - daily[: len(newer)]).sum(axis=0)
    as_any_day = np.abs(newer - np.median(daily, axis=0)).sum(axis=0)
    weekly: BoolArray = present[0] & (as_last_week < _WEEKLY * as_any_day)
    return weekly


def _repeated(plain: FloatArray) -> FloatArray:
    """Return the growth of the mean of the last two weeks again and again, shape (720, n)."""
    steps = np.diff(plain, axis=0)
    older = np.concatenate([steps[-2 * WEEK + 1 : -WEEK], steps[-WEEK : -WEEK + 1]])
    week = 0.5 * (steps[-WEEK:] + older)
    return np.cumsum(week[np.arange(HOURS) % WEEK], axis=0)
