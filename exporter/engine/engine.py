"""One query's engine: a sample of every series in, a verdict on each out; then the samples are learned.

The daemon, `detect` and `backtest` all call `Engine.step`. It reads no clock: time is an argument, and what
comes later never changes what was said before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BUCKETS, Baseline, Place, place_at
from exporter.engine.detectors import Moment
from exporter.engine.scale import LARGEST, Scale
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.settings import BaselineSettings, DetectionSettings, Direction
from exporter.engine.vote import score_of, vote

__all__ = ["Aligned", "Checkpoint", "Engine", "EngineSettings", "Verdict"]

FloatArray = npt.NDArray[np.float64]

BLOCK = 8192
"""Rows that are worked on together: the temporaries of so many stay in the processor's cache."""
MIN_SAMPLES = 12
"""Samples that a series must have before anything is said of the next one."""
OUT_OF_RANGE_SEVERITY = 5.0
"""A value that cannot be is an anomaly whatever was learned; as sure as five times the threshold."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All that the engine of one query has to know.

    Attributes
    ----------
    min_deviation : float, source units
    min_relative_deviation : float, part of the expected value
    valid_range : pair of float
        Values outside are anomalous by themselves and never learned; infinite where there is no limit.
    """

    zone: ZoneInfo
    baseline: BaselineSettings
    detection: DetectionSettings
    direction: Direction = "both"
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    valid_range: tuple[float, float] = (-np.inf, np.inf)
    max_series: int = 100_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of every row at one instant. Arrays of shape (size,), in source units, NaN = absent.

    Attributes
    ----------
    score
        0..1; >= 0.5 is anomalous. NaN: no sample, or nothing can be said of it so far.
    lower, upper
        The band outside which the vote would pass; NaN where there is no such edge.
    votes
        How many detectors call the sample anomalous.
    each
        Severity of every detector, shape (d, size).
    ready
        Whether the series is old enough to be alerted on.
    """

    at: float
    observed: FloatArray
    score: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    votes: FloatArray
    each: FloatArray
    ready: npt.NDArray[np.bool_]

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Rows whose sample is anomalous, shape (size,)."""
        return self.score >= 0.5  # NaN compares false


