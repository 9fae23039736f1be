"""Running statistics of each series in 168 hours of the week, 24 hours of the day and one bucket of all times.

A sample is learned into the three buckets it falls in, and judged against the finest one that has seen
enough. Only those three are touched at an instant, so the work does not depend on how many there are.

Mean and variance are exponentially weighted [1]_ (a plain average until the window is full); quartiles follow
by stochastic approximation [2]_. Weights are seconds of history, so samples that are five minutes apart
(backfill) count five times as much as samples that are one minute apart.

References
----------
.. [1] T. Finch (2009), Incremental calculation of weighted mean and variance.
.. [2] L. Tierney (1983), A space-efficient recursive procedure for estimating a quantile of an unknown
   distribution. SIAM J. Sci. Stat. Comput. 4(4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import BUCKETS, DAY_BUCKETS, WEEK_BUCKETS, BucketIndex
from exporter.engine.ordered import add_up, all_of, any_of, clip
from exporter.engine.season import DAILY, NONE, SEASONS, UNKNOWN, note_errors, note_steps, season_of, wandering
from exporter.engine.seconds import HOUR
from exporter.engine.slope import rise_between

__all__ = [
    "BUCKET_BYTES",
    "Baseline",
    "BucketStats",
    "BucketSummary",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = slice | npt.NDArray[np.intp]

BUCKET_BYTES = 4 * 4
"""Of one series in one bucket: mean, std and weight as float32, and both quartiles as float16 in one more float32."""
_MEAN, _STD, _Q1, _Q3, _WEIGHT = range(5)
_QUARTILES, _LAST = 2, 3
"""Rows of a stored bucket that hold the quartiles and the weight."""
_QUARTILE_MAX = 6e4
"""Distance of a quartile from the mean, in standard deviations, at which float16 ends."""

ENOUGH_WEEKS = 2
"""Visits of an hour of the week before its own bucket is trusted: one visit does not show how weeks differ."""
ENOUGH_DAYS = 3
"""Visits of an hour of the day before its bucket is trusted: a day more than the weekend has."""
_NEARLY = 0.9
"""Part of an hour that is a visit: one with a few samples missing still counts."""

_NO_STEPS = np.array([[np.nan], [0.5]], np.float32)
"""Of a series that has seen no hour."""

_DISAGREE_HOUR, _DISAGREE_DAY = 6.0, 1.5
"""Two visits of an hour of the week disagree when they are this many standard deviations of the believed one apart, and
this many of the hour of the day: an incident, not a week that differs (docs/detection.md)."""
_SOME = 3.0
"""Samples of a visit whose standard deviation means something: two may be equal by chance."""
_QUARTILE_GAIN = 2.3
"""Step of the quartiles, in interquartile ranges: 1 / density at the quartile of a normal distribution."""
_QUARTILE_START = 10
"""Until so many samples the quartiles are those of a normal distribution."""
_SHARES = np.array([0.25, 0.75])[:, None, None]
"""Of the values that lie below the quartiles."""
_MORE = _SHARES - 1.0
_NORMAL_QUARTILE = 0.6745
"""Standard deviations from the mean of a normal distribution to its quartiles."""

WEEK, DAY, EVERY = range(3)
"""Which bucket a series is judged against: this hour of the week, of the day, or all times."""


@dataclass(frozen=True, slots=True)
class BucketStats:
    """Statistics of the bucket that each series is judged against; arrays of shape (n,), baseline units.

    NaN where nothing was learned. `weight` is in seconds of history.
    """

    mean: FloatArray
    std: FloatArray
    q1: FloatArray
    q3: FloatArray
    weight: FloatArray
    fine: npt.NDArray[np.bool_] | None = None
    """Whether no finer bucket is needed: it is that of the hour of the week, or the series has no such season."""
    trend: FloatArray | None = None
    """How far a trend counts, 0..1: so far the deviation of the bucket is that of the weeks and not of the hour."""
    rise: FloatArray | None = None
    """How far the mean rises within the hour, by those of the hours beside it; see `exporter.engine.slope`."""
    wanders: npt.NDArray[np.bool_] | None = None
    """Whether an hour goes on from the one before, and the clock says nothing of it; see `season.note_steps`."""


@dataclass(frozen=True, slots=True)
class BucketSummary:
    """Statistics of one time of the week for explanations, in source units; arrays of shape (m,), NaN: not learned.

    Attributes
    ----------
    scope : ndarray of int
        `WEEK`, `DAY` or `EVERY`.
    visits : ndarray of float64
        Weeks or days that are in it, as far back as the window goes.
    """

    mean: FloatArray
    std: FloatArray
    q1: FloatArray
    q3: FloatArray
    scope: npt.NDArray[np.int8]
    visits: FloatArray


class Baseline:
    """Bucket statistics of all series of a query.

    Parameters
    ----------
    window : float, seconds
        Memory: the weight of a bucket ends at its share of this.
    season : "auto", "weekly", "daily" or "none"
    """

    def __init__(self, window: float, season: str = "auto") -> None:
        visits = window / (7 * 24 * HOUR)
        self._full = np.array([[visits * HOUR], [window / 24.0], [window]])
        self._enough = (
            _NEARLY * HOUR * min(ENOUGH_WEEKS, visits),
            _NEARLY * HOUR * min(ENOUGH_DAYS, window / (24 * HOUR)),
        )
        self._stats = [np.zeros((4, 0), np.float32) for _ in range(BUCKETS)]
        self.season = np.zeros(0, np.int8)
        """The season of each row, as `find_seasons` left it."""
        self.errors = np.zeros((4, 0), np.float32)
        """How well the buckets predicted; see `season.note_errors`."""
        self.steps = np.zeros((2, 0), np.float32)
        """How hours go on from the one before; see `season.note_steps`."""
        self.version = 0
        """Another number whenever anything was learned or changed."""
        self.touched: set[int] = set()
        """Buckets that changed since this was last emptied; a checkpoint writes only those."""
        self.fix_season(season)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows. New rows have learned nothing."""
        self.version += 1
        more = capacity - len(self.season)
        self.season = np.concatenate([self.season, np.zeros(more, np.int8)])
        self.errors = np.concatenate([self.errors, np.zeros((4, more), np.float32)], axis=1)
        self.steps = np.concatenate([self.steps, np.tile(_NO_STEPS, more)], axis=1)
        for bucket, old in enumerate(self._stats):
            # zeros() is calloc: memory that no series uses is never touched, so it costs nothing.
            self._stats[bucket] = np.zeros((4, capacity), np.float32)
            self._stats[bucket][:, : old.shape[1]] = old

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Empty all buckets of `rows`, shape (m,)."""
        if not len(rows):
            return
        self.version += 1
        self.season[rows] = UNKNOWN
        self.errors[:, rows] = 0.0
        self.steps[:, rows] = _NO_STEPS
        for bucket, stats in enumerate(self._stats):
            if any_of(stats[_LAST, rows] > 0.0):
                stats[:, rows] = 0.0
                self.touched.add(bucket)

    def stats(self, buckets: BucketIndex, rows: Rows) -> BucketStats:
        """Return the statistics that each of `rows` is judged against: the finest bucket that has seen enough."""
        week, day, every = (self._stats[bucket][:, rows] for bucket in buckets)
        by_week, by_day, pooled = self._finest(buckets, rows)
        # The bits are chosen and not the numbers: packed quartiles may look like a NaN.
        packed = week if all_of(by_week) else np.where(by_week, _bits(week), np.where(by_day, _bits(day), _bits(every)))
        chosen = _unpack(packed)
        chosen[:4, chosen[_WEIGHT] == 0.0] = np.nan
        mean, std, q1, q3, weight = chosen
        wanders = wandering(self.steps[:, rows], self.season[rows])
        rise = self._rise(buckets, rows, mean, by_week, by_day)
        return BucketStats(mean, std, q1, q3, weight, by_week | pooled, rise=rise, wanders=wanders)

    def _rise(
        self, buckets: BucketIndex, rows: Rows, mean: FloatArray, by_week: BoolArray, by_day: BoolArray
    ) -> FloatArray:
        """Return how far means rise within the hour, shape (n,): 0 where one of the hours beside it is not trusted."""
        beside = []
        for way in (-1, 1):
            week = self._stats[(buckets.week + way) % WEEK_BUCKETS][:, rows]
            day = self._stats[WEEK_BUCKETS + (buckets.day + way) % DAY_BUCKETS][:, rows]
            other = np.where(by_day & (day[_LAST] >= self._enough[1]), day[_MEAN], np.nan)
            trusted = week[_LAST] >= self._enough[0]
            beside.append(np.where(by_week, np.where(trusted, week[_MEAN], np.nan), other).astype(np.float64))
        return rise_between(beside[0], mean, beside[1])

    def _finest(self, buckets: BucketIndex, rows: Rows) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Return whether rows are judged by hour of the week, by hour of the day, and where nothing finer is needed."""
        week, day = (self._stats[bucket][_LAST, rows] for bucket in buckets[:2])
        by_week, by_day = week >= self._enough[0], day >= self._enough[1]
        season = self.season[rows] if self._fixed == UNKNOWN else np.full(len(week), self._fixed, np.int8)
        pooled = ((season == DAILY) | (season == NONE)) & by_day
        return by_week & ~pooled, by_day & ~(pooled & (season == NONE)), pooled

    def single_visit(self, buckets: BucketIndex, rows: slice) -> FloatArray:
        """Return the mean of the hour of the week, shape (n,), where it has one visit and is not trusted; else NaN."""
        week = self._stats[buckets.week][:, rows]
        by_week, _, pooled = self._finest(buckets, rows)
        visited = (week[_LAST] >= _NEARLY * HOUR) & ~by_week & ~pooled
        return np.where(visited, week[_MEAN].astype(np.float64), np.nan)

    def fix_season(self, season: str) -> None:
        """Take all series to have a season, or with ``auto`` each its own."""
        self.version += 1
        self._fixed = SEASONS.index(season) if season in SEASONS else UNKNOWN

    def find_seasons(self, rows: slice) -> None:
        """Find the season of each row from what the buckets have learned."""
        self.version += 1
        hours = [stats[:, rows] for stats in self._stats]
        week, day = hours[:WEEK_BUCKETS], hours[WEEK_BUCKETS : WEEK_BUCKETS + DAY_BUCKETS]
        self.season[rows] = season_of(week, day, self.errors[:, rows], self.steps[:, rows], self.season[rows])

    def scope(self, buckets: BucketIndex, rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int8], FloatArray]:
        """Return which bucket `stats` takes for each of `rows`, and how many weeks or days are in it; shapes (m,)."""
        week, day, every = (self._stats[bucket][_LAST, rows].astype(np.float64) for bucket in buckets)
        by_week, by_day, _ = self._finest(buckets, rows)
        scope = np.where(by_week, WEEK, np.where(by_day, DAY, EVERY)).astype(np.int8)
        return scope, np.where(by_week, week, np.where(by_day, day, every / 24.0)) / HOUR

    def weights(self, buckets: BucketIndex, rows: slice) -> list[tuple[npt.NDArray[np.float32], float]]:
        """Return how many seconds were learned at this hour of the week, of the day and at all, and what is the most.

        The arrays have the shape (n,) and are views.
        """
        return [
            (self._stats[bucket][_LAST, rows], float(full))
            for bucket, full in zip(buckets, self._full.ravel(), strict=True)
        ]

    def learn(
        self, index: BucketIndex, rows: slice, samples: FloatArray, seconds: float, *, begins: bool = False
    ) -> None:
        """Learn some samples of every series, all of the same buckets.

        Parameters
        ----------
        begins : bool
            Whether the hour begins with them. Later ones are not compared: the bucket has learned from this hour.
        samples : ndarray of float64, shape (k, n)
            Baseline units; NaN is not learned.
        seconds : float
            How much history each sample stands for.
        """
        batch = _Batch(samples, seconds)
        buckets = [self._stats[bucket][:, rows] for bucket in index]
        before = _unpack(np.array(buckets))
        if begins:
            visited = before[:, _WEIGHT] >= _NEARLY * HOUR
            here = batch.count > 0.0
            note_errors(self.errors[:, rows], batch.mean, before[:, _MEAN], here & visited[0])
            value = np.where(here, batch.mean, np.nan)
            means = np.where(visited[:2], before[:2, _MEAN], np.nan)
            note_steps(self.steps[:, rows], value, means, before[2, _STD], here & visited[1])
        kept = self._resolve_conflicts(before, batch)
        new = _pack(_learn(before, batch, self._full))
        if any_of(kept):
            new[0] = np.where(kept, _bits(buckets[0]), _bits(new[0])).view(np.float32)
        for bucket, stats in zip(buckets, new, strict=True):
            bucket[...] = stats
        self.touched.update(index)
        self.version += 1

    def overall(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of all times, shapes (n,)."""
        mean, std = self._stats[BUCKETS - 1][:_QUARTILES, rows].astype(np.float64)
        return mean, std

    def all_times(self, rows: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the statistics of all times, shape (5, n): mean, std, q1, q3, weight."""
        return _unpack(self._stats[BUCKETS - 1][:, rows]).astype(np.float32)

    def _resolve_conflicts(self, stats: FloatArray, batch: _Batch) -> npt.NDArray[np.bool_]:
        """Decide between two visits of an hour of the week that disagree, before it is trusted: one was an incident.

        The one that is nearer to the hour of the day is believed. Where that is the new one the bucket, in `stats`,
        begins anew; where it is the old one the row is returned, shape (n,), and its bucket stays as it is.
        """
        week, day, _ = stats
        once = np.maximum(_NEARLY * HOUR, _SOME * batch.each)
        open_to_doubt: npt.NDArray[np.bool_] = (
            (week[_WEIGHT] >= once) & (week[_WEIGHT] < self._enough[0]) & (batch.count > 0.0)
        )
        open_to_doubt &= day[_WEIGHT] >= self._enough[1]
        if not any_of(open_to_doubt):
            return open_to_doubt
        nearer = np.abs(batch.mean - day[_MEAN]) < np.abs(week[_MEAN] - day[_MEAN])
        distance = np.abs(batch.mean - week[_MEAN])
        disagree: npt.NDArray[np.bool_] = open_to_doubt & (distance > _DISAGREE_DAY * day[_STD])
        disagree &= distance > _DISAGREE_HOUR * np.where(nearer, np.sqrt(batch.variance), week[_STD])
        week[_WEIGHT, disagree & nearer & (batch.count >= _SOME)] = 0.0
        disagree &= ~nearer
        return disagree

    def bucket(self, index: int, size: int) -> npt.NDArray[np.float32]:
        """Return one bucket as it is stored, shape (4, size): mean, std, packed quartiles, weight; a view."""
        return self._stats[index][:, :size]

    def copy(self, rows: slice, target: Baseline, place: slice) -> None:
        """Copy the buckets of some rows into other rows of another baseline."""
        target.version += 1
        for own, other in zip(self._stats, target._stats, strict=True):
            other[:, place] = own[:, rows]

    def put(self, index: int, stats: npt.NDArray[np.float32], fresh: npt.NDArray[np.bool_]) -> None:
        """Set one bucket from what `bucket` gave; rows that are `fresh`, shape (size,), stay empty."""
        self.version += 1
        here = self._stats[index][:, : stats.shape[1]]
        # Earlier versions stored the quartiles as two rows.
        here[...] = _pack(stats.astype(np.float64)) if len(stats) == 5 else stats
        here[:, fresh[: stats.shape[1]]] = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of all buckets."""
        return sum(stats.nbytes for stats in self._stats)


def _bits(stats: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(stats).view(np.uint32)


def _unpack(packed: npt.NDArray[np.float32] | npt.NDArray[np.uint32]) -> FloatArray:
    """Return mean, std, q1, q3, weight of one or more stored buckets; shape ([b,] 4, n) to ([b,] 5, n)."""
    stored = np.ascontiguousarray(packed).view(np.float32).swapaxes(0, -2)
    halves = np.ascontiguousarray(stored[_QUARTILES]).view(np.float16).reshape(*stored.shape[1:], 2)
    stats = np.empty((5, *stored.shape[1:]))
    mean, std = stats[_MEAN], stats[_STD]
    mean[...], std[...], stats[_WEIGHT] = stored[_MEAN], stored[_STD], stored[_LAST]
    np.add(mean, std * halves[..., 0], out=stats[_Q1])
    np.add(mean, std * halves[..., 1], out=stats[_Q3])
    return stats.swapaxes(0, -2)


def _pack(stats: FloatArray) -> npt.NDArray[np.float32]:
    """Return one or more buckets as they are stored: quartiles as distances from the mean, in standard deviations."""
    stats = stats.swapaxes(0, -2)
    stored = np.empty((4, *stats.shape[1:]), np.float32)
    stored[_MEAN], stored[_STD], stored[_LAST] = stats[_MEAN], stats[_STD], stats[_WEIGHT]
    mean, std = stored[_MEAN].astype(np.float64), stored[_STD].astype(np.float64)
    distance = np.divide(stats[_Q1:_WEIGHT] - mean, std, out=np.zeros((2, *std.shape)), where=std > 0.0)
    halves = np.empty((*std.shape, 2), np.float16)
    halves[..., 0], halves[..., 1] = clip(distance, -_QUARTILE_MAX, _QUARTILE_MAX)
    stored[_QUARTILES] = halves.view(np.float32)[..., 0]
    return stored.swapaxes(0, -2)


class _Batch:
    """Samples that are learned together, shape (k, n), and what all buckets need of them, shape (n,)."""

    def __init__(self, samples: FloatArray, seconds: float) -> None:
        self.samples = samples
        self.each = seconds
        self.here = here = np.isfinite(samples)
        values = np.where(here, samples, 0.0)
        self.count = add_up(here.astype(np.float64))
        share = np.divide(1.0, self.count, out=np.zeros_like(self.count), where=self.count > 0.0)
        self.mean = add_up(values) * share
        self.variance = add_up(np.where(here, (samples - self.mean) ** 2, 0.0)) * share
        self.seconds = self.count * seconds


def _learn(stats: FloatArray, batch: _Batch, full: FloatArray) -> FloatArray:
    """Learn a batch into some buckets, shape (b, 5, n); rows without a sample do not change."""
    mean, std, q1, q3, weight = stats.swapaxes(0, 1)
    total = weight + batch.seconds
    share = np.divide(batch.seconds, total, out=np.zeros_like(total), where=total > 0.0)
    delta = batch.mean - mean
    new_mean = mean + share * delta
    new_std = np.sqrt((1.0 - share) * (std * std + share * delta * delta) + share * batch.variance)
    young = (weight < _QUARTILE_START * batch.each) & (batch.count > 0.0)
    reach = _NORMAL_QUARTILE * new_std
    # The quartiles step by the spread seen so far. The interquartile range alone could close for good on
    # repeated values, so a part of the standard deviation keeps it open.
    spread = np.maximum(_QUARTILE_GAIN * (q3 - q1), new_std)
    quartiles, weights, every = np.array((q1, q3)), weight.copy(), all_of(batch.here)
    for sample, here in zip(batch.samples, batch.here, strict=True):
        weights += batch.each if every else np.where(here, batch.each, 0.0)
        step = spread * (batch.each / np.minimum(weights, full))
        if not every:
            step = np.where(here, step, 0.0)
        quartiles += step * np.where(sample < quartiles, _MORE, _SHARES)
    low, high = np.where(young, (new_mean - reach, new_mean + reach), quartiles)
    columns = (new_mean, new_std, np.minimum(low, high), np.maximum(low, high), np.minimum(total, full))
    return np.stack(columns, axis=1)
