"""Everything that is learned of the series of one query, and the block under way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from exporter.engine.awakening import Awakening
from exporter.engine.baseline import BUCKET_BYTES, BUCKETS, Baseline, BucketIndex, BucketStats, buckets_at
from exporter.engine.budget import AlertCounts
from exporter.engine.cadence import LearningGrid, Span
from exporter.engine.columns import Array, Columns
from exporter.engine.detectors import BLOCK, DetectorState, StatefulDetector
from exporter.engine.drift import Drift
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.overrides import Overrides
from exporter.engine.peers.state import PeerState
from exporter.engine.recent import RecentDeviations
from exporter.engine.recurrence import Runs
from exporter.engine.residual import Residuals
from exporter.engine.scale import Scale
from exporter.engine.seconds import HOUR
from exporter.engine.series import SeriesLifetimes, SeriesTable
from exporter.engine.settings import EngineSettings
from exporter.engine.shift import LevelShift, Shift
from exporter.engine.trend import Trend
from exporter.engine.within_hour import WithinHour
from exporter.engine.young import Young

__all__ = ["EngineState"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_Part = (
    Scale | Baseline | LevelShift | Overrides | Drift | Residuals | Trend | Young | Columns | AlertCounts | Forecasts
)

CHUNK = 2048
"""Series that are worked on together: the temporaries of so many stay in the processor's cache. Only speed needs it."""


