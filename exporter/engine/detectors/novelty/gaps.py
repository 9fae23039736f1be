"""Which values a feature has taken, as the widest gaps between them.

How far a value is from everything seen before is its distance to the nearer edge of the gap it falls into, and
zero where values lie dense. Only the sparse regions matter for that, and there this memory is exact; yesterday's
spike costs one gap, and neither resolution nor the memory of the others. A sorted history would answer the same
and grow without end.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import NAN, ZERO
from exporter.engine.ordered import FEW, count_of

__all__ = ["GAPS", "Gaps", "gap_columns"]

GAPS = 16
"""Gaps that are kept of each feature, those beyond the extremes included: 128 bytes a feature and series. After some
fifteen kinds of spikes the nearest to others is forgotten."""

_NUMBERS = np.arange(1, GAPS + 1)
_FALLING = np.arange(GAPS, 0, -1, dtype=np.uint8)[:, None]


def gap_columns(features: int) -> dict[str, Column]:
    """Return the state of `features` features: one gap from end to end, the others empty, from 0 to 0."""
    edge = np.where(np.arange(GAPS) == 0, np.inf, 0.0)[:, None]
    return {
        "gaps.low": Column((features, GAPS), np.float32, -edge),
        "gaps.high": Column((features, GAPS), np.float32, edge),
    }


class Gaps:
    """The gaps of some series: `low` and `high` edges, shape (f, GAPS, n), infinite beyond the extremes."""

    def __init__(self, columns: dict[str, Array], features: slice = slice(None)) -> None:
        self._low, self._high = columns["gaps.low"][features], columns["gaps.high"][features]

    def distance(self, values: Array, noise: Array, near: Array) -> Array:
        """Return how far values are from all that was learned.

        Parameters
        ----------
        values : ndarray of float32, shape (f, t, n)
            NaN: cannot say.
        noise : ndarray of float32, shape (t, n)
            Distances up to this are rounding: the values are old ones.
        near : ndarray of float32, shape (f, t, n)
            What is taken off every distance: values so near to an old one are that value again.

        Returns
        -------
        ndarray of float32, shape (f, t, n)
            Infinite where nothing was learned so far.
        """
        if values.shape[-1] < FEW:
            here = values[:, None]
            inside = np.minimum(here - self._low[:, :, None], self._high[:, :, None] - here)
            far = np.maximum.reduce(inside, axis=1, initial=np.float32(0.0))
        else:
            far = np.zeros_like(values)
            above, below = np.empty_like(values), np.empty_like(values)
            for gap in range(GAPS):
                np.subtract(values, self._low[:, gap, None], out=above)
                np.subtract(self._high[:, gap, None], values, out=below)
                np.maximum(far, np.minimum(above, below, out=above), out=far)
        far = np.where(far <= noise, ZERO, np.maximum(far - near, ZERO))
        return np.where(np.isnan(values), NAN, far)

    def within(self, values: Array) -> Array:
        """Return which values of the first feature, shape (t, n), lie between the extremes that were learned."""
        low, high = self._low[0], self._high[0]
        least = np.where(np.isinf(low), high, np.float32(np.inf)).min(axis=0)
        most = np.where(np.isinf(high), low, np.float32(-np.inf)).max(axis=0)
        within: Array = (values >= least) & (values <= most)
        return within

    def begin_anew(self, series: Array, reach: Array) -> None:
        """Forget what `series` have shown; only values nearer to zero than `reach` are old ones. Shapes (k,)."""
        self._low[..., series], self._high[..., series] = 0.0, 0.0
        self._low[:, 0, series], self._high[:, 0, series] = -np.inf, -reach
        self._low[:, 1, series], self._high[:, 1, series] = reach, np.inf

    def learn(self, values: Array, novel: Array) -> None:
        """Learn values of each feature and series, shape (t, f, n), where `novel`, one after the other.

        A value splits the gap it falls into; of what are then GAPS + 1 gaps the narrowest is forgotten.
        """
        novel = (novel & ~np.isnan(values)).reshape(len(novel), -1)
        count = count_of(novel)
        place = np.flatnonzero(count)
        if not len(place):
            return
        # Those with most values first, so that each turn is about the first of them; gap by gap, (GAPS, m), because
        # what is done with all gaps of the same number is quick where they lie side by side.
        place = place[np.argsort(-count[place], kind="stable")]
        count = count[place]
        low, high = (np.take(_by_gap(edges), place, axis=1) for edges in (self._low, self._high))
        # Their values, one after the other.
        ordered = np.take(values.reshape(len(values), -1), place, axis=1).T[np.take(novel, place, axis=1).T]
        first, last = np.cumsum(count) - count, int(np.max((low < high).any(axis=1) * _NUMBERS))
        for turn in range(int(count[0])):
            left = int(np.searchsorted(-count, -turn))  # Those that have one more value.
            # All behind the last one in use are empty, and each value takes one more at most.
            rows = min(GAPS, last + turn + 1)
            _split(low[:rows], high[:rows], ordered[first[:left] + turn])
        for edges, new in ((self._low, low), (self._high, high)):
            every = _by_gap(edges)
            for gap, row in zip(every, new, strict=True):
                gap[place] = row
            edges[...] = every.reshape(GAPS, len(edges), -1).swapaxes(0, 1)


def _by_gap(edges: Array) -> Array:
    """Return a copy of edges by number, (f, GAPS, n) to (GAPS, f * n)."""
    return edges.swapaxes(0, 1).reshape(GAPS, -1)


def _split(low: Array, high: Array, value: Array) -> None:
    """Learn one value of each of the first k columns of gaps in place; shapes (gaps, m) and (k,)."""
    count, columns = len(value), low.shape[1]
    lower, upper = low[:, :count], high[:, :count]
    falling = _FALLING[-len(low) :]
    # In at most one gap of each column, because gaps do not overlap.
    inside = lower < value
    inside &= value < upper
    within = np.maximum.reduce(inside.view(np.uint8) * falling, axis=0)
    column = np.flatnonzero(within)
    if not len(column):
        return
    lows, highs = low.reshape(-1), high.reshape(-1)
    hit = (len(low) - within[column].astype(np.intp)) * columns + column
    value, left, right = value[column], lows[hit], highs[hit]
    keeps_left = value - left >= right - value  # The wider half stays in place.
    lows[hit], highs[hit] = np.where(keeps_left, left, value), np.where(keeps_left, value, right)
    # The other half takes the place of the narrowest gap, if that is narrower.
    begin, end = np.where(keeps_left, value, left), np.where(keeps_left, right, value)
    width = upper - lower
    least = np.minimum.reduce(width, axis=0)
    wider = np.flatnonzero(end - begin > least[column])
    column, begin, end = column[wider], begin[wider], end[wider]
    # Numbers that fall, so that the first of equally narrow ones has the largest.
    first = np.maximum.reduce((width == least).view(np.uint8) * falling, axis=0)
    there = (len(low) - first[column].astype(np.intp)) * columns + column
    lows[there], highs[there] = begin, end
