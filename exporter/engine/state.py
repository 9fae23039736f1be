"""Everything that is learned of the series of one query, and the block under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketStats
from exporter.engine.buckets import BucketIndex, buckets_at
from exporter.engine.cadence import YOUNG, LearningGrid, Span
from exporter.engine.calibration import Calibration
from exporter.engine.detectors import BLOCK
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import any_of
from exporter.engine.rows import EngineRows
from exporter.engine.settings import EngineSettings
from exporter.engine.shift import Shift
from exporter.engine.siblings import Siblings
from exporter.engine.span_plan import LONGEST, TOGETHER, SpanPlan, can_mix
from exporter.engine.verdict import Verdicts

__all__ = ["CHUNK", "EngineState"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

CHUNK = 8192
"""Series that are worked on together: calls of numpy cost less than what they compute, and temporaries stay in the
cache that cores share. Only speed needs it."""


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """How far an engine has come; see `EngineState`."""

    at: float
    grid_at: float
    filled: int
    flushed: int
    blocks: int
    learned_hour: int
    buckets: BucketIndex
    seconds: float


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """Statistics of some rows at their level of today; arrays of shape (n,), baseline units.

    Attributes
    ----------
    version : tuple
        Of the rows and of what it follows from.
    stats : BucketStats
        Of the bucket of each row.
    mean, std
        Of all times.
    single_visit
        Mean of the only visit of this hour of the week; NaN where there are more or none.
    """

    version: tuple[int, BucketIndex, int, int]
    stats: BucketStats
    mean: FloatArray
    std: FloatArray
    single_visit: FloatArray


class EngineState(EngineRows):
    """Rows, what was learned of each, and the block under way.

    Parameters
    ----------
    settings : EngineSettings

    Attributes
    ----------
    at, grid_at : float, Unix seconds
        The newest instant that was scored, and that is to be learned.
    filled, flushed : int
        Instants in `pending`, and how many of them the buckets have learned.
    buckets, seconds
        Of the instants in between: the buckets they fall in, and how much history each stands for.
    blocks, learned_hour : int
        How many blocks have ended, and the hour of the week that the buckets learned from last.
    instants : int
        Instants that are to be learned or were, not counting those before there was any series.
    shifts : list of Shift
        Level shifts that were accepted, in source units; the reader empties the list.
    relearned : list of int
        Rows that are learned anew: anomalous too often, or awake. The reader empties the list.
    """

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self.at = self.grid_at = -np.inf
        self.shifts: list[Shift] = []
        self.relearned: list[int] = []
        self.filled = self.flushed = self.blocks = self.instants = 0
        self.learned_hour = -1
        self._counted = 0  # Instants of the span whose alerts are counted, in blocks that have ended.
        self.buckets = BucketIndex(0, 0, 0)
        self.seconds = 0.0
        self._judged_by: dict[int, JudgedBy] = {}

    @property
    def place(self) -> BlockPlace:
        """How far it has come, without the samples that are pending."""
        return BlockPlace(*(getattr(self, name) for name in BlockPlace.__slots__))

    @place.setter
    def place(self, place: BlockPlace) -> None:
        for name in BlockPlace.__slots__:
            setattr(self, name, getattr(place, name))

    def learning_grid(self, seconds: float) -> LearningGrid:
        """Return which instants are learned that are so far apart."""
        return LearningGrid(self.settings.cadence, seconds)

    def chunks(self) -> Iterator[slice]:
        """Yield all rows in pieces that are worked on together."""
        size = self.size
        return (slice(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK))

    def buckets_at(self, at: float) -> BucketIndex:
        """Return the buckets of an instant, Unix seconds; a holiday is like a day of rest."""
        return buckets_at(at, self.settings.zone, self.settings.holidays)

    def spans(
        self,
        times: FloatArray,
        complete: BoolArray,
        seconds: float,
        *,
        samples: FloatArray | None = None,
        alone: BoolArray | None = None,
    ) -> Iterator[Span]:
        """Split the instants after `at` into spans; what was noted of a span is learned before the next one.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), Unix seconds
        complete : ndarray of bool, shape (t,)
        seconds : float
            How far instants are apart.
        samples : ndarray, shape (t, size), optional
            What will be scored; unless given, nothing in it comes for the first time.
        alone : ndarray of bool, shape (t,), optional
            Instants that are spans of their own.
        """
        grid = self.learning_grid(seconds)
        begin, end = int(np.searchsorted(times, self.at, side="right")), len(times)
        plan = self._plan(grid, times, begin, samples, alone)
        while begin < end:
            at, buckets = times[begin], self.buckets_at(float(times[begin]))
            if grid.period(at) != grid.period(self.at):
                self._end_period()
            if plan.steps[begin]:
                self._enter(buckets, grid.stands_for(self.instants))
            stop = self._end_of_span(plan, begin)
            when = slice(begin, stop)
            steps = LearningSteps(plan.steps[when])
            if steps.count:
                self._enter(buckets, grid.stands_for(self.instants))
            yield Span(when, buckets, seconds, steps, complete[when], grid.periods(times[when]))
            self.at = float(times[stop - 1])
            if steps.count:
                self.grid_at = float(times[begin + steps.last])
                self._advance(steps.count)
                if self.filled == BLOCK:
                    self._end_block()
                    if not grid.finer:
                        self._end_period()
            self.end_counted(stop - begin, seconds)
            begin = stop

    def in_next_span(self, times: FloatArray, seconds: float, samples: FloatArray | None = None) -> int:
        """Return how many of the instants `times`, shape (t,), all after `at`, are scored together; see `spans`."""
        return self._end_of_span(self._plan(self.learning_grid(seconds), times, 0, samples, None), 0)

    def _plan(
        self, grid: LearningGrid, times: FloatArray, begin: int, samples: FloatArray | None, alone: BoolArray | None
    ) -> SpanPlan:
        """Return what the spans follow from, of instants from `begin` on."""
        return SpanPlan(grid, times, ~grid.score_only(times, begin, self.grid_at, self.instants), samples, alone)

    def _end_of_span(self, plan: SpanPlan, begin: int) -> int:
        """Return the end of the span that begins with an instant, as a place in the times of the plan."""
        seconds, at = plan.grid.stands_for(self.instants), float(plan.times[begin])
        mixed = self.instants >= YOUNG and can_mix(self)
        if mixed and not plan.steps[begin]:
            # What is pending is learned before the first instant of other buckets that is.
            mixed = self.seconds == seconds and (self.flushed == self.filled or self.buckets == self.buckets_at(at))
        together = max(BLOCK, min(LONGEST, TOGETHER // max(1, self.size)))
        most = min(together, self.most_counted(plan.grid.seconds))
        return plan.end(begin, most, BLOCK - self.filled, mixed=mixed, buckets_at=self.buckets_at, rows=self)

    def siblings(self, samples: FloatArray, times: FloatArray) -> FloatArray:
        """Return the quantiles of the older series at some instants, shape (3, t, 1); samples are (t, size)."""
        return Siblings.of(samples, self.lifetimes.first[: samples.shape[1]], times).quantiles[..., None]

    @property
    def calibration(self) -> Calibration:
        """The threshold that severities are divided by, and how far it can be trusted."""
        return Calibration() if self.alert_counts is None else self.alert_counts.calibration

    @property
    def threshold(self) -> float:
        """What severities are divided by."""
        return self.calibration.threshold

    def counts_alerts(self, seconds: float) -> bool:
        """Return whether instants that are so far apart belong in the counts of alerts."""
        return self.alert_counts is not None and self.alert_counts.fits(seconds)

    def count_alerts(self, rows: slice, severities: FloatArray, seconds: float) -> None:
        """Count the alerts of severities, shape (t, n)."""
        counts = self.alert_counts
        if counts is None or not counts.fits(seconds):
            return
        begin = 0
        while len(severities) - begin > counts.instants_left:
            # Of few series, which are worked on together.
            end = begin + counts.instants_left
            counts.update(rows, severities[begin:end])
            counts.advance(end - begin)
            begin = end
        counts.update(rows, severities[begin:])
        self._counted = begin

    def most_counted(self, seconds: float) -> int:
        """Return how many instants can be counted together; of few series, blocks may end before the threshold does."""
        counts = self.alert_counts
        if counts is None or not counts.fits(seconds):
            return LONGEST
        if self.size * BLOCK > TOGETHER:
            return counts.instants_left
        return LONGEST if counts.budget.rate is None else counts.instants_alike

    def end_counted(self, instants: int, seconds: float) -> None:
        """Note that so many instants are counted."""
        if self.alert_counts is not None and self.alert_counts.fits(seconds):
            self.alert_counts.advance(instants - self._counted)
            self._counted = 0

    def finish(self, verdicts: Verdicts, new: int) -> None:
        """Take up what verdicts say of all series together; those before the index `new` were there before."""
        self.overrides.clear_replaced(slice(new, len(verdicts)), verdicts, self.table, self.lifetimes)
        if self.forecasts is not None:
            values = np.where(verdicts.masked[new:], np.nan, verdicts.observed[new:])
            with np.errstate(all="ignore"):
                self.forecasts.note(verdicts.times[new:], values)

    def _enter(self, buckets: BucketIndex, seconds: float) -> None:
        """Learn what is pending if the next instants fall in other buckets or stand for another time."""
        if buckets != self.buckets or seconds != self.seconds:
            self._flush()
        self.buckets, self.seconds = buckets, seconds

    def _advance(self, instants: int) -> None:
        self.filled += instants
        # Where history begins with empty instants, what was learned begins with the first sample.
        if self.instants or any_of(np.isfinite(self.lifetimes.first)):
            self.instants += instants

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
        new_day = self._begin_day()
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
            self.slope.end_block(rows, self.seconds)
            self.overrides.fade(rows, BLOCK * self.seconds)
            # One sample of a block is enough for the distribution of the values.
            self._note_drift(rows, self.drift.learn(rows, self.pending[-1, rows], self.baseline.all_times(rows)))
        if awake and self.drift.ratio is not None:
            self._begin_anew(np.array(awake, np.intp))
        self.filled = self.flushed = 0
        self.blocks += 1

    def _begin_day(self) -> bool:
        """Begin another day if it is one, and return whether."""
        return self.drift.begin_day(self.at)

    def _note_drift(self, rows: slice, away: FloatArray) -> None:  # noqa: ARG002
        """Note how far samples of a series each are from its pinned mean, shape (n,)."""
        self.drift.count(away)

    def _end_period(self) -> None:
        """Accept the level shifts that have lasted, and learn anew what has been anomalous for long."""
        after = self.settings.baseline.accept_level_shift_after
        shifts = [shift for rows in self.chunks() for shift in self.shift.end_block(rows, after)]
        if any(shift.anew for shift in shifts):
            self._flush()
        self._move(shifts)
        rows = self.drift.due(slice(0, self.size), after)
        # A series that may be on another level waits: a shift that is accepted keeps the shape of the day.
        rows = rows[self.shift.run_seconds(rows) < 0.5 * after]
        if len(rows):
            self.relearn(rows)

    def judged_by(self, buckets: BucketIndex, rows: slice) -> JudgedBy:
        """Return what samples of some rows are judged by; computed anew only when anything was learned."""
        version = (rows.stop, buckets, self.baseline.version, self.shift.version)
        if (kept := self._judged_by.get(rows.start)) is None or kept.version != version:
            stats = self.shift.today(self.baseline.stats(buckets, rows), rows)
            mean, std = self.shift.level(*self.baseline.overall(rows), rows)
            single_visit, _ = self.shift.level(self.baseline.single_visit(buckets, rows), np.zeros(1), rows)
            kept = self._judged_by[rows.start] = JudgedBy(version, stats, mean, std, single_visit)
        return kept

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
