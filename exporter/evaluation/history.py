"""Learning from history: slots that a query missed are read with range queries.

A new query reads its whole window. After a restart only the time since the last checkpoint is missing; it is
read at the query's own interval, slot by slot, so that the state is the same as if there had been no restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine, present
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.together import EngineRun, Steps
from exporter.engine.verdict import Aligned, Verdicts
from exporter.prometheus import HistoryChunk

__all__ = [
    "COUNTED",
    "HISTORY_TIMEOUT",
    "History",
    "HistoryRange",
    "grouped_slots",
    "learn",
    "missing_history",
]

HISTORY_TIMEOUT = 120.0
"""Seconds that one range query may take; it reads far more than a slot does."""
_FINE_POINTS = 1000
"""A gap of at most so many slots is read slot by slot."""

Masking = Callable[[FloatArray], SampleMask | None]

COUNTED = 8 * 86400.0
"""Seconds that are read slot by slot where alerts are counted for a budget: a week and what blocks may cut off."""
_COUNTED_POINTS = 25_000
"""So many slots at most: eight days of half minutes."""
_GROUPED, _GROUPED_SLOTS = 7 * 86400.0, 10_080
"""Seconds that are read slot by slot where a group learns from them, because it smooths and counts slots: a week, and
so many slots at most, one a minute."""
_GROUPED_VALUES, _GROUPED_LEAST = 2_000_000, 1440
"""Values of a query in them at most, and slots at least, however many series it has."""
_SCRAPED = 15.0
"""Seconds below which slots lie between scrapes: they say nothing new, and so many more of them are not read."""
_TOGETHER = 480
"""Instants that are learned at once: a reload or the end waits for no more than these, about 0.3 s. They begin at
multiples of so many steps, for all queries alike; forty blocks of learning."""
ALIGNED = 48
"""Steps at multiples of which history begins: four blocks, and where steps are five minutes a block is an hour."""


History = Callable[[float, float, float], Iterator[HistoryChunk]]
"""Yields the samples on the grid `start`, `start + step`, ... up to `end`, Unix seconds, in the order of time."""


class Align(Protocol):
    """Puts the samples of a chunk into rows; see `Learner.admit`."""

    def __call__(self, keys: Sequence[bytes], values: FloatArray, at: float, *, complete: bool) -> Aligned:
        """Return them by row."""


class Run(Protocol):
    """Judges and learns samples; see `Engine.run`."""

    def __call__(
        self,
        times: FloatArray,
        samples: FloatArray,
        seconds: float,
        mask: SampleMask | None,
        *,
        complete: npt.NDArray[np.bool_] | None,
    ) -> Verdicts:
        """Return the verdicts."""


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """A range to learn: the grid from `start` to `end`, both included, Unix seconds."""

    start: float
    end: float
    step: float

    @property
    def points(self) -> int:
        """How many instants the grid has; 0 where nothing is missing."""
        return max(0, int((self.end - self.start) // self.step) + 1)


def grouped_slots(interval: float, series: int) -> int:
    """Return how many slots of the past a group learns from.

    >>> [grouped_slots(60.0, series) for series in (1, 500, 100_000)]
    [10080, 4000, 1440]
    >>> [grouped_slots(interval, 10) for interval in (1.0, 300.0)]
    [1440, 2016]
    """
    slots = min(int(_GROUPED / interval), _GROUPED_SLOTS) if interval >= _SCRAPED else _GROUPED_LEAST
    return min(slots, max(_GROUPED_LEAST, _GROUPED_VALUES // max(1, series)))


def missing_history(
    newest: float,
    now: float,
    *,
    window: float,
    interval: float,
    step: float,
    counted: bool = False,
    grouped: int = 0,
) -> list[HistoryRange]:
    """Plan what has to be read so that everything up to the slot `now` is learned.

    Parameters
    ----------
    newest : float, Unix seconds
        The newest slot that was learned; -inf where none was.
    now : float, Unix seconds
        The newest slot that has passed.
    window, interval, step : float, seconds
        How far back to go, how far slots are gap, and the resolution of history.
    counted : bool
        Alerts are to be counted, so the last days are read slot by slot.
    grouped : int
        So many of the last slots are read one by one, because a group is to learn from them.

    What is read in steps lies on a grid of its own, multiples of the step: queries with equal steps then learn at the
    same instants, so that they can share a pass (`exporter.engine.together`).

    >>> [plan.points for plan in missing_history(0.0, 600.0, window=1e6, interval=60.0, step=300.0)]
    [10]
    """
    # Counted back from the newest slot: the newest that was learned may lie on the grid of the steps.
    slots = _slots_between(max(newest, now - window - interval), now, interval)
    if slots <= _FINE_POINTS + 1:
        return [HistoryRange(now - (slots - 1) * interval, now, interval)] if slots else []
    fine = min(int(min(COUNTED, slots * interval) / interval), _COUNTED_POINTS) if counted else 0
    fine = max(fine, min(slots - 1, grouped))
    if interval == step:
        fine = 0
    until = math.floor((now - fine * interval) / step) * step
    gap = 0.0
    if interval == step and 0.0 < now - until < 0.5 * step:
        # Slots are learned, too, and not much nearer to the last step than to each other.
        until, gap = until - step, 0.4 * step
    if newest == -math.inf:
        start = math.floor((now - window) / (ALIGNED * step)) * ALIGNED * step
    else:
        start = math.ceil(newest / step + 0.5) * step
    rest = _slots_between(until + gap, now, interval)
    ranges = [HistoryRange(start, until, step), HistoryRange(now - (rest - 1) * interval, now, interval)]
    return [part for part in ranges if part.points]


def _slots_between(newest: float, now: float, interval: float) -> int:
    """Return how many slots there are after `newest` and up to the slot `now`."""
    return max(0, math.ceil((now - newest) / interval - 0.01))


def learn(
    engine: Engine,
    plan: HistoryRange,
    history: History,
    mask: Masking = lambda _: None,
    on_verdicts: Callable[[Verdicts], None] = lambda _: None,
    align: Align | None = None,
    breaks: Sequence[float] = (),
    run: Run | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Steps[None]:
    """Let `engine` learn a range: the work of `exporter.engine.together.alone`, or of a pass with others.

    `mask` returns the mask of the samples at some instants, once their series have rows; `on_verdicts` is called with
    the verdicts of each piece, and then `on_progress` with how many instants it had; `align` puts samples into rows; by
    default the engine does. A piece ends at each of `breaks`, Unix seconds. `run` makes the calls of the engine, where
    another process does that.
    """
    for whole in history(plan.start, plan.end, plan.step):
        empty = 0
        if not math.isfinite(engine.first_at):
            empty = _empty_start(whole.values, _first_piece(whole.times, plan.step))
        block = whole.part(slice(empty, None)) if empty else whole
        if empty:
            on_progress(empty)
        begin = float(block.times[0])
        if align is None:
            aligned = engine.align(block.keys, block.values, begin)
        else:
            aligned = align(block.keys, block.values, begin, complete=not block.partial and block.unread is None)
        # Of a few series, a chunk is the whole window.
        first, stops = 0, np.searchsorted(block.times, breaks, side="right").tolist()
        while first < len(block.times):
            last = min(
                [first + _first_piece(block.times[first:], plan.step), *(stop for stop in stops if stop > first)]
            )
            times, samples = block.times[first:last], aligned.samples[first:last]
            # What a partial answer lacks is not missing, and neither is what cannot be read.
            complete = np.zeros(len(times), np.bool_) if block.partial else None
            if block.unread is not None:
                complete = present(samples, complete) & ~block.unread.instants[first:last]
            on_verdicts((yield EngineRun(engine, times, samples, plan.step, mask(times), complete, run)))
            on_progress(len(times))
            first = last


def _first_piece(times: FloatArray, step: float) -> int:
    """Return how many instants are learned at once: up to a multiple of `_TOGETHER` steps."""
    left = _TOGETHER - round(float(times[0]) / step) % _TOGETHER
    return min(left, len(times))


def _empty_start(values: FloatArray, first: int) -> int:
    """Return how many instants there are before the piece with the first sample; `first` are in the first piece.

    Nothing can be learned of them, and a month of them takes seconds: a server that was started a minute ago has one.
    """
    present = np.flatnonzero(~np.isnan(values).all(axis=1))
    index = int(present[0]) if len(present) else len(values) - 1
    return 0 if index < first else first + (index - first) // _TOGETHER * _TOGETHER
