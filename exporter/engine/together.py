"""Engines of several queries in one pass: what some thousand instants cost hardly depends on the number of series.

Rows are independent of each other, so the state of several engines is laid side by side, samples are scored and learned
as if they were of one query, and each engine takes its rows back. All bits are those of one engine after the other.
What belongs to a query and not to a row (siblings of young series, counts of alerts, the histogram of drift, forecasts)
stays with its engine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import utc_offset
from exporter.engine.engine import Engine, present
from exporter.engine.ordered import all_of, any_of
from exporter.engine.row_settings import RowSettings
from exporter.engine.sample_mask import BoolArray, FloatArray, SampleMask
from exporter.engine.score import score_instants
from exporter.engine.seconds import HOUR
from exporter.engine.settings import EngineSettings
from exporter.engine.siblings import UNTIL, Siblings
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts

__all__ = ["MOST_ROWS", "EngineRun", "Steps", "alone", "copy_rows", "joinable", "run_together"]

MOST_ROWS = 2048
"""Rows of a pass, at most as many as are worked on together: with more, a pass saves nothing."""
_CYCLE = 4
"""Detectors may do their work in turns of so many blocks: those of engines that run together must be in step."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """A call of `Engine.run` that is still to be made; see there."""

    engine: Engine
    times: FloatArray
    samples: FloatArray
    seconds: float
    mask: SampleMask | None = None
    complete: BoolArray | None = None
    run: Callable[..., Verdicts] | None = None
    """What makes the call instead, in another process."""

    def alone(self) -> Verdicts:
        """Make the call."""
        run = self.engine.run if self.run is None else self.run
        return run(self.times, self.samples, self.seconds, self.mask, complete=self.complete)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.samples.shape[1])


T = TypeVar("T")
Steps = Generator[EngineRun, Verdicts, T]
"""Work that lets its caller make the calls of engines: it yields each, and is sent the verdicts."""


def alone(steps: Steps[T]) -> T:
    """Do the work, with each call by itself; return its result."""
    try:
        run = next(steps)
        while True:
            try:
                verdicts = run.alone()
            except Exception as fault:
                run = steps.throw(fault)
            else:
                run = steps.send(verdicts)
    except StopIteration as end:
        result: T = end.value
        return result


def run_together(runs: Sequence[EngineRun]) -> list[Verdicts]:
    """Make several calls, in as few passes as possible; return the verdicts of each."""
    verdicts: dict[int, Verdicts] = {}
    for members in joinable(runs):
        part = [runs[index] for index in members]
        verdicts |= zip(members, [part[0].alone()] if len(part) == 1 else _run(part), strict=True)
    return [verdicts[index] for index in range(len(runs))]


def joinable(runs: Sequence[EngineRun]) -> list[list[int]]:
    """Return the calls that can share a pass, by number; those of an earlier instant first."""
    passes: list[list[int]] = []
    for index in sorted(range(len(runs)), key=lambda index: float(runs[index].times[0])):
        for members in passes:
            rows = sum(runs[each].rows for each in members) + runs[index].rows
            if rows <= MOST_ROWS and _fit(runs[members[0]], runs[index]):
                members.append(index)
                break
        else:
            passes.append([index])
    return passes


def _fit(run: EngineRun, other: EngineRun) -> bool:
    """Return whether two calls can share a pass."""
    return (
        run.engine is not other.engine
        and run.mask is None
        and other.mask is None
        and run.seconds == other.seconds
        and np.array_equal(run.times, other.times)
        and _is_free(run)
        and _is_free(other)
        and _of_learning(run.engine.settings) == _of_learning(other.engine.settings)
        and _in_step(run.engine.state, other.engine.state, float(run.times[0]))
    )


def _is_free(run: EngineRun) -> bool:
    """Return whether rows of a call depend on nothing that others could change."""
    state, settings = run.engine.state, run.engine.settings
    finer = settings.cadence is not None and state.learning_grid(run.seconds).finer
    rate = None if settings.budget is None else settings.budget.rate
    calibrated = state.threshold != 1.0 or (rate is not None and state.counts_alerts(run.seconds))
    by_itself = run.run is not None or state.peers is not None
    return not by_itself and state.at < run.times[0] and not finer and not calibrated and run.rows == state.size > 0


def _of_learning(settings: EngineSettings) -> EngineSettings:
    """Return settings without those that a row may have of its own."""
    return replace(
        settings,
        direction="both",
        min_deviation=0.0,
        min_relative_deviation=0.0,
        valid_range=(-np.inf, np.inf),
        max_series=0,
        budget=None,
        cadence=None,
        forecast=None,
        peers=None,
        forecast_step=0.0,
    )


def _in_step(state: EngineState, other: EngineState, begin: float) -> bool:
    """Return whether two states are at the same place of a block that goes on at `begin`."""
    if (state.filled, state.flushed, state.blocks % _CYCLE) != (other.filled, other.flushed, other.blocks % _CYCLE):
        return False
    if state.at == other.at:
        return replace(state.place, blocks=0) == replace(other.place, blocks=0)
    # What has learned nothing can join where an hour and a block begin.
    local = utc_offset(begin, state.settings.zone)
    at = max(state.at, other.at)
    return min(state.at, other.at) == -np.inf and not state.filled and (at + local) // HOUR != (begin + local) // HOUR


class _JointState(EngineState):
    """The states of several engines side by side, until `hand_back`.

    Parameters
    ----------
    members : sequence of EngineState
        Their rows are a part of this state meanwhile. What they have of a query is used and changed at once.
    """

    def __init__(self, members: Sequence[EngineState]) -> None:
        oldest = max(members, key=lambda member: member.at)
        super().__init__(_of_learning(oldest.settings))
        self._sizes = [member.size for member in members]
        ends = np.cumsum(self._sizes).tolist()
        places = [slice(end - size, end) for end, size in zip(ends, self._sizes, strict=True)]
        self.members = list(zip(members, places, strict=True))
        self.row_settings = RowSettings.joined([member.row_settings for member in members], self._sizes)
        self._grow(self.size)
        for member, rows in self.members:
            copy_rows(member, slice(0, member.size), self, rows)
        self.place = oldest.place
        self._begun = self.blocks

    @property
    def size(self) -> int:
        return sum(self._sizes)

    def hand_back(self) -> None:
        """Give each engine its rows."""
        for member, rows in self.members:
            copy_rows(self, rows, member, slice(0, member.size))
            member.place = replace(self.place, blocks=member.blocks + self.blocks - self._begun)
            member.residuals.step = self.residuals.step
            member.baseline.touched |= self.baseline.touched
            shifts = [shift for shift in self.shifts if rows.start <= shift.row < rows.stop]
            member.shifts += [replace(shift, row=shift.row - rows.start) for shift in shifts]
            member.relearned += [row - rows.start for row in self.relearned if rows.start <= row < rows.stop]

    def siblings(self, samples: FloatArray, times: FloatArray) -> FloatArray:
        first = self.lifetimes.first
        columns = np.full((3, len(times), self.size), np.nan)
        if not all_of(times[0] - first >= UNTIL):
            for _, rows in self.members:
                columns[..., rows] = Siblings.of(samples[:, rows], first[rows], times).quantiles[..., None]
        return columns

    def counts_alerts(self, seconds: float) -> bool:
        return any(member.counts_alerts(seconds) for member, _ in self.members)

    def count_alerts(self, rows: slice, severities: FloatArray, seconds: float) -> None:  # noqa: ARG002
        # All rows are worked on together.
        for member, place in self.members:
            member.count_alerts(slice(0, member.size), severities[:, place], seconds)

    def most_counted(self, seconds: float) -> int:
        return min(member.most_counted(seconds) for member, _ in self.members)

    def end_counted(self, instants: int, seconds: float) -> None:
        for member, _ in self.members:
            member.end_counted(instants, seconds)

    def _advance(self, instants: int) -> None:
        super()._advance(instants)
        for member, rows in self.members:
            if member.instants or any_of(np.isfinite(self.lifetimes.first[rows])):
                member.instants += instants

    def _begin_day(self) -> bool:
        begun = False
        for member, rows in self.members:
            since = member.drift.since
            begun |= member.drift.begin_day(self.at)
            if member.drift.since == np.inf != since:
                self.drift.unpin(rows)
        return begun

    def _begin_anew(self, rows: npt.NDArray[np.intp]) -> None:
        super()._begin_anew(rows)
        for member, place in self.members:
            own = rows[(rows >= place.start) & (rows < place.stop)] - place.start
            if member.alert_counts is not None:
                member.alert_counts.forget(own)
            if member.forecasts is not None:
                member.forecasts.forget(own)

    def _note_drift(self, rows: slice, away: FloatArray) -> None:  # noqa: ARG002
        for member, place in self.members:
            member.drift.count(away[place])


def _run(runs: Sequence[EngineRun]) -> list[Verdicts]:
    """Make calls that can share a pass."""
    times, seconds = runs[0].times, runs[0].seconds
    joint = _JointState([run.engine.state for run in runs])
    samples = np.concatenate([run.samples for run in runs], axis=1)
    verdicts = Verdicts(times, samples, len(joint.settings.detection.detectors))
    every = np.empty(samples.shape, np.bool_)
    for run, (_, rows) in zip(runs, joint.members, strict=True):
        every[:, rows] = present(run.samples, run.complete)[:, None]
    score_instants(joint, verdicts, every, seconds, None)
    joint.hand_back()
    parts = []
    for run, (member, rows) in zip(runs, joint.members, strict=True):
        part = verdicts.part(rows)
        if run.complete is not None:
            part.complete[:] = run.complete
        member.finish(part, 0)
        parts.append(part)
    return parts


def copy_rows(source: EngineState, rows: slice, target: EngineState, place: slice) -> None:
    """Copy what is learned of some rows into other rows of another state."""
    sources = source.columns()
    for name, column in target.columns().items():
        if name in sources and name != "within/slot":
            column[..., place] = sources[name][..., rows]
    source.within.copy_patterns(rows, target.within, place)
    source.baseline.copy(rows, target.baseline, place)
