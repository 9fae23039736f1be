"""The state machine of alerts: inactive, pending, firing, resolved.

::

    INACTIVE --anomalous--> PENDING --`for` has passed--> FIRING --normal--> [keep_firing_for] --> RESOLVED --> INACTIVE
    PENDING --normal--> INACTIVE                          RESOLVED --anomalous--> PENDING, a new episode

Four events change the alerts of a query; each is a pure function from the alerts before to a `Step`: a good answer
(`evaluate`), a failed query (`hold`), a start of the program (`restore`) and the removal of the query (`withdraw`).
The same input always gives the same step, so a slot that is replayed after a crash cannot open a second episode.

The rules are those of Prometheus' alerting rules, with three exceptions. A failed query never resolves an
alert; nor does a missing sample at once; and an episode keeps its `fired_at` for as long as it lives, over
restarts and when `for` is raised.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace

from exporter.alerting.alert import (
    Alert,
    AlertCandidate,
    AlertState,
    AlertTransition,
    AuditEvent,
    EvaluatedSlot,
    Step,
)
from exporter.alerting.settings import AlertingSettings, AlertSettings

__all__ = ["evaluate", "hold", "release", "restore", "withdraw"]

_EPISODES = uuid.UUID("6a0fd0ba-5e0c-5a5e-9d3c-1f6f1ad2b1c7")
"""Namespace of the episode ids."""

_PATIENCE = 3
"""Good answers in a row that may lack a series before its alert ends."""


def evaluate(
    rule: AlertSettings, limits: AlertingSettings, query: str, alerts: Mapping[str, Alert], slot: EvaluatedSlot
) -> Step:
    """Apply a good answer.

    Parameters
    ----------
    alerts : mapping
        Every alert of the query by fingerprint, as the step before left them.
    slot : EvaluatedSlot
        A slot that is not after the newest slot applied to `alerts` changes nothing.
    """
    at = slot.at
    if _applied(alerts, at):
        return Step(alerts=alerts)
    after: dict[str, Alert] = {}
    transitions: list[AlertTransition] = []
    for identity, alert in alerts.items():
        if alert.state is AlertState.RESOLVED:
            kept = _retained(limits, alert, at)
        elif identity in slot.absorbed and alert.fired_at is None and identity not in slot.candidates:
            kept = _end(alert, at, "storm", transitions)
        elif identity in slot.held:
            kept = _end(alert, at, "load", transitions)
        elif identity in slot.candidates:
            kept = _anomalous(rule, alert, slot.candidates[identity], at, transitions)
        elif identity in slot.unknown:
            kept = alert
        elif identity in slot.missing:
            kept = _missing(rule, alert, at, transitions)
        else:
            why = slot.endings.get(identity, "normal")
            kept = _normal(rule, replace(alert, missing=0), at, why, transitions)
        if kept is not None:
            after[identity] = replace(kept, evaluated_at=at)
    suppressed = _begin_episodes(rule, limits, query, alerts, slot, after=after, transitions=transitions)
    return Step(alerts=after, transitions=tuple(transitions), suppressed=suppressed)


def hold(
    limits: AlertingSettings,
    query: str,
    alerts: Mapping[str, Alert],
    *,
    at: float,
    since: float,
    interval: float,
) -> Step:
    """Apply a slot in which the query failed: without an answer nothing is resolved.

    Parameters
    ----------
    at : float
        The slot.
    since : float
        The newest slot with a good answer; before the first one, the instant of the start.
    interval : float
        Of the query. The source is down from `since + interval` on, when an answer was due and did not come.

    Returns
    -------
    Step
        After `source_hold` the open alerts expire: firing ones are no longer sent, so that every
        Alertmanager expires them by itself.
    """
    if _applied(alerts, at):
        return Step(alerts=alerts)
    over = at - since - interval >= limits.source_hold
    after: dict[str, Alert] = {}
    transitions: list[AlertTransition] = []
    for identity, alert in alerts.items():
        if alert.state is AlertState.RESOLVED:
            kept = _retained(limits, alert, at)
        elif over:
            event = AuditEvent.DROPPED if alert.fired_at is None else AuditEvent.EXPIRED_SOURCE_DOWN
            transitions.append(_transition(replace(alert, query=query), event, at, "source_down"))
            kept = None
        else:
            kept = alert
        if kept is not None:
            after[identity] = replace(kept, evaluated_at=at)
    return Step(alerts=after, transitions=tuple(transitions))


def restore(limits: AlertingSettings, alerts: Mapping[str, Alert], *, at: float) -> Step:
    """Return the alerts of the store after a start.

    The downtime does not count: a pending alert waits as long as it would have. Alerts older than `outage_tolerance`
    are dropped, because every Alertmanager expired them long ago.

    Parameters
    ----------
    at : float
        Now; slots up to it count as applied. If the clock was set back in the meantime, no alert is left in the
        future.

    Returns
    -------
    Step
        The next start may read its alerts or those before, with the same result. Do not send it before the first
        `evaluate` or `hold`, which decides whether it still holds.
    """
    after: dict[str, Alert] = {}
    transitions: list[AlertTransition] = []
    for identity, alert in alerts.items():
        down = max(0.0, at - alert.evaluated_at)
        if alert.state is AlertState.RESOLVED:
            started, ended = _span(alert)
            kept = _retained(limits, replace(alert, resolved_at=max(started, min(ended, at))), at)
        elif down > limits.outage_tolerance:
            transitions.append(_transition(alert, AuditEvent.EXPIRED, at, "outage_tolerance"))
            kept = None
        elif alert.state is AlertState.PENDING:
            kept = replace(alert, active_at=min(alert.active_at + down, at))
        else:
            kept = replace(alert, keep_since=None if alert.keep_since is None else min(alert.keep_since, at))
        if kept is not None:
            after[identity] = replace(kept, evaluated_at=at)
    return Step(alerts=after, transitions=tuple(transitions))


def withdraw(alerts: Mapping[str, Alert], *, at: float, why: str) -> Step:
    """End every open alert of a removed query.

    Parameters
    ----------
    at : float
        Now.
    why : str
        For the audit, such as ``rule_removed``.

    Returns
    -------
    Step
        Firing alerts are resolved, pending ones are gone.
    """
    after: dict[str, Alert] = {}
    transitions: list[AlertTransition] = []
    for identity, alert in alerts.items():
        kept = alert if alert.state is AlertState.RESOLVED else _end(alert, at, why, transitions)
        if kept is not None:
            after[identity] = replace(kept, evaluated_at=max(alert.evaluated_at, at))
    return Step(alerts=after, transitions=tuple(transitions))


def release(alerts: Mapping[str, Alert], *, at: float) -> Step:
    """Drop alerts whose series belong to another process now: it sends them, so they are not over.

    Parameters
    ----------
    at : float
        Now.

    Returns
    -------
    Step
        Without alerts: an Alertmanager that hears nothing more expires them by itself.
    """
    transitions = [
        _transition(alert, AuditEvent.DROPPED if alert.fired_at is None else AuditEvent.EXPIRED, at, "other_shard")
        for alert in alerts.values()
        if alert.is_open
    ]
    return Step(alerts={}, transitions=tuple(transitions))


def _applied(alerts: Mapping[str, Alert], at: float) -> bool:
    return any(alert.evaluated_at >= at for alert in alerts.values())


def _begin_episodes(
    rule: AlertSettings,
    limits: AlertingSettings,
    query: str,
    before: Mapping[str, Alert],
    slot: EvaluatedSlot,
    *,
    after: dict[str, Alert],
    transitions: list[AlertTransition],
) -> int:
    """Add the alerts that begin now to `after`; return for how many candidates there was no room."""
    room = limits.max_alerts - slot.other_alerts - sum(alert.is_open for alert in after.values())
    # Resolved alerts stay for a while. Series that come and go must not make the table grow without end.
    rows = 2 * limits.max_alerts - len(after)
    suppressed = 0
    for identity, candidate in slot.candidates.items():
        last = before.get(identity)
        if last is not None and last.is_open:
            continue
        new_row = identity not in after
        if room <= 0 or (new_row and rows <= 0):
            suppressed += 1
            continue
        room -= 1
        rows -= new_row
        after[identity] = _begin(rule, query, identity, candidate, last, slot.at, transitions)
    return suppressed


def _begin(
    rule: AlertSettings,
    query: str,
    identity: str,
    candidate: AlertCandidate,
    last: Alert | None,
    at: float,
    transitions: list[AlertTransition],
) -> Alert:
    alert = Alert(
        fingerprint=identity,
        query=query,
        labels=dict(candidate.labels),
        annotations={},
        generator_url=candidate.generator_url,
        state=AlertState.PENDING,
        episode=_episode(identity, at, None if last is None else last.episode),
        active_at=at if candidate.since is None else min(at, candidate.since),
        evaluated_at=at,
    )
    labels = json.dumps(dict(sorted(candidate.labels.items())), ensure_ascii=False)
    transitions.append(_transition(alert, AuditEvent.OPEN, at, "anomalous", {"labels": labels}))
    return _anomalous(rule, alert, candidate, at, transitions)


def _anomalous(
    rule: AlertSettings, alert: Alert, candidate: AlertCandidate, at: float, transitions: list[AlertTransition]
) -> Alert:
    observation = candidate.observation
    alert = replace(
        alert,
        worst=observation if observation is not None and observation.is_worse_than(alert.worst) else alert.worst,
        annotations=candidate.explanation.annotations,
        generator_url=candidate.generator_url,
        keep_since=None,
        missing=0,
    )
    waited = at - alert.active_at >= rule.for_
    if alert.state is AlertState.PENDING:
        patience = candidate.patience if alert.fired_at is None and candidate.sent_since is None else 0.0
        ready = at - alert.active_at >= rule.for_ + patience
        return _fire(alert, candidate, at, transitions) if ready else alert
    # A reload raised `for` beyond what this alert had waited when it fired, so it waits on. Prometheus does the
    # same and sends nothing, whether it had sent the alert or not. Comparing with `fired_at` as well keeps a
    # clock that was set back from looking like a raised `for`.
    started, _ = _span(alert)
    if not waited and started <= at and started - alert.active_at < rule.for_:
        return replace(alert, state=AlertState.PENDING)
    return alert


def _fire(alert: Alert, candidate: AlertCandidate, at: float, transitions: list[AlertTransition]) -> Alert:
    if alert.fired_at is not None:
        # It had fired before `for` was raised: the same episode continues with its `fired_at`.
        return replace(alert, state=AlertState.FIRING)
    fired_at = max(at, alert.active_at) if candidate.sent_since is None else candidate.sent_since
    alert = replace(alert, state=AlertState.FIRING, fired_at=fired_at)
    details = dict(alert.annotations)
    if candidate.firing_labels:
        alert = replace(alert, labels={**alert.labels, **candidate.firing_labels})
        # No annotation can have this name.
        details["alert.labels"] = json.dumps(dict(sorted(alert.labels.items())), ensure_ascii=False)
    transitions.append(_transition(alert, AuditEvent.FIRING, at, "anomalous", details))
    return alert


def _missing(rule: AlertSettings, alert: Alert, at: float, transitions: list[AlertTransition]) -> Alert | None:
    alert = replace(alert, missing=alert.missing + 1)
    if alert.keep_since is not None and at - alert.keep_since >= rule.keep_firing_for:
        # It was normal in its newest sample, and `keep_firing_for` has passed since.
        return _end(alert, at, "normal", transitions)
    if rule.no_data == "resolve":
        return _end(alert, at, "no_data", transitions)
    # With `alert` a firing alert continues. A pending one needs a sample to fire, so it only waits as with `hold`.
    lasting = rule.no_data == "alert" and alert.state is AlertState.FIRING
    if alert.missing > _PATIENCE and not lasting:
        return _end(alert, at, "no_data", transitions)
    return alert


def _normal(rule: AlertSettings, alert: Alert, at: float, why: str, transitions: list[AlertTransition]) -> Alert | None:
    if alert.state is AlertState.FIRING and rule.keep_firing_for > 0:
        since = at if alert.keep_since is None else alert.keep_since
        if at - since < rule.keep_firing_for:
            return replace(alert, keep_since=since)
    return _end(alert, at, why, transitions)


def _end(alert: Alert, at: float, why: str, transitions: list[AlertTransition]) -> Alert | None:
    if alert.fired_at is None:
        transitions.append(_transition(alert, AuditEvent.DROPPED, at, why))
        return None
    ended = replace(alert, state=AlertState.RESOLVED, resolved_at=max(at, alert.fired_at))
    transitions.append(_transition(ended, AuditEvent.RESOLVED, at, why))
    return ended


def _retained(limits: AlertingSettings, alert: Alert, at: float) -> Alert | None:
    _, ended = _span(alert)
    return None if at - ended > limits.resolved_retention else alert


def _span(alert: Alert) -> tuple[float, float]:
    """Return when the episode fired and ended; rows without these instants fall back to the ones they have."""
    started = alert.active_at if alert.fired_at is None else alert.fired_at
    return started, (alert.evaluated_at if alert.resolved_at is None else alert.resolved_at)


def _episode(identity: str, at: float, last: str | None) -> str:
    # The id follows from the input, so a replay after a crash gives the same one. It never equals the last one,
    # not even after the clock was set back.
    milliseconds = round(at * 1000)
    while (episode := str(uuid.uuid5(_EPISODES, f"{identity}/{milliseconds}"))) == last:
        milliseconds += 1
    return episode


def _transition(
    alert: Alert, event: AuditEvent, at: float, why: str, details: Mapping[str, str] | None = None
) -> AlertTransition:
    return AlertTransition(
        fingerprint=alert.fingerprint,
        query=alert.query,
        episode=alert.episode,
        event=event,
        at=at,
        why=why,
        details={} if details is None else dict(details),
    )
