"""One query's engine: samples of every series in, a verdict on each out; then the samples are learned.

The daemon, `detect` and `backtest` all call it. It reads no clock: time is an argument, and what comes later
never changes what was said before.

Instants are learned in blocks of twelve: within a block all samples are judged by what was known before it.
So many instants are worked on at once where they are at hand (history, `detect`), and a daemon that gets one
at a time learns only at the end of a block; both give the same bits. Samples that come more often than the
engine learns are judged all the same; see `exporter.engine.cadence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import HOUR, BucketIndex, place_at
from exporter.engine.bucket_summary import BucketSummary
from exporter.engine.cadence import Grid
from exporter.engine.calibration import Calibration
from exporter.engine.detectors.base import BLOCK
from exporter.engine.drift import DriftState
from exporter.engine.sample_mask import BoolArray, SampleMask
from exporter.engine.score import Span, judge
from exporter.engine.series import SeriesTable
from exporter.engine.settings import EngineSettings
from exporter.engine.shift import Shift
from exporter.engine.state import EngineState
from exporter.engine.verdict import Aligned, Checkpoint, Verdict, Verdicts

__all__ = ["Engine", "EngineSettings"]

FloatArray = npt.NDArray[np.float64]

ROWS = 2048
"""Series that are worked on together: the temporaries of so many stay in the processor's cache."""


