"""Limits of a signal: what the largest values of most hours and days of a series reach.

A block lasts an hour, or twelve samples where these take longer. The largest value of each signal in a block is counted
in a histogram, whose counts halve in two weeks; the largest value of each day is kept for four weeks. The limit is an
extrapolation: the upper quarter and the upper tenth of the blocks, carried on by a power of their ratio to the median.
A series with wide tails has them in its normal hours, too. Incidents, some per cent of the hours, do not move these
quantiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column
from exporter.engine.constants import UNITY, ZERO
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import all_of, any_of, clip, logarithm

__all__ = ["READY", "Limit", "SignalLimits", "days_of", "limit_columns"]

DAY = 1440
"""Minutes."""
BLOCK_MINUTES, BLOCK_SAMPLES = 54, 12
"""A block lasts at least so long, first to last sample, and has at least so many samples."""
BINS = 32
LOWEST, RATIO, RATIO_OF_DAYS = 0.1, 1.2, 1.03
"""Bins of the histogram: all below the first, then each so many times the one before. Days are kept in finer steps."""
FADE = 0.5 ** (1.0 / 14.0)
"""Part of a count that is left after a day."""
DAYS = 28
STILL = 1.6
"""A series that does not move in three quarters of the hours must be so many times beyond all but two of its days; one
that does not in nearly all hours, beyond all but one."""
WHITE_MOST = 2.0
"""How much farther than without correlation the limit is at most: the upper tenth of a few weeks is not exact."""
ENOUGH = 14
"""Days that say alone what is normal, where hours do not."""
READY = 7
"""Days before there is a limit."""
_NEVER = np.iinfo(np.int32).min
_UNKNOWN = 255


class Limit(NamedTuple):
    """How the limit of one signal follows from its quantiles.

    Attributes
    ----------
    least : float
        Smallest limit.
    quarter, tenth : float
        Powers of the ratio of the upper quarter, and of the upper tenth, to the median.
    share : float
        Factor of the extrapolation from the upper quarter.
    days, beyond : float
        Share of the days, and factor of what they reach; 0: days do not count.
    root : float
        Quantiles count as at least this.
    white, white_share : float
        Power of the ratio of the upper tenth to the median, and factor, where samples are not correlated; 0: none.
    early : int
        Days from which on there is a limit, as many times larger as its error is than after a week; 0: after a week.
    """

    least: float
    quarter: float
    tenth: float
    share: float = 1.0
    days: float = 0.0
    beyond: float = 1.0
    root: float = 0.2
    white: float = 0.0
    white_share: float = 0.0
    early: int = 0


def limit_columns(rules: tuple[Limit, ...]) -> dict[str, Column]:
    """Return the state for signals with such rules; those whose days count come first."""
    signals, daily = len(rules), sum(rule.days > 0.0 for rule in rules)
    return {
        "open": Column((), np.int32, _NEVER),  # Minutes of the first and of the last sample of the block under way.
        "now": Column((), np.int32, _NEVER),
        "count": Column((), np.int16),
        "most": Column((signals,), np.float32),  # Largest values of the block.
        "hours": Column((signals, BINS), np.float16),  # How often a block reached each bin.
        "day": Column((), np.int32, _NEVER),
        "today": Column((daily,), np.float16),
        "days": Column((daily, DAYS), np.uint8, _UNKNOWN),  # Bin of the largest value of each of the last days.
        "limit": Column((signals,), np.float32, np.nan),
    }


def days_of(columns: dict[str, Array]) -> Array:
    """Return how many days the limits of each series are of, at most `DAYS`; shape (n,)."""
    days: Array = (columns["days"][0] != _UNKNOWN).sum(axis=0)
    return days


class SignalLimits:
    """The limits of some series, in columns of `limit_columns`."""

    def __init__(self, columns: dict[str, Array], rules: tuple[Limit, ...]) -> None:
        self._columns, self._rules = columns, rules

    def note(self, times: Array, signals: Array, usable: Array, anomalous: Array | None, steps: LearningSteps) -> None:
        """Note the sizes of signals, shape (s, t, n).

        Those that are usable, shape (t, n), of samples that are learned; and the anomalous ones of those between: what
        happens in most hours is normal wherever it falls.
        """
        if anomalous is not None and not steps.every:
            self._note_between(steps.between(signals, axis=1), steps.between(anomalous))
        if steps.none:
            return
        times, signals, usable = steps.of(times), steps.of(signals, axis=1), steps.of(usable)
        state = self._columns
        most = state["most"]
        if all_of(usable):
            for sizes in signals.swapaxes(0, 1):
                np.fmax(most, sizes, out=most)
            minutes = (times // 60.0).astype(np.int32)
            state["open"][...] = np.where(state["open"] == _NEVER, minutes[0], state["open"])
            state["now"][...] = minutes[-1]
            state["count"] += np.int16(len(minutes))
            return
        for sizes, ok, at in zip(signals.swapaxes(0, 1), usable, times.tolist(), strict=True):
            minute = np.int32(at // 60.0)
            np.copyto(most, np.fmax(most, sizes), where=ok)
            state["open"][ok & (state["open"] == _NEVER)] = minute
            state["now"][ok] = minute
            state["count"] += ok

    def _note_between(self, signals: Array, anomalous: Array) -> None:
        if any_of(anomalous):
            most = self._columns["most"]
            np.fmax(most, np.fmax.reduce(np.where(anomalous, signals, ZERO), axis=1), out=most)

    def end_block(self, white: Array | None = None) -> npt.NDArray[np.intp]:
        """Count the blocks that have ended, and return the series whose day has ended with it.

        Of series that are `white`, shape (n,), samples are not correlated: incidents are few of their hours, and wide
        tails are in the upper tenth.
        """
        state = self._columns
        ended = np.flatnonzero((state["count"] >= BLOCK_SAMPLES) & (state["now"] - state["open"] >= BLOCK_MINUTES))
        if not len(ended):
            return ended
        # Mostly those of all series end together, and views cost less than copies.
        rows = slice(None) if len(ended) == len(state["count"]) else ended
        most, day = state["most"][:, rows], state["now"][rows] // DAY
        new: npt.NDArray[np.intp] = ended[day != state["day"][rows]]
        if len(new):
            self._end_day(new, None if white is None else white[new])
            state["day"][rows] = day
        for hours, where in zip(state["hours"], _bin_of(most), strict=True):
            hours[where, ended] += np.float16(1.0)
        today = state["today"]
        today[:, rows] = np.maximum(today[:, rows], np.minimum(most[: len(today)], np.float32(6e4)))
        state["most"][:, rows] = 0.0
        state["count"][rows] = 0
        state["open"][rows] = _NEVER
        return new

    def _end_day(self, rows: npt.NDArray[np.intp], white: Array | None) -> None:
        """Keep the largest values of the day of `rows`, and compute their limits."""
        state = self._columns
        begun = state["day"][rows] != _NEVER
        days = state["days"][:, :, rows]
        today = _bin_of(state["today"][:, rows].astype(np.float32), RATIO_OF_DAYS, _UNKNOWN)
        days[:, :-1, begun] = days[:, 1:, begun]
        days[:, -1, begun] = today[:, begun]
        state["days"][:, :, rows] = days
        state["today"][:, rows] = 0.0
        ordered = np.sort(days, axis=1)  # _UNKNOWN comes last.
        count = (days[0] != _UNKNOWN).sum(axis=0)
        hours = state["hours"][:, :, rows].astype(np.float32)
        for index, rule in enumerate(self._rules):
            limit = _limit_of(rule, hours[index], ordered[index] if rule.days else None, count, white)
            if rule.early:
                limit = limit * np.sqrt(READY / clip(count, 1, READY)).astype(np.float32)
            state["limit"][index, rows] = np.where(count >= (rule.early or READY), limit, np.nan)
        state["hours"][:, :, rows] = hours * np.float32(FADE)


def _limit_of(rule: Limit, hours: Array, days: Array | None, count: Array, white: Array | None) -> Array:
    """Return the limit of one signal, shape (n,), from its histogram and the sorted bins of `count` days."""
    q50, q75, q90 = (np.maximum(_quantile(hours, share), np.float32(rule.root)) for share in (0.5, 0.75, 0.9))
    limit = np.float32(rule.share) * q50 * _power(q75 / q50, rule.quarter)
    limit = np.maximum(limit, q50 * _power(q90 / q50, rule.tenth))
    if days is not None:
        every = np.arange(len(count))
        place = np.minimum(((1.0 - rule.days) * count).astype(np.intp), DAYS - 1)
        # The hours of a series that does not move in most of them say nothing: only its days do. And the tail of those
        # of one that moves in less than half of them begins at none, so it is too wide.
        root = np.float32(rule.root)
        reached = np.float32(rule.beyond) * _edge(days[place, every], RATIO_OF_DAYS)
        last = np.minimum(np.maximum(count - np.where(q90 <= root, 2, 3), 0), DAYS - 1)
        top = np.float32(STILL) * _edge(days[last, every], RATIO_OF_DAYS)
        seldom = (q50 <= root) & (q75 > root) & (count >= ENOUGH)
        limit = np.where(q75 <= root, np.maximum(limit, top), np.where(seldom, np.minimum(limit, top), limit))
        limit = np.maximum(limit, reached)
    largest: Array = np.maximum(limit, np.float32(rule.least))
    if white is not None and rule.white:
        # Less one standard error of the ratio, about: a limit that chance has raised hides much.
        doubt = UNITY - UNITY / np.sqrt(np.maximum(hours.sum(axis=0), np.float32(4.0)))
        tail = np.float32(rule.white_share) * q50 * _power(doubt * q90 / q50, rule.white)
        most = np.minimum(tail, np.float32(WHITE_MOST) * largest)
        largest = np.where(white, np.maximum(largest, most), largest)
    return largest


def _bin_of(size: Array, ratio: float = RATIO, bins_in_all: int = BINS) -> Array:
    """Return the bin of each value."""
    position = logarithm(np.maximum(size, np.float32(LOWEST)) / np.float32(LOWEST)) / np.float32(np.log(ratio))
    bins: Array = np.minimum(position + UNITY, bins_in_all - 1).astype(np.uint8)
    return np.where(size < LOWEST, np.uint8(0), bins)


def _edge(position: Array, ratio: float = RATIO) -> Array:
    """Return the value at a position in bins: 1.0 is the lower edge of bin 1."""
    edge: Array = (LOWEST * ratio ** (position.astype(np.float64) - 1.0)).astype(np.float32)
    return edge


def _power(ratio: Array, power: float) -> Array:
    raised: Array = (ratio.astype(np.float64) ** power).astype(np.float32)
    return raised


def _quantile(hours: Array, share: float) -> Array:
    """Return a quantile of histograms, shape (BINS, n), interpolated within its bin; shape (n,)."""
    cumulative = np.add.accumulate(hours, axis=0)
    target = np.float32(share) * cumulative[-1]
    index = (cumulative >= target).argmax(axis=0)
    every = np.arange(hours.shape[1])
    upper, within = cumulative[index, every], hours[index, every]
    part = np.where(within > 0.0, (target - (upper - within)) / within, ZERO)
    return _edge(index + part)
