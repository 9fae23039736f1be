"""Trends: the level of the last day against the buckets, where it has been on one side of them for weeks.

Buckets are means over a month, so traffic that grows by 30 % a month is 15 % above them on every day. The level is the
mean ratio of the last day. It counts only so far as the hours of the last two weeks were on its side: a week of
holidays, or a weekend, is no trend. It moves the expected value, and the band with it; what is learned stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketStats
from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import ZERO
from exporter.engine.ordered import add_to, any_of, clip, logarithm
from exporter.engine.seconds import DAY

__all__ = ["Trend"]

FloatArray = npt.NDArray[np.float64]

LASTING = 14.0 * DAY
ASIDE = 0.02
"""Logarithm of the ratio from which on an hour is on a side."""
MOST = 0.1
"""Distance of one block from the level that counts at most, so that an incident does not carry the level off."""
NONE, ALL = 0.5, 0.75
"""Share of the hours on the same side, less those on the other, from which on the level counts, and counts entirely."""

LAYOUT = {
    "level": Column((), np.float32),
    "side": Column((), np.float32),
    "sums": Column((2,), np.float32),  # Of the samples of the block and of the means of their buckets; from zero.
    "seconds": Column((), np.float32),
    "negative": Column((), np.bool_),
}


class Trend:
    """Level of every series against its buckets, as a logarithm; where values are never negative."""

    def __init__(self) -> None:
        self._columns = Columns(LAYOUT)

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
        return {f"trend/{name}": array for name, array in self._columns.arrays().items()}

    def today(self, stats: BucketStats, zero: FloatArray, rows: slice | npt.NDArray[np.intp]) -> BucketStats:
        """Return bucket statistics at the level of the last day; `zero` is the value zero, shape (n,)."""
        columns = self._columns.arrays()
        level, side = columns["level"][rows], columns["side"][rows]
        part = clip((side * np.sign(level) - NONE) / (ALL - NONE), 0.0, 1.0)
        part *= ~columns["negative"][rows]
        if not any_of(part):
            return stats
        factor = np.exp((part * level).astype(np.float64)).astype(np.float32).astype(np.float64)
        # Without a trend a value stays the same to its last bit, whatever other series have.
        moved = part != 0.0
        mean, q1, q3 = (
            np.where(moved, zero + factor * (value - zero), value) for value in (stats.mean, stats.q1, stats.q3)
        )
        rise = None if stats.rise is None else factor * stats.rise
        return replace(stats, mean=mean, q1=q1, q3=q3, std=factor * stats.std, rise=rise, trend=part)

    def note(self, rows: slice, sample: FloatArray, stats: BucketStats, zero: FloatArray, seconds: float) -> None:
        """Note samples of a block, shape (t, n), NaN where they do not count; `stats` are those of the buckets."""
        state = self._columns.views(rows)
        mean = stats.mean - zero
        comparable = ~np.isnan(mean) if stats.fine is None else stats.fine & ~np.isnan(mean)
        sizes = sample - zero
        counts = comparable & ~np.isnan(sizes)
        state["negative"] |= (sizes < 0.0).any(axis=0)
        total, expected = state["sums"]
        add_to(total, np.where(counts, sizes, 0.0).astype(np.float32))
        add_to(expected, np.where(counts, mean, 0.0).astype(np.float32))
        add_to(state["seconds"], np.where(counts, np.float32(seconds), ZERO))

    def end_block(self, rows: slice) -> None:
        """Learn the block that has ended."""
        state = self._columns.views(rows)
        total, expected = state["sums"]
        seconds = np.minimum(state["seconds"], np.float32(DAY))
        ratio = logarithm(total / expected)
        counts = (seconds > 0.0) & np.isfinite(ratio)
        level, side = state["level"], state["side"]
        step = clip(ratio - level, -MOST, MOST) * (seconds / np.float32(DAY))
        level += np.where(counts, step, 0.0).astype(np.float32)
        now = np.where(np.abs(ratio) > ASIDE, np.sign(ratio), 0.0)
        side += np.where(counts, (now - side) * (seconds / np.float32(LASTING)), 0.0).astype(np.float32)
        state["sums"][...] = state["seconds"][...] = 0.0

    def accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, whose level was moved."""
        columns = self._columns.arrays()
        columns["level"][rows] = columns["side"][rows] = 0.0
