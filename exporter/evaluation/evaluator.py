"""One slot of one query, in order: fetch, score, judge, commit, publish, send.

The order makes a crash harmless at any point: alerts and audit are durable before they are shown or sent, and a slot
that was committed is never applied twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import numpy as np

from exporter.alerting.alert import Step
from exporter.config.plan import QueryPlan
from exporter.engine.series import SeriesTable
from exporter.engine.together import Steps
from exporter.errors import PrometheusError, WorkersError
from exporter.evaluation.apply_feedback import apply_feedback
from exporter.evaluation.budget_usage import BudgetUsage
from exporter.evaluation.claimed_rows import claim
from exporter.evaluation.clock_skew import ClockSkew, OutOfTime
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.drift_metrics import DriftMetrics
from exporter.evaluation.follower import Follower, JudgedSlot
from exporter.evaluation.group_history import GroupHistory
from exporter.evaluation.history import HISTORY_TIMEOUT
from exporter.evaluation.jobs import HISTORY, SLOT, Jobs
from exporter.evaluation.learner import Abandoned, Learner
from exporter.evaluation.pauses import HistoryPauses, Pauses
from exporter.evaluation.query_alerts import AlertEvaluator
from exporter.evaluation.query_metrics import QueryMetrics
from exporter.evaluation.scored_slot import ScoredSlot
from exporter.evaluation.second_reading import SecondReading
from exporter.evaluation.shadow import Shadow
from exporter.evaluation.slot_outputs import SlotOutputs
from exporter.exposition import PageRows
from exporter.promql.filters import filters_series

__all__ = ["QueryEvaluator"]

log = logging.getLogger(__name__)

_MISTAKES = 3
"""Slots in a row that end in an unexpected error before the state is restored from the store."""


class QueryEvaluator:
    """Evaluates one query; owns its learned state, its rows on the page, its alerts.

    A reload makes a new evaluator from the old (`take_over`). Slots run one at a time.

    Parameters
    ----------
    restored : Step
        Alerts of the query as an earlier process left them.
    started : float, Unix seconds
        When the program started.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext, restored: Step, *, started: float) -> None:
        self.plan = plan
        self.context = context
        self.ready = False
        """Whether history was learned, so that slots can be judged."""
        self.judged = -np.inf
        """The newest slot that was judged, Unix seconds."""
        self.mature_at = self.first_score_at = np.nan
        """When the first series is old enough to alert, and when the first score is expected; NaN: there is none."""
        self.alerts = AlertEvaluator(plan, context, restored, succeeded=started)
        self.retired = self._disowned = False  # No slot and no history from now on.
        self._mistakes = 0
        self._pauses, self._history_pauses = Pauses(), HistoryPauses()
        self._second_reading = SecondReading(self._history_pauses)
        self._group_history = GroupHistory(self._history_pauses)
        self.shadow = Follower() if plan.shadow is None else Shadow(plan.shadow, context)
        """The second configuration that judges the same samples."""
        self._table: SeriesTable | None = None
        """Where slots are scored elsewhere."""
        # A slot never waits for history: what fires is sent on meanwhile.
        self._jobs, self._clock_skew = Jobs(), ClockSkew()
        self._metrics = QueryMetrics(context.ports.metrics, plan.name, plan.source)
        self._budget_usage = BudgetUsage(plan, context)
        self._drift = DriftMetrics(plan, context)
        self._reset()

    def _reset(self) -> None:
        """Drop the learned state in memory; the store and history have it."""
        self.ready = False
        self.learner = Learner(self.plan, self.context)
        self.learner.beat = self._history_goes_on
        self._rows = PageRows("query", self.plan.name)

    @property
    def ended(self) -> bool:
        """Whether it has left and nothing of it runs any more, so that another evaluator can take over its state."""
        return self._jobs.ended

    @property
    def table(self) -> SeriesTable:
        """The series of the rows of the newest verdict."""
        return self.learner.engine.table if self._table is None else self._table

    @property
    def series(self) -> int:
        """How many series the query has."""
        return len(self.learner.engine.table)

    @property
    def progress(self) -> float:
        """How much of its history is learned, 0 to 1."""
        return 1.0 if self.ready else self.learner.progress

    @property
    def trouble(self) -> str | None:
        """Why the newest slot has no verdict, or history could not be read; None where all is well."""
        return self._metrics.trouble

    @property
    def judged_ratio(self) -> float:
        """Part of the series of the newest answer that was judged, 0 to 1; see `QueryMetrics`."""
        return self._metrics.judged_ratio if self.ready else 0.0

    @property
    def remark(self) -> str | None:
        """What limits the newest verdicts: series that are not judged, or how history is read; None: nothing."""
        learner, metrics = self.learner, self._metrics
        return (metrics.remark or metrics.unjudged or learner.unread) if self.ready else learner.history.remark

    def preparing(self, now: float) -> Steps[bool]:
        """Restore the learned state, read the history up to the slot `now`, Unix seconds; return whether it worked."""
        with self._jobs.working(HISTORY, HISTORY_TIMEOUT):
            if self.retired or self._pauses.left or self._history_pauses.left:
                return self.ready
            learner = self.learner
            if self.ready:
                beat = partial(self._jobs.beat, HISTORY, HISTORY_TIMEOUT)
                self._read_again(now)
                self._group_history.read(self.learner, now, beat)
                if not self.retired:
                    self.shadow.catch_up(self.learner, now, beat)
                return True
            try:
                if learner.engine.at == -np.inf:
                    learner.restore(now)
                self._contain("shadow", partial(self.shadow.restore, now))
                learner.history.along = self.shadow.read_along(learner, now)
                yield from learner.catching_up(now)
            except PrometheusError as fault:
                self._metrics.refused(fault, history=learner.history_refused)
                self._pauses.failed(fault)
                in_vain = learner.history_refused and not self.context.ports.needs_history
                # The next request is smaller and its time is given: no reason to do without history.
                less = learner.history.asks_less and fault.retry_after is not None
                if less or not (in_vain and self._history_pauses.refused()):
                    return False
                learner.go_on_without(now, fault)
            except Abandoned:
                return False
            except Exception as fault:
                if isinstance(fault, WorkersError) and self.context.ports.needs_history:
                    raise
                self._metrics.failed()
                log.exception("history could not be learned", extra={"query": self.plan.name})
                self._mistakes += 1
                self._pauses.pause(self.plan.interval * 2.0 ** min(self._mistakes, 16))
                self._reset()
                return False
            self._history_read()
            return True

    def _history_read(self) -> None:
        """Begin to judge by what was learned."""
        self._claim()
        learner = self.learner
        learner.engine.shifts.clear()  # They are of long ago: no news.
        learner.engine.relearned.clear()
        self.ready = True
        self._metrics.history(incomplete=learner.unread is not None)
        if learner.unread is not None:
            self._second_reading.plan(learner)

    def _read_again(self, now: float) -> None:
        """Go on with what another reading of all of history gives, where that is better."""
        if self.learner.unread is None:
            return
        fresh = self._second_reading.read(self.learner, now, lambda: self._jobs.beat(HISTORY, HISTORY_TIMEOUT))
        if fresh is None:
            return
        with self._jobs.held(SLOT):
            if self.retired:
                return
            self.learner, self._rows = fresh, PageRows("query", self.plan.name)
            fresh.beat = self._history_goes_on
            fresh.accept_again()
            self.context.ports.co_occurrence.forget(self.plan.name)
            self._history_read()
            fresh.replace_stored()

    def run(self, slot: float) -> None:
        """Evaluate one slot; no failure here reaches another query."""
        with self._jobs.working(SLOT, self.plan.timeout):
            if self.retired:
                return
            if not self.ready or self.learner.engine.at == slot:
                # History is being read, or has come this far. What fires is sent again meanwhile.
                self._hold(slot)
                return
            self._metrics.begin()
            if self._pauses.left:
                self._metrics.failed(self._metrics.trouble or "the server asked not to be asked for a while")
                self._hold(slot)
                return
            try:
                self._judge(slot)
                self._mistakes = 0
                self._pauses.answered()
            except Abandoned:
                return
            except PrometheusError as fault:
                if not self.retired:
                    self._metrics.refused(fault)
                    self._pauses.failed(fault)
                    self._hold(slot)
            except OutOfTime as reason:
                self._metrics.failed(str(reason))
                log.warning("a slot cannot be judged", extra={"query": self.plan.name, "reason": str(reason)})
                # A slot whose time is wrong changes nothing of the alerts.
                self._outputs.withdraw(series=self.series)
            except Exception:
                # Whatever it is: firing alerts stay firing, and no score is shown.
                self._metrics.failed()
                log.exception("a cycle failed", extra={"query": self.plan.name})
                self._hold(slot)
                self._mistakes += 1
                if self._mistakes >= _MISTAKES:
                    log.error("what was learned is taken up from the store again", extra={"query": self.plan.name})
                    self._pauses.pause(self.plan.interval * self._mistakes)
                    self._reset()

    def _judge(self, slot: float) -> None:
        context, plan, learner, engine = self.context, self.plan, self.learner, self.learner.engine
        with self._phase("fetch", plan.timeout):
            frame = learner.fetch(context.ports.api, slot)
        elsewhere = None
        if plan.shard is not None:
            elsewhere, frame = partial(plan.shard.elsewhere, frame), plan.shard.frame(frame)
        if self._clock_skew.is_rewound(plan, context, frame, slot, max(engine.at, self.alerts.alert_store.newest)):
            learner.rewind(slot - plan.interval)
            self.alerts.alert_store.rewind(slot - plan.interval)
            self.shadow.rewind(slot - plan.interval)
        if learner.newest < slot - 1.5 * plan.interval and not self._close_gap(slot, len(frame.keys)):
            return
        self._contain("feedback", lambda: apply_feedback(learner, self.alerts.rows, at=engine.at, adopted=True))
        with self._phase("score"):
            aligned = learner.align(frame, slot)
            self._claim(aligned.admitted)
            verdict = learner.step(frame, aligned, slot)
        self._follow(ScoredSlot.of(engine, frame, aligned, verdict, plan.interval, elsewhere=elsewhere))
        self._contain("feedback", lambda: apply_feedback(learner, self.alerts.rows, at=slot))
        self._contain("drift", lambda: self._drift.update(engine, slot))
        self._metrics.shifted(len(engine.shifts))
        engine.shifts.clear()
        self._rows.release(learner.expire(frame, slot))
        # Last, so that it delays nothing of the query.
        self.shadow.add(learner, JudgedSlot(frame, verdict, engine.table, self.alerts), self._phase)
        if learner.due(slot):
            with self._phase("checkpoint"):
                learner.checkpoint()

    def _contain(self, part: str, call: Callable[[], None]) -> None:
        self.context.ports.containment.run(part, self.plan.name, call, None)

    def follow(self, scored: ScoredSlot, expired: Sequence[int]) -> None:
        """Do what follows from a slot that was scored elsewhere: alerts, page, groups; rows that expired end with it.

        Slots come in the order of time, and those of all queries too: alerts of one query explain those of another.
        """
        self._table = scored.table
        claim(self._rows, self.table, self.alerts, self._metrics, scored.aligned.admitted, scored.given_way)
        self._follow(scored)
        self._rows.release(expired)

    @property
    def _outputs(self) -> SlotOutputs:
        return SlotOutputs(self.plan, self.context, self.alerts, self._rows, self._metrics, self._budget_usage)

    def _follow(self, scored: ScoredSlot) -> None:
        has_history = self.learner.unread_points < np.inf
        self._outputs.put(scored, self._phase, filtered=filters_series(self.plan.expr), has_history=has_history)
        self.judged = scored.verdict.at
        self.mature_at, self.first_score_at = scored.first_at + self.plan.baseline.min_history, scored.first_score_at

    def _close_gap(self, slot: float, series: int) -> bool:
        """Learn the slots between the newest and this one; False where that takes longer than a cycle should."""
        before = slot - self.plan.interval
        if self.learner.is_far_behind(before):
            self.ready = False
            self._metrics.failed("slots were missed; history is read")
            self._hold(slot)
            return False
        try:
            self.learner.history.along = self.shadow.read_along(self.learner, before)
            with self._phase("catch_up", HISTORY_TIMEOUT):
                self.learner.catch_up(before, series=series)
        finally:
            self._claim()
        return True

    def _hold(self, slot: float) -> None:
        """Go on without a verdict for this slot: no score is shown, and what is firing stays firing for a while."""
        if self._disowned:
            return
        self._outputs.hold(slot)
        self.shadow.hold(slot)
        self._outputs.withdraw(series=self.series)

    def _claim(self, rows: Sequence[int] | None = None) -> None:
        given_way, self.learner.given_way = self.learner.given_way, []
        claim(self._rows, self.table, self.alerts, self._metrics, rows, given_way)

    def _history_goes_on(self) -> None:
        """Note that a part of history was answered and learned."""
        self._jobs.beat(HISTORY if self._jobs.goes_on(HISTORY) else SLOT, HISTORY_TIMEOUT)
        self._pauses.answered()
        self._history_pauses.answered()
        if not self.ready:
            self._metrics.trouble = None

    def _phase(self, phase: str, allowed: float = 0.0) -> AbstractContextManager[None]:
        if phase == "commit" and self._disowned:
            raise Abandoned
        return self._metrics.timed(phase, partial(self._jobs.beat, SLOT), allowed)

    @property
    def resting(self) -> float:
        """Seconds for which nothing is sent that `prepare` needs; 0 where it is."""
        return max(self._pauses.left, self._history_pauses.left)

    @property
    def history_due(self) -> bool:
        """Whether history is to be read: before the first slot, where not all was answered, or for a new group."""
        again = self.learner.unread is not None or self.context.ports.groups.past_due(self.plan.name)
        again &= not self._history_pauses.left
        return not self.ready or again or self.shadow.is_behind(self.learner)

    @property
    def stuck(self) -> bool:
        """Whether a run, or reading history, has given no sign of life for longer than it can take."""
        return self._jobs.stopped

    def leave(self) -> None:
        """Evaluate no further slot, and break off reading history; see `join`."""
        self.retired = True
        for reader in (self.learner, self._second_reading, self._group_history, self.shadow):
            reader.abandon()

    def join(self, timeout: float) -> bool:
        """Wait for what is under way, for `timeout` seconds at most; return whether it ended."""
        return self._jobs.join(timeout)

    def close(self) -> None:
        """Write the state and the alerts that are not written yet; only when it has ended."""
        self.alerts.alert_store.flush()
        self.learner.checkpoint()
        self.shadow.close()

    def take_over(self, plan: QueryPlan, context: EvaluationContext, *, at: float) -> QueryEvaluator:
        """Return an evaluator that goes on where this one stops; what a run may still change is not shared."""
        new = QueryEvaluator(plan, context, self.alerts.alert_store.left, started=self.alerts.alert_store.succeeded)
        new.judged = self.judged
        if not self.ended:
            self._disowned = True
            return new
        if plan.shadow is None:
            context.ports.metrics.forget_shadow(plan.name)
        new.alerts = self.alerts
        new.alerts.configure(plan, context, self.learner.engine.table, at=at)
        if self.plan.identity == plan.identity:
            new.learner, new.ready = self.learner, self.ready
            new.learner.configure(plan, context)
            new.learner.beat = new._history_goes_on
            new._rows, new._metrics, new._mistakes = self._rows, self._metrics, self._mistakes
            new._metrics.resume(plan.source)
            new._history_pauses = self._history_pauses
            new._second_reading = SecondReading(self._history_pauses)
            new._group_history = GroupHistory(self._history_pauses)
        elif (promoted := self.shadow.promoted(plan, context)) is not None:
            log.info("the shadow is promoted", extra={"query": plan.name, "series": len(promoted.engine.table)})
            new.learner, new._metrics = promoted, self._metrics
            new._metrics.resume(plan.source)
            promoted.beat = new._history_goes_on
            context.ports.co_occurrence.forget(plan.name)
            if self.ready:
                new._history_read()
            return new
        new.shadow.take_over(self.shadow, at=at)
        return new
