"""What an Alertmanager makes of the alerts that it was given: whether people are told of them, and who.

It is read for those who look at an anomaly, and for nothing else: what is sent never depends on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import msgspec

from exporter.alerting.alert import AlertState, fingerprint
from exporter.delivery.alert_snapshot import Snapshot
from exporter.silences.silence import Silence

__all__ = ["STATES", "Inhibition", "Silencing", "Standing", "Standings", "Told", "alerts_filter", "told_alertnames"]

STATES = ("active", "suppressed", "unprocessed")
_ON_ITS_WAY = 30.0
"""Seconds in which an alert may be missing because nobody has sent it so far."""


class _Receiver(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    state: Literal["active", "suppressed", "unprocessed"]
    silenced_by: list[str] = msgspec.field(name="silencedBy", default_factory=list)
    inhibited_by: list[str] = msgspec.field(name="inhibitedBy", default_factory=list)


class _Listed(msgspec.Struct):
    labels: dict[str, str]
    status: _Status
    fingerprint: str = ""
    receivers: list[_Receiver] = []


# Made once, here: the library is not safe where several threads are the first to decode a type.
_decode = msgspec.json.Decoder(list[_Listed]).decode


@dataclass(frozen=True, slots=True)
class Standing:
    """How one alert stands in one Alertmanager.

    Attributes
    ----------
    state
        ``active``: people are told of it. ``suppressed``: a silence or another alert keeps it quiet. ``unprocessed``:
        it has just come.
    receivers : tuple of str
        Who is told, or would be.
    silenced_by : tuple of str
        Ids of silences.
    inhibited_by : tuple of Inhibition
    """

    state: Literal["active", "suppressed", "unprocessed"]
    receivers: tuple[str, ...] = ()
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[Inhibition, ...] = ()


@dataclass(frozen=True, slots=True)
class Silencing:
    """A silence that covers an alert; who made it and why is null where only its id is known."""

    id: str
    by: str | None = None
    comment: str | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Inhibition:
    """An alert that speaks for another one: its fingerprint in the Alertmanager, and its labels where it is ours."""

    fingerprint: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What one Alertmanager made of an alert when it was asked last.

    Attributes
    ----------
    state : str
        That of `Standing`, or ``absent``: it does not have the alert.
    """

    alertmanager: str
    at: float
    state: Literal["active", "suppressed", "unprocessed", "absent"]
    receivers: tuple[str, ...] = ()
    silenced_by: tuple[Silencing, ...] = ()
    inhibited_by: tuple[Inhibition, ...] = ()


@dataclass(frozen=True)
class Standings:
    """Our alerts in one Alertmanager at one moment.

    Attributes
    ----------
    at : float, Unix seconds
        When they were read.
    by_identity : mapping
        By fingerprint of all labels, as `exporter.alerting.alert.fingerprint` makes it.
    """

    at: float
    by_identity: Mapping[str, Standing] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def read(cls, body: bytes, *, at: float) -> Standings:
        """Return what an answer to ``GET /api/v2/alerts`` says.

        Raises
        ------
        ValueError
            It is no such answer.
        """
        try:
            listed = _decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not a list of alerts: {error}") from None
        names = {one.fingerprint: one.labels for one in listed}
        found = {fingerprint(one.labels): _standing(one, names) for one in listed}
        return cls(at, MappingProxyType(found))

    def of(self, labels: Mapping[str, str]) -> Standing | None:
        """Return how the alert with these labels stands; None where the Alertmanager does not have it."""
        return self.by_identity.get(fingerprint({name: value for name, value in labels.items() if value}))

    def told(
        self, alertmanager: str, labels: Mapping[str, str], since: float, silences: Mapping[str, Silence]
    ) -> Told | None:
        """Return what is to be said of an alert that fires since then; None where it may still be on its way.

        Parameters
        ----------
        alertmanager : str
            Its URL.
        silences : mapping
            By id, as far as they are known.
        """
        standing = self.of(labels)
        if standing is None:
            return Told(alertmanager, self.at, "absent") if self.at - since >= _ON_ITS_WAY else None
        by = tuple(_silencing(identity, silences.get(identity)) for identity in standing.silenced_by)
        return Told(alertmanager, self.at, standing.state, standing.receivers, by, standing.inhibited_by)

    def count(self) -> dict[str, int]:
        """Return how many alerts there are in each state."""
        states = Counter(str(one.state) for one in self.by_identity.values())
        return {state: states[state] for state in STATES}


def told_alertnames(snapshot: Snapshot) -> frozenset[str]:
    """Return the ``alertname`` of everything that fires: what an Alertmanager can be asked about."""
    return frozenset(
        alert.labels.get("alertname", "")
        for sheet in snapshot.sheets.values()
        if sheet.unresolved
        for alert in sheet.alerts.values()
        if alert.state is AlertState.FIRING
    )


def alerts_filter(alertnames: Iterable[str]) -> str:
    """Return the matcher that an Alertmanager is asked with.

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


def _standing(one: _Listed, names: Mapping[str, Mapping[str, str]]) -> Standing:
    return Standing(
        one.status.state,
        tuple(receiver.name for receiver in one.receivers),
        tuple(one.status.silenced_by),
        tuple(Inhibition(key, names.get(key, {})) for key in one.status.inhibited_by),
    )