class EngineState:
    """Rows, what was learned of each, and the block under way.

    Parameters
    ----------
    settings : EngineSettings

    Attributes
    ----------
    at, grid_at : float, Unix seconds
        The newest instant that was scored, and that is to be learned.
    pending : ndarray, shape (12, capacity)
        Samples of the block under way, as they will be learned.
    filled, flushed : int
        Instants in `pending`, and how many of them the buckets have learned.
    buckets, seconds
        Of the instants in between: the buckets they fall in, and how much history each stands for.
    blocks, learned_hour : int
        How many blocks have ended, and the hour of the week that the buckets learned from last.
    instants : int
        Instants that are to be learned or were, not counting those before there was any series.
    detectors : dict of str to DetectorState
        State of the detectors that have one, by kind.
    alert_counts : AlertCounts or None
        How many alerts each threshold would have raised, where there is a budget.
    forecasts : Forecasts or None
        Where the query asks for them.
    peers : PeerState or None
        Places of series among their siblings, where the query asks for them.
    shifts : list of Shift
        Level shifts that were accepted, in source units; the reader empties the list.
    relearned : list of int
        Rows that are learned anew: anomalous too often, or awake. The reader empties the list.
    renamed : set of int
        Rows that were given to another series, or to none; the reader empties the set.
    """

    def __init__(self, settings: EngineSettings) -> None:
        baseline, budget = settings.baseline, settings.budget
        self.settings = settings
        self.at = self.grid_at = -np.inf
        self.table = SeriesTable(settings.max_series)
        self.scale = Scale()
        self.baseline = Baseline(baseline.window, baseline.season)
        self.shift = LevelShift()
        self.overrides = Overrides()
        self.drift, self.recent = Drift(settings.drifting), RecentDeviations()
        self.residuals, self.trend, self.young = Residuals(), Trend(), Young()
        self.runs, self.within, self.awakening = Runs(), WithinHour(), Awakening()
        self.lifetimes = SeriesLifetimes()
        self.detectors: dict[str, DetectorState] = {
            detector.kind: DetectorState(detector)
            for detector in settings.detection.detectors
            if isinstance(detector, StatefulDetector)
        }
        self.alert_counts = None if budget is None else AlertCounts(budget, budget.fading(baseline.window))
        self.forecasts: Forecasts | None = None
        if settings.forecast is not None:
            step, zone = settings.forecast_step, settings.zone
            self.forecasts = Forecasts(settings.forecast, zone, step, settings.valid_range)
        self.peers = None if settings.peers is None else PeerState(settings.peers)
        self.shifts: list[Shift] = []
        self.relearned: list[int] = []
        self.pending = np.zeros((BLOCK, 0))
        self.filled = self.flushed = self.blocks = self.instants = 0
        self.learned_hour = -1
        self.buckets = BucketIndex(0, 0, 0)
        self.seconds = 0.0
        self.capacity = 0
        self._used = 0
        self.renamed: set[int] = set()

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; those of learning must be the same."""
        self.settings = settings
        self.table.limit = settings.max_series
        self.baseline.fix_season(settings.baseline.season)
        self.drift.ratio = settings.drifting
        if self.forecasts is not None and settings.forecast is not None:
            self.forecasts.configure(settings.forecast, settings.valid_range)
        if self.peers is not None and settings.peers is not None:
            self.peers.settings = settings.peers
        if self.alert_counts is not None and settings.budget is not None:
            self.alert_counts.configure(settings.budget)
        for detector in settings.detection.detectors:
            if isinstance(detector, StatefulDetector) and detector.kind in self.detectors:
                self.detectors[detector.kind].detector = detector

    def admit(self, rows: Rows, at: float) -> None:
        """Give `rows` to new series: whatever they held before is forgotten."""
        size = self.table.size
        if size > self.capacity:
            # Twice as much each time, so that growing costs little, and never for more than may come.
            self.capacity = max(size, min(2 * self.capacity, self.table.limit))
            for part in self._parts():
                part.grow(self.capacity)
            self.lifetimes.grow(self.capacity)
            pending = np.full((BLOCK, self.capacity), np.nan)
            pending[:, : self.pending.shape[1]] = self.pending
            self.pending = pending
        again = rows[rows < self._used]
        if len(again):
            for part in self._parts():
                part.forget(again)
        self._used = max(self._used, size)
        self.pending[:, rows] = np.nan
        self.lifetimes.admit(rows, at)
        self.renamed.update(rows.tolist())

    def _parts(self) -> list[_Part]:
        optional: list[AlertCounts | Forecasts | PeerState] = [
            part for part in (self.alert_counts, self.forecasts, self.peers) if part is not None
        ]
        shared: list[_Part] = [self.scale, self.baseline, self.shift, self.overrides, self.drift, self.residuals]
        shared += [self.trend, self.young, self.recent, self.runs, self.within, self.awakening]
        return [*shared, *self.detectors.values(), *optional]

    def chunks(self) -> Iterator[slice]:
        """Yield all rows in pieces that are worked on together."""
        size = self.table.size
        return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))

    def buckets_at(self, at: float) -> BucketIndex:
        """Return the buckets of an instant, Unix seconds; a holiday is like a day of rest."""
        return buckets_at(at, self.settings.zone, self.settings.holidays)

    def spans(self, times: FloatArray, complete: BoolArray, seconds: float, *, single: bool) -> Iterator[Span]:
        """Split the instants after `at` into spans; what was noted of a span is learned before the next one.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), Unix seconds
        complete : ndarray of bool, shape (t,)
        seconds : float
            How far instants are apart.
        single : bool
            Whether every instant is a span of its own.
        """
        grid = LearningGrid(self.settings.cadence, seconds)
        begin, end = int(np.searchsorted(times, self.at, side="right")), len(times)
        score_only = grid.score_only(times, begin, self.grid_at, self.instants)
        while begin < end:
            at, buckets, skip = times[begin], self.buckets_at(float(times[begin])), bool(score_only[begin])
            if grid.period(at) != grid.period(self.at):
                self._end_period()
            if not skip:
                self._enter(buckets, grid.stands_for(self.instants))
            counts = self.counts_of(seconds)
            stop = limit = begin + 1
            if not single:
                limit = min(end, begin + (BLOCK if skip else BLOCK - self.filled))
                limit = limit if counts is None else min(limit, begin + counts.instants_left)
            # The same buckets may come again after a week; a span is within one hour.
            while (
                stop < limit
                and times[stop] - at < HOUR
                and score_only[stop] == skip
                and grid.period(times[stop]) == grid.period(at)
                and self.buckets_at(float(times[stop])) == buckets
            ):
                stop += 1
            when = slice(begin, stop)
            yield Span(when, buckets, seconds, skip, complete[when])
            self.at = float(times[stop - 1])
            if not skip:
                self._advance(stop - begin)
                if self.filled == BLOCK:
                    self._end_block()
                    if not grid.finer:
                        self._end_period()
            if counts is not None:
                counts.advance(stop - begin)
            begin = stop

    def counts_of(self, seconds: float) -> AlertCounts | None:
        """Return the counts of alerts where instants that are so far apart belong in them."""
        return self.alert_counts if self.alert_counts is not None and self.alert_counts.fits(seconds) else None

    def _enter(self, buckets: BucketIndex, seconds: float) -> None:
        """Learn what is pending if the next instants fall in other buckets or stand for another time."""
        if buckets != self.buckets or seconds != self.seconds:
            self._flush()
        self.buckets, self.seconds = buckets, seconds

    def _advance(self, instants: int) -> None:
        self.grid_at = self.at
        self.filled += instants
        self.instants += instants * (self.table.size > 0)

    def _flush(self) -> None:
        """Let the buckets learn what is pending."""
        if self.flushed == self.filled:
            return
        begins, self.learned_hour = self.buckets.week != self.learned_hour, self.buckets.week
        for rows in self.chunks():
            samples = self.pending[self.flushed : self.filled, rows]
            self.baseline.learn(self.buckets, rows, samples, self.seconds, begins=begins)
            self.lifetimes.count[rows] += np.isfinite(samples).sum(axis=0)
        self.flushed = self.filled

    def _end_block(self) -> None:
        self._flush()
        new_day = self.drift.begin_day(self.at)
        after, awake = self.settings.baseline.accept_level_shift_after, list[int]()
        for rows in self.chunks():
            if new_day:
                self.baseline.find_seasons(rows)
            for detector in self.detectors.values():
                detector.learn(rows, self.blocks)
            held = self.residuals.held(rows)
            awake += self.awakening.end_block(rows, self.pending[:, rows], held, self.seconds, after).tolist()
            self.residuals.end_block(rows)
            self.trend.end_block(rows)
            self.overrides.fade(rows, BLOCK * self.seconds)
            # One sample of a block is enough for the distribution of the values.
            self.drift.learn(rows, self.pending[-1, rows], self.baseline.all_times(rows))
        if awake and self.drift.ratio is not None:
            self._begin_anew(np.array(awake, np.intp))
        self.filled = self.flushed = 0
        self.blocks += 1

    def _end_period(self) -> None:
        """Accept the level shifts that have lasted, and learn anew what has been anomalous for long."""
        after = self.settings.baseline.accept_level_shift_after
        shifts = [shift for rows in self.chunks() for shift in self.shift.end_block(rows, after)]
        if any(shift.anew for shift in shifts):
            self._flush()
        self._move(shifts)
        rows = self.drift.due(slice(0, self.table.size), after)
        # A series that may be on another level waits: a shift that is accepted keeps the shape of the day.
        rows = rows[self.shift.run_seconds(rows) < 0.5 * after]
        if len(rows):
            self.relearn(rows)

    def stats(self, buckets: BucketIndex, rows: Rows) -> BucketStats:
        """Return the statistics that `rows`, shape (m,), are judged against now; baseline units."""
        stats = self.shift.today(self.baseline.stats(buckets, rows), rows)
        return self.trend.today(stats, self.scale.inward(rows, np.zeros(len(rows))), rows)

    def accept(self, rows: Rows, at: float) -> None:
        """Take what `rows`, shape (m,), are at `at` as their new normal; see `Engine.accept`."""
        expected = self.stats(self.buckets_at(at), rows).mean
        self._move(self.shift.accept(rows, expected))
        self.young.accept(rows)
        if self.peers is not None:
            self.peers.accept(rows)
        self.overrides.accept(rows)

    def _move(self, shifts: list[Shift]) -> None:
        """Let everything follow level shifts that were accepted."""
        if not shifts:
            return
        self._empty(np.array([shift.row for shift in shifts if shift.anew], np.intp))
        rows, by = np.array([shift.row for shift in shifts], np.intp), np.array([shift.by for shift in shifts])
        for detector in self.detectors.values():
            detector.accept(rows, by)
        self.residuals.accept(rows, by)
        self.trend.accept(rows)
        self.drift.settle(rows)
        self.recent.move(rows, by)
        self.shifts += [self.outward(shift) for shift in shifts]

    def outward(self, shift: Shift) -> Shift:
        """Return a level shift in source units."""
        rows = np.array([shift.row])
        levels = self.scale.outward(rows, np.array([[shift.before], [shift.after]]))
        before, after = self.scale.possible(rows, levels)[:, 0].tolist()
        return replace(shift, before=before, after=after)

    def _empty(self, rows: Rows) -> None:
        """Empty the buckets of `rows`; the series stay."""
        self.baseline.forget(rows)
        self.drift.restart(rows)
        self.lifetimes.count[rows] = 0

    def relearn(self, rows: Rows) -> None:
        """Begin anew for `rows`, shape (m,), whose buckets do not fit; other detectors keep what they learned."""
        self._flush()
        self.relearned += rows.tolist()
        self._empty(rows)
        self.shift.forget(rows)
        self.overrides.accept(rows)
        for detector in self.detectors.values():
            detector.relearn(rows)

    def _begin_anew(self, rows: Rows) -> None:
        """Learn `rows`, shape (m,), as new series: what was learned of a constant says nothing about what moves."""
        for part in self._parts():
            part.forget(rows)
        self.lifetimes.count[rows] = 0
        self.relearned += rows.tolist()

    def expire(self, before: float) -> list[int]:
        """Forget the series whose last sample came before an instant; return their rows."""
        gone: list[int] = np.flatnonzero(self.table.used() & (self.lifetimes.last[: self.table.size] < before)).tolist()
        self.forget(gone)
        return gone

    def forget(self, rows: Sequence[int]) -> None:
        """Forget the series of some rows; nothing is due in a row without one."""
        self.table.release(np.array(rows, np.intp))
        self.lifetimes.first[rows] = np.nan
        self.renamed.update(rows)

    def columns(self) -> dict[str, Array]:
        """Return the arrays that have a value a row, rows last."""
        columns: dict[str, Array] = {
            "origin": self.scale.origin,
            "unit": self.scale.unit,
            "negative": self.scale.negative,
            "first": self.lifetimes.first,
            "last": self.lifetimes.last,
            "admitted": self.lifetimes.admitted,
            "count": self.lifetimes.count,
            "pending": self.pending,
            "season": self.baseline.season,
            "season_errors": self.baseline.errors,
            **self.shift.arrays(),
            **self.overrides.arrays(),
            **self.drift.arrays(),
            **self.residuals.arrays(),
            **self.trend.arrays(),
            **self.young.arrays(),
            **self.recent.arrays(),
            **self.runs.arrays(),
            **self.within.arrays(),
            **self.awakening.arrays(),
        }
        for kind, detector in self.detectors.items():
            columns |= {f"{kind}/{name}": array for name, array in detector.arrays().items()}
        if self.peers is not None:
            columns |= self.peers.arrays()
        if self.forecasts is not None:
            columns |= self.forecasts.arrays()
        if self.alert_counts is not None:
            columns |= {f"budget/{name}": array for name, array in self.alert_counts.arrays().items()}
        return columns

    @property
    def row_bytes(self) -> int:
        """Bytes of learned arrays that a row takes, once it has learned in all hours."""
        columns = (column.dtype.itemsize * math.prod(column.shape[:-1]) for column in self.columns().values())
        slots = 0 if self.forecasts is None else self.forecasts.row_bytes
        return BUCKETS * BUCKET_BYTES + sum(columns) + slots

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        total = self.baseline.nbytes + self.within.nbytes + sum(column.nbytes for column in self.columns().values())
        total += 0 if self.forecasts is None else self.forecasts.nbytes
        return total / max(1, self.capacity)
