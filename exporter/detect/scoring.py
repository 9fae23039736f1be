"""Recorded samples through the engine in the order of time: the scores that a daemon would have given.

Series on one grid share an engine, as those of a query do. Missing instants of the grid are inserted without samples,
because the daemon has them, too. Every decision depends on earlier samples only (the step: on the first two hundred
rows of each series), so samples that are added later change no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.detect.recorded_series import RecordedSeries
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.settings import DetectionSettings
from exporter.engine.verdict import Verdicts

__all__ = ["ScoredGroup", "ScoredSeries", "detect_step", "score_series"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]
Observer = Callable[[Verdicts, SeriesTable, Sequence[tuple[int, int]]], None]
"""Takes the verdicts on some instants of series on one grid, the rows of these series, and for each its place among
all series and its row."""

_FIRST_ROWS = 200
_CELLS = 500_000
"""Series times instants that go through the engine at once."""
_MOST_INSTANTS = 4096
_STEP_OF_SINGLE = 60.0
"""Seconds that a single sample stands for."""


@dataclass(frozen=True, slots=True)
class ScoredSeries:
    """The scores of the samples of a series. Arrays of shape (t,), source units; NaN = absent.

    Attributes
    ----------
    severities : ndarray, shape (d, t)
        Of every detector.
    ready : ndarray of bool
        Whether the series was old enough to be alerted on.
    detection : DetectionSettings
        Who voted.
    held : ndarray of bool, optional
        Samples that are anomalous by a load on all metrics of their entity; None: there is no group.
    """

    series: RecordedSeries
    score: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    votes: FloatArray
    severities: FloatArray
    ready: BoolArray
    detection: DetectionSettings
    held: BoolArray | None = None

    @property
    def anomalous(self) -> BoolArray:
        """Samples that are anomalous, and not by a load, shape (t,)."""
        anomalous = self.score >= 0.5  # NaN compares false.
        return anomalous if self.held is None else anomalous & ~self.held


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """The joint scores of one entity. Arrays of shape (t,); NaN = absent.

    Attributes
    ----------
    labels : mapping
        Those that a group is `by`.
    stamps : ndarray of bytes
        Timestamps as they were written.
    times : ndarray, Unix seconds
    load : ndarray
        The factor by which the metrics are up together, where that keeps an alert back.
    share : ndarray, shape (t, p)
        Part of each metric in the score.
    held : ndarray of bool
        Where a load keeps back the alert of the group: what fails under it has its own.
    """

    group: str
    labels: Mapping[str, str]
    queries: tuple[str, ...]
    stamps: npt.NDArray[np.bytes_]
    times: FloatArray
    score: FloatArray
    load: FloatArray
    share: FloatArray
    held: BoolArray

    @property
    def anomalous(self) -> BoolArray:
        """Instants at which the entity is anomalous, shape (t,)."""
        return (self.score >= 0.5) & ~self.held


def detect_step(series: Sequence[RecordedSeries]) -> float:
    """Return the seconds that a sample stands for: the median spacing of the first rows, the least of all series."""
    return min((step for each in series if (step := _spacing(each.times[:_FIRST_ROWS]))), default=_STEP_OF_SINGLE)


def _spacing(times: FloatArray) -> float:
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return 0.0
    median = float(np.median(steps))
    # Differences of times with a fraction are off by a rounding error; the API has milliseconds.
    return round(median, 3) or median


def score_series(
    series: Sequence[RecordedSeries],
    settings: EngineSettings,
    step: float,
    observe: Observer = lambda verdicts, table, rows: None,  # noqa: ARG005
) -> list[ScoredSeries]:
    """Score every sample by what came before it.

    Parameters
    ----------
    series : sequence of RecordedSeries
        Each with another label set.
    settings : EngineSettings
        Its limit on series is lifted.
    step : float, seconds
        What a sample stands for.
    observe : callable, optional
        Given all verdicts, grid by grid.
    """
    grids: dict[float, list[int]] = {}
    for index, each in enumerate(series):
        grids.setdefault(round(float(each.times[0]) % step, 3) % step, []).append(index)
    scored: dict[int, ScoredSeries] = {}
    for members in grids.values():
        part = _score_grid([series[index] for index in members], settings, step, members, observe)
        scored |= zip(members, part, strict=True)
    return [scored[index] for index in range(len(series))]


def _score_grid(
    series: Sequence[RecordedSeries], settings: EngineSettings, step: float, places: Sequence[int], observe: Observer
) -> list[ScoredSeries]:
    """Score series that share a grid."""
    samples = _Samples(series, step)
    # What is ahead is not scored: `exporter.detect.forecasting`.
    engine = Engine(replace(settings, max_series=max(settings.max_series, len(series)), forecast=None))
    keys = [key_of(tuple(sorted(each.labels.items()))) for each in series]
    engine.align(keys, np.full(len(keys), np.nan), float(samples.instants[0]))
    rows = engine.table.find(keys)[0]
    place_rows = list(zip(places, rows.tolist(), strict=True))

    columns = _VerdictColumns(len(samples.values), settings.detection)
    size = int(np.clip(_CELLS // len(series), 12, _MOST_INSTANTS))
    whole = all(each.complete for each in series)
    for begin in range(0, len(samples.instants), size):
        chunk, instant, column, values = samples.between(begin, begin + size)
        grid = np.full((len(samples.instants[begin : begin + size]), len(series)), np.nan)
        grid[instant, rows[column]] = values
        complete = None if whole else np.zeros(len(grid), np.bool_)
        verdicts = engine.run(samples.instants[begin : begin + size], grid, step, complete=complete)
        columns.put(chunk, verdicts, instant, rows[column])
        observe(verdicts, engine.table, place_rows)
    columns.order(samples.order)
    return [columns.of(each, part) for each, part in zip(series, samples.parts, strict=True)]


class _Samples:
    """The samples of several series in the order of time.

    Attributes
    ----------
    instants : ndarray, shape (k,)
        Unix seconds, each once, with those that are missing on the grid.
    values : ndarray, shape (n,)
        All samples by instant.
    order : ndarray, shape (n,)
        Index of each of them when the samples are sorted by series.
    parts : list of slice
        The samples of each series in that order.
    """

    def __init__(self, series: Sequence[RecordedSeries], step: float) -> None:
        times = np.concatenate([each.times for each in series])
        self.instants = _with_gaps(np.unique(times), step)
        instant = np.searchsorted(self.instants, times)
        self.order = np.argsort(instant, kind="stable")
        lengths = [len(each.times) for each in series]
        self._instant = instant[self.order]
        self._column = np.repeat(np.arange(len(series)), lengths)[self.order]
        self.values = np.concatenate([each.values for each in series])[self.order]
        ends = np.cumsum(lengths).tolist()
        self.parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]

    def between(self, begin: int, end: int) -> tuple[slice, Indexes, Indexes, FloatArray]:
        """Return which samples fall on the instants from `begin` to `end`: slice, instant, series, value."""
        chunk = slice(*np.searchsorted(self._instant, [begin, end]).tolist())
        return chunk, self._instant[chunk] - begin, self._column[chunk], self.values[chunk]


class _VerdictColumns:
    """Verdicts by sample: in the order of time until `order` sorts them by series."""

    def __init__(self, samples: int, detection: DetectionSettings) -> None:
        self._detection = detection
        self._columns = np.full((5 + len(detection.detectors), samples), np.nan)
        self._ready = np.zeros(samples, np.bool_)

    def put(self, chunk: slice, verdicts: Verdicts, instant: Indexes, row: Indexes) -> None:
        kinds = (verdicts.score, verdicts.expected, verdicts.lower, verdicts.upper, verdicts.votes)
        for column, kind in zip(self._columns, kinds, strict=False):
            column[chunk] = kind[instant, row]
        self._columns[len(kinds) :, chunk] = verdicts.each[instant, :, row].T
        self._ready[chunk] = verdicts.ready[instant, row]

    def order(self, order: Indexes) -> None:
        """Sort the samples by series."""
        for column in (*self._columns, self._ready):
            column[order] = column.copy()

    def of(self, series: RecordedSeries, part: slice) -> ScoredSeries:
        columns = self._columns[:, part]
        score, expected, lower, upper, votes = columns[:5]
        ready = self._ready[part]
        return ScoredSeries(series, score, expected, lower, upper, votes, columns[5:], ready, self._detection)


def _with_gaps(instants: FloatArray, step: float) -> FloatArray:
    """Insert missing instants, as long as they are not more than the instants before them."""
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
