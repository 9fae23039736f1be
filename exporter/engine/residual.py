"""Residuals of samples against their bucket and against the last hour, and the noise of each hour of the day.

The residual of a sample is its distance from the mean of its bucket. Its contrast is the residual less the residuals of
the last hour: on a day that is higher altogether, not every sample is a surprise. The noise of each hour of the day is
learned from two weeks of residuals, because an hour of the week has only two to five visits and hours differ. Where a
series is never negative, the same is computed of the logarithm: noise that grows with the value is constant there.

All of it is learned at the end of a block, so the result does not depend on how many instants are scored together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketStats
from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import UNITY, ZERO, single
from exporter.engine.detectors.base import BLOCK, BoolArray, FloatArray, Residual, SampleBatch
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import add_to, add_up, all_of, any_of, clip, count_of, logarithm, rolling_sum
from exporter.engine.seconds import HOUR

__all__ = ["Levels", "Residuals"]

HOURS = 24
WINDOW = 24
"""Past samples that are kept: those of the last hour, at most."""
LEAST = 6
"""Samples that the last hour has at least, however far apart they are."""
DAYS = 14.0
"""Memory of the noise of an hour."""
VISITS = 4.0
"""Visits of a bucket that the noise of its hour of the day weighs as much as."""
WHITE, INDEPENDENT = single(0.3), 4.0
"""Correlation from sample to sample below which a visit counts so many times: its samples are not one reading, so they
say what the noise of the bucket is."""
NORMAL = single(1.2533)
"""Standard deviation in mean absolute deviations, for a normal distribution."""
CLIP = single(3.0)
"""Residuals count for the noise at most this many times the noise of their hour: an incident is no noise."""
CLEAR = single(100.0)
"""Sum of the squares from which on the correlation is known: that of so many samples that moved."""
REPEATS = 2016
"""Samples that the share of those that repeat the one before is a mean of: a week of five minutes."""
MOSTLY = single(0.8)
"""Share of zeros from which on a series is mostly zero. Most of its hours have seen no event, or one, so their noise
says nothing: it is at least that of all samples, as if all events were of one size. And from nothing, all events are
equally far by their logarithm."""
ECHO_FADE = single(0.5 ** (1.0 / 1000.0))
"""Part of the correlation that is left after a sample: half after three and a half days of five minutes."""
EMPTY = single(0.05)
"""Part of the mean value that is added before a logarithm is taken, so that a zero is far and not infinitely far."""
_NO_SAMPLE = 255


@dataclass(frozen=True, slots=True)
class Levels:
    """Values that samples are compared with beside their bucket; shape (n,), baseline units.

    Attributes
    ----------
    zero
        The value zero.
    mean, std
        Of all hours.
    single_visit
        Mean of the only visit of this hour of the week; NaN where there are more or none.
    """

    zero: FloatArray
    mean: FloatArray
    std: FloatArray
    single_visit: FloatArray


LAYOUT = {
    "age": Column((), np.int32),
    "size": Column((), np.float32),  # Mean distance from zero.
    "moved": Column((), np.bool_),
    "negative": Column((), np.bool_),
    "noise": Column((2, HOURS), np.float32, np.nan),  # Mean absolute residual of each hour of the day; value and ratio.
    "recent": Column((2, WINDOW + BLOCK), np.float32, np.nan),  # Residuals, up to the end of the block.
    "hour": Column((BLOCK,), np.uint8, _NO_SAMPLE),  # Of the samples of the block.
    "echo": Column((2,), np.float32),  # Running sums of the products of neighbouring residuals, and of their squares.
    "last": Column((), np.float32),  # The last residual, in the noise of its hour.
    "repeats": Column((), np.float32),  # Share of samples that repeat the one before.
    "same": Column((), np.int16),  # Of the samples of the block.
    "value": Column((), np.float64, np.nan),  # The last sample that was learned.
    "zeros": Column((), np.float32),  # Share of samples that are zero.
    "nothing": Column((), np.int16),  # Of the samples of the block.
    "sum": Column((), np.float32),  # Of the distances from zero of the samples of the block.
}


class Residuals:
    """The last residuals of every series, and the noise of its hours."""

    def __init__(self) -> None:
        self._columns = Columns(LAYOUT)
        self.step = 300.0
        """Seconds between the samples of the newest batch; not stored."""

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)

    @property
    def negative(self) -> Array:
        """Whether a sample that was learned of each row was below zero."""
        return self._columns.arrays()["negative"]

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return {f"residual/{name}": array for name, array in self._columns.arrays().items()}

    def update(
        self, rows: slice, batch: SampleBatch, hour: int, keep: BoolArray, levels: Levels, step: float
    ) -> SampleBatch:
        """Note samples of one hour; return the batch with their residuals, and with the noise in `stats.std`.

        Parameters
        ----------
        hour : int
            Of the day.
        keep : ndarray of bool, shape (t, n)
            Which samples are noted.
        levels : Levels
        step : float, seconds
            How far samples that are learned are apart.
        """
        state, index, steps = self._columns.views(rows), batch.index, batch.steps
        sample, stats, zero = batch.sample, batch.stats, levels.zero
        noted = steps.of(keep)
        self.step = step
        residual = _nearest_residual(batch.level, stats, levels.single_visit)
        add, middle = EMPTY * state["size"], batch.mean - zero
        expected = np.maximum(middle, 0.0).astype(np.float32) + add
        ratio = logarithm((np.maximum(residual + middle, 0.0).astype(np.float32) + add) / expected)
        both = np.array((residual, ratio))
        recent = state["recent"]
        own = _note_recent(recent, index, both, noted, steps)
        local = _last_hour(recent, index, step, steps)
        contrast = both - np.where(np.isnan(local), ZERO, local)
        positive = ~state["negative"]
        if steps.count:
            _note_sizes(state, steps.of(sample), zero, noted)
            state["hour"][index : index + len(noted)] = np.where(noted, np.uint8(hour), np.uint8(_NO_SAMPLE))
        noise = _noise_about(state["noise"], hour)
        visits = clip(stats.weight / HOUR, 1.0, 30.0)
        of_hour = np.where(np.isnan(noise[0]), stats.std, noise[0])
        # What grew for weeks lies in the deviation of the bucket, and not in the noise of the hour.
        counted = visits if stats.trend is None else (1.0 - stats.trend) * visits
        product, square = state["echo"]
        correlation = np.where(square > CLEAR, product / square, UNITY)
        white = correlation < WHITE
        counted = np.where(white, INDEPENDENT * counted, counted)
        variance = (counted * stats.std**2 + VISITS * of_hour**2) / (counted + VISITS) * (1.0 + 1.0 / visits)
        spread = np.sqrt(variance)
        if any_of(rare := state["zeros"] > MOSTLY):
            of_events = state["size"] / np.sqrt(np.maximum(UNITY - state["zeros"], np.float32(1e-6)))
            spread = np.where(rare, np.maximum(spread, of_events), spread)
            positive &= ~rare
        # The noise of the logarithm has no bucket: it is at most what that of the value is near the mean.
        of_hour = expected if batch.line is None else np.maximum(stats.mean - zero, 0.0).astype(np.float32) + add
        near = (spread / of_hour).astype(np.float32)
        ratio_spread = np.where(white, np.fmin(noise[1], near), noise[1])
        overall = ((sample - levels.mean) / np.maximum(levels.std, batch.resolution)).astype(np.float32)
        change = (sample - _previous(state["value"], sample, noted, steps)).astype(np.float32)
        if steps.count:
            state["same"] += ((steps.of(change) == 0.0) & noted).sum(axis=0, dtype=np.int16)
        residuals = Residual(
            value=residual,
            contrast=contrast[0],
            spread=np.maximum(spread, batch.resolution).astype(np.float32),
            ratio=ratio,
            ratio_contrast=contrast[1],
            ratio_spread=ratio_spread,
            positive=positive,
            overall=overall,
            own=own,
            before=recent[0][index : index + WINDOW + steps.most],
            change=change,
            correlation=correlation,
            repeats=state["repeats"],
            zero=zero,
            step=step,
        )
        return replace(batch, stats=replace(stats, std=spread), residual=residuals)

    def held(self, rows: slice) -> Array:
        """Return how many samples of the block repeat the one before, shape (n,)."""
        return self._columns.views(rows)["same"]

    def end_block(self, rows: slice) -> None:
        """Learn the block that has ended."""
        state = self._columns.views(rows)
        age, noise, recent, hours = state["age"], state["noise"], state["recent"], state["hour"]
        noted = hours != _NO_SAMPLE
        count = noted.sum(axis=0, dtype=np.int32)
        most = DAYS * max(1.0, HOUR / self.step)
        rate = (1.0 / clip(age / np.float32(HOURS), 1.0, most)).astype(np.float32)
        typical, sizes = _learn_noise(noise, np.abs(recent[:, WINDOW:]), noted, hours.min(axis=1).tolist(), rate)
        relative = np.copysign(sizes / typical, recent[0, WINDOW:])
        # Where a series begins anew nothing is expected of it yet.
        relative = np.where(noted & (typical > 0.0) & ~np.isnan(relative), relative, ZERO)
        # What the first days have in common is no correlation: the mean samples of their hours were not known yet.
        fade = np.minimum(ECHO_FADE, 1.0 - 2.0 / np.maximum(age, 3)).astype(np.float32)
        _learn_echo(state["echo"], state["last"], relative, noted, fade)
        share = count / clip(age + count, 1, HOURS * most).astype(np.float32)
        mean = state["sum"] / np.maximum(count, 1).astype(np.float32)
        state["size"] += np.where(count > 0, share.astype(np.float32) * (mean - state["size"]), ZERO)
        nothing = state["nothing"] / np.maximum(count, 1).astype(np.float32)
        state["zeros"] += np.where(count > 0, share * (nothing - state["zeros"]), 0.0).astype(np.float32)
        state["nothing"][...] = 0
        share = state["same"] / np.maximum(count, 1).astype(np.float32)
        share = (share - state["repeats"]) * count / clip(age + count, BLOCK, REPEATS).astype(np.float32)
        state["repeats"] += share.astype(np.float32)
        state["same"][...] = 0
        age += count
        recent[:, :WINDOW] = recent[:, BLOCK:].copy()
        hours[...] = _NO_SAMPLE
        state["sum"][...] = 0.0

    def accept(self, rows: npt.NDArray[np.intp], by: FloatArray) -> None:
        """Count the residuals of `rows` from the level that moved `by`, shapes (m,)."""
        recent = self._columns.arrays()["recent"]
        recent[0][:, rows] -= by.astype(np.float32)
        recent[1][:, rows] = 0.0


def _nearest_residual(sample: FloatArray, stats: BucketStats, single_visit: FloatArray) -> Array:
    """Return the distance from the mean of the bucket, or from that of the single visit where this is nearer."""
    residual = (sample - stats.mean).astype(np.float32)
    if all_of(alone := np.isnan(single_visit)):
        return residual
    # A weekend that was visited once is as normal as the other days.
    other = (sample - single_visit).astype(np.float32)
    smaller = np.copysign(np.minimum(np.abs(residual), np.abs(other)), residual)
    nearer = np.where(residual * other > 0.0, smaller, ZERO)
    return np.where(alone, residual, nearer)


def _note_recent(recent: Array, index: int, both: Array, noted: BoolArray, steps: LearningSteps) -> Array:
    """Keep the residuals of samples that are learned, and return all, shape (t, n); see `Residual.own`.

    `noted`, shape (learned, n), are those that count: what does not is as the one before it.
    """
    residual: Array = both[0]
    if steps.none:
        return residual
    start = WINDOW + index
    here = recent[:, start : start + steps.count]
    here[...] = steps.of(both, axis=1)
    if not noted.all():
        for offset, ok in enumerate(noted):
            here[:, offset] = np.where(ok, here[:, offset], recent[:, start + offset - 1])
    value: Array = here[0]
    if steps.every:
        return value
    own = residual.copy()
    own[steps.flags] = value
    return own


def _last_hour(recent: Array, index: int, step: float, steps: LearningSteps) -> Array:
    """Return the level of the residuals of the hour before each sample, shape (2, t, n).

    It is the median of the means of the three thirds of the hour, which one spike does not move.
    """
    third = int(np.clip(HOUR / step, LEAST, WINDOW)) // 3
    start = WINDOW + index
    levels = _median_of_thirds(recent[:, start - 3 * third : start + steps.most].swapaxes(0, 1), third)
    return steps.at_each(levels).swapaxes(0, 1)


def _previous(last: Array, sample: FloatArray, noted: BoolArray, steps: LearningSteps) -> Array:
    """Return the sample that was learned before each, shape (t, n), and note the newest in `last`."""
    if steps.none:
        return np.broadcast_to(last, sample.shape)
    new = steps.of(sample)
    if not noted.all():
        new, newest = new.copy(), last
        for row, ok in zip(new, noted, strict=True):
            np.copyto(row, newest, where=~ok)
            newest = row
    before = np.concatenate([last[None], new[: steps.most]])
    last[...] = new[-1]
    return steps.at_each(before)


def _note_sizes(state: dict[str, Array], sample: FloatArray, zero: FloatArray, keep: BoolArray) -> None:
    """Note how far samples are from zero, and whether any is negative."""
    distance = np.where(keep, sample - zero, 0.0)
    state["negative"] |= (distance < 0.0).any(axis=0)
    # Before a series has moved it has no unit.
    moved = np.logical_or.accumulate((sample != 0.0) & keep, axis=0) | state["moved"]
    state["moved"][...] = moved[-1]
    state["nothing"] += ((sample == zero) & keep).sum(axis=0, dtype=np.int16)
    add_to(state["sum"], np.where(moved, distance.astype(np.float32), ZERO))


def _noise_about(noise: Array, hour: int) -> Array:
    """Return the noise of an hour of the day and its neighbours as a standard deviation; (2, 24, n) to (2, n)."""
    hours = noise[:, [(hour - 1) % HOURS, hour, (hour + 1) % HOURS]]
    valid = ~np.isnan(hours)
    total = add_up(np.where(valid, hours, ZERO).swapaxes(0, 1))
    deviation: Array = NORMAL * total / count_of(valid.swapaxes(0, 1)).astype(np.float32)
    return deviation


def _learn_noise(noise: Array, sizes: Array, noted: Array, hours: list[int], rate: Array) -> tuple[Array, Array]:
    """Learn the sizes of residuals, shape (2, t, n), as the noise of their hours, (2, 24, n), where they were `noted`.

    Return the noise of the value with each sample, and its size as it counts; shapes (t, n).
    """
    usable, typical = noted & ~np.isnan(sizes), np.ones(noted.shape, np.float32)
    unusable = ~usable
    never, every = np.logical_and.reduce(unusable, axis=1), all_of(usable)
    # Where all that counts was learned before, nothing has to be chosen.
    plain = all_of(rate < UNITY) and all(
        hour == _NO_SAMPLE or all_of((noise[:, hour] > ZERO) | never) for hour in set(hours)
    )
    for index, hour in enumerate(hours):
        if hour == _NO_SAMPLE:
            continue
        now, size = noise[:, hour], sizes[:, index]
        most = CLIP * now
        if not plain:
            np.copyto(most, np.float32(np.inf), where=~(now > 0.0))
        np.minimum(size, most, out=size)
        step = rate * (size - now)
        if not every:
            np.copyto(step, ZERO, where=unusable[:, index])
        if plain:
            now += step
        else:
            np.copyto(now, np.where(np.isnan(now), size, now + step), where=usable[:, index])
        typical[index] = now[0]
    return typical, sizes[0]


def _learn_echo(echo: Array, last: Array, relative: Array, noted: Array, fade: Array) -> None:
    """Add the products of residuals, shape (t, n), with the ones before and with themselves, where `noted`."""
    if any_of(unknown := np.isnan(echo[1])):
        # An earlier version added what was not known.
        echo[:, unknown] = last[unknown] = ZERO
    chain = np.concatenate((last[None], relative))
    every = all_of(noted)
    for index, here in enumerate(noted):
        if not every:
            # Whether other series have a sample must not matter.
            np.copyto(chain[index + 1], chain[index], where=~here)
        new = echo * fade
        new += chain[index + 1] * chain[index : index + 2]
        if every:
            echo[...] = new
        else:
            np.copyto(echo, new, where=here)
    last[...] = chain[-1]


def _median_of_thirds(rows: Array, third: int) -> Array:
    """Return the median of the means of the three thirds before each row; (3 third + t - 1, k, n) to (t, k, n)."""
    count = len(rows) - 3 * third + 1
    length = third + count - 1
    a, b, c = (rolling_sum(rows[first : first + length], third) for first in (0, third, 2 * third))
    median: Array = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return median * np.float32(1.0 / third)
