"""Status of our alerts in an Alertmanager: active, silenced, inhibited or muted, and their receivers.

It is shown with an anomaly. What is sent never depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import msgspec

from exporter.alerting.alert import AlertState, fingerprint
from exporter.alerting.identity import clean_value
from exporter.correlation.root_causes import FIRING_LABELS
from exporter.delivery.alert_snapshot import Snapshot
from exporter.delivery.listing import instant_in
from exporter.silences.silence import Silence

__all__ = [
    "AlertListing",
    "AlertStatus",
    "Inhibition",
    "Muting",
    "SentAlert",
    "Silencing",
    "firing_alertnames",
]

_INCIDENT = ("incident", "incident_role")
"""Labels that are fixed when an alert fires; its identity is that of the others."""
_LONGEST_INCIDENT = 64
"""Characters; ours has twelve. An alert of ours that took over a longer one could not be sent."""
_OLDEST = 366 * 86400.0
"""Seconds since when an alert may be active: whoever can send one can send any start."""
_DELIVERY_DELAY = 30.0
"""Seconds after it fires in which an alert may be missing because it is not delivered yet."""


class _Receiver(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    state: Literal["active", "suppressed", "unprocessed"]
    silenced_by: list[str] = msgspec.field(name="silencedBy", default_factory=list)
    inhibited_by: list[str] = msgspec.field(name="inhibitedBy", default_factory=list)
    muted_by: list[str] | None = msgspec.field(name="mutedBy", default=None)


class _AlertItem(msgspec.Struct):
    labels: dict[str, str]
    status: _Status
    fingerprint: str = ""
    starts_at: str = msgspec.field(name="startsAt", default="")
    updated_at: str = msgspec.field(name="updatedAt", default="")
    annotations: dict[str, str] = {}
    receivers: list[_Receiver] = []


class _Group(msgspec.Struct):
    receiver: _Receiver
    alerts: list[_AlertItem]


# Made at import: msgspec is not safe where several threads are the first to decode a type.
_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item = msgspec.json.Decoder(_AlertItem).decode
_decode_groups = msgspec.json.Decoder(list[_Group]).decode


@dataclass(frozen=True, slots=True)
class Silencing:
    """A silence that covers an alert; author and comment are None where only its id is known."""

    id: str
    by: str | None = None
    comment: str | None = None
    ends_at: float | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Muting:
    """A receiver that is not notified now, and the time intervals of its route that say so."""

    receiver: str
    by: tuple[str, ...]


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
        ``active``: its receivers are notified, those in `muted` excepted. ``suppressed``: it is silenced, inhibited, or
        muted for all of them. ``unprocessed``: it has just arrived. ``absent``: the Alertmanager does not have it.
    receivers : tuple of str
        Who is notified, or would be.
    muted : tuple of Muting
        By a mute or active time interval; Alertmanager says so from version 0.28 on.
    """

    alertmanager: str
    at: float
    state: Literal["active", "suppressed", "unprocessed", "absent"]
    receivers: tuple[str, ...] = ()
    silenced_by: tuple[Silencing, ...] = ()
    inhibited_by: tuple[Inhibition, ...] = ()
    muted: tuple[Muting, ...] = ()