@dataclass(frozen=True, slots=True)
class Aligned:
    """An answer put into rows.

    Attributes
    ----------
    samples
        Shape (size,) or (t, size); NaN where a series has no sample.
    admitted
        Rows that were given to new series.
    refused
        Series turned away because the table is full.
    repeated
        Label sets that came twice; the first counts.
    """

    samples: FloatArray
    admitted: tuple[int, ...]
    refused: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Learned state as far as it changed: what `Engine.restore` needs, when all checkpoints are laid over each other.

    Attributes
    ----------
    at
        The newest instant that is in it.
    parts
        Named arrays over rows. Buckets that no sample fell in are left out: what was written of them still holds.
    series
        Rows that are new or have another series, with their label sets as JSON objects.
    removed
        Rows that have no series now.
    """

    at: float
    parts: dict[str, npt.NDArray[np.generic]]
    series: list[tuple[int, bytes]]
    removed: tuple[int, ...]


class Engine:
    """Learned state of all series of one query, and the judgement on their samples."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.max_series)
        self.at = -np.inf
        """The newest instant that was learned."""
        self._capacity = 0
        self._scale = Scale()
        self._baseline = Baseline(settings.baseline.window)
        self._first = np.zeros(0)
        self._last = np.zeros(0)
        self._admitted = np.zeros(0)
        self._count = np.zeros(0, np.int64)
        self._saved_at = np.full(BUCKETS, -np.inf)
        self._used = 0
        self._renamed: set[int] = set()

    def align(self, keys: Sequence[bytes], values: FloatArray, at: float) -> Aligned:
        """Put the samples of an answer into rows; new series are admitted.

        Parameters
        ----------
        keys : sequence of bytes, length n
            Label sets as JSON objects.
        values : ndarray of float64, shape (n,) or (t, n)

        at : float, Unix seconds
            When they came: new series are counted from here until they have a sample.
        """
        rows, admitted = self.table.find(keys)
        if admitted:
            self._admit(np.array(admitted, np.intp), at)
        samples = np.full((*values.shape[:-1], self.table.size), np.nan)
        kept = rows >= 0
        refused = len(rows) - int(kept.sum())
        if refused:
            rows, values = rows[kept], values[..., kept]
        # Written backward, so that the first of two equal label sets stays.
        samples[..., rows[::-1]] = values[..., ::-1]
        repeated = len(rows) - int(np.count_nonzero(np.bincount(rows, minlength=self.table.size)))
        return Aligned(samples, tuple(admitted), refused, repeated)

    def step(self, at: float, samples: FloatArray, seconds: float, *, learn: bool = True) -> Verdict:
        """Judge one sample of every series, then learn it.

        Parameters
        ----------
        at : float, Unix seconds
            An instant that is not after `self.at` was learned before: it is judged and not learned again.
        samples : ndarray of float64, shape (table.size,)
            Source units, by row; NaN = no sample. Not changed.
        seconds : float
            How much history a sample stands for.
        """
        size = self.table.size
        place = place_at(at, self.settings.zone)
        learn = learn and at > self.at
        score, expected, lower, upper, votes = np.full((5, size), np.nan)
        each = np.full((len(self.settings.detection.detectors), size), np.nan)
        ready = np.zeros(size, np.bool_)
        verdict = Verdict(at, samples.copy(), score, expected, lower, upper, votes, each, ready)
        with np.errstate(all="ignore"):  # NaN and overflow have their meaning here, and are handled.
            for start in range(0, size, BLOCK):
                self._block(slice(start, min(start + BLOCK, size)), place, verdict, seconds, learn)
        if learn:
            self.at = at
        return verdict

    def _block(self, rows: slice, place: Place, verdict: Verdict, seconds: float, learn: bool) -> None:
        settings, at = self.settings, verdict.at
        value = np.clip(verdict.observed[rows], -LARGEST, LARGEST)
        here = ~np.isnan(value)
        low, high = settings.valid_range
        valid = (value >= low) & (value <= high)
        if learn:
            self._scale.see(rows, np.where(valid & np.isfinite(verdict.observed[rows]), value, np.nan))
            self._first[rows] = np.where(here & np.isnan(self._first[rows]), at, self._first[rows])
            self._last[rows] = np.where(here, at, self._last[rows])

        sample = self._scale.inward(rows, value)
        stats = self._baseline.stats(place, rows)
        moment = Moment(sample, stats, self._scale.resolution(rows, value))
        judgements = [detector.judge(moment) for detector in settings.detection.detectors]
        mean = np.abs(self._scale.outward(rows, stats.mean))
        least = np.maximum(settings.min_deviation, settings.min_relative_deviation * mean)
        smallest = self._scale.lengths(rows, np.where(np.isnan(least), 0.0, least))
        ballot = vote(judgements, settings.detection.quorum, sample, smallest)

        above, below = ballot.above, ballot.below
        each_above, each_below = ballot.each
        if settings.direction == "above":
            below, each_below = np.minimum(below, 0.0), np.minimum(each_below, 0.0)
        elif settings.direction == "below":
            above, each_above = np.minimum(above, 0.0), np.minimum(each_above, 0.0)
        can = here & (self._count[rows] >= MIN_SAMPLES)
        severity = np.where(can, np.maximum(above, below), np.nan)
        each = np.where(can, np.maximum(each_above, each_below), np.nan)
        votes = np.maximum((each_above >= 1.0).sum(axis=0), (each_below >= 1.0).sum(axis=0)).astype(np.float64)
        impossible = here & ~valid
        severity = np.where(impossible, np.fmax(severity, OUT_OF_RANGE_SEVERITY), severity)
        votes = np.where(impossible, float(len(each)), votes)
        said = ~np.isnan(severity)

        edge_low = (
            np.full(len(value), low) if settings.direction == "above" else self._scale.outward(rows, ballot.lower)
        )
        edge_high = (
            np.full(len(value), high) if settings.direction == "below" else self._scale.outward(rows, ballot.upper)
        )
        verdict.score[rows] = score_of(severity)
        verdict.expected[rows] = np.where(can, np.clip(self._scale.outward(rows, ballot.expected), low, high), np.nan)
        verdict.lower[rows] = np.where(can & np.isfinite(edge_low), np.clip(edge_low, low, high), np.nan)
        verdict.upper[rows] = np.where(can & np.isfinite(edge_high), np.clip(edge_high, low, high), np.nan)
        verdict.votes[rows] = np.where(said, votes, np.nan)
        verdict.each[:, rows] = each
        verdict.ready[rows] = said & (at - self._first[rows] >= settings.baseline.min_history)

        if learn:
            # Whatever direction alerts, a value outside the band is pulled to its edge before it is learned. The
            # bucket of all times is too coarse to judge by: clipping to it would cut off every daily peak.
            clip = can if stats.fine is None else can & stats.fine
            learned = np.where(clip, np.fmin(np.fmax(sample, ballot.lower), ballot.upper), sample)
            learned = np.where(valid & np.isfinite(verdict.observed[rows]), learned, np.nan)
            self._baseline.learn(place, rows, learned, seconds)
            self._count[rows] += np.isfinite(learned)

    def _admit(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Give `rows` to new series: whatever they held before is forgotten."""
        size = self.table.size
        if size > self._capacity:
            self._capacity = max(size, 2 * self._capacity)
            self._scale.grow(self._capacity)
            self._baseline.grow(self._capacity)
            for name in ("_first", "_last", "_admitted", "_count"):
                old = getattr(self, name)
                new = np.zeros(self._capacity, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        again = rows[rows < self._used]
        if len(again):
            self._scale.forget(again)
            self._baseline.forget(again)
        self._used = max(self._used, size)
        self._first[rows] = np.nan
        self._last[rows] = at
        self._admitted[rows] = at
        self._count[rows] = 0
        self._renamed.update(rows.tolist())

    def expire(self, at: float) -> list[int]:
        """Forget the series that are gone for longer than `series_ttl`; return their rows."""
        used = np.array([row for row, _ in self.table.items()], np.intp)
        gone = used[self._last[used] < at - self.settings.baseline.series_ttl]
        self.table.release(gone)
        self._renamed.update(gone.tolist())
        return [int(row) for row in gone]

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; what was learned must have been learned the same way."""
        self.settings = settings
        self.table.limit = settings.max_series

    def since(self, row: int) -> float:
        """Return the time of a row's first sample, Unix seconds; NaN before it."""
        return float(self._first[row])

    # ------------------------------------------------------------------ state

    def checkpoint(self) -> Checkpoint:
        """Return what changed since the last checkpoint that was `saved`."""
        size = self.table.size
        touched = sorted(self._baseline.touched)
        saved_at = self._saved_at.copy()
        saved_at[touched] = self.at
        parts: dict[str, npt.NDArray[np.generic]] = {
            f"bucket/{index:03}": self._baseline.bucket(index, size).copy() for index in touched
        }
        for name, column in self._columns().items():
            parts[name] = column[:size].copy()
        parts["saved_at"] = saved_at
        series = {row: self.table.labels(row) for row in self._renamed if self.table.in_use(row)}
        removed = tuple(self._renamed - series.keys())
        return Checkpoint(self.at, parts, [(row, key_of(labels)) for row, labels in sorted(series.items())], removed)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored: the next one holds only what changes from now on."""
        self._saved_at = checkpoint.parts["saved_at"].astype(np.float64)
        self._baseline.touched.clear()
        self._renamed.clear()

    def restore(
        self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], series: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Go on from an earlier run's checkpoints; only for a new engine.

        A bucket that is missing (its blob was damaged) is learned again. Returns False, with the engine
        unchanged, where a column is missing or does not fit: nothing can be kept then.
        """
        saved_at, columns = parts.get("saved_at"), [parts.get(name) for name in self._columns()]
        if saved_at is None or saved_at.shape != (BUCKETS,) or columns[0] is None:
            return False
        size = len(columns[0])
        if any(column is None or column.shape != (size,) for column in columns):
            return False
        if any(not 0 <= row < size for row, _ in series):
            return False
        self.table.restore(series, size)
        self._admit(np.arange(size), at)
        self._renamed.clear()
        for name, target in self._columns().items():
            target[:size] = parts[name]
        for index in range(BUCKETS):
            stats = parts.get(f"bucket/{index:03}")
            if stats is None or stats.ndim != 2 or stats.shape[0] != 5 or stats.shape[1] > size:
                continue
            # A row may have been given to another series after this bucket was written.
            fresh = self._admitted[:size] > float(saved_at[index])
            self._baseline.put(index, stats.astype(np.float32, copy=False), fresh)
            self._saved_at[index] = saved_at[index]
        self.at = at
        return True

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "origin": self._scale.origin,
            "unit": self._scale.unit,
            "first": self._first,
            "last": self._last,
            "admitted": self._admitted,
            "count": self._count,
        }
