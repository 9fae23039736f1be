"""The values of alerting: an alert, what a series says now, and the transitions that the audit keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Alert", "AlertState", "Event", "Finding", "Step", "Transition", "fingerprint"]


class AlertState(StrEnum):
    """Where an episode stands. An alert that is none of these does not exist."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Event(StrEnum):
    """What the audit records; one event happens at most once in an episode."""

    OPEN = "open"
    FIRING = "firing"
    RESOLVED = "resolved"
    DROPPED = "dropped"
    """Pending ended before it fired."""
    EXPIRED_SOURCE_DOWN = "expired_source_down"
    EXPIRED = "expired"
    """Older than the outage tolerance when the exporter started."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one anomalous series says in this slot.

    Attributes
    ----------
    labels : mapping
        The identity of its alert: nothing in it may vary from slot to slot.
    annotations : mapping
        The explanation as of now.
    generator_url : str
        Absolute URL of the expression in Prometheus.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generator_url: str
    since: float | None = None
    """Since when it is so, Unix seconds, where that was before its alert begins."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One row per fingerprint: all that is needed to send it and to go on after a restart.

    Times are Unix seconds; None where the episode has not come so far.
    """

    fingerprint: str
    query: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generator_url: str
    state: AlertState
    episode: str
    """UUID of this episode; the next one of the same fingerprint has another."""
    active_at: float
    evaluated_at: float
    """The newest slot that was applied."""
    fired_at: float | None = None
    """`startsAt` on the wire; constant for the episode, over restarts too."""
    resolved_at: float | None = None
    keep_since: float | None = None
    """Since when the series is normal while `keep_firing_for` holds the alert."""
    missing: int = 0
    """Good answers in a row without a sample of the series."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One audit event. `who` is `exporter` unless a person did it."""

    fingerprint: str
    query: str
    episode: str
    event: Event
    at: float
    why: str
    who: str = "exporter"
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What an evaluation leads to: all alerts of the query afterwards, and what happened on the way."""

    alerts: Mapping[str, Alert]
    transitions: tuple[Transition, ...] = ()
    suppressed: int = 0
    """Findings that had to be turned away because `max_alerts` was reached."""
    notes: bytes | None = None
    """What has to be remembered beside the alerts to go on after a restart; None: as before."""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of a label set: 32 hexadecimal digits, equal in every process.

    >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(labels.items()):
        for text in (name, value):
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4, "big"))
            digest.update(raw)
    return digest.hexdigest()
