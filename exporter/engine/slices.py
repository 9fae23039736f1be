"""A pass of one engine in slices of its rows, which can be judged and learned in several places at once.

Rows are independent of each other but for what belongs to the query: siblings of young series are compared before, the
histogram of drift is counted after, and forecasts stay with the engine. All bits are those of `Engine.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine, present
from exporter.engine.sample_mask import BoolArray, FloatArray, SampleMask
from exporter.engine.score import score_instants
from exporter.engine.settings import EngineSettings
from exporter.engine.siblings import UNTIL, Siblings
from exporter.engine.state import EngineState
from exporter.engine.together import copy_rows
from exporter.engine.verdict import Verdicts

__all__ = ["SliceTask", "can_be_sliced", "judge_slice", "run_sliced"]

_AGES = 0.9 * UNTIL
"""Seconds of a pass: in less than a day no series comes and grows old."""


class _RowSlice(EngineState):
    """Some rows of an engine, which go on by themselves.

    Parameters
    ----------
    times : ndarray, shape (t,), Unix seconds
    siblings : ndarray, shape (3, t)
        What the older series of the query are at these instants; see `Siblings`.
    room : int
        Patterns within the hour that it may have.
    """

    def __init__(self, whole: EngineState, rows: slice, times: FloatArray, siblings: FloatArray, room: int) -> None:
        super().__init__(_by_row(whole.settings))
        self.rows, self.anew = rows, list[int]()
        self._size: int = rows.stop - rows.start
        self.days: list[tuple[float, list[FloatArray]]] = []
        """Of each block its newest instant, and how far samples are from their pinned means."""
        self._times, self._siblings = times, siblings
        self._grow(self.size)
        copy_rows(whole, rows, self, slice(0, self.size))
        self.place, self.instants, self.residuals.step = whole.place, whole.instants, whole.residuals.step
        self.drift.restore(whole.drift.state())
        self.within.room = room

    @property
    def size(self) -> int:
        return self._size

    def siblings(self, samples: FloatArray, times: FloatArray) -> FloatArray:  # noqa: ARG002
        begin, end = np.searchsorted(self._times, times[[0, -1]])
        return self._siblings[:, begin : end + 1, None]

    def _begin_day(self) -> bool:
        self.days.append((self.at, []))
        return super()._begin_day()

    def _note_drift(self, rows: slice, away: FloatArray) -> None:
        super()._note_drift(rows, away)
        self.days[-1][1].append(away)

    def _begin_anew(self, rows: npt.NDArray[np.intp]) -> None:
        super()._begin_anew(rows)
        self.anew += rows.tolist()

    def hand_back(self, whole: EngineState) -> None:
        """Give the rows back, and what is of a row and of no column."""
        first = self.rows.start
        copy_rows(self, slice(0, self.size), whole, self.rows)
        whole.place, whole.instants, whole.residuals.step = self.place, self.instants, self.residuals.step
        whole.baseline.touched |= self.baseline.touched
        whole.shifts += [replace(shift, row=shift.row + first) for shift in self.shifts]
        whole.relearned += [row + first for row in self.relearned]
        anew = np.array(self.anew, np.intp) + first
        if whole.forecasts is not None and len(anew):
            whole.forecasts.forget(anew)


@dataclass(frozen=True, slots=True)
class SliceTask:
    """The samples of some rows, and what is known of these rows; see `judge_slice`."""

    state: _RowSlice
    times: FloatArray
    samples: FloatArray
    every: BoolArray
    seconds: float
    mask: SampleMask | None


def can_be_sliced(engine: Engine) -> bool:
    """Return whether rows of an engine depend on no other rows but by what is compared before and counted after."""
    settings, state = engine.settings, engine.state
    # Where nothing was learned, the first sample of any series begins the count of instants.
    return settings.budget is None and settings.peers is None and state.instants > 0


def judge_slice(task: SliceTask) -> tuple[_RowSlice, Verdicts]:
    """Judge and learn some rows: a task for another process."""
    verdicts = Verdicts(task.times, task.samples, len(task.state.settings.detection.detectors))
    score_instants(task.state, verdicts, task.every, task.seconds, task.mask)
    return task.state, verdicts


def run_sliced(
    engine: Engine,
    slices: int,
    judge: Callable[[Sequence[SliceTask]], Iterable[tuple[_RowSlice, Verdicts]]],
    times: FloatArray,
    samples: FloatArray,
    seconds: float,
    mask: SampleMask | None = None,
    *,
    complete: BoolArray | None = None,
) -> Verdicts:
    """Judge and learn samples as `Engine.run` does, with the same result.

    Parameters
    ----------
    slices : int
        In how many parts.
    judge : callable
        Returns what `judge_slice` does of each task, in their order.
    """
    whole, every = engine.state, present(samples, complete)
    new, end = int(np.searchsorted(times, whole.at, side="right")), 0
    verdicts: Verdicts | None = None
    while end < len(times):
        when = slice(end, int(np.searchsorted(times, times[end] + _AGES)))
        part = None if mask is None else mask.part(when, slice(None))
        for rows, judged in _judged(whole, slices, judge, times[when], samples[when], every[when], seconds, part):
            if verdicts is None:
                verdicts = Verdicts.unwritten(times, whole.size, judged)
            verdicts.put(when, rows, judged)
        end = when.stop
    if verdicts is None:
        return engine.run(times, samples, seconds, mask, complete=complete)
    if complete is not None:
        verdicts.complete[:] = complete
    whole.finish(verdicts, new)
    return verdicts


def _judged(
    whole: EngineState,
    slices: int,
    judge: Callable[[Sequence[SliceTask]], Iterable[tuple[_RowSlice, Verdicts]]],
    times: FloatArray,
    samples: FloatArray,
    every: BoolArray,
    seconds: float,
    mask: SampleMask | None,
) -> list[tuple[slice, Verdicts]]:
    """Judge and learn samples of less than a day; return the verdicts on some rows each."""
    siblings = Siblings.of(samples, whole.lifetimes.first[: whole.size], times).quantiles
    edges = np.linspace(0, whole.size, slices + 1).astype(int).tolist()
    room, tasks = whole.within.free // slices, []
    for rows in (slice(begin, end) for begin, end in pairwise(edges)):
        state = _RowSlice(whole, rows, times, siblings, room)
        part = None if mask is None else mask.part(slice(None), rows)
        tasks.append(SliceTask(state, times, samples[:, rows], every, seconds, part))
    crowded = any(task.state.within.crowded for task in tasks)
    results = [] if crowded else list(judge(tasks))
    if crowded or any(state.within.crowded for state, _ in results):
        # Which rows get a pattern depends on all of them where there is not enough room.
        verdicts = Verdicts(times, samples, len(whole.settings.detection.detectors))
        score_instants(whole, verdicts, every, seconds, mask)
        return [(slice(0, whole.size), verdicts)]
    for blocks in zip(*(state.days for state, _ in results), strict=True):
        whole.drift.begin_day(blocks[0][0])
        for away in (away for _, counted in blocks for away in counted):
            whole.drift.count(away)
    for state, _ in results:
        state.hand_back(whole)
    return [(state.rows, judged) for state, judged in results]


def _by_row(settings: EngineSettings) -> EngineSettings:
    """Return settings without those of all series together."""
    return replace(settings, budget=None, forecast=None, peers=None)
