"""One slot of one query, in order: fetch, score, judge, commit, publish, send.

The order makes a crash harmless at any point: alerts and audit are durable before anything is shown or sent,
and a slot that was committed is never applied twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from exporter.alerting.alert import AlertState, Step
from exporter.alerting.life import DuplicateAlert
from exporter.config.model import QueryPlan
from exporter.cycle.alerts import QueryAlerts
from exporter.cycle.learning import Abandoned, Learning
from exporter.cycle.surroundings import Surroundings
from exporter.engine.verdict import Aligned, Verdict
from exporter.errors import PrometheusError
from exporter.exposition import SERIES_STATES, RowLabels, Rows
from exporter.prometheus import Frame

__all__ = ["Cycle"]

log = logging.getLogger(__name__)

_COVERAGE_MEMORY = 86400.0
"""Seconds over which the share of samples inside the band is averaged."""


class Cycle:
    """Everything about one query: what it has learned, its rows on the page, its alerts.

    A reload makes a new one out of the old (`take_over`). One run at a time: the scheduler sees to that, and
    a lock does where a reload comes in between.

    Parameters
    ----------
    plan : QueryPlan
    around : Surroundings
    restored : Step
        Alerts of the query as an earlier run left them.
    started : float, Unix seconds
        When the program started.
    """

    def __init__(self, plan: QueryPlan, around: Surroundings, restored: Step, *, started: float) -> None:
        self.plan = plan
        self.around = around
        self.ready = False
        """Whether history was learned, so that slots can be judged."""
        self.learning = Learning(plan, around)
        self.alerts = QueryAlerts(plan, around, restored, succeeded=started)
        self._lock = threading.Lock()
        self._retired = False
        self._row_labels = RowLabels([("query", plan.name)])
        self._prefixes: list[bytes] = []
        self._coverage: float | None = None
        around.metrics.watch(plan.name)

    @property
    def series(self) -> int:
        """How many series the query has."""
        return len(self.learning.engine.table)

    @property
    def progress(self) -> float:
        """How much of its history is learned, 0 to 1."""
        return 1.0 if self.ready else self.learning.progress

    def prepare(self, now: float) -> bool:
        """Restore what an earlier run learned and read the history that is missing; return whether it worked.

        Parameters
        ----------
        now : float, Unix seconds
            The newest slot of the query.
        """
        with self._lock:
            if self._retired or self.ready:
                return self.ready
            learning = self.learning
            try:
                if learning.engine.at == -np.inf:
                    learning.restore(now)
                learning.catch_up(now)
            except PrometheusError as fault:
                self._failed(fault)
                return False
            except Abandoned:
                return False
            finally:
                self._claim(row for row, _ in learning.engine.table.items())
            self.ready = True
            return True

    def run(self, slot: float) -> None:
        """Judge one slot; nothing that goes wrong here reaches another query."""
        metrics, name = self.around.metrics, self.plan.name
        if not self.ready:
            # History is being read, under the lock. Alerts of an earlier run are sent on meanwhile.
            self._unknown(slot)
            return
        with self._lock:
            if self._retired:
                return
            metrics.cycles_total.labels(query=name).inc()
            try:
                self._judge(slot)
            except PrometheusError as fault:
                self._failed(fault)
                self._unknown(slot)
            except Abandoned:
                return
            except DuplicateAlert as fault:
                metrics.cycles_failed_total.labels(query=name).inc()
                log.error("alerts cannot be told apart", extra={"query": name, "error": str(fault)})
                self._unknown(slot)
            except Exception:
                # Whatever it is: what is firing stays firing, and what is not known is not shown.
                metrics.cycles_failed_total.labels(query=name).inc()
                log.exception("a cycle failed", extra={"query": name})
                self._unknown(slot)

    def _judge(self, slot: float) -> None:
        around, plan, learning = self.around, self.plan, self.learning
        engine = learning.engine
        if engine.at < slot - 1.5 * plan.interval:
            with self._phase("catch_up"):
                learning.catch_up(slot - plan.interval)
        with self._phase("fetch"):
            frame = around.api.instant(plan.expr, slot - around.query_offset, timeout=plan.timeout)
        with self._phase("score"):
            engine.table.limit = learning.limit()
            aligned = engine.align(frame.keys, frame.values, slot)
            self._claim(aligned.admitted)
            verdict = engine.step(slot, aligned.samples, plan.interval)
        with self._phase("judge"):
            step = self.alerts.judge(verdict, engine.table, partial=bool(frame.warnings))
        with self._phase("commit"):
            counts = self.alerts.commit(slot, step)
        with self._phase("publish"):
            self._publish(verdict)
        if counts:
            self.alerts.send()
        self.alerts.succeeded = slot
        self._count(verdict, aligned, frame)
        self._release(engine.expire(slot))
        if learning.due(slot):
            with self._phase("checkpoint"):
                learning.checkpoint()

    def _unknown(self, slot: float) -> None:
        """Nothing is known of this slot: no score is shown, and what is firing stays firing for a while."""
        self.around.exposition.withdraw(self.plan.name)
        self._set_series(no_data=self.series)
        self.alerts.record(self.alerts.hold(slot))
        self.alerts.send()
        self._count_alerts()

    def _publish(self, verdict: Verdict) -> None:
        rows = Rows(
            prefixes=self._prefixes,
            score=verdict.score,
            expected=verdict.expected,
            lower=verdict.lower,
            upper=verdict.upper,
            observed=verdict.observed,
            votes=verdict.votes,
        )
        self.around.exposition.publish(self.plan.name, rows)

    # ------------------------------------------------------------------ rows

    def _claim(self, rows: Iterable[int]) -> None:
        """Give new rows their place on the page."""
        table = self.learning.engine.table
        self._prefixes.extend([b""] * (table.size - len(self._prefixes)))
        for row in rows:
            if self._prefixes[row]:
                continue
            prefix = self._row_labels.claim(table.labels(row))
            if prefix is None:
                self.around.metrics.series_rejected_total.labels(query=self.plan.name, reason="same_labels").inc()
            else:
                self._prefixes[row] = prefix

    def _release(self, rows: list[int]) -> None:
        """Take the places of forgotten series back."""
        if not rows:
            return
        self._row_labels.release(self._prefixes[row] for row in rows)
        for row in rows:
            self._prefixes[row] = b""
        self.alerts.forget_rows(rows)

    # ------------------------------------------------------------------ figures

    def _count(self, verdict: Verdict, aligned: Aligned, frame: Frame) -> None:
        metrics, name = self.around.metrics, self.plan.name
        metrics.source_up.set(1)
        metrics.last_success_timestamp_seconds.labels(query=name).set(verdict.at)
        here = int(np.count_nonzero(~np.isnan(verdict.observed)))
        scored = int(np.count_nonzero(verdict.ready))
        no_data = self.series - here
        self._set_series(scored=scored, warming_up=here - scored, no_data=no_data, over_limit=aligned.refused)
        rejected = {"over_limit": aligned.refused, "duplicate": aligned.repeated, "malformed": frame.rejected}
        for reason, count in rejected.items():
            if count:
                metrics.series_rejected_total.labels(query=name, reason=reason).inc(count)
        if frame.warnings:
            metrics.query_warnings_total.labels(query=name).inc(len(frame.warnings))
            log.warning("prometheus warns", extra={"query": name, "warning": frame.warnings[0]})
        if scored:
            inside = 1.0 - np.count_nonzero(verdict.anomalous & verdict.ready) / scored
            share = min(1.0, self.plan.interval / _COVERAGE_MEMORY)
            self._coverage = inside if self._coverage is None else self._coverage + share * (inside - self._coverage)
            metrics.band_coverage_ratio.labels(query=name).set(self._coverage)
        self._count_alerts()

    def _count_alerts(self) -> None:
        states = [alert.state for alert in self.alerts.alerts.values()]
        for state in AlertState:
            self.around.metrics.alerts.labels(query=self.plan.name, state=str(state)).set(states.count(state))

    def _set_series(self, **states: int) -> None:
        for state in SERIES_STATES:
            self.around.metrics.series.labels(query=self.plan.name, state=state).set(states.get(state, 0))

    def _failed(self, fault: PrometheusError) -> None:
        metrics, name = self.around.metrics, self.plan.name
        metrics.cycles_failed_total.labels(query=name).inc()
        metrics.query_errors_total.labels(query=name, reason=str(fault.reason)).inc()
        if fault.status is None:
            metrics.source_up.set(0)
        more = {"query": name, "reason": str(fault.reason), "error": fault.message}
        log.warning("the query failed", extra=more)

    @contextmanager
    def _phase(self, phase: str) -> Iterator[None]:
        begin = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - begin
            self.around.metrics.cycle_duration_seconds.labels(query=self.plan.name, phase=phase).observe(took)

    # ------------------------------------------------------------------ life

    def retire(self, *, checkpoint: bool) -> None:
        """End: wait for a run under way, start no other, and write what was learned if asked to."""
        self._retired = True
        self.learning.abandoned = True
        with self._lock:
            if checkpoint:
                self.learning.checkpoint()

    def take_over(self, plan: QueryPlan, around: Surroundings) -> Cycle:
        """Return a cycle for a changed configuration that goes on where this one stops."""
        self.retire(checkpoint=False)
        new = Cycle(plan, around, Step(alerts={}), started=0.0)
        new.alerts = self.alerts
        new.alerts.configure(plan, around)
        if self.plan.identity == plan.identity:
            new.learning, new.ready = self.learning, self.ready
            new.learning.configure(plan, around)
            new._row_labels, new._prefixes = self._row_labels, self._prefixes
            new._coverage = self._coverage
        return new
