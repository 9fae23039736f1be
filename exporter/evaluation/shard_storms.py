"""Storms of a query that several shards have between them: each has its part, and together they are one incident."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from exporter.alerting.alert import fingerprint
from exporter.alerting.identity import Kind
from exporter.alerting.root_cause import incident_of
from exporter.alerting.settings import AlertSettings, StormSettings
from exporter.alerting.storm import OpenStorm
from exporter.silences import SentAlert

__all__ = ["numbered", "part_of_storms", "sent_storms", "storm_incidents"]

_DIGITS = 9
"""Of the number of a storm, at most: whoever can send alerts could have sent it."""


def part_of_storms(settings: StormSettings, shards: int, sent: Collection[SentAlert], *, at: float) -> StormSettings:
    """Return when series of one shard are a storm: it has its part of those that turn together.

    Parameters
    ----------
    shards : int
        How many there are.
    sent : collection of SentAlert
        The storms of the query that Alertmanagers list.
    at : float, Unix seconds
    """
    members = max(2, -(-settings.members // shards))
    if not settings.by and any(at - storm.starts_at <= settings.window for storm in sent):
        # Another shard has more of them.
        members = 1
    return settings.model_copy(update={"members": members})


def sent_storms(sent: Mapping[str, SentAlert], label: str, name: str) -> dict[str, SentAlert]:
    """Return the storms of a query or group among the alerts that Alertmanagers list, by fingerprint."""
    return {
        identity: alert
        for identity, alert in sent.items()
        if "storm" in alert.labels and alert.labels.get(label) == name
    }


def numbered(sent: Mapping[str, SentAlert]) -> dict[str, tuple[int, float]]:
    """Return number and beginning of storms that Alertmanagers list, by fingerprint; without those of no number."""
    numbers = {identity: storm.labels["storm"].rpartition("-")[2] for identity, storm in sent.items()}
    return {
        identity: (int(digits), sent[identity].starts_at)
        for identity, digits in numbers.items()
        if digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS
    }


def storm_incidents(storms: Collection[OpenStorm], rule: AlertSettings | None, kind: Kind, name: str) -> dict[str, str]:
    """Return by identity the incidents of which storms are the root: the same for their parts in all shards.

    Parameters
    ----------
    kind, name : str
        What says of which query or group they are.
    """
    if rule is None:
        return {}
    own = {"alertname": rule.alertname, kind: name}
    return {
        storm.identity: incident_of(fingerprint({**dict(storm.key), **own, "storm": str(storm.number)}))
        for storm in storms
    }