@dataclass(frozen=True, slots=True)
class SentAlert:
    """An active alert as an Alertmanager lists it, whoever sent it.

    Attributes
    ----------
    labels : mapping
        All of them.
    starts_at, updated_at : float, Unix seconds
        When it began, and when it was sent last, on the clock of the Alertmanager.
    onset : float, Unix seconds
        Since when its series is anomalous.
    """

    labels: Mapping[str, str]
    starts_at: float
    updated_at: float
    onset: float = inf


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
    muted : mapping
        By fingerprint of all labels: receivers that are muted, with their time intervals.
    sent : mapping
        By fingerprint of the labels without those of `FIRING_LABELS`; the first to begin, within a year.
    error : str or None
        Why some alerts of the list could not be read.
    """

    at: float
    by_fingerprint: Mapping[str, _AlertItem] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    incidents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    muted: Mapping[str, tuple[Muting, ...]] = field(default_factory=dict)
    sent: Mapping[str, SentAlert] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def read(cls, body: bytes, groups: bytes | None = None, *, at: float) -> AlertListing:
        """Decode the body of ``GET /api/v2/alerts``, and of ``/api/v2/alerts/groups``, which alone knows who is muted.

        Raises
        ------
        ValueError
            It is not a list of alerts, or none of them can be read. What is no list of groups counts as none.
        """
        items, error = _items(body)
        if error is not None and not items:
            raise ValueError(f"not a list of alerts: {error}")
        items = [item for item in items if len(item.labels.get(_INCIDENT[0], "")) <= _LONGEST_INCIDENT]
        by_fingerprint = {fingerprint(item.labels): item for item in items}
        incidents: dict[str, Mapping[str, str]] = {}
        sent: dict[str, SentAlert] = {}
        for item in sorted(items, key=lambda item: (item.starts_at, item.fingerprint)):
            identity = fingerprint({name: value for name, value in item.labels.items() if name not in FIRING_LABELS})
            starts_at = instant_in(item.starts_at)
            if starts_at is not None and at - starts_at <= _OLDEST:
                updated, onset = instant_in(item.updated_at), instant_in(item.annotations.get("since", ""))
                onset = starts_at if onset is None or at - onset > _OLDEST else min(onset, starts_at)
                sent.setdefault(identity, SentAlert(item.labels, starts_at, updated or starts_at, onset))
            if _INCIDENT[0] in item.labels:
                plain = {name: value for name, value in item.labels.items() if name not in _INCIDENT}
                chosen = {name: item.labels[name] for name in _INCIDENT if name in item.labels}
                incidents.setdefault(fingerprint(plain), chosen)
        muted, notified = ({}, set()) if groups is None else _muted(groups)
        for identity in (muted.keys() & by_fingerprint.keys()) - notified:
            # It would be listed as active, although nobody is notified.
            by_fingerprint[identity].status.state = "suppressed"
        labels = {item.fingerprint: item.labels for item in items}
        return cls(at, by_fingerprint, labels, incidents, muted, sent, error)

    def silenced(self) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """Yield the id of a silence with the fingerprint and the labels of an alert that it silences."""
        for identity, item in self.by_fingerprint.items():
            for silence in item.status.silenced_by:
                yield silence, identity, item.labels

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
        identity = fingerprint({name: value for name, value in labels.items() if value})
        alert = self.by_fingerprint.get(identity)
        if alert is None:
            return AlertStatus(alertmanager, self.at, "absent") if self.at - since >= _DELIVERY_DELAY else None
        status = alert.status
        return AlertStatus(
            alertmanager,
            self.at,
            status.state,
            tuple(receiver.name for receiver in alert.receivers),
            tuple(_silencing(key, silences.get(key)) for key in status.silenced_by),
            tuple(Inhibition(key, self.labels.get(key, {})) for key in status.inhibited_by),
            self.muted.get(identity, ()),
        )

    def count(self) -> dict[str, int]:
        """Return how many alerts are in each state."""
        states = Counter(alert.status.state for alert in self.by_fingerprint.values())
        return {state: states[state] for state in ("active", "suppressed", "unprocessed")}


def _items(body: bytes) -> tuple[list[_AlertItem], str | None]:
    """Return the alerts of a list that can be read, and why others cannot."""
    items, error = [], None
    try:
        for item in _decode(body):
            try:
                items.append(_decode_item(item))
            except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
                error = error or str(wrong)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        error = str(wrong)
    return items, error


def _muted(groups: bytes) -> tuple[dict[str, tuple[Muting, ...]], set[str]]:
    """Return the muted receivers of each alert, and the alerts that some receiver is notified of."""
    muted: dict[str, dict[str, tuple[str, ...]]] = {}
    notified: dict[str, set[str]] = {}
    with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        for group in _decode_groups(groups):
            for item in group.alerts:
                identity, intervals = fingerprint(item.labels), tuple(item.status.muted_by or ())
                if intervals:
                    muted.setdefault(identity, {})[group.receiver.name] = intervals
                else:
                    notified.setdefault(identity, set()).add(group.receiver.name)
    # A receiver of several groups is notified by those that are not muted.
    silent = {
        identity: tuple(Muting(name, by) for name, by in receivers.items() if name not in notified.get(identity, ()))
        for identity, receivers in muted.items()
    }
    return silent, set(notified)


def firing_alertnames(snapshot: Snapshot) -> frozenset[str]:
    """Return the ``alertname`` of every firing alert."""
    return frozenset(
        alert.labels.get("alertname", "")
        for query_alerts in snapshot.by_query.values()
        if query_alerts.unresolved
        for alert in query_alerts.alerts.values()
        if alert.state is AlertState.FIRING
    )


def _silencing(identity: str, silence: Silence | None) -> Silencing:
    if silence is None:
        return Silencing(identity)
    annotations = {clean_value(name): clean_value(text) for name, text in silence.annotations.items()}
    return Silencing(identity, silence.author, silence.comment, silence.window.end, annotations)
