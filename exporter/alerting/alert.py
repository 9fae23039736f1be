"""The values of alerting: alert, candidate, observation, and the transitions that the audit log keeps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.identity import plain_labels

__all__ = [
    "Alert",
    "AlertCandidate",
    "AlertState",
    "AlertTransition",
    "AuditEvent",
    "EvaluatedSlot",
    "Observation",
    "Step",
    "fingerprint",
    "fingerprint_of",
]


class AlertState(StrEnum):
    """The state of an alert, as in Prometheus. An inactive alert does not exist."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class AuditEvent(StrEnum):
    """What the audit log records; at most once in an episode, except what people do."""

    OPEN = "open"
    FIRING = "firing"
    RESOLVED = "resolved"
    DROPPED = "dropped"
    """Pending ended before it fired."""
    EXPIRED_SOURCE_DOWN = "expired_source_down"
    EXPIRED = "expired"
    """Older than the outage tolerance when the exporter started."""
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    """An acknowledgement was taken back; both may repeat."""
    FEEDBACK = "feedback"
    """May repeat: the newest one counts."""
    FEEDBACK_DECLINED = "feedback_declined"
    """A comment that was not taken as feedback, or feedback that was not learned; may repeat."""
    FEEDBACK_WITHDRAWN = "feedback_withdrawn"


@dataclass(frozen=True, slots=True)
class Observation:
    """One sample of a series and its verdict, in source units; None where unknown.

    Attributes
    ----------
    at : float
        The slot, Unix seconds.
    observed, expected, lower, upper : float
    score : float
        0 to 1.
    z : float
        Distance from the mean of this time of the week, in its standard deviations.
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
        """Return an observation; numbers that are not finite become None, and a negative zero is zero.

        >>> Observation.of(60.0, observed=1.5, upper=float("nan")).upper is None
        True
        """
        return cls(at, **{name: float(value) + 0.0 for name, value in numbers.items() if math.isfinite(value)})

    def is_worse_than(self, other: Observation | None) -> bool:
        """Return whether its score is higher."""
        return other is None or (self.score is not None and (other.score is None or self.score > other.score))


@dataclass(frozen=True, slots=True)
class AlertCandidate:
    """An anomalous series, entity or storm in one slot, that an alert may be about.

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
    sent_since : float, optional
        Since when another process sends this alert, Unix seconds: it fires at once, since then.
    patience : float
        Seconds that its alert waits beyond the `for` of its rule, because its cause may be another process'.
    """

    labels: Mapping[str, str]
    explanation: Explanation
    generator_url: str
    since: float | None = None
    observation: Observation | None = None
    firing_labels: Mapping[str, str] = field(default_factory=dict)
    sent_since: float | None = None
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One row per fingerprint: what it takes to send it and to continue after a restart.

    Times are Unix seconds; None where it has not happened.
    """

    fingerprint: str
    """Of its labels without the `firing_labels`."""
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
    """The observation with the highest score so far."""

    @property
    def is_open(self) -> bool:
        """Whether it is pending or firing."""
        return self.state is not AlertState.RESOLVED


@dataclass(frozen=True, slots=True)
class EvaluatedSlot:
    """What a good answer means for the alerts of a query. An open alert in none of the collections is normal.

    Attributes
    ----------
    at : float
        The slot, Unix seconds.
    candidates : mapping
        What is anomalous, by fingerprint. Where `max_alerts` has room for a few only, the first get it.
    missing : collection of str
        Fingerprints of open alerts whose series has no usable sample in the answer.
    unknown : collection of str
        Fingerprints of open alerts of which the answer says nothing, because it is partial: they stay as they are.
    absorbed : collection of str
        Fingerprints of pending alerts that end because a storm takes their series.
    held : collection of str
        Fingerprints of open alerts that end because their series is anomalous only by a load that a group recognises.
    other_alerts : int
        Open alerts of other queries; `max_alerts` counts them all.
    endings : mapping
        By fingerprint, of open alerts that are normal: why, for the audit, where it is not that the series is normal.
    """

    at: float
    candidates: Mapping[str, AlertCandidate]
    missing: Collection[str] = ()
    unknown: Collection[str] = ()
    absorbed: Collection[str] = ()
    held: Collection[str] = ()
    other_alerts: int = 0
    endings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertTransition:
    """One entry of the audit log. `who` is `exporter` unless a person did it."""

    fingerprint: str
    query: str
    episode: str
    event: AuditEvent
    at: float
    why: str
    who: str = "exporter"
    details: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    """Counts the events of one kind in an episode, where several are possible."""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of an evaluation: all alerts of the query afterwards, and the transitions that led there."""

    alerts: Mapping[str, Alert]
    transitions: tuple[AlertTransition, ...] = ()
    suppressed: int = 0
    """Candidates that became no alert because `max_alerts` was reached."""
    notes: bytes | None = None
    """An encoded `SavedContext`, stored beside the alerts; None: unchanged."""

    @property
    def recovered(self) -> tuple[str, ...]:
        """Alerts that ended because their series are normal again, by fingerprint."""
        ended = (each for each in self.transitions if each.event is AuditEvent.RESOLVED)
        return tuple(each.fingerprint for each in ended if each.why == "normal")


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of a label set: 32 hexadecimal digits, equal in every process.

    Sets that are the same with plain names have the same: an Alertmanager may have them in that form only.

    >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    True
    """
    return fingerprint_of(sorted(plain_labels(labels).items()))


def fingerprint_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Return `fingerprint` of labels with plain names, sorted."""
    texts = [text.encode("utf-8", "surrogatepass") for pair in pairs for text in pair]
    parts = [part for raw in texts for part in (len(raw).to_bytes(4, "big"), raw)]
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
