"""Slots of a query scored together, as many at a time as learning allows: each call of the engine costs the same.

Nothing is different from one slot after the other. Where it could be, because there are new series, rules of the
calendar or series in their first day, slots are scored one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from exporter.backtest.past_answers import HistoryReplay
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.row_details import RowDetails
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Aligned
from exporter.evaluation.scored_slot import ScoredSlot
from exporter.prometheus import Frame
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["AheadSlot", "ScoredTogether", "no_details", "score_together"]

_MOST = 60
"""Slots that are looked at: of more, not all would be scored together."""


@dataclass(frozen=True, slots=True)
class AheadSlot:
    """A slot that was scored, and what its engine took up then.

    Attributes
    ----------
    expired : sequence of int
        Rows that end with the slot.
    capacity, row_bytes : int
        See `Engine`.
    """

    scored: ScoredSlot
    expired: Sequence[int]
    capacity: int
    row_bytes: int

    @property
    def table(self) -> SeriesTable:
        """The series of its rows."""
        return self.scored.table


class ScoredTogether:
    """Scores slots of one query together that are at hand, in this process.

    Parameters
    ----------
    engine : Engine
        That of the evaluator of the query, which judges the other slots.
    slots : sequence of float, Unix seconds
        All that will be judged.
    """

    def __init__(
        self,
        plan: QueryPlan,
        engine: Engine,
        answers: HistoryReplay,
        masks: SampleMasks,
        slots: Sequence[float],
        *,
        query_offset: float,
    ) -> None:
        self._plan, self._engine, self._answers, self._masks = plan, engine, answers, masks
        self._slots, self._query_offset = deque(slots), query_offset
        self._scored: deque[AheadSlot] = deque()

    def next(self) -> AheadSlot | None:
        """Return the next slot; None where the evaluator has to judge it by itself.

        Raises
        ------
        PrometheusError
            The server did not answer.
        """
        if not self._scored:
            answers = self._answers
            answers.fetch(self._slots[0])
            slots = list(islice(self._slots, min(_MOST, answers.at_hand(self._slots[0]))))
            slots = slots[: self._engine.in_next_span(np.array(slots), self._plan.interval)]
            frames = [answers.instant(self._plan.expr, slot - self._query_offset) for slot in slots]
            table = self._engine.table
            self._scored.extend(score_together(self._engine, self._plan, self._masks, slots, frames, table))
        self._slots.popleft()
        return self._scored.popleft() if self._scored else None


def score_together(
    engine: Engine,
    plan: QueryPlan,
    masks: SampleMasks,
    slots: Sequence[float],
    frames: Sequence[Frame],
    table: SeriesTable,
) -> list[AheadSlot]:
    """Score some slots, from the first one on; return them, or nothing where the first one has to be scored alone.

    Parameters
    ----------
    table : SeriesTable
        The series of the rows of the engine, as they are to be read.
    """
    times = np.array(slots[:_MOST])
    times = times[: engine.in_next_span(times, plan.interval)]
    answers = _without_new(engine, times, frames)
    times = times[: len(answers)]
    if len(times) < 2 or masks.sample_mask(plan, engine.table, times) is not None:
        return []
    samples = np.array([each.samples for each in answers])
    if not engine.steady(times, samples, plan.interval):
        return []
    before = engine.calibration
    complete, detailed = np.ones(len(times), np.bool_), plan.alert is not None
    verdicts = engine.run(times, samples, plan.interval, complete=complete, detailed=detailed)
    capacity, row_bytes, results = engine.capacity, engine.row_bytes, list[AheadSlot]()
    for number, (frame, aligned) in enumerate(zip(frames, answers, strict=False)):
        verdict, last = verdicts[number], number == len(times) - 1
        rows = np.flatnonzero(verdict.anomalous) if detailed else np.zeros(0, np.intp)
        details = no_details
        if len(rows):
            details = engine.details(rows).only if last or verdicts.details is None else verdicts.details[number].only
        scored = replace(
            ScoredSlot.of(engine, frame, replace(aligned, samples=verdict.observed), verdict, plan.interval, ()),
            table=table,
            details=details,
        )
        results.append(AheadSlot(scored if last else replace(scored, calibration=before), (), capacity, row_bytes))
    # They are for metrics of a daemon.
    engine.shifts.clear()
    engine.relearned.clear()
    return results


def no_details(rows: npt.NDArray[np.intp]) -> RowDetails:
    """Say that nobody may ask for details."""
    raise KeyError(f"none of these rows was anomalous: {rows}")


def _without_new(engine: Engine, times: npt.NDArray[np.float64], frames: Sequence[Frame]) -> list[Aligned]:
    """Return the answers at some instants in the rows of the engine, up to the first with a new series."""
    answers, keys = list[Aligned](), None
    for at, frame in zip(times.tolist(), frames, strict=False):
        if not frame.whole:
            break
        if frame.keys is not keys and (engine.table.rows(frame.keys) < 0).any():
            break
        keys = frame.keys
        answers.append(engine.align(keys, frame.values, at))
    return answers
