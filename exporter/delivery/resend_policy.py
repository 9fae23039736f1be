"""What one Alertmanager has to hear of an alert now. Pure.

The rule is that of Prometheus: what changed is sent at once, and what it took is sent again at the first slot that lies
more than `resend_delay` after the slot of the last time. Two cases are ours. When slots stop coming, or
the clock was set back, the monotonic clock takes their place for as long as `source_hold`. And an episode that this
Alertmanager has heard to be resolved is never again said to fire.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import QueryAlerts

__all__ = ["Ack", "Due", "due", "owed", "restored_acks"]

_OVERDUE = 2.5
"""Periods without a send after which slots are no longer waited for; a firing alert is good for four."""


class Due(IntEnum):
    """Why an alert has to be sent; the smaller goes first."""

    FIRING = 0
    RESOLVED = 1
    AGAIN = 2


@dataclass(frozen=True, slots=True)
class Ack:
    """What an Alertmanager took last of a fingerprint.

    Attributes
    ----------
    episode : str
    state : AlertState
        As it was sent. Pending: it was taken as firing, and has to be said anew when it fires again.
    slot : float
        The slot of the sheet it was sent from, Unix seconds.
    at : float
        Monotonic seconds.
    restored : bool
        It was confirmed before this start.
    """

    episode: str
    state: AlertState
    slot: float
    at: float
    restored: bool = False


def due(
    alert: Alert, ack: Ack | None, sheet: QueryAlerts, limits: AlertingSettings, *, now: float, mono: float
) -> Due | None:
    """Return why an alert has to be sent, or None.

    Parameters
    ----------
    alert : Alert
        On `sheet`.
    ack : Ack, optional
        The newest of its fingerprint, of whatever episode.
    now : float
        Unix seconds.
    mono : float
        Monotonic seconds.
    """
    known = ack if ack is not None and ack.episode == alert.episode else None
    if alert.state is AlertState.FIRING:
        if known is None or known.state is AlertState.PENDING:
            return Due.FIRING
        if known.state is AlertState.RESOLVED:
            # Within a run this cannot be. After a start it can, if the store had lost the end (a full disk): then what
            # was evaluated since is what counts.
            return Due.FIRING if known.restored else None
        # When nobody publishes any more, nothing is known any more.
        lasting = mono - sheet.published <= max(limits.source_hold, _OVERDUE * _period(sheet, limits))
        return Due.AGAIN if _again(known, sheet, limits, mono, lasting=lasting) else None
    if alert.state is AlertState.RESOLVED and not _is_past(alert, limits, now):
        if known is None or known.state is not AlertState.RESOLVED:
            return Due.RESOLVED
        return Due.AGAIN if _again(known, sheet, limits, mono, lasting=True) else None
    return None


def owed(last: Alert, current: Alert, ack: Ack | None, limits: AlertingSettings, *, now: float) -> bool:
    """Return whether the end of the `last` episode has to be sent before anything of the `current` one."""
    if _is_past(last, limits, now):
        return False
    if ack is None:
        return True
    return ack.episode != current.episode and (ack.episode, ack.state) != (last.episode, AlertState.RESOLVED)


def restored_acks(kept: Iterable[tuple[str, str, AlertState, float]], *, now: float, mono: float) -> dict[str, Ack]:
    """Return acks by fingerprint from what the store kept: (fingerprint, episode, state, Unix seconds)."""
    return {
        identity: Ack(episode, state, slot=at, at=mono - max(0.0, now - at), restored=True)
        for identity, episode, state, at in kept
    }


def _again(ack: Ack, sheet: QueryAlerts, limits: AlertingSettings, mono: float, *, lasting: bool) -> bool:
    if ack.slot + limits.resend_delay < sheet.at:
        return True
    return lasting and mono - ack.at > _OVERDUE * _period(sheet, limits)


def _period(sheet: QueryAlerts, limits: AlertingSettings) -> float:
    return max(sheet.interval, limits.resend_delay)


def _is_past(alert: Alert, limits: AlertingSettings, now: float) -> bool:
    # By then every Alertmanager has let it expire.
    return alert.resolved_at is not None and now - alert.resolved_at > limits.resolved_retention
