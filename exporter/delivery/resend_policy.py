"""Resend policy: whether an alert has to be sent to one Alertmanager now, and why. Pure.

As in Prometheus, changes are sent at once, and an acknowledged alert is sent again at the first slot more than
`resend_delay` after the slot it was sent from. Two rules are added. When slots stop, or the clock was set back, the
monotonic clock takes their place for as long as `source_hold`. And an episode that was sent as resolved is never sent
as firing again.

The end of an alert is a message and not a state that is kept up: it is sent until the Alertmanager has accepted it,
once more after `resend_delay`, and again where the Alertmanager was started since then, because it may have lost it
before anybody was notified. Prometheus repeats it for 15 minutes instead, which fights with whoever sends the alert as
firing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from math import inf

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import QueryAlerts
from exporter.delivery.other_senders import pair_period
from exporter.delivery.payload import validity
from exporter.store import Delivery

__all__ = ["Ack", "Due", "due", "owes_resolved", "restored_acks"]

_OVERDUE = 2.5
"""Periods without a send after which slots are no longer waited for; a firing alert is valid for four."""


class Due(IntEnum):
    """Why an alert has to be sent; the smaller goes first."""

    FIRING = 0
    RESOLVED = 1
    AGAIN = 2


@dataclass(frozen=True, slots=True)
class Ack:
    """The alert of a fingerprint that an Alertmanager accepted last.

    Attributes
    ----------
    episode : str
    state : AlertState
        As it was sent. Pending: it was accepted as firing, and has to be sent at once when it fires again.
    slot : float
        The slot it was sent from, Unix seconds.
    at : float
        Monotonic seconds.
    restored : bool
        It was accepted before this start.
    repeated : bool
        It is an end that was accepted twice.
    """

    episode: str
    state: AlertState
    slot: float
    at: float
    restored: bool = False
    repeated: bool = False


def due(
    alert: Alert,
    ack: Ack | None,
    query_alerts: QueryAlerts,
    limits: AlertingSettings,
    *,
    now: float,
    mono: float,
    started: float = -inf,
    paired: bool = False,
) -> Due | None:
    """Return why an alert has to be sent, or None.

    Parameters
    ----------
    alert : Alert
        Of `query_alerts`.
    ack : Ack, optional
        The newest of its fingerprint, of whatever episode.
    now : float
        Unix seconds.
    mono : float
        Monotonic seconds.
    started : float
        Since when the Alertmanager runs, monotonic seconds: what it accepted before, it may have lost.
    paired : bool
        Whether another exporter sends the same alerts, which is to see that this one does.
    """
    same = ack if ack is not None and ack.episode == alert.episode else None
    if alert.state is AlertState.FIRING:
        if same is None or same.state is AlertState.PENDING:
            return Due.FIRING
        if same.state is AlertState.RESOLVED:
            # Only after a start whose store had lost the end (a full disk): then the evaluation since then counts.
            return Due.FIRING if same.restored else None
        # Alerts that are no longer published are stale.
        lasting = mono - query_alerts.published <= max(limits.source_hold, _OVERDUE * _period(query_alerts, limits))
        if paired and same.restored and not query_alerts.judged and mono - same.at < _unjudged(query_alerts, limits):
            # The other one may have ended it meanwhile. Alertmanager keeps it for longer than a start takes.
            return None
        delay = pair_period(query_alerts.interval, limits.resend_delay) if paired else limits.resend_delay
        lost = lasting and same.at < started
        again = lost or _again(same, query_alerts, limits, mono, delay=delay, lasting=lasting)
        return Due.AGAIN if again else None
    if alert.state is AlertState.RESOLVED and not _is_past(alert, limits, now):
        if same is None or same.state is not AlertState.RESOLVED or same.at < started:
            return Due.RESOLVED
        delay = limits.resend_delay
        again = not same.repeated and _again(same, query_alerts, limits, mono, delay=delay, lasting=True)
        return Due.AGAIN if again else None
    return None


def owes_resolved(last: Alert, current: Alert, ack: Ack | None, limits: AlertingSettings, *, now: float) -> bool:
    """Return whether the end of the `last` episode has to be sent before anything of the `current` one."""
    if _is_past(last, limits, now):
        return False
    if ack is None:
        return True
    return ack.episode != current.episode and (ack.episode, ack.state) != (last.episode, AlertState.RESOLVED)


def restored_acks(deliveries: Iterable[Delivery], *, now: float, mono: float) -> dict[str, Ack]:
    """Return acks by fingerprint from stored deliveries; `now` in Unix seconds, `mono` in monotonic seconds."""
    return {
        delivery.fingerprint: Ack(
            delivery.episode, delivery.state, slot=delivery.at, at=mono - max(0.0, now - delivery.at), restored=True
        )
        for delivery in deliveries
    }


def _again(
    ack: Ack, query_alerts: QueryAlerts, limits: AlertingSettings, mono: float, *, delay: float, lasting: bool
) -> bool:
    if ack.slot + delay < query_alerts.at:
        return True
    return lasting and mono - ack.at > _OVERDUE * _period(query_alerts, limits)


def _unjudged(query_alerts: QueryAlerts, limits: AlertingSettings) -> float:
    return validity(query_alerts.interval, limits.resend_delay) / 2


def _period(query_alerts: QueryAlerts, limits: AlertingSettings) -> float:
    return max(query_alerts.interval, limits.resend_delay)


def _is_past(alert: Alert, limits: AlertingSettings, now: float) -> bool:
    # By then it has expired in every Alertmanager.
    return alert.resolved_at is not None and now - alert.resolved_at > limits.resolved_retention
