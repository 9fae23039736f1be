"""The slots of a query scored ahead of the alerts that follow from them, many at a time, by other processes.

Verdicts of a query depend on nothing but its own samples and the calendar. Alerts follow later from the verdicts of all
queries, slot by slot, in one process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from exporter.backtest.past_answers import HistoryReplay, PastAnswers
from exporter.backtest.scored_span import ScoredSpan, no_details
from exporter.backtest.scored_together import SlotScorer, score_together, span_of
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.series import SeriesTable
from exporter.evaluation.scored_slot import ScoredSlot
from exporter.prometheus import Frame
from exporter.suppression.sample_masks import SampleMasks
from exporter.worker_pool import WorkerPool

__all__ = ["ScoredAhead", "score_slots"]

_SAMPLES, _LEAST = 50_000, 12
"""Samples of a query that are scored together, at some 150 bytes in the result; and slots at least."""
_FIRST, _MOST = 60, 2880
"""Slots in the first part, so that alerts can soon follow, and at most in a later one, which is twice as long."""


class ScoredAhead(SlotScorer):
    """Scores slots a part ahead of the one that is read, by a copy of the engine.

    Parameters
    ----------
    reading : context manager
        Held while answers are read.
    threads : Executor
        Reads and waits.
    """

    def __init__(
        self,
        plan: QueryPlan,
        engine: Engine,
        answers: HistoryReplay,
        masks: SampleMasks,
        slots: Sequence[float],
        *,
        reading: AbstractContextManager[Any],
        pool: WorkerPool,
        threads: Executor,
    ) -> None:
        super().__init__(plan, engine, answers, masks, slots)
        self._pool, self._threads, self._reading = pool, threads, reading
        self._most = _FIRST
        self._scored: deque[ScoredSpan] = deque()
        self._part: Future[list[ScoredSpan]] = threads.submit(self._score)

    def _next_span(self) -> ScoredSpan:
        if not self._scored:
            self._scored.extend(self._part.result())
            if self._slots:
                self._part = self._threads.submit(self._score)
        return self._scored.popleft()

    def _score(self) -> list[ScoredSpan]:
        """Read and score the next part."""
        most, self._most = self._most, min(_MOST, 2 * self._most)
        with self._reading:
            self._answers.fetch(self._slots[0])
        answers = self._answers.at_hand(list(islice(self._slots, most)))
        answers = answers.part(0, max(_LEAST, _SAMPLES // max(1, len(answers.chunk.keys))))
        for _ in range(len(answers)):
            self._slots.popleft()
        self._engine, spans = self._pool.run(score_slots, self._engine, self._plan, self._masks, answers)
        begin = 0
        for span in spans:
            span.answers = answers.part(begin, begin := begin + len(span))
        return spans


def score_slots(
    engine: Engine, plan: QueryPlan, masks: SampleMasks, answers: PastAnswers
) -> tuple[Engine, list[ScoredSpan]]:
    """Return an engine as it is after some slots, and their spans: the task of a worker."""
    table, spans, done = SeriesTable(0), list[ScoredSpan](), 0
    engine.table.limit = plan.max_series
    while done < len(answers):
        if table.version != engine.table.version or not spans:
            table = engine.table.copy()
        together = answers.part(done, done + span_of(engine, plan, answers.slots[done:]))
        span = score_together(engine, plan, masks, together, table)
        if span is None:
            span = _alone(engine, plan, masks, answers.frame(done), float(answers.slots[done]), table)
            table = span.table
        span.answers = None
        spans.append(span)
        done += len(span)
    return engine, spans


def _alone(
    engine: Engine, plan: QueryPlan, masks: SampleMasks, frame: Frame, slot: float, table: SeriesTable
) -> ScoredSpan:
    """Score one slot."""
    given_way = engine.give_way(frame.keys) if frame.whole else []
    aligned = engine.align(frame.keys, frame.values, slot)
    mask = masks.sample_mask(plan, engine.table, np.array([slot]))
    unread = engine.table.mask_of(frame.unreadable.keys)
    verdict = engine.step(slot, aligned.samples, plan.interval, mask, complete=not frame.partial, unread=unread)
    if table.version != engine.table.version:
        table = engine.table.copy()
    rows = np.flatnonzero(verdict.anomalous) if plan.alert is not None else np.zeros(0, np.intp)
    scored = replace(
        ScoredSlot.of(engine, frame, aligned, verdict, plan.interval, given_way),
        table=table,
        details=engine.details(rows).only if len(rows) else no_details,
        aligned=replace(aligned, samples=verdict.observed),
    )
    # They are for metrics of a daemon.
    engine.shifts.clear()
    engine.relearned.clear()
    expired = engine.expire(slot) if frame.whole else []
    return ScoredSpan(scored, None, expired, engine.capacity, engine.row_bytes)
