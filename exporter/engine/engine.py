"""One query's engine: scores samples of every series, then learns them.

The daemon, `detect` and `backtest` all call it. It reads no clock: time is an argument, and what comes later
never changes an earlier verdict.

Instants are learned in blocks of twelve: within a block all samples are scored by what was learned before it.
So many instants are worked on at once where they are at hand (history, `detect`), and a daemon that gets one
at a time learns only at the end of a block; both give the same bits. Samples that come more often than the
engine learns are scored all the same; see `exporter.engine.cadence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketSummary
from exporter.engine.buckets import BUCKETS, DAY_BUCKETS, WEEK_BUCKETS, BucketIndex
from exporter.engine.calibration import Calibration
from exporter.engine.checkpoints import Checkpoints
from exporter.engine.details import details_of, summary_of
from exporter.engine.drift import DriftState
from exporter.engine.false_alerts import JudgedAlerts
from exporter.engine.forecast.forecast import Forecast
from exporter.engine.forecast.near_limit import with_limits
from exporter.engine.ordered import all_of, any_of
from exporter.engine.row_details import RowDetails
from exporter.engine.sample_mask import BoolArray, FloatArray, SampleMask
from exporter.engine.score import score_instants
from exporter.engine.series import SeriesTable
from exporter.engine.settings import EngineSettings
from exporter.engine.shift import Shift
from exporter.engine.siblings import UNTIL
from exporter.engine.state import CHUNK, EngineState
from exporter.engine.verdict import Aligned, Checkpoint, Verdict, Verdicts

__all__ = ["Engine", "EngineSettings", "present"]


class Engine:
    """Learned state of all series of one query, and the verdicts on their samples."""

    def __init__(self, settings: EngineSettings) -> None:
        self._state = EngineState(settings)
        self._checkpoints = Checkpoints(self._state)

    @property
    def state(self) -> EngineState:
        """What is learned, for what works on several engines; see `exporter.engine.together`."""
        return self._state

    @property
    def settings(self) -> EngineSettings:
        """The settings in force."""
        return self._state.settings

    @property
    def table(self) -> SeriesTable:
        """Which row is which series."""
        return self._state.table

    @property
    def shifts(self) -> list[Shift]:
        """Level shifts that were accepted, in source units; the reader empties the list."""
        return self._state.shifts

    @property
    def relearned(self) -> list[int]:
        """Rows that are learned anew because they were anomalous too often; the reader empties the list."""
        return self._state.relearned

    def relearn(self, rows: npt.NDArray[np.intp]) -> None:
        """Learn some rows anew, shape (m,): their level has changed for good."""
        self._state.relearn(rows)

    @property
    def at(self) -> float:
        """The newest instant that was scored, Unix seconds; -inf before the first. Set it back to score again."""
        return self._state.at

    @at.setter
    def at(self, at: float) -> None:
        self._state.at = at
        self._state.grid_at = min(self._state.grid_at, at)

    @property
    def calibration(self) -> Calibration:
        """The threshold that severities are divided by, and how far it can be trusted."""
        return self._state.calibration

    def note_judged(self, alerts: JudgedAlerts) -> None:
        """Note the feedback on the alerts of the query, for its rate of false ones."""
        if self._state.alert_counts is not None:
            self._state.alert_counts.judged = alerts

    @property
    def capacity(self) -> int:
        """How many rows there is room for without another array."""
        return self._state.capacity

    @property
    def row_bytes(self) -> int:
        """Bytes of learned arrays that a row takes once it has learned at all hours of the week."""
        return self._state.row_bytes

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        return self._state.bytes_per_series

    def give_way(self, keys: Sequence[bytes], spare: int = 0) -> list[int]:
        """Forget series that are not in an answer, as many as its new ones lack room for; return their rows.

        Those that are gone for longest go first, but series that are missing after those that left for good.

        Parameters
        ----------
        keys : sequence of bytes, length n
            The label sets of a whole answer, as JSON objects.
        spare : int
            How many more to forget.
        """
        table = self.table
        if not spare and len(table) + len(keys) <= table.limit:
            return []
        rows = table.rows(keys)
        new = int(np.count_nonzero(rows < 0))
        count = spare + min(new, max(0, len(table) + new - table.limit))
        if not count:
            return []
        gone = table.used()
        gone[rows[rows >= 0]] = False
        candidates = np.flatnonzero(gone)
        state = self._state
        order = np.lexsort((state.lifetimes.last[candidates], state.overrides.overdue(table.size)[candidates]))
        chosen: list[int] = candidates[order[:count]].tolist()
        state.forget(chosen)
        return chosen

    def align(self, keys: Sequence[bytes], values: FloatArray, at: float) -> Aligned:
        """Put the samples of an answer into rows; new series are admitted, those first that were there last.

        Parameters
        ----------
        keys : sequence of bytes, length n
            Label sets as JSON objects.
        values : ndarray of float64, shape (n,) or (t, n)

        at : float, Unix seconds
            When they came: new series are counted from here until they have a sample.
        """
        rows, admitted = self._find(keys, values)
        if admitted:
            self._state.admit(np.array(admitted, np.intp), at)
        samples = np.full((*values.shape[:-1], self.table.size), np.nan)
        kept = rows >= 0
        refused = len(rows) - int(kept.sum())
        if refused:
            rows, values = rows[kept], values[..., kept]
        # Written backward, so that the first of two equal label sets stays.
        samples[..., rows[::-1]] = values[..., ::-1]
        repeated = len(rows) - int(np.count_nonzero(np.bincount(rows, minlength=self.table.size)))
        return Aligned(samples, tuple(admitted), refused, repeated)

    def _find(self, keys: Sequence[bytes], values: FloatArray) -> tuple[npt.NDArray[np.intp], list[int]]:
        if values.ndim == 1 or len(self.table) + len(keys) <= self.table.limit:
            return self.table.find(keys)
        newest = values.shape[0] - np.argmax(~np.isnan(values[::-1]), axis=0)
        order = np.argsort(-newest, kind="stable")
        ordered, admitted = self.table.find([keys[index] for index in order.tolist()])
        rows = np.empty(len(keys), np.intp)
        rows[order] = ordered
        return rows, admitted

    def step(
        self,
        at: float,
        samples: FloatArray,
        seconds: float,
        mask: SampleMask | None = None,
        *,
        complete: bool | None = None,
        unread: BoolArray | None = None,
    ) -> Verdict:
        """Score one sample of every series, then learn it: `run` for a single instant."""
        every = None if complete is None else np.array([complete])
        verdict = self.run(np.array([at]), samples[None], seconds, mask, complete=every, unread=unread)[0]
        if self._state.forecasts is None:
            return verdict
        present = ~np.isnan(verdict.observed)
        return with_limits(replace(verdict, forecast=self.forecast(present)))

    def forecast(self, present: BoolArray | None = None) -> Forecast | None:
        """Return the forecasts from the newest instant on, of every row or of those `present`; None: not asked for."""
        forecasts = self._state.forecasts
        with np.errstate(all="ignore"):
            return None if forecasts is None else forecasts.make(self.table.size, present)

    def run(
        self,
        times: FloatArray,
        samples: FloatArray,
        seconds: float,
        mask: SampleMask | None = None,
        *,
        complete: BoolArray | None = None,
        unread: BoolArray | None = None,
        detailed: bool = False,
    ) -> Verdicts:
        """Score and learn samples of every series.

        Parameters
        ----------
        times : ndarray of float64, shape (t,), Unix seconds
            Ascending. Instants that are not after `self.at` get no verdict: they were scored before.
        samples : ndarray of float64, shape (t, table.size)
            Source units, by row; NaN = no sample. Not changed.
        seconds : float
            How much history a sample stands for; how far instants are apart.
        mask : SampleMask, optional
            What is not to be learned, and where a multiple of the ordinary value is expected.
        complete : ndarray of bool, shape (t,), optional
            Instants at which a series without a sample is away. Unless given these are all at which any series has
            one: history does not tell whether there was a server.
        unread : ndarray of bool, shape (table.size,), optional
            Rows that are in the answer and could not be read: they are neither there nor away.
        detailed : bool
            Whether the verdicts are to have the details of anomalous rows at all instants but the last of a span, as
            `details` returned them then.
        """
        state = self._state
        verdicts = Verdicts(times, samples, len(self.settings.detection.detectors))
        verdicts.unread, verdicts.details = unread, {} if detailed else None
        if complete is not None:
            verdicts.complete[:] = complete
        new = int(np.searchsorted(times, state.at, side="right"))
        score_instants(state, verdicts, present(samples, complete), seconds, mask)
        state.finish(verdicts, new)
        return verdicts

    def steady(self, times: FloatArray, samples: FloatArray, seconds: float) -> bool:
        """Return whether a call of `run` for some instants leaves nothing out that calls of `step` would show.

        That is so where the instants follow the newest one and are one span, no series is in its first day, expires,
        moves or falls below zero for the first time, and nothing is forecast. Then the verdicts and `Verdicts.details`
        are all that there is to see of the instants but the last. Arguments as in `run`.
        """
        state, used = self._state, self.table.used()
        if state.forecasts is not None or state.size > CHUNK or not any_of(used):
            return False
        follow = state.at < times[0] <= state.at + 1.5 * seconds
        if not follow or state.in_next_span(times, seconds, samples) < len(times):
            return False
        lifetimes, scale, size = state.lifetimes, state.scale, self.table.size
        old = times[0] - lifetimes.first[:size] >= UNTIL
        stays = lifetimes.last[:size] >= times[-1] - self.settings.baseline.series_ttl
        settled = scale.negative[:size] | ~(samples < 0.0).any(axis=0)
        still = (samples == scale.origin[:size]) | np.isnan(samples)
        settled &= (scale.unit[:size] != 0.0) | still.all(axis=0)
        return all_of((old & stays & settled)[used])

    def in_next_span(self, times: FloatArray, seconds: float) -> int:
        """Return how many of some instants, all after `at`, are scored together; see `run`."""
        return self._state.in_next_span(times, seconds)

    def details(self, rows: npt.NDArray[np.intp]) -> RowDetails:
        """Return what explanations of the newest instant say of `rows`, shape (m,), ascending."""
        return details_of(self._state, rows, self.buckets_at(self.at))

    def become(self, other: Engine) -> None:
        """Take over the state of a copy that went on in another process."""
        self._state, self._checkpoints = other._state, other._checkpoints

    @property
    def first_at(self) -> float:
        """The oldest sample that was learned of any series, Unix seconds; NaN where there is none."""
        return float(np.fmin.reduce(self._state.lifetimes.first[: self.table.size], initial=np.nan))

    def first_score_at(self, verdict: Verdict, interval: float) -> float:
        """Return when the first series is expected to have a score, Unix seconds; NaN where one has, or none comes.

        Parameters
        ----------
        verdict : Verdict
            Of the newest slot.
        interval : float, seconds
            How far slots are apart.
        """
        present = np.flatnonzero(~np.isnan(verdict.observed))
        if not len(present) or not all_of(np.isnan(verdict.score)):
            return np.nan
        missing = self._state.young.missing_samples(len(verdict.observed))[present]
        return verdict.at + interval * (1.0 + float(missing.min()))

    @property
    def seasons(self) -> npt.NDArray[np.int8]:
        """The season of each row, shape (size,); see `exporter.engine.season`."""
        return self._state.baseline.season[: self.table.size]

    @property
    def drift(self) -> DriftState:
        """How far the series have drifted from what they were."""
        state = self._state
        return state.drift.measure(state.baseline.all_times(slice(0, self.table.size)))

    def buckets_at(self, at: float) -> BucketIndex:
        """Return the buckets of an instant, Unix seconds; a holiday is like a day of rest."""
        return self._state.buckets_at(at)

    def bucket_summary(self, rows: npt.NDArray[np.intp], at: float) -> BucketSummary:
        """Return statistics of the time of the week of `at`, Unix seconds, for `rows`, shape (m,)."""
        return summary_of(self._state, rows, self.buckets_at(at))

    def week_summary(self, row: int) -> BucketSummary:
        """Return what a series is judged against at each hour of the week; arrays of shape (168,), source units."""
        rows = np.array([row])
        hours = [
            summary_of(self._state, rows, BucketIndex(hour, WEEK_BUCKETS + hour % DAY_BUCKETS, BUCKETS - 1))
            for hour in range(WEEK_BUCKETS)
        ]
        return BucketSummary(
            *(np.concatenate([getattr(hour, part.name) for hour in hours]) for part in fields(BucketSummary))
        )

    def accept(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Take the present of some series as their new normal at once, on feedback.

        A series that is missing, or zero where it never is, counts as normal until it is back.

        The level alone moves, by the mean of the newest samples; where a series has been beyond its band for hours,
        the size of its daily shape is fitted as well, as for a shift that is accepted by itself.

        Parameters
        ----------
        rows : ndarray of intp, shape (m,)
        at : float, Unix seconds
            Now.
        """
        with np.errstate(all="ignore"):
            self._state.accept(np.unique(rows), at)

    def expire(self, at: float) -> list[int]:
        """Forget the series that are gone for longer than `series_ttl`; return their rows."""
        return self._state.expire(at - self.settings.baseline.series_ttl)

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; those of learning must be the same."""
        self._state.configure(settings)

    def checkpoint(self) -> Checkpoint:
        """Return what changed since the last checkpoint that was `saved`; its arrays hold until the next `run`."""
        return self._checkpoints.changed()

    def saved(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored: the next one holds only what changes from now on."""
        self._checkpoints.saved(checkpoint)

    def restore(
        self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], series: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Go on from an earlier run's checkpoints, laid over each other; only for a new engine.

        Returns False, with the engine unchanged, where they do not fit.
        """
        return self._checkpoints.restore(at, parts, series)


def present(samples: FloatArray, complete: BoolArray | None) -> BoolArray:
    """Return the instants at which a series without a sample is away, shape (t,): those that are complete, if known."""
    every: BoolArray = np.any(~np.isnan(samples), axis=1) if complete is None else complete
    return every
