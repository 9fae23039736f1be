"""The values of alerting: an alert, what a series says now, and the transitions that the audit keeps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from exporter.alerting.explanation.explanation import Explanation

__all__ = [
    "Alert",
    "AlertState",
    "AuditEvent",
    "AlertCandidate",
    "Observation",
    "Step",
    "AlertTransition",
    "fingerprint",
]


class AlertState(StrEnum):
    """Where an episode stands. An alert that is none of these does not exist."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class AuditEvent(StrEnum):
    """What the audit records. What is not said to repeat happens at most once in an episode."""

    OPEN = "open"
    FIRING = "firing"
    RESOLVED = "resolved"
    DROPPED = "dropped"
    """Pending ended before it fired."""
    EXPIRED_SOURCE_DOWN = "expired_source_down"
    EXPIRED = "expired"
    """Older than the outage tolerance when the exporter started."""
    ACKNOWLEDGED = "acknowledged"
    FEEDBACK = "feedback"
    """May happen again: people change their minds."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a series in one slot, in source units; None where it cannot be said.

    Attributes
    ----------
    at : float
        The slot, Unix seconds.
    observed, expected, lower, upper : float
    score : float
        0 to 1.
    z : float
        Distance from the usual value of this time of the week, in its standard deviations.
    votes : float
        How many votes call it anomalous.
    """

    at: float
    observed: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float | None = None
    z: float | None = None
    votes: float | None = None

    @classmethod
    def of(cls, at: float, **numbers: float) -> Self:
        """Make one of numbers of which NaN and infinite ones cannot be said.

        >>> Observation.of(60.0, observed=1.5, upper=float("nan")).upper is None
        True
        """
        return cls(at, **{name: float(value) for name, value in numbers.items() if math.isfinite(value)})

    def is_worse_than(self, other: Observation | None) -> bool:
        """Return whether its score is higher."""
        return other is None or (self.score is not None and (other.score is None or self.score > other.score))


@dataclass(frozen=True, slots=True)
class AlertCandidate:
    """What one anomalous series says in this slot.

    Attributes
    ----------
    labels : mapping
        The identity of its alert: nothing in it may vary from slot to slot.
    explanation : Explanation
        As of now.
    generator_url : str
        Absolute URL of the expression in Prometheus.
    since : float, optional
        When it became anomalous, Unix seconds, where that was before its alert begins.
    observation : Observation, optional
        The same in numbers, for the history of the episode.
    firing_labels : mapping
        Labels that its alert gets if it fires now, and then keeps, beside those above.
    """

    labels: Mapping[str, str]
    explanation: Explanation
    generator_url: str
    since: float | None = None
    observation: Observation | None = None
    firing_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """One row per fingerprint: all that is needed to send it and to go on after a restart.

    Times are Unix seconds; None where the episode has not come so far.
    """

    fingerprint: str
    """Of the labels without the marks that it got when it fired."""
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
    worst: Observation | None = None
    """The reading with the highest score so far."""


@dataclass(frozen=True, slots=True)
class AlertTransition:
    """One audit event. `who` is `exporter` unless a person did it."""

    fingerprint: str
    query: str
    episode: str
    event: AuditEvent
    at: float
    why: str
    who: str = "exporter"
    details: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    """Counts the events of one kind in an episode, where there may be several."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an evaluation leads to: all alerts of the query afterwards, and what happened on the way."""

    alerts: Mapping[str, Alert]
    transitions: tuple[AlertTransition, ...] = ()
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
