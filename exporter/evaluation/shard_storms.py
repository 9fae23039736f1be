"""Storms of a query that several shards have between them: each has its part, and together they are one incident."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from exporter.alerting.alert import fingerprint
from exporter.alerting.root_cause import incident_of
from exporter.alerting.settings import StormSettings
from exporter.alerting.storm import OpenStorm
from exporter.silences import SentAlert

__all__ = ["part_of_storms", "sent_storms", "storm_incident"]


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


def storm_incident(storm: OpenStorm, alertname: str, label: str, name: str) -> str:
    """Return the incident of which a storm is the root: the same for its parts in all shards.

    Parameters
    ----------
    label, name : str
        What says of which query or group it is.
    """
    return incident_of(
        fingerprint({**dict(storm.key), "alertname": alertname, label: name, "storm": str(storm.number)})
    )
