"""The shadow of a query: a second configuration that judges and learns the same samples, and never alerts.

It runs after the slot of its query is over, is fed with the answer that the query had, and may fail by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.sample_mask import FloatArray
from exporter.engine.together import alone
from exporter.engine.verdict import Aligned, Verdict
from exporter.errors import PrometheusError, StateError
from exporter.evaluation.context import ArrayStore, EvaluationContext
from exporter.evaluation.follower import Follower, JudgedSlot
from exporter.evaluation.history import HistoryRange, learn
from exporter.evaluation.learner import Abandoned, Learner
from exporter.evaluation.pauses import HistoryPauses
from exporter.evaluation.shadow_alerts import ShadowAlerts
from exporter.evaluation.shadow_status import ShadowStatus
from exporter.prometheus import HistoryChunk

__all__ = ["Shadow", "promote_stored", "shadow_job"]

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.intp]
Value = TypeVar("Value", bound=np.generic)


class _ShadowLearner(Learner):
    """A learner whose state is stored beside that of its query, and whose series take no place of others."""

    def __init__(self, plan: QueryPlan, context: EvaluationContext, alerts: ShadowAlerts) -> None:
        super().__init__(plan, context, stored_as=shadow_job(plan.name))
        self.alerts = alerts

    def admit(self, keys: Sequence[bytes], values: FloatArray, at: float, *, complete: bool = True) -> Aligned:
        """Put the samples of an answer into rows, as far as there is memory; who is gone gives way at the limit."""
        most, admit = self.plan.max_series, self.context.ports.admission.admit_beside
        return admit(self.engine, keys, values, at, most=most, complete=complete)

    def _restore_more(self, parts: Mapping[str, npt.NDArray[np.generic]], now: float) -> None:
        self.alerts.restore(dict(parts), now)

    def _more_parts(self) -> dict[str, npt.NDArray[Any]]:
        return dict(self.alerts.encode())


class Shadow(Follower):
    """A second configuration of a query. Slots run one at a time, and history is read beside them.

    Parameters
    ----------
    plan : QueryPlan
        The query as it would be; it has the name of the query.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext) -> None:
        self.plan = plan
        self.context = replace(context, ports=replace(context.ports, masks=context.ports.masks.beside()))
        self._query_context = context
        self.alerts = ShadowAlerts(plan, context)
        self.learner = self._new_learner()
        self._status = ShadowStatus(plan.name)
        self.restored = False
        """Whether what an earlier process learned was looked for."""
        self._lock = threading.Lock()
        self._pauses = HistoryPauses()
        metrics = context.ports.metrics
        metrics.shadow_alerts_total.labels(query=plan.name)
        for side in ("query", "shadow"):
            metrics.shadow_disagreements_total.labels(query=plan.name, anomalous_to=side)

    @property
    def status(self) -> ShadowStatus:
        """How it differs from the query."""
        return self._status

    @property
    def engine(self) -> Engine:
        """What it has learned."""
        return self.learner.engine

    def _new_learner(self) -> Learner:
        return _ShadowLearner(self.plan, self.context, self.alerts)

    # ------------------------------------------------------------------ history

    def restore(self, now: float) -> None:
        """Restore what an earlier process learned, once; `now` in Unix seconds."""
        with self._lock:
            if not self.restored:
                self.restored = True
                self.learner.restore(now)

    def read_along(self, query: Learner, now: float) -> Callable[[HistoryChunk, float], None] | None:
        """Return what learns the history that the query reads now up to `now`; None where the shadow needs another."""
        return self._learn_along if self.learner.missing(now) == query.missing(now) else None

    def _learn_along(self, chunk: HistoryChunk, step: float) -> None:
        self.context.ports.containment.run("shadow", self.plan.name, lambda: self._learn(chunk, step), None)

    def _learn(self, chunk: HistoryChunk, step: float) -> None:
        if not self._lock.acquire(blocking=False):
            return  # It reads by itself.
        try:
            learner = self.learner
            new = chunk.times > learner.engine.at
            if not new.any():
                return
            chunk = replace(chunk, times=chunk.times[new], values=chunk.values[new])
            part = HistoryRange(float(chunk.times[0]), float(chunk.times[-1]), step)
            alone(learn(learner.engine, part, lambda *_: iter([chunk]), learner.sample_mask, align=learner.admit))
        except Exception:
            self._begin_anew()
            raise
        finally:
            self._lock.release()

    def is_behind(self, query: Learner) -> bool:
        """Return whether history has to be read for the shadow alone: it began later, or missed a slot."""
        return self.learner.newest < query.engine.at - 0.5 * self.plan.interval and not self._pauses.left

    def catch_up(self, query: Learner, now: float, beat: Callable[[], None]) -> None:
        """Read the history that the query has and the shadow has not, up to the slot `now`, Unix seconds."""
        self.restore(now)
        if not self.is_behind(query):
            return
        with self._lock:
            learner, more = self.learner, {"query": self.plan.name}
            learner.beat = beat
            try:
                learner.catch_up(now)
                self._pauses.answered()
            except Abandoned:
                return
            except PrometheusError as fault:
                log.warning("the history for a shadow cannot be read", extra={**more, "error": fault.message})
                self._not_compared(f"history cannot be read: {fault.message}")
                if not learner.history_refused:
                    self._pauses.later()
                elif self._pauses.refused():
                    learner.go_on_without(now, fault)
            except Exception as fault:
                self.context.ports.containment.failed("shadow", self.plan.name, fault)
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Drop what a failure may have left half learned: it is in the store as it was, and in history."""
        self._not_compared("it failed by an internal error, and begins anew from what is stored")
        self.learner, self.restored = self._new_learner(), False
        self._pauses.later()

    # ------------------------------------------------------------------ slots

    def add(self, query: Learner, slot: JudgedSlot, phase: Callable[[str], AbstractContextManager[None]]) -> None:
        """Judge and learn the answer that the query has judged; a failure of it is contained."""
        with phase("shadow"):
            self._add(query, slot)

    def _add(self, query: Learner, slot: JudgedSlot) -> None:
        if not self._lock.acquire(blocking=False):
            self._not_compared(f"history is being read, {self.learner.progress:.0%}")
            return
        try:
            at, learner = slot.verdict.at, self.learner
            if learner.engine.at >= at:
                return
            if learner.newest < at - 1.5 * self.plan.interval:
                self._not_compared(self._status.trouble if self._pauses.left else "history is to be read")
                return
            self._judge(query, slot)
        except Exception as fault:
            self.context.ports.containment.failed("shadow", self.plan.name, fault)
            self._begin_anew()
        finally:
            self._lock.release()

    def _judge(self, query: Learner, slot: JudgedSlot) -> None:
        at, frame, learner, alerts = slot.verdict.at, slot.frame, self.learner, self.alerts
        engine = learner.engine
        # What people called normal is normal for both.
        learner.accepted = query.accepted
        learner.accept_again()
        verdict = learner.step(frame, learner.align(frame, at), at)
        own, other = slot.table.rows(frame.keys), engine.table.rows(frame.keys)
        both = (own >= 0) & (other >= 0)
        own, other = own[both], other[both]
        alerts.rows.identities.with_metric = slot.alerts.rows.identities.with_metric
        held, waiting = slot.alerts.loads(slot.verdict, slot.table)
        load, moved = slot.alerts.load_factor(slot.verdict, slot.table), partial(_moved, own, other, engine.table.size)
        alerts.evaluate(
            verdict,
            engine.table,
            engine.details,
            held=moved(held, False),
            waiting=moved(waiting, False),
            load=moved(load, np.nan),
        )
        if np.isnan(alerts.began):
            alerts.began = at
        alerts.fired_by_query += alerts.fired_in(slot.alerts.alerts, at)
        self._compare(slot, verdict, own, other)
        engine.shifts.clear()
        engine.relearned.clear()
        learner.expire(frame, at)
        if learner.due(at):
            learner.checkpoint()

    def _compare(self, slot: JudgedSlot, verdict: Verdict, own: Rows, other: Rows) -> None:
        scored = ~np.isnan(slot.verdict.score[own]) & ~np.isnan(verdict.score[other])
        query, shadow = slot.verdict.anomalous[own][scored], verdict.anomalous[other][scored]
        alerts = self.alerts
        self._status = ShadowStatus(
            self.plan.name,
            verdict.at,
            float(alerts.began),
            series=int(np.count_nonzero(scored)),
            only_query=int(np.count_nonzero(query & ~shadow)),
            only_shadow=int(np.count_nonzero(shadow & ~query)),
            anomalous=int(np.count_nonzero(query)),
            shadow_anomalous=int(np.count_nonzero(shadow)),
            firing=sum(alert.fired_at is not None and alert.is_open for alert in slot.alerts.alerts.values()),
            shadow_firing=alerts.firing,
            alerts=alerts.fired_by_query,
            shadow_alerts=alerts.fired,
            trouble="",
        )
        self._show()

    def _show(self) -> None:
        metrics, name, status = self.context.ports.metrics, self.plan.name, self._status
        if status.disagreement is None:
            metrics.shadow_disagreement_ratio.remove_by_labels({"query": name})
        else:
            metrics.shadow_disagreement_ratio.labels(query=name).set(status.disagreement)
        for side, count in (("query", status.only_query), ("shadow", status.only_shadow)):
            metrics.shadow_disagreements_total.labels(query=name, anomalous_to=side).inc(count)
        metrics.shadow_alerts_firing.labels(query=name).set(status.shadow_firing)
        metrics.shadow_alerts_total.labels(query=name).inc(self.alerts.fired_now)

    def hold(self, slot: float) -> None:
        """Go on without an answer: what would be firing would go on for a while."""
        if self._lock.acquire(blocking=False):
            try:
                self.alerts.hold(slot)
            finally:
                self._lock.release()
        self._not_compared("the query has no answer")

    def _not_compared(self, why: str) -> None:
        self._status = replace(self._status, trouble=why)
        self.context.ports.metrics.shadow_disagreement_ratio.remove_by_labels({"query": self.plan.name})

    # ------------------------------------------------------------------ reloads

    def rewind(self, at: float) -> None:
        """Go on from an instant before the newest that was learned, as the query does."""
        if self._lock.acquire(blocking=False):
            self.learner.rewind(at)
            self.alerts.rewind(at)
            self._lock.release()

    def take_over(self, old: Follower, *, at: float) -> None:
        """Go on with what the shadow of the configuration before has learned, if it can be used; `at`: a slot."""
        if not isinstance(old, Shadow) or old.plan.identity != self.plan.identity:
            return
        self.alerts, self.learner, self._status = old.alerts, old.learner, old.status
        self.restored = old.restored
        self.learner.configure(self.plan, self.context)
        self.alerts.configure(self.plan, self._query_context, self.learner.engine.table, at=at)

    def promoted(self, plan: QueryPlan, context: EvaluationContext) -> Learner | None:
        """Return a learner with what the shadow learned, for a query of this plan; None where it is of no use to it."""
        if plan.identity != self.plan.identity or self.learner.engine.at == -np.inf:
            return None
        self.learner.checkpoint()
        learner = Learner(plan, context)
        try:
            with context.storing(plan.name):
                context.ports.store.learned_arrays.rename(shadow_job(plan.name), plan.name)
        except StateError:
            return None  # It would be on disk only in part.
        learner.take_from(self.learner)
        learner.configure(plan, context)
        return learner

    def abandon(self) -> None:
        """Break off reading history."""
        self.learner.abandon()

    def close(self) -> None:
        """Write the state that is not written yet."""
        self.learner.checkpoint()


def shadow_job(query: str) -> str:
    """Return the name under which the state of the shadow of a query is kept; no query can have it."""
    return f"(shadow) {query}"


def promote_stored(store: ArrayStore, plans: Iterable[QueryPlan]) -> None:
    """Make the stored state of a shadow that of its query where the query is now configured as its shadow was."""
    for plan in plans:
        job = shadow_job(plan.name)
        try:
            if store.version(plan.name) != plan.identity == store.version(job):
                store.rename(job, plan.name)
                log.info("the shadow is promoted", extra={"query": plan.name})
        except StateError as fault:
            log.warning("a shadow could not be promoted", extra={"query": plan.name, "error": str(fault)})


def _moved(
    own: Rows, other: Rows, size: int, values: npt.NDArray[Value] | None, rest: bool | float
) -> npt.NDArray[Value] | None:
    """Return values by the rows of one table, shape (size,), by those of another; `rest` where it has none."""
    if values is None:
        return None
    moved = np.full(size, rest, values.dtype)
    moved[other] = values[own]
    return moved