class Engine:
    """Learned state of all series of one query, and the judgement on their samples."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.shifts: list[Shift] = []
        """Level shifts that were accepted; whoever reads them empties the list."""
        self.relearned: list[int] = []
        """Rows that are learned anew because they were anomalous too often; whoever reads them empties the list."""
        self._learned = EngineState(
            settings.baseline.window,
            settings.detection,
            settings.max_series,
            settings.budget,
            settings.baseline.season,
            settings.drifting,
        )

    @property
    def table(self) -> SeriesTable:
        """Which row is which series."""
        return self._learned.table

    @property
    def at(self) -> float:
        """The newest instant that was judged, Unix seconds; -inf before the first. Set it back to judge again."""
        return self._learned.at

    @at.setter
    def at(self, at: float) -> None:
        self._learned.at = at
        self._learned.grid = min(self._learned.grid, at)

    @property
    def calibration(self) -> Calibration:
        """What severities are divided by, and how far that can be trusted."""
        tail = self._learned.tail
        return Calibration() if tail is None else tail.calibration

    @property
    def capacity(self) -> int:
        """How many rows there is room for without another array."""
        return self._learned.capacity

    @property
    def row_bytes(self) -> int:
        """Bytes of learned arrays that a row takes once it has learned at all hours of the week."""
        return self._learned.row_bytes

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        return self._learned.bytes_per_series

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
            self._learned.admit(np.array(admitted, np.intp), at)
        samples = np.full((*values.shape[:-1], self.table.size), np.nan)
        kept = rows >= 0
        refused = len(rows) - int(kept.sum())
        if refused:
            rows, values = rows[kept], values[..., kept]
        # Written backward, so that the first of two equal label sets stays.
        samples[..., rows[::-1]] = values[..., ::-1]
        repeated = len(rows) - int(np.count_nonzero(np.bincount(rows, minlength=self.table.size)))
        return Aligned(samples, tuple(admitted), refused, repeated)

    def step(
        self,
        at: float,
        samples: FloatArray,
        seconds: float,
        treatment: SampleMask | None = None,
        *,
        complete: bool | None = None,
    ) -> Verdict:
        """Judge one sample of every series, then learn it: `run` for a single instant."""
        every = None if complete is None else np.array([complete])
        return self.run(np.array([at]), samples[None], seconds, treatment, complete=every)[0]

    def run(
        self,
        times: FloatArray,
        samples: FloatArray,
        seconds: float,
        treatment: SampleMask | None = None,
        *,
        complete: BoolArray | None = None,
    ) -> Verdicts:
        """Judge and learn samples of every series.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), Unix seconds
            Ascending. Nothing is said of instants that are not after `self.at`: they were judged before.
        samples : ndarray of float64, shape (t, table.size)
            Source units, by row; NaN = no sample. Not changed.
        seconds : float
            How much history a sample stands for; how far instants are apart.
        treatment : SampleMask, optional
            What is not to be learned, and where a multiple of the usual value is expected.
        complete : ndarray of bool, shape (t,), optional
            Instants at which a series without a sample is away. Unless given these are all at which any series has
            one: in history, nobody knows whether there was a server.
        """
        known, settings = self._learned, self.settings
        zone, holidays = settings.zone, settings.holidays
        # What a memory does not keep must not reach the next instant by way of a moment that both are in.
        together = treatment is None or bool(treatment.learn.all())
        verdicts = Verdicts(times, samples, len(settings.detection.detectors))
        every: BoolArray = np.any(~np.isnan(samples), axis=1) if complete is None else complete
        begin, end = int(np.searchsorted(times, known.at, side="right")), len(times)
        grid = Grid(settings.cadence, seconds)
        passing = grid.passing(times, begin, known.grid, known.learned)
        with np.errstate(all="ignore"):  # NaN and overflow have their meaning here, and are handled.
            while begin < end:
                place, passes = place_at(float(times[begin]), zone, holidays), bool(passing[begin])
                if grid.period(times[begin]) != grid.period(known.at):
                    self._end_period()
                if not passes:
                    stands = grid.stands(known.learned)
                    if known.flushed < known.filled and (place != known.place or stands != known.seconds):
                        self._flush()
                    known.place, known.seconds = place, stands
                tail = known.tail if known.tail is not None and known.tail.fits(seconds) else None
                stop = begin + 1
                limit = stop
                if together:
                    limit = min(end, begin + (BLOCK if passes else BLOCK - known.filled))
                    limit = limit if tail is None else min(limit, begin + tail.room)
                # The same place may come again after a week; a moment is within one hour.
                while (
                    stop < limit
                    and times[stop] - times[begin] < HOUR
                    and passing[stop] == passes
                    and grid.period(times[stop]) == grid.period(times[begin])
                    and place_at(float(times[stop]), zone, holidays) == place
                ):
                    stop += 1
                when = slice(begin, stop)
                span = Span(when, place, seconds, passes, every[when])
                for rows in self._rows():
                    part = None if treatment is None else treatment.part(when, rows)
                    judge(settings, known, rows, span, verdicts, part, self.calibration.threshold)
                known.odd.excuse(when, verdicts, self.table, known.register)
                known.at = float(times[stop - 1])
                if not passes:
                    known.grid = known.at
                    known.filled += stop - begin
                    known.learned += (stop - begin) * (self.table.size > 0)
                    if known.filled == BLOCK:
                        self._close()
                        if not grid.finer:
                            self._end_period()
                if tail is not None:
                    tail.passed(stop - begin)
                begin = stop
        return verdicts

    def _rows(self) -> Iterator[slice]:
        size = self.table.size
        return (slice(start, min(start + ROWS, size)) for start in range(0, size, ROWS))

    def _flush(self) -> None:
        """Learn what was judged and not learned so far into the buckets."""
        known = self._learned
        for rows in self._rows():
            samples = known.pending[known.flushed : known.filled, rows]
            known.baseline.learn(known.place, rows, samples, known.seconds)
            known.register.count[rows] += np.isfinite(samples).sum(axis=0)
        known.flushed = known.filled

    def _close(self) -> None:
        """End a block."""
        self._flush()
        known = self._learned
        new_day = known.drift.turn(known.at)
        for rows in self._rows():
            if new_day:
                known.baseline.find_seasons(rows)
            for memory in known.memories.values():
                memory.close(rows)
            known.odd.close(rows, BLOCK * known.seconds)
            # One sample of a block is enough to know how values are distributed.
            known.drift.learn(rows, known.pending[-1, rows], known.baseline.every(rows))
        known.filled = known.flushed = 0
        known.blocks += 1

    def _end_period(self) -> None:
        """Accept the level shifts that have lasted, and learn anew what has been anomalous for long."""
        known, after = self._learned, self.settings.baseline.accept_level_shift_after
        shifts = [shift for rows in self._rows() for shift in known.shift.close(rows, after)]
        if known.flushed < known.filled and any(shift.anew for shift in shifts):
            self._flush()
        self._move(shifts)
        drifted = known.drifted(after)
        if known.flushed < known.filled and len(drifted):
            self._flush()
        known.relearn(drifted)
        self.relearned += drifted.tolist()

    def _move(self, shifts: list[Shift]) -> None:
        """Let everything follow level shifts that were accepted."""
        if not shifts:
            return
        known = self._learned
        known.learn_anew(np.array([shift.row for shift in shifts if shift.anew], np.intp))
        rows, by = np.array([shift.row for shift in shifts], np.intp), np.array([shift.by for shift in shifts])
        for memory in known.memories.values():
            memory.accept(rows, by)
        known.drift.settle(rows)
        self.shifts += [self._outward(shift) for shift in shifts]

    def _outward(self, shift: Shift) -> Shift:
        """Return a level shift in source units."""
        rows = np.array([shift.row])
        before, after = self._learned.scale.outward(rows, np.array([[shift.before], [shift.after]]))[:, 0].tolist()
        return replace(shift, before=before, after=after)

    def moving(self, row: int) -> Shift | None:
        """Return where the level of a series has gone, source units, or None where it is inside its band.

        "Moved from `before` to `after`, `seconds` ago": what an alert says while the shift is not accepted.
        """
        shift = self._learned.shift.moving(row)
        return None if shift is None else self._outward(shift)

    @property
    def seasons(self) -> npt.NDArray[np.int8]:
        """The season that each row was found to have, shape (size,); see `exporter.engine.season`."""
        return self._learned.baseline.season[: self.table.size]

    @property
    def drift(self) -> DriftState:
        """How far the series have drifted from what they were."""
        known = self._learned
        return known.drift.measure(known.baseline.every(slice(0, self.table.size)))

    def place(self, at: float) -> BucketIndex:
        """Return the buckets of an instant, Unix seconds; a holiday is like a day of rest."""
        return place_at(at, self.settings.zone, self.settings.holidays)

    def usual(self, rows: npt.NDArray[np.intp], at: float) -> BucketSummary:
        """Return what the time of the week of `at`, Unix seconds, was like before, for `rows`, shape (m,)."""
        known, place = self._learned, self.place(at)
        with np.errstate(all="ignore"):
            stats = known.shift.today(known.baseline.stats(place, rows), rows)
            mean, q1, q3 = (known.scale.outward(rows, one) for one in (stats.mean, stats.q1, stats.q3))
            std = known.scale.outward(rows, stats.mean + stats.std) - mean
        return BucketSummary(mean, std, q1, q3, *known.baseline.scope(place, rows))

    def accept(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Take the present of some series as their new normal at once: somebody said that it is.

        What is away or zero where it never is counts as normal until it is back.

        The level alone moves, by the mean of the newest samples; where a series has been outside its band for hours,
        the size of its daily shape is fitted as well, as for a shift that is accepted by itself.

        Parameters
        ----------
        rows : ndarray of intp, shape (m,)
        at : float, Unix seconds
            Now.
        """
        known, rows = self._learned, np.unique(rows)
        with np.errstate(all="ignore"):
            expected = known.shift.today(known.baseline.stats(self.place(at), rows), rows).mean
            self._move(known.shift.accept(rows, expected))
            known.odd.accept(rows)

    def expire(self, at: float) -> list[int]:
        """Forget the series that are gone for longer than `series_ttl`; return their rows."""
        return self._learned.expire(at - self.settings.baseline.series_ttl)

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; what was learned must have been learned the same way."""
        self.settings = settings
        self.table.limit = settings.max_series
        self._learned.baseline.fix_season(settings.baseline.season)
        self._learned.drift.ratio = settings.drifting
        if self._learned.tail is not None and settings.budget is not None:
            self._learned.tail.configure(settings.budget)
        for detector in settings.detection.detectors:
            if detector.kind in self._learned.memories:
                self._learned.memories[detector.kind].params = detector

    def checkpoint(self) -> Checkpoint:
        """Return what changed since the last checkpoint that was `saved`; its arrays hold until the next `run`."""
        return self._learned.checkpoint()

    def saved(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored: the next one holds only what changes from now on."""
        self._learned.saved(checkpoint)

    def restore(
        self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], series: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Go on from an earlier run's checkpoints, laid over each other; only for a new engine.

        Returns False, with the engine unchanged, where they do not fit.
        """
        return self._learned.restore(at, parts, series)
