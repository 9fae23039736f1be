"""Slots of a query scored together, as many at a time as learning allows: each call of the engine costs the same.

Nothing is different from one slot after the other. Where it could be, because there are new series, rules of the
calendar or series in their first day, slots are scored one by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from exporter.backtest.past_answers import HistoryReplay, PastAnswers
from exporter.backtest.scored_span import ScoredSpan, no_details
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.series import SeriesTable
from exporter.engine.span_plan import LONGEST
from exporter.engine.verdict import Aligned, Verdicts
from exporter.evaluation.scored_slot import ScoredSlot
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["ScoredTogether", "SlotScorer", "score_together", "span_of"]

FloatArray = npt.NDArray[np.float64]

_NO_ROWS: npt.NDArray[np.intp] = np.zeros(0, np.intp)


class SlotScorer(ABC):
    """Scores the slots of one query in the order of time.

    Parameters
    ----------
    engine : Engine
        That has learned history.
    slots : sequence of float, Unix seconds
        All that will be judged.
    """

    def __init__(
        self, plan: QueryPlan, engine: Engine, answers: HistoryReplay, masks: SampleMasks, slots: Sequence[float]
    ) -> None:
        self._plan, self._engine, self._answers, self._masks = plan, engine, answers, masks
        self._slots = deque(slots)
        self._span: ScoredSpan | None = None
        self._number = -1

    def next(self) -> tuple[ScoredSpan, int] | None:
        """Return the span of the next slot, and its number there; None where the evaluator has to judge it by itself.

        Raises
        ------
        PrometheusError
            The server did not answer.
        """
        span, self._number = self._span, self._number + 1
        if span is None or self._number == len(span):
            span, self._number = self._next_span(), 0
            self._span = span
        return None if span is None else (span, self._number)

    @abstractmethod
    def _next_span(self) -> ScoredSpan | None:
        """Return the span that begins with the next slot; None where that cannot be scored with others."""


class ScoredTogether(SlotScorer):
    """Scores slots together that are at hand, in this process, by the engine of the evaluator of the query.

    The evaluator judges the other slots.
    """

    def _next_span(self) -> ScoredSpan | None:
        self._answers.fetch(self._slots[0])
        answers = self._answers.at_hand(list(islice(self._slots, LONGEST)))
        answers = answers.part(0, span_of(self._engine, self._plan, answers.slots))
        span = score_together(self._engine, self._plan, self._masks, answers, self._engine.table)
        for _ in range(1 if span is None else len(span)):
            self._slots.popleft()
        return span


def span_of(engine: Engine, plan: QueryPlan, slots: FloatArray) -> int:
    """Return how many of some slots, shape (t,), Unix seconds, an engine scores in one call, from the first one on."""
    return engine.in_next_span(slots[:LONGEST], plan.interval)


def score_together(
    engine: Engine, plan: QueryPlan, masks: SampleMasks, answers: PastAnswers, table: SeriesTable
) -> ScoredSpan | None:
    """Score the slots of one span, up to the first with a new series; None where the first has to be scored alone.

    Parameters
    ----------
    answers : PastAnswers
        Of as many slots as `span_of` allows.
    table : SeriesTable
        The series of the rows of the engine, as they are to be read.
    """
    samples, repeated = _aligned(engine, answers)
    count = len(samples)
    times = answers.slots[:count]
    if not count or masks.sample_mask(plan, engine.table, times) is not None:
        return None
    if not engine.steady(times, samples, plan.interval):
        return None
    before, detailed = engine.calibration, plan.alert is not None
    verdicts = engine.run(times, samples, plan.interval, complete=np.ones(count, np.bool_), detailed=detailed)
    # They are for metrics of a daemon.
    engine.shifts.clear()
    engine.relearned.clear()
    remarked = bool(answers.chunk.warnings)
    anomalous = np.any(verdicts.score >= 0.5, axis=1)
    quiet = [not remarked and not busy for busy in anomalous.tolist()]
    if count > 1:
        quiet[-1] = False
    verdict = verdicts[count - 1]
    aligned = Aligned(verdict.observed, (), 0, repeated[count - 1])
    rows = np.flatnonzero(verdict.anomalous) if detailed else _NO_ROWS
    return ScoredSpan(
        replace(
            ScoredSlot.of(engine, answers.frame(count - 1), aligned, verdict, plan.interval),
            table=table,
            details=engine.details(rows).only if len(rows) else no_details,
        ),
        answers.part(0, count),
        (),
        engine.capacity,
        engine.row_bytes,
        verdicts,
        repeated,
        before,
        _first_scores(engine, verdicts, plan.interval),
        quiet,
    )


def _first_scores(engine: Engine, verdicts: Verdicts, interval: float) -> dict[int, float]:
    """Return when the first score is expected, by instant, where there is none yet; see `Engine.first_score_at`."""
    waiting = np.isnan(verdicts.score).all(axis=1) & ~np.isnan(verdicts.observed).all(axis=1)
    return {number: engine.first_score_at(verdicts[number], interval) for number in np.flatnonzero(waiting).tolist()}


def _aligned(engine: Engine, answers: PastAnswers) -> tuple[FloatArray, list[int]]:
    """Return answers in the rows of an engine, shape (t, size), up to the first with a new series or that is not whole.

    And how many label sets came twice, by slot.
    """
    chunk = answers.chunk
    rows, here = engine.table.rows(chunk.keys), ~np.isnan(chunk.values)
    ends = here[:, rows < 0].any(axis=1)
    if chunk.unread is not None:
        ends |= chunk.unread.instants
    end = np.flatnonzero(ends)
    count = 0 if chunk.partial else int(end[0]) if len(end) else len(here)
    here, values = here[:count, rows >= 0], chunk.values[:count, rows >= 0]
    rows = rows[rows >= 0]
    samples = np.full((count, engine.table.size), np.nan)
    if not len(rows) or np.bincount(rows).max() == 1:
        samples[:, rows] = values
        return samples, [0] * count
    # The first of two equal label sets counts, of those that are there.
    for number in range(len(rows) - 1, -1, -1):
        samples[here[:, number], rows[number]] = values[here[:, number], number]
    return samples, (here.sum(axis=1) - (~np.isnan(samples)).sum(axis=1)).tolist()
