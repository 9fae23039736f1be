"""What other exporters have sent: a replica that was down goes on with it, and says how far the two differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from exporter.alerting.alert import Alert, AlertCandidate, AlertState
from exporter.alerting.storm import RowAlert
from exporter.evaluation.slot_result import Rows
from exporter.silences import SentAlert

__all__ = ["disagreement", "sent_rows", "taken_over"]

_LATE = 1.0
"""Seconds after the end of an alert from which another exporter must have sent it."""


def taken_over(
    candidates: Mapping[str, AlertCandidate],
    alerts: Mapping[str, Alert],
    sent: Mapping[str, SentAlert],
    *,
    waited: float,
    at: float,
) -> dict[str, AlertCandidate]:
    """Return the candidates; those that an Alertmanager has as active go on with the start that they have there.

    Parameters
    ----------
    alerts : mapping
        All alerts of the query by fingerprint, before this slot. What ended here lately may still be listed as it was.
    sent : mapping
        By fingerprint: the active alerts that Alertmanagers list.
    waited : float, seconds
        How long a series is anomalous before its alert fires.
    at : float, Unix seconds
        The slot.
    """
    return {
        identity: candidate
        if identity in alerts or identity not in sent
        else _since(candidate, min(at, sent[identity].starts_at), waited)
        for identity, candidate in candidates.items()
    }


def _since(candidate: AlertCandidate, starts_at: float, waited: float) -> AlertCandidate:
    since = starts_at - waited
    return replace(
        candidate,
        since=since if candidate.since is None else min(since, candidate.since),
        sent_since=starts_at,
    )


def sent_rows(
    sent: Mapping[str, SentAlert],
    alerts: Mapping[str, Alert],
    rows_of: Callable[[str], Rows],
    name: tuple[str, str],
) -> dict[int, RowAlert]:
    """Return by row the alerts of single rows that Alertmanagers list and that are not open here.

    They fire one by one, so that they are no storm for one that has just been started and sees all of them at once.

    Parameters
    ----------
    alerts : mapping
        All alerts of the query by fingerprint; what ended here lately may still be listed as it was.
    rows_of : callable
        Returns the rows of an alert by its fingerprint: alerts of other shards have none.
    name : (str, str)
        The label that all alerts of the query have.
    """
    label, value = name
    return {
        row: RowAlert(identity, listed.onset, fired=True)
        for identity, listed in sent.items()
        if identity not in alerts and "storm" not in listed.labels and listed.labels.get(label) == value
        for row in rows_of(identity).tolist()
    }


def disagreement(
    alerts: Mapping[str, Alert], sent: Mapping[str, SentAlert], rows_of: Callable[[str], Rows], name: tuple[str, str]
) -> float:
    """Return the part of the alerts of a query, here and at Alertmanagers, that this exporter does not have.

    Parameters
    ----------
    alerts : mapping
        All alerts of the query by fingerprint.
    rows_of : callable
        Returns the rows of an alert by its fingerprint: alerts of other shards have none.
    name : (str, str)
        The label that all alerts of the query have.
    """
    firing = {identity for identity, alert in alerts.items() if alert.state is AlertState.FIRING}
    label, value = name
    others = {
        identity
        for identity, listed in sent.items()
        if identity not in firing
        and listed.labels.get(label) == value
        and _is_kept(alerts.get(identity), listed)
        and len(rows_of(identity))
    }
    return len(others) / max(1, len(firing | others))


def _is_kept(alert: Alert | None, listed: SentAlert) -> bool:
    """Return whether another exporter sends an alert that does not fire here."""
    if alert is None or alert.resolved_at is None:
        return True
    return listed.updated_at > alert.resolved_at + _LATE
