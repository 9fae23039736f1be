"""Episodes: open, acknowledged or resolved, with the feedback of people.

An `Episode` is the summary of its transitions in the audit log. Everything but `worst` can be rebuilt from them
(`episode_of`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.alerting.alert import AlertTransition, AuditEvent, Observation

__all__ = ["Episode", "Feedback", "Status", "apply", "episode_of"]


class Status(StrEnum):
    """The status of an episode."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Feedback(StrEnum):
    """A person's verdict on an episode."""

    CONFIRMED = "confirmed"
    EXPECTED = "expected"
    """Unusual, but announced. The baseline does not change."""
    FALSE_ALARM = "false alarm"
    NEW_NORMAL = "new normal"
    """The level is accepted at once."""

    @property
    def changes_baseline(self) -> bool:
        """Whether the baseline is changed by it."""
        return self is Feedback.NEW_NORMAL


_FEEDBACKS = frozenset(Feedback)
_UNSENT = frozenset({"source_down", "outage_tolerance", "other_shard"})


@dataclass(frozen=True, slots=True)
class Episode:
    """One anomaly of one series, from its first sample to its end.

    Times are Unix seconds; None where it has not happened.

    Attributes
    ----------
    id : str
        A UUID.
    labels : mapping
        Of its alert.
    opened_at : float
        The first anomalous slot.
    fired_at : float or None
        When its alert fired: from then on it was sent to Alertmanagers.
    resolved_why : str or None
        Such as ``normal``, ``no_data`` or ``rule_removed``.
    summary : str
        One sentence, of the worst slot.
    worst : Observation or None
        The slot with the highest score so far.
    """

    id: str
    query: str
    fingerprint: str
    labels: Mapping[str, str]
    opened_at: float
    fired_at: float | None = None
    resolved_at: float | None = None
    resolved_why: str | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    acknowledged_why: str | None = None
    feedback: Feedback | None = None
    feedback_at: float | None = None
    feedback_by: str | None = None
    feedback_comment: str | None = None
    summary: str = ""
    worst: Observation | None = None

    @property
    def status(self) -> Status:
        """The status; a resolved episode is resolved, acknowledged or not."""
        if self.resolved_at is not None:
            return Status.RESOLVED
        return Status.OPEN if self.acknowledged_at is None else Status.ACKNOWLEDGED

    @property
    def ended_unsent(self) -> bool:
        """Whether it ended here without an end that Alertmanagers were sent: they list its alert until it expires."""
        return self.fired_at is not None and self.resolved_why in _UNSENT


def episode_of(transitions: Iterable[AlertTransition]) -> Episode | None:
    """Return the episode that follows from transitions in their order; None where its beginning is not among them."""
    episode: Episode | None = None
    for transition in transitions:
        episode = apply(episode, transition)
    return episode


def apply(episode: Episode | None, transition: AlertTransition) -> Episode | None:
    """Return the episode after one more transition. A repeated transition changes nothing; the newest feedback counts.

    >>> opened = AlertTransition("f", "cpu", "e", AuditEvent.OPEN, 60.0, "anomalous", details={"labels": '{"a": "b"}'})
    >>> noted = AlertTransition("f", "cpu", "e", AuditEvent.ACKNOWLEDGED, 90.0, "on it", who="eve")
    >>> apply(apply(None, opened), noted).status
    <Status.ACKNOWLEDGED: 'acknowledged'>
    """
    at, why = transition.at, transition.why
    if episode is None:
        if transition.event is not AuditEvent.OPEN:
            return None
        return Episode(transition.episode, transition.query, transition.fingerprint, _labels(transition), at)
    match transition.event:
        case AuditEvent.FIRING if episode.fired_at is None:
            # The clock may have been set back in between; an episode never ends before it began.
            fired = replace(episode, fired_at=max(at, episode.opened_at))
            marked = transition.details.get("alert.labels")
            return fired if marked is None else replace(fired, labels=json.loads(marked))
        case AuditEvent.RESOLVED | AuditEvent.DROPPED | AuditEvent.EXPIRED | AuditEvent.EXPIRED_SOURCE_DOWN if (
            episode.resolved_at is None
        ):
            return replace(episode, resolved_at=max(at, episode.fired_at or episode.opened_at), resolved_why=why)
        case AuditEvent.ACKNOWLEDGED if episode.acknowledged_at is None:
            return replace(episode, acknowledged_at=at, acknowledged_by=transition.who, acknowledged_why=why)
        case AuditEvent.UNACKNOWLEDGED:
            return replace(episode, acknowledged_at=None, acknowledged_by=None, acknowledged_why=None)
        case AuditEvent.FEEDBACK_WITHDRAWN:
            return replace(episode, feedback=None, feedback_at=None, feedback_by=None, feedback_comment=None)
        case AuditEvent.FEEDBACK if (verdict := transition.details.get("verdict")) in _FEEDBACKS:
            return replace(
                episode,
                feedback=Feedback(verdict),
                feedback_at=at,
                feedback_by=transition.who,
                feedback_comment=why,
            )
    return episode


def _labels(transition: AlertTransition) -> dict[str, str]:
    labels: dict[str, str] = json.loads(transition.details.get("labels", "{}"))
    return labels
