"""The alerts of one query or group: durable before they are sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from exporter.alerting.alert import Alert, Step
from exporter.alerting.state_machine import hold, release, restore, withdraw
from exporter.errors import StateError
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.transition_log import log_transitions

__all__ = ["AlertStore"]

_REMINDER = 60.0
"""Seconds between two writes of unchanged alerts, or of none."""


class AlertStore:
    """All alerts under one name, from step to step.

    Parameters
    ----------
    name : str
        Of the query; the name of its job for a group. Alerts are stored under it.
    interval : float, seconds
        Between slots.
    restored : Step
        What an earlier run left; committed with the first step.
    succeeded : float, Unix seconds
        The newest slot with a good answer; before the first one, the start of the program.
    """

    def __init__(
        self, name: str, context: EvaluationContext, restored: Step, *, interval: float, succeeded: float
    ) -> None:
        self.name = name
        self.context = context
        self.interval = interval
        self.alerts: dict[str, Alert] = dict(restored.alerts)
        self.notes = restored.notes or b""
        """See `Step.notes`."""
        self.succeeded = succeeded
        self._unsaved = restored.transitions
        self._saved_notes = self.notes
        self._written = -np.inf
        self._judged = False

    @property
    def newest(self) -> float:
        """The newest slot that was applied to an alert, Unix seconds."""
        return max((alert.evaluated_at for alert in self.alerts.values()), default=-np.inf)

    @property
    def left(self) -> Step:
        """The alerts, with the transitions that could not be stored."""
        return Step(alerts=self.alerts, transitions=self._unsaved, notes=self.notes)

    def rewind(self, at: float) -> None:
        """Continue from `at` although later slots were evaluated, because the clock had been wrong until now."""
        self._apply(restore(self.context.settings.alerting, self.alerts, at=at))
        self.succeeded = min(self.succeeded, at)

    def withdraw(self, identities: set[str], *, at: float, why: str) -> None:
        """End some alerts; made durable with the next step."""
        others = {identity: alert for identity, alert in self.alerts.items() if identity not in identities}
        ended = withdraw({identity: self.alerts[identity] for identity in identities}, at=at, why=why)
        self._apply(replace(ended, alerts={**others, **ended.alerts}))

    def leave(self, identities: set[str], *, at: float) -> None:
        """Drop open alerts that another process sends now, without resolving them."""
        left = {identity: alert for identity, alert in self.alerts.items() if identity not in identities}
        ended = release({identity: self.alerts[identity] for identity in identities}, at=at)
        self._apply(replace(ended, alerts=left))

    def hold(self, at: float) -> Step:
        """Return the step of a failed slot."""
        return hold(
            self.context.settings.alerting, self.name, self.alerts, at=at, since=self.succeeded, interval=self.interval
        )

    def commit(self, slot: float, step: Step) -> None:
        """Make the step of a slot durable.

        Where there is no alert before and after it, nothing but the slot would be written: that is done once a minute.
        """
        self._judged = True
        nothing = not (step.alerts or self.alerts or step.transitions or self._unsaved)
        if nothing and step.notes in (None, self._saved_notes) and 0.0 <= slot - self._written < _REMINDER:
            return
        name, store = self.name, self.context.ports.store

        def write(whole: Step) -> None:
            # A slot counts once. A slot before the newest means that the clock was set back; its step holds all the
            # same.
            if not store.alerts.commit(name, slot, whole):
                store.alerts.record(name, whole)

        self._store(step, write, slot)

    def record(self, slot: float, step: Step) -> None:
        """Make the step of a failed slot durable.

        An unchanged step is written once a minute, so that the next start knows how long ago the alerts held.
        """
        changed = step.transitions or self._unsaved or step.alerts.keys() != self.alerts.keys()
        if changed or (step.alerts and abs(slot - self._written) >= _REMINDER):
            self._store(step, partial(self.context.ports.store.alerts.record, self.name), slot)
        else:
            self.alerts = dict(step.alerts)

    def flush(self) -> None:
        """Write what could not be stored, before the end."""
        if self._unsaved:
            record = partial(self.context.ports.store.alerts.record, self.name)
            self._store(Step(alerts=self.alerts), record, self._written)

    def send(self) -> None:
        """Publish the alerts to the senders."""
        self.context.ports.alert_snapshots.publish(self.name, self.alerts, interval=self.interval, judged=self._judged)

    def _apply(self, step: Step) -> None:
        log_transitions(step.transitions, {**self.alerts, **step.alerts})
        self.alerts = dict(step.alerts)
        self._unsaved += step.transitions

    def _store(self, step: Step, write: Callable[[Step], None], slot: float) -> None:
        if step.notes is not None:
            self.notes = step.notes
        notes = None if self.notes == self._saved_notes else self.notes
        whole = replace(step, transitions=self._unsaved + step.transitions, notes=notes)
        log_transitions(step.transitions, {**self.alerts, **step.alerts})
        try:
            with self.context.storing(self.name):
                write(whole)
            self._unsaved, self._saved_notes, self._written = (), self.notes, slot
        except StateError:
            # Notifications matter more than the audit log: continue from memory, and write it all next time.
            self._unsaved = whole.transitions
        self.alerts = dict(step.alerts)
