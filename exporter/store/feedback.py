"""What people say of episodes: acknowledgements, feedback, and what the baseline is to be taught by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.alerting.alert import AlertTransition, AuditEvent
from exporter.alerting.episode import Episode, Feedback, Status
from exporter.store.episodes import find_episode, write_episodes
from exporter.store.rows import audit_row, seal

__all__ = [
    "Change",
    "PendingFeedback",
    "acknowledge",
    "append_audit",
    "forget_lessons",
    "give_feedback",
    "read_lessons",
]


@dataclass(frozen=True, slots=True)
class Change:
    """What came of it.

    Attributes
    ----------
    episode : Episode or None
        As it is now; None where there is none.
    changed : bool
        False where it was so before, or cannot be: an episode that is over is not acknowledged.
    """

    episode: Episode | None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class PendingFeedback:
    """Feedback that the baseline has not been taught so far."""

    episode: str
    query: str
    fingerprint: str
    verdict: Feedback
    at: float


def append_audit(con: sqlite3.Connection, transitions: Iterable[AlertTransition]) -> int:
    """Append transitions that are not there already; return how many."""
    before = con.total_changes
    # Named conflict only: OR IGNORE would swallow a missing value as well.
    con.executemany(
        "INSERT INTO audit (at, query, fingerprint, episode, event, who, why, details, number, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint, episode, event, number) DO NOTHING",
        [audit_row(transition) for transition in transitions],
    )
    return con.total_changes - before


def acknowledge(con: sqlite3.Connection, episode: str, *, at: float, who: str, why: str) -> Change:
    """Note that somebody takes care of an episode; only the first one does."""
    found = find_episode(con, episode)
    if found is None or found.acknowledged_at is not None or found.status is Status.RESOLVED:
        return Change(found)
    return _append(con, found, AuditEvent.ACKNOWLEDGED, at, who, why)


def give_feedback(
    con: sqlite3.Connection, episode: str, verdict: Feedback, *, at: float, who: str, comment: str
) -> Change:
    """Note what somebody says an episode was. The newest word holds; the same word of the same person is one word."""
    found = find_episode(con, episode)
    if found is None:
        return Change(None)
    if (found.feedback, found.feedback_by, found.feedback_comment) == (verdict, who, comment):
        return Change(found)
    number = con.execute(
        "SELECT coalesce(max(number), -1) + 1 FROM audit WHERE fingerprint=? AND episode=? AND event=?",
        (found.fingerprint, episode, str(AuditEvent.FEEDBACK)),
    ).fetchone()[0]
    con.execute("DELETE FROM lessons WHERE episode=?", (episode,))
    if verdict.changes_baseline:
        row = (episode, found.query, found.fingerprint, str(verdict), float(at))
        con.execute("INSERT INTO lessons VALUES (?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
    return _append(con, found, AuditEvent.FEEDBACK, at, who, comment, verdict, number)


def read_lessons(con: sqlite3.Connection) -> list[PendingFeedback]:
    """Return what is still to be taught, the oldest first."""
    rows = con.execute("SELECT episode, query, fingerprint, verdict, at, crc FROM lessons ORDER BY at").fetchall()
    return [
        PendingFeedback(episode, query, fingerprint, Feedback(verdict), at)
        for episode, query, fingerprint, verdict, at, crc in rows
        if seal(episode, query, fingerprint, verdict, at) == crc
    ]


def forget_lessons(con: sqlite3.Connection, lessons: Iterable[PendingFeedback]) -> None:
    """Note that lessons were learned and that what came of them is durable; newer ones of the same episode stay."""
    con.executemany("DELETE FROM lessons WHERE episode=? AND at=?", [(one.episode, one.at) for one in lessons])


def _append(
    con: sqlite3.Connection,
    episode: Episode,
    event: AuditEvent,
    at: float,
    who: str,
    why: str,
    verdict: Feedback | None = None,
    number: int = 0,
) -> Change:
    details = {} if verdict is None else {"verdict": str(verdict)}
    transition = AlertTransition(episode.fingerprint, episode.query, episode.id, event, at, why, who, details, number)
    append_audit(con, [transition])
    return Change(write_episodes(con, [transition])[episode.id], changed=True)
