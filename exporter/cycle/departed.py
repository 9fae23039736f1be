"""Alerts of queries that are gone: resolved, sent for as long as any resolved alert, then forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from exporter.alerting.alert import Alert, Step
from exporter.alerting.life import hold, withdraw
from exporter.cycle.surroundings import Surroundings
from exporter.errors import StateError

__all__ = ["Departed"]


class Departed:
    """The alerts that queries left behind when a configuration removed them."""

    def __init__(self) -> None:
        self._alerts: dict[str, Mapping[str, Alert]] = {}

    def add(self, query: str, last: Step, around: Surroundings, *, at: float) -> None:
        """Resolve the alerts that the last step of a query left; a configuration does not have it any more."""
        ended = withdraw(last.alerts, at=at, why="rule_removed")
        step = replace(ended, transitions=last.transitions + ended.transitions)
        self._alerts[query] = step.alerts
        # A failure is counted and logged; the senders go on from memory.
        with contextlib.suppress(StateError), around.storing(query):
            around.store.record(query, step)
        around.board.publish(query, step.alerts, interval=0.0)

    def take(self, query: str) -> Mapping[str, Alert]:
        """Return the alerts of a query that is there again."""
        return self._alerts.pop(query, {})

    def age(self, around: Surroundings, *, at: float) -> None:
        """Send what was resolved again, and forget what was resolved long enough ago."""
        for query, alerts in list(self._alerts.items()):
            step = hold(around.alerting, query, alerts, at=at, since=at, interval=0.0)
            if len(step.alerts) < len(alerts):
                with contextlib.suppress(StateError), around.storing(query):
                    around.store.record(query, step)
            self._alerts[query] = step.alerts
            if not step.alerts:
                del self._alerts[query]
            around.board.publish(query, step.alerts, interval=0.0)
