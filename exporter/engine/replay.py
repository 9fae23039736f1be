"""A history that ends at an instant, run through an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.verdict import Verdicts

__all__ = ["Replay", "lasting"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_TOGETHER = 500
"""Instants that are judged at once."""


class Replay:
    """A history and its engine; nothing was judged so far.

    Parameters
    ----------
    settings : EngineSettings
        `max_series` and `budget` are set here: all series have room, and what a budget allows is counted by the daemon.
    samples : ndarray of float64, shape (t, n)
        Source units; NaN = no sample.
    end, step : float, seconds
        Instant of the last row, and how far rows are apart.
    """

    def __init__(self, settings: EngineSettings, samples: FloatArray, *, end: float, step: float) -> None:
        self.samples, self.step = samples, step
        self.times = end - step * np.arange(len(samples) - 1.0, -1.0, -1.0)
        self.engine = Engine(replace(settings, budget=None, max_series=samples.shape[1]))
        keys = [b'{"series":"%d"}' % index for index in range(samples.shape[1])]
        self.engine.align(keys, samples[0], float(self.times[0]))

    def run(self, start: int = 0, end: int | None = None) -> Iterator[Verdicts]:
        """Judge and learn the rows from `start` to `end`; yield their verdicts, some instants at once."""
        last = len(self.samples) if end is None else end
        for begin in range(start, last, _TOGETHER):
            part = slice(begin, min(begin + _TOGETHER, last))
            yield self.engine.run(self.times[part], self.samples[part], self.step)


def lasting(anomalous: BoolArray, needed: int) -> BoolArray:
    """Return where so many samples in a row are anomalous, shape (t, n)."""
    run = np.zeros(anomalous.shape[1], np.intp)
    lasts = np.zeros_like(anomalous)
    for index, here in enumerate(anomalous):
        run = np.where(here, run + 1, 0)
        lasts[index] = run >= needed
    return lasts
