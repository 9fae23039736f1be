"""Recorded samples through the engine, in the order of time: what a daemon would have said of each.

Series on one grid go through one engine together, as those of a query do. Instants that are missing on the grid
are put in without samples, because the daemon has them too. Every decision depends on earlier samples only (the
step: on the first two hundred rows of each series), so samples that are added later change no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.detect.recorded_series import Recorded
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.series import key_of
from exporter.engine.verdict import Verdicts

__all__ = ["Judged", "replay", "step_of"]

FloatArray = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.intp]

_FIRST_ROWS = 200
_CELLS = 500_000
"""Series times instants that go through the engine at once."""
_MOST_INSTANTS = 4096
_STEP_OF_ONE = 60.0
"""Seconds that a sample stands for where there is only one."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of the samples of one series. Arrays of shape (t,), source units; NaN = absent.

    Attributes
    ----------
    severities : ndarray, shape (d, t)
        Of every detector.
    ready : ndarray of bool
        Whether the series was old enough to be alerted on.
    """

    series: Recorded
    score: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    votes: FloatArray
    severities: FloatArray
    ready: npt.NDArray[np.bool_]

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Samples that are anomalous, shape (t,)."""
        return self.score >= 0.5  # NaN compares false.


def step_of(series: Sequence[Recorded]) -> float:
    """Return the seconds that a sample stands for: the median spacing of the first rows, the least of all series."""
    return min((step for one in series if (step := _spacing(one.times[:_FIRST_ROWS]))), default=_STEP_OF_ONE)


def _spacing(times: FloatArray) -> float:
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0
    median = float(np.median(steps))
    # Differences of times with a fraction are off by a rounding error; the API has milliseconds.
    return round(median, 3) or median


def replay(series: Sequence[Recorded], settings: EngineSettings, step: float) -> list[Judged]:
    """Judge every sample by what came before it.

    Parameters
    ----------
    series : sequence of Recorded
        Each with another label set.
    settings : EngineSettings
        A limit on series is lifted: all that was given is judged.
    step : float, seconds
        What a sample stands for.
    """
    grids: dict[float, list[int]] = {}
    for index, one in enumerate(series):
        grids.setdefault(round(float(one.times[0]) % step, 3) % step, []).append(index)
    judged: dict[int, Judged] = {}
    for members in grids.values():
        judged |= zip(members, _together([series[index] for index in members], settings, step), strict=True)
    return [judged[index] for index in range(len(series))]


def _together(series: Sequence[Recorded], settings: EngineSettings, step: float) -> list[Judged]:
    """Judge series that share a grid."""
    samples = _Samples(series, step)
    engine = Engine(replace(settings, max_series=max(settings.max_series, len(series))))
    keys = [key_of(tuple(sorted(one.labels.items()))) for one in series]
    engine.align(keys, np.full(len(keys), np.nan), float(samples.instants[0]))
    rows = engine.table.find(keys)[0]

    said = _Said(len(samples.values), len(settings.detection.detectors))
    size = int(np.clip(_CELLS // len(series), 12, _MOST_INSTANTS))
    for begin in range(0, len(samples.instants), size):
        chunk, instant, column, values = samples.between(begin, begin + size)
        grid = np.full((len(samples.instants[begin : begin + size]), len(series)), np.nan)
        grid[instant, rows[column]] = values
        verdicts = engine.run(samples.instants[begin : begin + size], grid, step)
        said.note(chunk, verdicts, instant, rows[column])
    said.order(samples.order)
    return [said.of(one, part) for one, part in zip(series, samples.parts, strict=True)]


class _Samples:
    """The samples of several series in the order of time.

    Attributes
    ----------
    instants : ndarray, shape (k,)
        Unix seconds, each once, with those that are missing on the grid.
    values : ndarray, shape (n,)
        All samples by instant.
    order : ndarray, shape (n,)
        Where each of them stands when the series follow each other.
    parts : list of slice
        Where the samples of each series stand then.
    """

    def __init__(self, series: Sequence[Recorded], step: float) -> None:
        times = np.concatenate([one.times for one in series])
        self.instants = _with_gaps(np.unique(times), step)
        instant = np.searchsorted(self.instants, times)
        self.order = np.argsort(instant, kind="stable")
        lengths = [len(one.times) for one in series]
        self._instant = instant[self.order]
        self._column = np.repeat(np.arange(len(series)), lengths)[self.order]
        self.values = np.concatenate([one.values for one in series])[self.order]
        ends = np.cumsum(lengths).tolist()
        self.parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]

    def between(self, begin: int, end: int) -> tuple[slice, Indexes, Indexes, FloatArray]:
        """Return which samples fall on the instants from `begin` to `end`: slice, instant, series, value."""
        chunk = slice(*np.searchsorted(self._instant, [begin, end]).tolist())
        return chunk, self._instant[chunk] - begin, self._column[chunk], self.values[chunk]


class _Said:
    """Verdicts on samples, first in the order of time."""

    def __init__(self, samples: int, detectors: int) -> None:
        self._columns = np.full((5 + detectors, samples), np.nan)
        self._ready = np.zeros(samples, np.bool_)

    def note(self, chunk: slice, verdicts: Verdicts, instant: Indexes, row: Indexes) -> None:
        kinds = (verdicts.score, verdicts.expected, verdicts.lower, verdicts.upper, verdicts.votes)
        for column, kind in zip(self._columns, kinds, strict=False):
            column[chunk] = kind[instant, row]
        self._columns[len(kinds) :, chunk] = verdicts.each[instant, :, row].T
        self._ready[chunk] = verdicts.ready[instant, row]

    def order(self, order: Indexes) -> None:
        """Put the samples of each series together."""
        for column in (*self._columns, self._ready):
            column[order] = column.copy()

    def of(self, series: Recorded, part: slice) -> Judged:
        columns = self._columns[:, part]
        score, expected, lower, upper, votes = columns[:5]
        return Judged(series, score, expected, lower, upper, votes, columns[5:], self._ready[part])


def _with_gaps(instants: FloatArray, step: float) -> FloatArray:
    """Put in the instants that are missing, as long as the missing ones are not more than those that were there."""
    steps = np.rint(np.diff(instants) / step) - 1
    pieces, filled, since = [], 0, 0
    for before in np.flatnonzero(steps >= 1).tolist():
        missing = int(steps[before])
        if filled + missing > before + 1:
            continue
        width = (instants[before + 1] - instants[before]) / (missing + 1)
        pieces += [instants[since : before + 1], instants[before] + width * np.arange(1, missing + 1)]
        filled, since = filled + missing, before + 1
    return np.concatenate([*pieces, instants[since:]]) if pieces else instants
