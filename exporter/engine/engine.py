"""One query's engine: samples of every series in, a verdict on each out; then the samples are learned.

The daemon, `detect` and `backtest` all call it. It reads no clock: time is an argument, and what comes later
never changes what was said before.

Instants are learned in blocks of twelve: within a block all samples are judged by what was known before it.
So many instants are worked on at once where they are at hand (history, `detect`), and a daemon that gets one
at a time learns only at the end of a block; both give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BUCKETS, Baseline, place_at
from exporter.engine.detectors import BLOCK, Detector, Memory, Moment, Remembering
from exporter.engine.register import Register
from exporter.engine.scale import LARGEST, Scale
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.settings import BaselineSettings, DetectionSettings, Direction
from exporter.engine.shift import LevelShift, Shift
from exporter.engine.verdict import Aligned, Checkpoint, Verdict, Verdicts
from exporter.engine.vote import Ballot, score_of, vote

__all__ = ["Engine", "EngineSettings"]

FloatArray = npt.NDArray[np.float64]

ROWS = 2048
"""Series that are worked on together: the temporaries of so many stay in the processor's cache."""
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


class Engine:
    """Learned state of all series of one query, and the judgement on their samples."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.max_series)
        self.at = -np.inf
        """The newest instant that was judged and learned."""
        self.shifts: list[Shift] = []
        """Level shifts that were accepted; whoever reads them empties the list."""
        self._capacity = 0
        self._used = 0
        self._scale = Scale()
        self._baseline = Baseline(settings.baseline.window)
        self._shift = LevelShift()
        self._register = Register()
        self._memories = [_memory(detector) for detector in settings.detection.detectors]
        self._pending = np.zeros((BLOCK, 0))
        self._filled = self._flushed = 0
        self._seconds = 0.0
        self._blocks = 0
        self._place = place_at(0.0, settings.zone)
        self._saved_at = np.full(BUCKETS, -np.inf)
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

    def step(self, at: float, samples: FloatArray, seconds: float) -> Verdict:
        """Judge one sample of every series, then learn it: `run` for a single instant."""
        return self.run(np.array([at]), samples[None], seconds)[0]

    def run(self, times: FloatArray, samples: FloatArray, seconds: float) -> Verdicts:
        """Judge and learn samples of every series.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), Unix seconds
            Ascending. Nothing is said of instants that are not after `self.at`: they were judged before.
        samples : ndarray of float64, shape (t, table.size)
            Source units, by row; NaN = no sample. Not changed.
        seconds : float
            How much history a sample stands for.
        """
        verdicts = Verdicts(times, samples, len(self.settings.detection.detectors))
        begin, end = int(np.searchsorted(times, self.at, side="right")), len(times)
        with np.errstate(all="ignore"):  # NaN and overflow have their meaning here, and are handled.
            while begin < end:
                place = place_at(float(times[begin]), self.settings.zone)
                if self._flushed < self._filled and (place != self._place or seconds != self._seconds):
                    self._flush()
                stop = begin + 1
                limit = min(end, begin + BLOCK - self._filled)
                while stop < limit and place_at(float(times[stop]), self.settings.zone) == place:
                    stop += 1
                self._place, self._seconds = place, seconds
                for rows in self._rows():
                    self._judge(rows, slice(begin, stop), verdicts)
                self._filled += stop - begin
                self.at = float(times[stop - 1])
                if self._filled == BLOCK:
                    self._close()
                begin = stop
        return verdicts

    def _rows(self) -> Iterator[slice]:
        size = self.table.size
        return (slice(start, min(start + ROWS, size)) for start in range(0, size, ROWS))

    def _judge(self, rows: slice, when: slice, verdicts: Verdicts) -> None:
        """Judge the samples of some series at some instants of one block and one place."""
        settings = self.settings
        times, observed = verdicts.times[when], verdicts.observed[when, rows]
        value = np.clip(observed, -LARGEST, LARGEST)
        low, high = settings.valid_range
        usable = np.isfinite(observed) & (value >= low) & (value <= high)
        self._scale.see(rows, np.where(usable, value, np.nan))
        self._register.see(rows, times, ~np.isnan(value))

        sample = self._scale.inward(rows, value)
        stats = self._shift.today(self._baseline.stats(self._place, rows), rows)
        mean = self._scale.outward(rows, stats.mean)
        local = times + _offset(float(times[0]), settings.zone)
        resolution = self._scale.resolution(rows, mean)
        moment = Moment(local, self._filled, self._blocks, sample, usable, stats, resolution)
        judgements = [
            detector.judge(moment) if memory is None else memory.judge(moment, rows)
            for detector, memory in zip(settings.detection.detectors, self._memories, strict=True)
        ]
        least = np.fmax(settings.min_deviation, settings.min_relative_deviation * np.abs(mean))
        smallest = self._scale.lengths(rows, least)
        votes = [detector.votes for detector in settings.detection.detectors]
        ballot = vote(judgements, votes, settings.detection.quorum, sample, smallest)
        verdicts.z[when, rows] = (sample - stats.mean) / np.maximum(stats.std, resolution)
        self._say(rows, when, verdicts, ballot, value)

        # Whatever direction alerts, a value outside the band is pulled to its edge before it is learned. Not by a
        # coarser bucket than that of the hour of the week, which would cut off weekends or daily peaks.
        known = self._register.count[rows] >= MIN_SAMPLES
        clip = known if stats.fine is None else known & stats.fine
        band = (ballot.lower, ballot.expected, ballot.upper)
        self._shift.note(rows, np.where(usable & clip, sample, np.nan), band, self._seconds)
        learned = np.where(clip, np.fmin(np.fmax(sample, ballot.lower), ballot.upper), sample)
        block = slice(self._filled, self._filled + len(times))
        self._pending[block, rows] = np.where(usable, self._shift.bucket(learned, rows), np.nan)

    def _say(self, rows: slice, when: slice, verdicts: Verdicts, ballot: Ballot, value: FloatArray) -> None:
        """Write what follows from the votes, in source units; `value` has shape (t, n)."""
        settings, register = self.settings, self._register
        low, high = settings.valid_range
        upward, downward = settings.direction != "below", settings.direction != "above"
        here = ~np.isnan(value)
        can = here & (register.count[rows] >= MIN_SAMPLES)
        votes = np.array([detector.votes for detector in settings.detection.detectors])[:, None, None]
        above, below = _counting(ballot.above, upward), _counting(ballot.below, downward)
        each = np.array([_counting(ballot.each[0], upward), _counting(ballot.each[1], downward)])
        cast = (votes * (each >= 1.0)).sum(axis=1).max(axis=0)
        severity = np.where(can, np.maximum(above, below), np.nan)
        impossible = here & ~((value >= low) & (value <= high))
        severity = np.where(impossible, np.fmax(severity, OUT_OF_RANGE_SEVERITY), severity)
        said = ~np.isnan(severity)

        verdicts.score[when, rows] = score_of(severity)
        verdicts.votes[when, rows] = np.where(said, np.where(impossible, votes.sum(), cast), np.nan)
        verdicts.each[when, :, rows] = np.where(can, each.max(axis=0), np.nan).swapaxes(0, 1)
        old = verdicts.times[when, None] - register.first[rows] >= settings.baseline.min_history
        verdicts.ready[when, rows] = said & old
        expected = np.clip(self._scale.outward(rows, ballot.expected), low, high)
        verdicts.expected[when, rows] = np.where(can, expected, np.nan)
        for edges, edge, bound, counts in (
            (verdicts.lower, ballot.lower, low, downward),
            (verdicts.upper, ballot.upper, high, upward),
        ):
            outer = np.clip(self._scale.outward(rows, edge), low, high) if counts else np.full(len(edge), bound)
            edges[when, rows] = np.where(can & np.isfinite(outer), outer, np.nan)

    def _flush(self) -> None:
        """Learn what was judged and not learned so far into the buckets."""
        for rows in self._rows():
            samples = self._pending[self._flushed : self._filled, rows]
            self._baseline.learn(self._place, rows, samples, self._seconds)
            self._register.count[rows] += np.isfinite(samples).sum(axis=0)
        self._flushed = self._filled

    def _close(self) -> None:
        """End a block."""
        self._flush()
        for rows in self._rows():
            for memory in self._memories:
                if memory is not None:
                    memory.close(rows)
            self.shifts += self._accept(self._shift.close(rows, self.settings.baseline.accept_level_shift_after))
        self._filled = self._flushed = 0
        self._blocks += 1

    def _accept(self, shifts: list[Shift]) -> list[Shift]:
        """Begin anew with the buckets of the rows for which the old ones are of no use."""
        anew = np.array([shift.row for shift in shifts if shift.anew], np.intp)
        if len(anew):
            self._baseline.forget(anew)
            self._register.count[anew] = 0
        return shifts

    def _admit(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Give `rows` to new series: whatever they held before is forgotten."""
        size = self.table.size
        if size > self._capacity:
            self._capacity = max(size, 2 * self._capacity)
            for columns in self._forgetful():
                columns.grow(self._capacity)
            self._register.grow(self._capacity)
            pending = np.full((BLOCK, self._capacity), np.nan)
            pending[:, : self._pending.shape[1]] = self._pending
            self._pending = pending
        again = rows[rows < self._used]
        if len(again):
            for columns in self._forgetful():
                columns.forget(again)
        self._used = max(self._used, size)
        self._pending[:, rows] = np.nan
        self._register.admit(rows, at)
        self._renamed.update(rows.tolist())

    def _forgetful(self) -> list[Scale | Baseline | LevelShift | Memory]:
        memories = [memory for memory in self._memories if memory is not None]
        return [self._scale, self._baseline, self._shift, *memories]

    def expire(self, at: float) -> list[int]:
        """Forget the series that are gone for longer than `series_ttl`; return their rows."""
        used = np.array([row for row, _ in self.table.items()], np.intp)
        gone = used[self._register.last[used] < at - self.settings.baseline.series_ttl]
        self.table.release(gone)
        self._renamed.update(gone.tolist())
        return [int(row) for row in gone]

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; what was learned must have been learned the same way."""
        self.settings = settings
        self.table.limit = settings.max_series
        for detector, memory in zip(settings.detection.detectors, self._memories, strict=True):
            if memory is not None:
                memory.params = detector

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
            parts[name] = column[..., :size].copy()
        parts["saved_at"] = saved_at
        parts["block"] = np.array([self._filled, self._flushed, self._seconds, self._blocks])
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
        unchanged, where anything else is missing or does not fit: nothing can be kept then.
        """
        saved_at, block = parts.get("saved_at"), parts.get("block")
        if saved_at is None or saved_at.shape != (BUCKETS,) or block is None or block.shape != (4,):
            return False
        size = parts["first"].shape[-1] if "first" in parts else 0
        for name, column in self._columns().items():
            if name not in parts or parts[name].shape != (*column.shape[:-1], size):
                return False
        if any(not 0 <= row < size for row, _ in series):
            return False
        self.table.restore(series, size)
        self._admit(np.arange(size), at)
        self._renamed.clear()
        for name, column in self._columns().items():
            column[..., :size] = parts[name]
        for index in range(BUCKETS):
            stats = parts.get(f"bucket/{index:03}")
            if stats is None or stats.ndim != 2 or stats.shape[0] != 5 or stats.shape[1] > size:
                continue
            # A row may have been given to another series after this bucket was written.
            fresh = self._register.admitted[:size] > float(saved_at[index])
            self._baseline.put(index, stats.astype(np.float32, copy=False), fresh)
            self._saved_at[index] = saved_at[index]
        self.at = at
        self._filled, self._flushed, self._blocks = int(block[0]), int(block[1]), int(block[3])
        self._seconds = float(block[2])
        self._place = place_at(at, self.settings.zone)
        return True

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that have a value a row, rows last."""
        columns: dict[str, npt.NDArray[np.generic]] = {
            "origin": self._scale.origin,
            "unit": self._scale.unit,
            "first": self._register.first,
            "last": self._register.last,
            "admitted": self._register.admitted,
            "count": self._register.count,
            "pending": self._pending,
            **self._shift.arrays(),
        }
        for detector, memory in zip(self.settings.detection.detectors, self._memories, strict=True):
            if memory is not None:
                columns |= {f"{detector.kind}/{name}": array for name, array in memory.arrays().items()}
        return columns

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        total = self._baseline.nbytes + sum(column.nbytes for column in self._columns().values())
        return total / max(1, self._capacity)


def _counting(severity: FloatArray, counts: bool) -> FloatArray:
    """Return the severity of one direction: none where that direction does not count, NaN kept."""
    return severity if counts else np.minimum(severity, 0.0)


def _memory(detector: Detector) -> Memory | None:
    return detector.memory() if isinstance(detector, Remembering) else None


def _offset(at: float, zone: ZoneInfo) -> float:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
