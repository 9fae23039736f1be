"""Alerts of removed queries: resolved, sent for as long as any resolved alert, then forgotten."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from exporter.alerting.alert import Step
from exporter.alerting.state_machine import hold, release, withdraw
from exporter.errors import StateError
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.transition_log import log_transitions

__all__ = ["RemovedQueries"]


class RemovedQueries:
    """The alerts that queries left behind when a configuration removed them. Safe for many threads."""

    def __init__(self) -> None:
        # Transitions that could not be stored stay with the alerts.
        self._left: dict[str, Step] = {}
        self._lock = threading.Lock()

    def add(self, query: str, last: Step, context: EvaluationContext, *, at: float, moved: bool = False) -> None:
        """Resolve the alerts that the last step of a removed query left; drop those that another shard goes on with."""
        ended = release(last.alerts, at=at) if moved else withdraw(last.alerts, at=at, why="rule_removed")
        log_transitions(ended.transitions, last.alerts)
        with self._lock:
            self._keep(query, replace(ended, transitions=last.transitions + ended.transitions), context)

    def take(self, query: str) -> Step:
        """Return the alerts of a query that is configured again."""
        with self._lock:
            return self._left.pop(query, Step(alerts={}))

    def age(self, context: EvaluationContext, *, at: float) -> None:
        """Publish the resolved alerts again, and forget those past their retention."""
        with self._lock:
            for query, left in list(self._left.items()):
                step = hold(context.settings.alerting, query, left.alerts, at=at, since=at, interval=0.0)
                step = replace(step, transitions=left.transitions + step.transitions)
                self._keep(query, step, context, changed=bool(step.transitions) or len(step.alerts) < len(left.alerts))

    def _keep(self, query: str, step: Step, context: EvaluationContext, *, changed: bool = True) -> None:
        if changed:
            # A failure is counted and logged; the next round writes again.
            with contextlib.suppress(StateError), context.storing(query):
                context.ports.store.alerts.record(query, step)
                step = replace(step, transitions=())
        self._left[query] = step
        if not step.alerts and not step.transitions:
            del self._left[query]
        context.ports.alert_snapshots.publish(query, step.alerts, interval=0.0)
