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
from typing import Any

import numpy as np

from exporter.backtest.past_answers import HistoryReplay
from exporter.backtest.scored_together import AheadSlot, no_details, score_together
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
_FIRST, _MOST = 60, 960
"""Slots in the first part, so that alerts can soon follow, and at most in a later one, which is twice as long."""


class ScoredAhead:
    """Scores the slots of one query, a part ahead of the one that is read.

    Parameters
    ----------
    engine : Engine
        That has learned history; a copy goes on.
    slots : sequence of float, Unix seconds
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
        query_offset: float,
        reading: AbstractContextManager[Any],
        pool: WorkerPool,
        threads: Executor,
    ) -> None:
        self._plan, self._engine, self._answers, self._masks = plan, engine, answers, masks
        self._slots, self._query_offset = deque(slots), query_offset
        self._pool, self._threads, self._reading = pool, threads, reading
        self._most = _FIRST
        self._scored: deque[AheadSlot] = deque()
        self._part: Future[list[AheadSlot]] = threads.submit(self._score)

    def next(self) -> AheadSlot:
        """Return the next slot.

        Raises
        ------
        PrometheusError
            The server did not answer.
        """
        if not self._scored:
            self._scored.extend(self._part.result())
            if self._slots:
                self._part = self._threads.submit(self._score)
        return self._scored.popleft()

    def _score(self) -> list[AheadSlot]:
        """Read and score the next part."""
        slots, frames, samples = list[float](), list[Frame](), 0
        most, self._most = self._most, min(_MOST, 2 * self._most)
        while self._slots and (len(slots) < _LEAST or (samples < _SAMPLES and len(slots) < most)):
            slot = self._slots.popleft()
            with self._reading:
                self._answers.fetch(slot)
            frame = self._answers.instant(self._plan.expr, slot - self._query_offset)
            slots.append(slot)
            frames.append(frame)
            samples += len(frame.keys)
        self._engine, scored = self._pool.run(score_slots, self._engine, self._plan, self._masks, slots, frames)
        return scored


def score_slots(
    engine: Engine, plan: QueryPlan, masks: SampleMasks, slots: Sequence[float], frames: Sequence[Frame]
) -> tuple[Engine, list[AheadSlot]]:
    """Return an engine as it is after some slots, and the slots: the task of a worker."""
    table, results = SeriesTable(0), list[AheadSlot]()
    engine.table.limit = plan.max_series
    while len(results) < len(slots):
        if table.version != engine.table.version or not results:
            table = engine.table.copy()
        rest = slice(len(results), None)
        if together := score_together(engine, plan, masks, slots[rest], frames[rest], table):
            results += together
            continue
        slot, frame = slots[len(results)], frames[len(results)]
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
        results.append(AheadSlot(scored, expired, engine.capacity, engine.row_bytes))
    return engine, results
