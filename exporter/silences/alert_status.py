"""Status of our alerts in an Alertmanager: active, silenced or inhibited, and their receivers.

It is shown with an anomaly. What is sent never depends on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from exporter.alerting.alert import AlertState, fingerprint
from exporter.delivery.alert_snapshot import Snapshot
from exporter.silences.silence import Silence

__all__ = [
    "AlertListing",
    "AlertStatus",
    "Inhibition",
    "Silencing",
    "alerts_filter",
    "firing_alertnames",
]

_INCIDENT = ("incident", "incident_role")
"""Labels that are fixed when an alert fires; its identity is that of the others."""
_DELIVERY_DELAY = 30.0
"""Seconds after it fires in which an alert may be missing because it is not delivered yet."""


class _Receiver(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    state: Literal["active", "suppressed", "unprocessed"]
    silenced_by: list[str] = msgspec.field(name="silencedBy", default_factory=list)
    inhibited_by: list[str] = msgspec.field(name="inhibitedBy", default_factory=list)


class _AlertItem(msgspec.Struct):
    labels: dict[str, str]
    status: _Status
    fingerprint: str = ""
    starts_at: str = msgspec.field(name="startsAt", default="")
    receivers: list[_Receiver] = []


# Made at import: msgspec is not safe where several threads are the first to decode a type.
_decode = msgspec.json.Decoder(list[_AlertItem]).decode


@dataclass(frozen=True, slots=True)
class Silencing:
    """A silence that covers an alert; author and comment are None where only its id is known."""

    id: str
    by: str | None = None
    comment: str | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Inhibition:
    """An alert that inhibits another: its fingerprint in the Alertmanager, and its labels where it is ours."""

    fingerprint: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """Status of an alert in one Alertmanager, as it was read last.

    Attributes
    ----------
    state
        ``active``: its receivers are notified. ``suppressed``: it is silenced or inhibited. ``unprocessed``: it has
        just arrived. ``absent``: the Alertmanager does not have it.
    receivers : tuple of str
        Who is notified, or would be.
    """

    alertmanager: str
    at: float
    state: Literal["active", "suppressed", "unprocessed", "absent"]
    receivers: tuple[str, ...] = ()
    silenced_by: tuple[Silencing, ...] = ()
    inhibited_by: tuple[Inhibition, ...] = ()


@dataclass(frozen=True)
class AlertListing:
    """Our alerts in one Alertmanager.

    Attributes
    ----------
    at : float, Unix seconds
        When they were read.
    by_fingerprint : mapping
        By fingerprint of all labels, as `exporter.alerting.alert.fingerprint` makes it.
    labels : mapping
        By fingerprint of the Alertmanager.
    incidents : mapping
        The labels of an incident that alerts have, by fingerprint of their other labels; of those that began first.
    """

    at: float
    by_fingerprint: Mapping[str, _AlertItem] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    incidents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, body: bytes, *, at: float) -> AlertListing:
        """Decode the body of ``GET /api/v2/alerts``.

        Raises
        ------
        ValueError
            It is not a list of alerts.
        """
        try:
            items = _decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not a list of alerts: {error}") from None
        by_fingerprint = {fingerprint(item.labels): item for item in items}
        incidents: dict[str, Mapping[str, str]] = {}
        for item in sorted(items, key=lambda item: (item.starts_at, item.fingerprint)):
            if _INCIDENT[0] in item.labels:
                plain = {name: value for name, value in item.labels.items() if name not in _INCIDENT}
                chosen = {name: item.labels[name] for name in _INCIDENT if name in item.labels}
                incidents.setdefault(fingerprint(plain), chosen)
        return cls(at, by_fingerprint, {item.fingerprint: item.labels for item in items}, incidents)

    def status(
        self, alertmanager: str, labels: Mapping[str, str], since: float, silences: Mapping[str, Silence]
    ) -> AlertStatus | None:
        """Return the status of an alert that has fired since `since`; None where it may not be delivered yet.

        Parameters
        ----------
        alertmanager : str
            Its URL.
        silences : mapping
            By id; may lack some.
        """
        alert = self.by_fingerprint.get(fingerprint({name: value for name, value in labels.items() if value}))
        if alert is None:
            return AlertStatus(alertmanager, self.at, "absent") if self.at - since >= _DELIVERY_DELAY else None
        status = alert.status
        return AlertStatus(
            alertmanager,
            self.at,
            status.state,
            tuple(receiver.name for receiver in alert.receivers),
            tuple(_silencing(identity, silences.get(identity)) for identity in status.silenced_by),
            tuple(Inhibition(key, self.labels.get(key, {})) for key in status.inhibited_by),
        )

    def count(self) -> dict[str, int]:
        """Return how many alerts are in each state."""
        states = Counter(alert.status.state for alert in self.by_fingerprint.values())
        return {state: states[state] for state in ("active", "suppressed", "unprocessed")}


def firing_alertnames(snapshot: Snapshot) -> frozenset[str]:
    """Return the ``alertname`` of every firing alert."""
    return frozenset(
        alert.labels.get("alertname", "")
        for query_alerts in snapshot.by_query.values()
        if query_alerts.unresolved
        for alert in query_alerts.alerts.values()
        if alert.state is AlertState.FIRING
    )


def alerts_filter(alertnames: Iterable[str]) -> str:
    """Return the ``filter`` parameter that selects alerts by name.

    >>> alerts_filter(["ShopSlow", "AnomalyDetected"])
    'alertname=~"AnomalyDetected|ShopSlow"'
    """
    pattern = "|".join(re.escape(name) for name in sorted(alertnames))
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'alertname=~"{quoted}"'


def _silencing(identity: str, silence: Silence | None) -> Silencing:
    if silence is None:
        return Silencing(identity)
    return Silencing(identity, silence.author, silence.comment, silence.window.end)
