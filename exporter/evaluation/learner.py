"""The learned state of a query: restored at the start, completed from history, written at checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import format_instant
from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.series import Labels
from exporter.engine.together import Steps, alone
from exporter.engine.verdict import Aligned, Verdict, Verdicts
from exporter.errors import PrometheusError, StateError
from exporter.evaluation.accepted_levels import AcceptedLevels
from exporter.evaluation.context import EvaluationContext, QueryApi
from exporter.evaluation.engine_task import Abandoned, run_in
from exporter.evaluation.history import HistoryRange, grouped_slots, learn, missing_history
from exporter.evaluation.history_source import HistorySource
from exporter.prometheus import Frame, HistoryChunk, PrometheusApi
from exporter.store import PendingFeedback

__all__ = ["Abandoned", "Learner"]

log = logging.getLogger(__name__)

_WORTH_A_LINE = 10
_IN_PASSING = 100
"""Slots that are read within a cycle; more of them are read as history, while slots go on."""
_WORTH_READING_AGAIN = 0.05
"""Part of the window that a gap must be for another reading of all of history, where the answers to it were partial."""
_ACCEPTED, _UNREAD = "accepted", "unread"
"""Parts of the stored state: which levels people called normal, and when; and how much of history was not read."""


class Learner:
    """The engine of one query and its state on disk.

    Parameters
    ----------
    stored_as : str, optional
        The name under which its state is kept, of a learner whose verdicts nobody else sees. Default: the query's.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext, *, stored_as: str | None = None) -> None:
        self.plan = plan
        self.stored_as = stored_as or plan.name
        self.context = context
        self.engine = Engine(engine_settings(plan))
        self.saved = -np.inf
        """The newest slot that is on disk, Unix seconds."""
        self.progress = 0.0
        """How much of the history that was missing is learned, 0 to 1."""
        self.beat: Callable[[], None] = lambda: None
        """Called after every chunk of history, for the watchdog."""
        self.on_slot: Callable[[Verdict], None] | None = None
        """Takes the verdicts on slots of the past, of a learner `beside` whose verdicts groups learn from."""
        self.given_way: list[int] = []
        """Rows whose series gave way to new ones; the reader empties the list."""
        self.applied: list[PendingFeedback] = []
        """Feedback that was applied, while the state is not on disk."""
        self.accepted = AcceptedLevels()
        """Levels that people called normal; shared with the learner `beside`."""
        self._accepted_here: dict[Labels, float] = {}
        self.history_refused = False
        """Whether the newest attempt to read history failed though the query itself was answered."""
        self.unread: str | None = None
        """Why not all of history was read; None: it was, or the rest is not missed. It is read again: see `beside`."""
        self.unread_points = 0.0
        """How many of its instants are missing or incomplete; inf where nothing could be read."""
        self._skipped_to = -np.inf
        self._from_scratch = self._counts_unread = True
        self._is_beside = False
        self._planned = self._series = 0
        self._answer: Frame | None = None
        self.history = HistorySource(plan, context, self._count_unread)

    def configure(self, plan: QueryPlan, context: EvaluationContext) -> None:
        """Go on under a configuration of the same identity."""
        self.plan, self.context = plan, context
        self.history.configure(plan, context)
        self.engine.configure(engine_settings(plan))

    def take_from(self, other: Learner) -> None:
        """Go on with what another learner has learned, whose state is stored under the name of this one now."""
        self.engine, self.saved, self.accepted = other.engine, other.saved, other.accepted
        self._accepted_here, self._from_scratch = other._accepted_here, False
        self.unread, self.unread_points, self._skipped_to = other.unread, other.unread_points, other._skipped_to

    def abandon(self) -> None:
        """End `catch_up` from another thread, now and whenever it is called before `configure`."""
        self.history.abandon()

    def beside(self) -> Learner:
        """Return a learner that reads all of history anew, while this one goes on to judge slots."""
        fresh = Learner(self.plan, self.context)
        fresh._is_beside = True
        fresh.history = HistorySource(self.plan, self.context, fresh._count_unread, sizes=self.history.sizes)
        fresh.accepted = self.accepted
        return fresh

    def replace_stored(self) -> None:
        """Take the place of the learner that this one was beside, also on disk."""
        self._is_beside = False
        with suppress(StateError), self.context.storing(self.plan.name):
            self.context.ports.store.learned_arrays.forget(self.plan.name)
            self.checkpoint()

    def go_on_without(self, now: float, fault: PrometheusError) -> None:
        """Learn from the slots after `now` alone, because the server refuses history.

        Where an earlier process has left what it learned, only the time since then is not learned.
        """
        self._skipped_to, self._planned = now, 0
        from_scratch, self._from_scratch = self._from_scratch, False
        if from_scratch:
            self.unread, self.unread_points = f"history cannot be read: {fault.message}", np.inf
        else:
            more = {"query": self.plan.name, "since": format_instant(self.engine.at), "error": fault.message}
            log.warning("a gap is not learned, because its history cannot be read", extra=more)

    @property
    def newest(self) -> float:
        """The newest slot that was learned or is given up, Unix seconds."""
        return max(self.engine.at, self._skipped_to)

    def restore(self, now: float) -> None:
        """Restore the state of an earlier process, if it can be used."""
        name = self.stored_as
        try:
            with self.context.storing(name):
                stored = self.context.ports.store.learned_arrays.load(name, self.plan.identity)
        except StateError:
            return
        if stored is None:
            return
        self.accepted = AcceptedLevels.decode(stored.parts.get(_ACCEPTED), stored.series)
        if stored.damaged:
            log.warning("damaged state is learned again", extra={"query": name, "parts": ",".join(stored.damaged)})
        if not self.engine.restore(stored.at, stored.parts, stored.series):
            log.warning("learned state cannot be used; learning from scratch", extra={"query": name})
            return
        self.saved = stored.at
        self._from_scratch = False
        self._accepted_here = self.accepted.by_series
        if (points := stored.parts.get(_UNREAD)) is not None and points.shape == (1,) and points[0] > 0:
            self.unread, self.unread_points = "not all of history could be read when it was learned", float(points[0])
        self._restore_more(stored.parts, now)
        if not self._quiet:
            self.context.ports.metrics.state_restore_age_seconds.set(max(0.0, now - stored.at))
        more = {"query": name, "series": len(self.engine.table), "age_seconds": round(now - stored.at)}
        log.info("learned state restored", extra=more)

    @property
    def _quiet(self) -> bool:
        """Whether it sets no metrics and feeds no group: it learns beside the learner of the query, or for a shadow."""
        return self._is_beside or self.stored_as != self.plan.name

    def _restore_more(self, parts: Mapping[str, npt.NDArray[np.generic]], now: float) -> None:
        """Restore what else was stored, see `_more_parts`; `now` in Unix seconds."""

    def _more_parts(self) -> dict[str, npt.NDArray[Any]]:
        """Return what else is stored, by names that the engine does not use."""
        return {}

    @property
    def _grouped(self) -> int:
        """How many slots of the past groups learn from."""
        if not self.context.ports.groups.wants(self.plan.name):
            return 0
        return grouped_slots(self.plan.interval, max(self._series, len(self.engine.table)))

    def missing(self, now: float) -> list[HistoryRange]:
        """Plan what has to be read so that every slot up to `now` is learned."""
        plan = self.plan
        return missing_history(
            self.newest,
            now,
            window=plan.baseline.window,
            interval=plan.interval,
            step=plan.cadence,
            counted=plan.alert is not None and plan.alert.budget is not None,
            grouped=self._grouped,
        )

    def is_far_behind(self, now: float) -> bool:
        """Return whether more is missing up to `now` than can be read within a cycle."""
        missing = self.missing(now)
        return len(missing) > 1 or sum(part.points for part in missing) > _IN_PASSING

    def catch_up(self, now: float, *, series: int | None = None) -> None:
        """Learn from history so that every slot up to `now` is learned: `catching_up` by itself."""
        alone(self.catching_up(now, series=series))

    def catching_up(self, now: float, *, series: int | None = None) -> Steps[None]:
        """Learn from history so that every slot up to `now` is learned.

        Parameters
        ----------
        now : float, Unix seconds
        series : int, optional
            How many series there are, where that is known.

        Raises
        ------
        PrometheusError, Abandoned
            What was learned so far stays; call it again.
        """
        self.history_refused = False
        ranges = self.missing(now)
        total = sum(part.points for part in ranges)
        gap = now - max(self.newest, now - self.plan.baseline.window)
        self._counts_unread = self._from_scratch or gap >= _WORTH_READING_AGAIN * self.plan.baseline.window
        if not total:
            self._progress(1.0)
            return
        # An attempt that failed in the middle is gone on with.
        self._planned = max(self._planned, total)
        self._progress(1.0 - total / self._planned)
        with self.history.client() as api:
            self.context.ports.cover_incidents(min(part.start for part in ranges), now)
            yield from self._read(api, ranges, total, now, series)
        self._planned = 0
        self._progress(1.0)
        self._from_scratch = False
        self.checkpoint()

    def _read(
        self, api: PrometheusApi, ranges: list[HistoryRange], total: int, now: float, series: int | None
    ) -> Steps[None]:
        plan = self.plan
        if series is None:
            # It decides how much is asked for at once; and a wrong expression shows here.
            series = len(self.fetch(api, now).keys)
        if series > self._series:
            self._series = series
            ranges = self.missing(now)
            total = sum(part.points for part in ranges)
        # Every restart misses a slot or two: not worth a line.
        level = logging.INFO if total > _WORTH_A_LINE else logging.DEBUG
        log.log(level, "reading history", extra={"query": plan.name, "points": total, "series": series})
        begin = perf_counter()
        # Whatever fails from here on, the query itself was answered.
        self.history_refused = True
        done = 0

        def on_progress(points: int) -> None:
            nonlocal done
            self.accept_again()
            done += points
            self._progress(1.0 - (total - done) / self._planned)
            self.beat()
            if self.history.abandoned:
                raise Abandoned

        for part in ranges:
            # A group learns from slots, as it judges slots; and from so many only.
            since = now - self._grouped * plan.interval if part.step == plan.interval else np.inf
            on_verdicts = partial(self._pass_on, since=since)
            history, pool = self.history.chunks(api, series), self.context.ports.pool
            yield from learn(
                self.engine,
                part,
                history,
                self.sample_mask,
                on_verdicts,
                self.admit,
                self.accepted.instants,
                None if pool.count == 1 else partial(run_in, pool, self.engine),
                on_progress,
            )
        self.history_refused = False
        took = round(perf_counter() - begin, 3)
        until = {"seconds": took, "until": format_instant(now)}
        more = {"query": plan.name, "points": total, "series": len(self.engine.table), **until}
        log.log(level, "history learned", extra=more)

    def accept(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Take the present of some series, shape (m,), as normal, because people say so."""
        self.engine.accept(rows, at)
        labels = [self.engine.table.labels(row) for row in rows.tolist()]
        self.accepted.note(labels, at)
        self._accepted_here |= dict.fromkeys(labels, at)

    def accept_again(self) -> None:
        """Apply the levels that were accepted by the newest instant and that this learner has not applied yet."""
        for at, rows in self.accepted.due(self.engine, self._accepted_here):
            self.accept(rows, at)

    def _pass_on(self, verdicts: Verdicts, *, since: float) -> None:
        """Pass verdicts on, those on slots also to the groups that learn from them."""
        if self.on_slot is not None:
            for index in range(int(np.searchsorted(verdicts.times, since)), len(verdicts)):
                self.on_slot(verdicts[index])
        if self._quiet:
            return
        self.context.ports.on_history(self.plan.name, verdicts, self.engine.table)
        if self.context.ports.groups.wants(self.plan.name):
            add = partial(self._add_to_groups, verdicts, since)
            self.context.ports.containment.run("groups", self.plan.name, add, None)

    def _add_to_groups(self, verdicts: Verdicts, since: float) -> None:
        for index in range(int(np.searchsorted(verdicts.times, since)), len(verdicts)):
            self.context.ports.groups.add_history(self.plan, verdicts[index], self.engine.table)

    def _count_unread(self, chunk: HistoryChunk) -> None:
        if chunk.partial and not chunk.refused and self._counts_unread:
            self.unread_points += len(chunk.times)
            why = chunk.warnings[0] if chunk.warnings else str(chunk.unread)
            self.unread = f"{self.unread_points:.0f} instants of history are incomplete: {why}"

    def _progress(self, share: float) -> None:
        self.progress = share
        if self._quiet:
            return
        self.context.ports.metrics.backfill_progress_ratio.labels(query=self.plan.name).set(share)

    def sample_mask(self, times: FloatArray) -> SampleMask | None:
        """Return the mask of the samples at `times`, shape (t,); None where no rule is in effect."""
        return self.context.ports.masks.sample_mask(self.plan, self.engine.table, times)

    def rewind(self, at: float) -> None:
        """Go on from an instant before the newest that was learned, because the clock had been wrong until now."""
        self.engine.at, self._skipped_to = min(self.engine.at, at), min(self._skipped_to, at)
        # What is on disk says a later time, and has to be written over.
        self.saved = min(self.saved, at)

    def admit(self, keys: Sequence[bytes], values: FloatArray, at: float, *, complete: bool = True) -> Aligned:
        """Put the samples of an answer into rows as far as new series are admitted, see `Admission.admit`."""
        admission = self.context.ports.admission
        aligned, gone = admission.admit(self.engine, keys, values, at, most=self.plan.max_series, complete=complete)
        if gone:
            self.given_way += gone
            self.context.ports.metrics.series_given_way_total.labels(query=self.plan.name).inc(len(gone))
        return aligned

    def fetch(self, api: QueryApi, slot: float) -> Frame:
        """Return the answer to the query for a slot, Unix seconds.

        Raises
        ------
        PrometheusError
        """
        plan, at, is_learned = self.plan, slot - self.context.settings.query_offset, self.engine.table.knows
        self._answer = api.instant(plan.expr, at, timeout=plan.timeout, is_learned=is_learned, before=self._answer)
        return self._answer

    def align(self, frame: Frame, at: float) -> Aligned:
        """Put the samples of the answer for a slot into rows."""
        return self.admit(frame.keys, frame.values, at, complete=frame.whole)

    def step(self, frame: Frame, aligned: Aligned, at: float) -> Verdict:
        """Judge and learn the answer for a slot."""
        engine, mask = self.engine, self.sample_mask(np.array([at]))
        unread = engine.table.mask_of(frame.unreadable.keys)
        complete = not frame.partial
        return engine.step(at, aligned.samples, self.plan.interval, mask, complete=complete, unread=unread)

    def expire(self, frame: Frame, at: float) -> Sequence[int]:
        """Drop the series that have not been in an answer for long, and return their rows.

        None go after an answer that is not whole: what it lacks may be there.
        """
        return self.engine.expire(at) if frame.whole else []

    def due(self, at: float) -> bool:
        """Return whether it is time for a checkpoint."""
        return at - self.saved >= self.context.settings.checkpoint_interval

    def checkpoint(self) -> None:
        """Write the state that changed since the last time; where the store fails, the next time writes it too."""
        if self.engine.at <= self.saved or self._is_beside:
            return
        name, changed = self.stored_as, self.engine.checkpoint()
        parts = {**changed.parts, _UNREAD: np.array([self.unread_points]), **self._more_parts()}
        self.accepted.forget(self.engine.at - self.plan.baseline.window)
        if self.accepted:
            parts[_ACCEPTED] = self.accepted.encode(self.engine)
        try:
            with self.context.storing(name):
                self.context.ports.store.learned_arrays.save(
                    name, self.plan.identity, changed.at, parts, changed.series, changed.removed
                )
        except StateError:
            return
        self.engine.saved(changed)
        self.saved = changed.at
