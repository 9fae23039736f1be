"""Feedback on episodes in the store: what is pending, comments of silences, and the audit of both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from exporter.alerting.alert import AlertTransition, AuditEvent
from exporter.alerting.episode import Episode, Feedback
from exporter.store.audit import append_audit
from exporter.store.episode_rows import write_episodes

__all__ = [
    "ADOPTED",
    "SOON",
    "PendingFeedback",
    "SilenceComment",
    "append_event",
    "decline",
    "is_acknowledged_by",
    "is_noted",
    "next_number",
]

ADOPTED = "message "
"""The episode of adopted feedback begins with it; the id of the message follows."""
SOON = 120.0
"""Seconds within which feedback is usually learned: later it is about a level that may be another one by now."""


@dataclass(frozen=True, slots=True)
class PendingFeedback:
    """Feedback that the baseline has not applied yet; `at` is when it was given, Unix seconds."""

    episode: str
    query: str
    fingerprint: str
    verdict: Feedback
    at: float

    @property
    def adopted(self) -> bool:
        """Whether it is about an episode that another exporter had while this one was not running."""
        return self.episode.startswith(ADOPTED)


@dataclass(frozen=True, slots=True)
class SilenceComment:
    """The comment of a silence, which somebody without a login may have written.

    Attributes
    ----------
    silence : str
        Its id.
    written_at : float, Unix seconds
        When the comment was written: what a person says later holds.
    declined : str
        Why it is no feedback; empty where it is.
    """

    silence: str
    written_at: float
    declined: str = ""


def is_noted(con: sqlite3.Connection, episode: Episode, silence: str, who: str, comment: str) -> bool:
    """Return whether the audit has the comment of a silence on an episode already, taken or declined."""
    select = "SELECT event, who, why, details FROM audit WHERE fingerprint=? AND episode=? AND event IN (?, ?)"
    values = (episode.fingerprint, episode.id, str(AuditEvent.FEEDBACK), str(AuditEvent.FEEDBACK_DECLINED))
    for _, author, why, encoded in con.execute(select, values).fetchall():
        details = json.loads(encoded)
        # Older versions did not write down which silence it was.
        same = details["silence"] == silence if "silence" in details else author == who
        if same and details.get("comment", why) == comment:
            return True
    return False


def is_acknowledged_by(con: sqlite3.Connection, episode: Episode, silence: str) -> bool:
    """Return whether a silence has acknowledged an episode before."""
    select = "SELECT details FROM audit WHERE fingerprint=? AND episode=? AND event=?"
    rows = con.execute(select, (episode.fingerprint, episode.id, str(AuditEvent.ACKNOWLEDGED))).fetchall()
    return any(json.loads(encoded).get("silence") == silence for (encoded,) in rows)


def next_number(con: sqlite3.Connection, episode: Episode, event: AuditEvent) -> int:
    """Return the number of the next event of a kind that may repeat in an episode."""
    select = "SELECT coalesce(max(number), -1) + 1 FROM audit WHERE fingerprint=? AND episode=? AND event=?"
    number: int = con.execute(select, (episode.fingerprint, episode.id, str(event))).fetchone()[0]
    return number


def decline(
    con: sqlite3.Connection, episode: Episode, at: float, who: str, why: str, details: Mapping[str, str]
) -> Episode:
    """Note in the audit why something is no feedback, or was not learned; return the episode as it is."""
    event = AuditEvent.FEEDBACK_DECLINED
    return append_event(con, episode, event, at, who, why, details, next_number(con, episode, event))


def append_event(
    con: sqlite3.Connection,
    episode: Episode,
    event: AuditEvent,
    at: float,
    who: str,
    why: str,
    details: Mapping[str, str] = MappingProxyType({}),
    number: int = 0,
) -> Episode:
    """Append an event to the audit of an episode; return the episode as it is then."""
    identity = episode.fingerprint, episode.query, episode.id
    transition = AlertTransition(*identity, event, at, why, who, details, number)
    append_audit(con, [transition])
    return write_episodes(con, [transition])[episode.id]
