"""How often a signal was how large: half-octave bins around the size of its first value.

The scale is the series' own, so that a series in other units falls into the same bins. Bin 0 counts exact zeros,
bin 1 all that is small, the last one all that is large.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import UNITY, single
from exporter.engine.ordered import FEW, add_up, any_of, clip

__all__ = ["BINS", "MISSING", "Histogram", "histogram_columns"]

BINS = 40
"""Zero, and twenty octaves: a factor of a million."""
UNKNOWN = BINS
"""Noted in place of a bin where the signal cannot say, or lies beyond everything."""
MISSING = BINS + 1
"""Noted in place of a bin where there is nothing to learn from."""
FULL = 6000
"""Samples from which on all counts are halved, so that the past is that of three weeks of five minutes; eight times as
many still fit into 16 bits."""
_EIGHTHS = 8
"""Counts are eighths in 16 bits, so that halving forgets slowly what was rare."""
_NOT_ON_AN_EDGE = single(2.0**-0.25)
"""The first value lies in the middle of its bin: whole multiples of it, which are frequent, are on no edge."""
_REACH = single(2.0**95)
"""Ratios to the first value end here; so does, in half octaves, the range that the bins can move to."""
_LEAST = single(2.0**-95)
_MANTISSA = np.int32(23)
"""Bits of a float32 below its exponent."""
_CARRY = np.int32((1 << 23) - (int(np.float32(2.0**0.5).view(np.int32)) & ((1 << 23) - 1)))
_BIAS = np.int32(2 * 127 - 2)


def histogram_columns(signals: int) -> dict[str, Column]:
    """Return the state of `signals` signals."""
    return {
        "past.counts": Column((signals, BINS), np.uint16),
        "past.scale": Column((signals,), np.float32),
        "past.lowest": Column((signals,), np.int16),
    }


class Histogram:
    """Counts of some series, shape (s, BINS, n); bin j begins at ``scale * 2 ** ((lowest + j) / 2 - 1)``."""

    def __init__(self, columns: dict[str, Array], signals: slice = slice(None)) -> None:
        self._counts = columns["past.counts"][signals]
        self._scale, self._lowest = columns["past.scale"][signals], columns["past.lowest"][signals]

    def counts(self) -> Array:
        """Return how many samples fell into each bin, float32, shape (s, BINS, n)."""
        return self._counts * np.float32(1.0 / _EIGHTHS)

    def edge(self, position: Array) -> Array:
        """Return the signal at a position in bins, shape (s, n): 1.0 is the lower edge of bin 1."""
        edge: Array = self._scale * np.exp2(0.5 * (self._lowest + position.astype(np.float64)) - 1.0)
        return edge

    def bins_of(self, signals: Array, usable: Array) -> Array:
        """Return the bin of each signal, shape (s, t, n); the first usable one that is not zero fixes the scale."""
        valid = (signals > 0.0) & (signals < np.inf)
        fresh = self._scale == 0.0
        if any_of(fresh):
            seen = valid & usable
            signal, series = np.nonzero(fresh & seen.any(axis=1))
            if len(signal):
                first = signals[signal, seen[signal, :, series].argmax(axis=1), series]
                self._scale[signal, series] = first * _NOT_ON_AN_EDGE
                self._lowest[signal, series] = -(BINS // 2)
        scale = np.where(self._scale > 0.0, self._scale, UNITY)[:, None]
        # What is not valid gets some bin here, and another below.
        ratio = clip(signals / scale, _LEAST, _REACH)
        bins = _half_octave(ratio)
        bins -= self._lowest[:, None]
        # np.clip would look for the types of its limits at every call.
        np.minimum(np.maximum(bins, 1, out=bins), BINS - 1, out=bins)
        noted = bins.astype(np.uint8)
        noted[~valid] = UNKNOWN
        noted[signals == 0.0] = 0
        return noted

    def count(self, noted: Array) -> None:
        """Count the bins of a block, shape (t, s, n)."""
        signals, bins, n = self._counts.shape
        # One signal after the other where there are many series: the counters of all do not fit into the cache.
        together = signals if n < FEW else 1
        place = (MISSING + 1) * np.arange(together)[:, None] * n + np.arange(n)
        for first in range(0, signals, together):
            here = noted[:, first : first + together] * np.intp(n) + place
            counts = np.bincount(here.ravel(), minlength=together * (MISSING + 1) * n).astype(np.uint16)
            self._counts[first : first + together] += _EIGHTHS * counts.reshape(together, -1, n)[:, :bins]

    def halve_when_full(self) -> None:
        """Halve the counts of signals that have too many."""
        full = self._counts.sum(axis=1, dtype=np.uint32) > _EIGHTHS * FULL
        if any_of(full):
            self._counts >>= full[:, None].astype(np.uint16)

    def recentre(self, start: Array) -> None:
        """Move the bins of signals that outgrew them.

        Parameters
        ----------
        start : ndarray, shape (s, n)
            Position of the start of the tail, which is to stay away from the upper end.
        """
        largest = add_up(self._counts[:, 1:].swapaxes(0, 1).astype(np.float32))
        small = self._counts[:, 1] > 0.2 * largest + 2 * _EIGHTHS
        large = self._counts[:, -1] > 0.2 * largest + 2 * _EIGHTHS
        move = np.where(large, BINS // 4, np.where(small, -(BINS // 4), 0))
        move = np.where(start > 0.75 * BINS, np.round(start) - BINS // 2, move).astype(np.int64)
        signal, series = np.nonzero((move != 0) & (self._scale > 0.0) & (np.abs(self._lowest + move) < 190))
        if not len(signal):
            return
        move = move[signal, series]
        old = self._counts[signal, :, series].astype(np.int64)
        new = np.zeros_like(old)
        new[:, 0] = old[:, 0]
        every = np.arange(len(signal))
        for index in range(1, BINS):
            new[every, clip(index - move, 1, BINS - 1)] += old[:, index]
        self._counts[signal, :, series] = np.minimum(new, np.iinfo(np.uint16).max)
        self._lowest[signal, series] += move.astype(np.int16)


def _half_octave(ratio: Array) -> Array:
    """Return ``floor(2 * log2(ratio)) + 2`` exactly, as int32, from the bits of normal numbers of float32."""
    bits = ratio.view(np.int32)
    # From the root of two on the addition carries into the exponent.
    half = bits + _CARRY
    half >>= _MANTISSA
    half += bits >> _MANTISSA
    half -= _BIAS
    return half
