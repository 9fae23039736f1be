"""From a signal to its surprise: -log10 of the probability, in the signal's own past, of being so large.

Surprises of different signals and series are on one scale, so they can be averaged. Only what lies above a gate
counts: most of the time every signal is a little surprised.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import ZERO, single
from exporter.engine.detectors.base import BLOCK
from exporter.engine.detectors.novelty.histogram import MISSING, Histogram, histogram_columns
from exporter.engine.detectors.novelty.tail import fit_tail

__all__ = ["Surprise", "surprise_columns"]

GATE = 0.5
"""Surprises below this count nothing: what happens in 32 of 100 samples."""
SURPRISE_MAX = single(15.0)
"""No tail is estimated well enough to say more."""
ENOUGH = 48.0
"""Samples of a signal before it can be surprised: the tail is a tenth of them, and five make a shape."""
ROTATION = 4
"""Blocks between two fits of a signal; each block fits the signals whose turn it is, so no cycle pays for all."""
_FITTED = ("gate", "start", "at_gate", "at_start", "shape", "rate")


def surprise_columns(signals: int) -> dict[str, Column]:
    """Return the state of `signals` signals."""
    fitted = {f"tail.{name}": Column((signals,), np.float32) for name in _FITTED}
    fitted["tail.gate"] = fitted["tail.start"] = Column((signals,), np.float32, np.inf)
    noted = {"noted": Column((BLOCK, signals), np.uint8, MISSING)}
    return histogram_columns(signals) | fitted | noted


class Surprise:
    """The past of the signals of some series, and what it makes of their present."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self._columns = columns
        self._noted = columns["noted"]
        self._tail = [columns[f"tail.{name}"] for name in _FITTED]

    def of(self, signals: Array) -> Array:
        """Return the surprise above the gate of each signal, shape (s, t, n); 0 where the signal cannot say.

        Nothing below the gate, linear from there to the start of the tail, generalised Pareto beyond.
        """
        gate, start, at_gate, at_start, shape, rate = (column[:, None] for column in self._tail)
        beyond = np.maximum(signals - start, 0) * rate
        bent = shape * beyond
        # The limit of log1p(shape * y) / shape for a shape of zero is y.
        tail = np.where(bent > 1e-4, np.log1p(bent) / np.maximum(shape, np.float32(1e-6)), beyond)
        tail = at_start + tail * np.float32(1.0 / np.log(10.0))
        width = np.maximum(start - gate, np.float32(1e-37))
        rise = at_gate + (at_start - at_gate) * np.minimum((signals - gate) / width, 1)
        surprise = np.minimum(np.where(signals > start, tail, rise), SURPRISE_MAX)
        can = (signals >= gate) & (signals > 0) & (signals < np.inf)
        counted: Array = np.where(can, surprise, ZERO)
        return counted

    def note(self, index: int, signals: Array, usable: Array) -> None:
        """Remember the bins of the samples `index` and later of this block; `end_block` counts them."""
        bins = Histogram(self._columns).bins_of(signals, usable)
        self._noted[index : index + bins.shape[1]] = np.where(usable, bins, MISSING).swapaxes(0, 1)

    def novel(self, features: int) -> Array:
        """Return which samples of the block were new values of the first features; (BLOCK, f, n)."""
        noted = self._noted[:, :features]
        novel: Array = (noted != 0) & (noted != MISSING)
        return novel

    def end_block(self, block: int) -> None:
        """Count the block that has ended, and fit the tails of the signals whose turn it is."""
        Histogram(self._columns).count(self._noted)
        turn = slice(block % ROTATION, None, ROTATION)
        histogram = Histogram(self._columns, turn)
        histogram.halve_when_full()
        fit = fit_tail(histogram.counts(), GATE)
        enough = fit.total >= ENOUGH
        edge = histogram.edge
        gate, start, at_gate, at_start, shape, rate = (column[turn] for column in self._tail)
        gate[...] = np.where(enough, np.where(fit.gate > 0.0, edge(fit.gate), 0.0), np.inf)
        start[...] = np.where(fit.start > 0.0, edge(fit.start), 0.0)
        at_gate[...], at_start[...], shape[...] = fit.at_gate, fit.at_start, fit.shape
        # The scale of the tail is in widths of the histogram's first bin.
        unit = edge(np.zeros_like(fit.start))
        rate[...] = np.where(fit.scale * unit > 0.0, 1.0 / (fit.scale * unit), 0.0)
        histogram.recentre(fit.start)
