"""Rows of the table ``episodes``: written with the transitions that make them, rebuilt from the audit where damaged.

All but the worst observation follows from the audit, so a database of an older version gets its history, and a
flipped bit costs nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import Any

from exporter.alerting.alert import Alert, AlertTransition, AuditEvent, Observation
from exporter.alerting.episode import Episode, Feedback, apply, episode_of
from exporter.store.rows import AUDIT_NAMES, Row, entry_of, json_of, number_of, seal, sealed, storable

__all__ = [
    "EPISODES",
    "episode_of",
    "find_episode",
    "rebuild_missing",
    "select_episodes",
    "transitions_of",
    "write_episodes",
]

_OBSERVATION = ("seen_at", "observed", "expected", "lower", "upper", "score", "z", "votes")
EPISODES = (
    "id", "query", "fingerprint", "status", "opened_at", "fired_at", "resolved_at", "resolved_why", "acknowledged_at",
    "acknowledged_by", "acknowledged_why", "feedback", "feedback_at", "feedback_by", "feedback_comment", "labels",
    "summary", *_OBSERVATION,
)  # fmt: skip
"""Columns, without the checksum, which is last."""

_NAMES = ", ".join((*EPISODES, "crc"))
_SELECT = f"SELECT {_NAMES} FROM episodes"  # noqa: S608 - our own names.
_INSERT = f"INSERT OR REPLACE INTO episodes ({_NAMES}) VALUES ({', '.join('?' * (len(EPISODES) + 1))})"  # noqa: S608
_AUDIT = f"SELECT id, {AUDIT_NAMES} FROM audit"  # noqa: S608
_EVENTS = frozenset(AuditEvent)


def decode_episode(con: sqlite3.Connection, row: Row) -> Episode | None:
    """Return the episode of a selected row; one whose checksum does not hold is rebuilt from the audit."""
    return _intact_episode(row) or _rebuilt(con, row[0])


def select_episodes(con: sqlite3.Connection, where: str, values: Iterable[object], limit: int) -> list[Row]:
    """Return rows of `episodes`, those opened last first. `where` is a condition of our own, all data are `values`."""
    select = f"{_SELECT} WHERE {where} ORDER BY opened_at DESC, id DESC LIMIT ?"
    return con.execute(select, (*values, limit)).fetchall()


def write_episodes(
    con: sqlite3.Connection, transitions: Iterable[AlertTransition], worse: Iterable[Alert] = ()
) -> dict[str, Episode]:
    """Apply transitions, which are in the audit already, and worst observations; return the changed episodes by id."""
    changed: dict[str, Episode | None] = {}

    def current(episode: str) -> Episode | None:
        if episode not in changed:
            changed[episode] = find_episode(con, episode)
        return changed[episode]

    for transition in transitions:
        after = apply(current(transition.episode), transition)
        # None: the episode has no row and did not begin with this transition, but the audit has its beginning.
        changed[transition.episode] = _rebuilt(con, transition.episode) if after is None else after
    for alert in worse:
        before = current(alert.episode)
        if before is not None and alert.worst is not None and alert.worst.is_worse_than(before.worst):
            summary = alert.annotations.get("summary", "")
            changed[alert.episode] = replace(before, worst=alert.worst, summary=summary)
    episodes = {name: episode for name, episode in changed.items() if episode is not None}
    con.executemany(_INSERT, [_row(episode) for episode in episodes.values()])
    return episodes


def find_episode(con: sqlite3.Connection, episode: str) -> Episode | None:
    """Return an episode by its id, or None."""
    row = con.execute(f"{_SELECT} WHERE id=?", (episode,)).fetchone()
    return None if row is None else decode_episode(con, row)


def transitions_of(con: sqlite3.Connection, episode: str) -> list[Row]:
    """Return the rows of the audit about an episode, oldest first; see `entry_of`."""
    return con.execute(f"{_AUDIT} WHERE episode=? ORDER BY id", (episode,)).fetchall()


def rebuild_missing(con: sqlite3.Connection) -> None:
    """Add the episodes that only the audit has: of an older version, or lost with a damaged file."""
    missing = con.execute(
        "SELECT episode FROM audit WHERE event='open' AND NOT EXISTS (SELECT 1 FROM episodes WHERE id=audit.episode)"
    ).fetchall()
    rebuilt = [_rebuilt(con, episode) for (episode,) in missing]
    con.executemany(_INSERT, [_row(episode) for episode in rebuilt if episode is not None])


def _rebuilt(con: sqlite3.Connection, episode: str) -> Episode | None:
    entries = [entry_of(row) for row in transitions_of(con, episode)]
    return episode_of(
        AlertTransition(
            entry.fingerprint, entry.query, entry.episode, AuditEvent(entry.event), entry.at, entry.why, entry.who,
            entry.details,
        )
        for entry in entries
        if entry.intact and entry.event in _EVENTS
    )  # fmt: skip


def _row(episode: Episode) -> Row:
    worst = astuple(episode.worst) if episode.worst is not None else (None,) * len(_OBSERVATION)
    return sealed(
        episode.id,
        episode.query,
        episode.fingerprint,
        str(episode.status),
        float(episode.opened_at),
        number_of(episode.fired_at),
        number_of(episode.resolved_at),
        _text(episode.resolved_why),
        number_of(episode.acknowledged_at),
        _text(episode.acknowledged_by),
        _text(episode.acknowledged_why),
        None if episode.feedback is None else str(episode.feedback),
        number_of(episode.feedback_at),
        _text(episode.feedback_by),
        _text(episode.feedback_comment),
        json_of(episode.labels),
        storable(episode.summary),
        *map(number_of, worst),
    )


def _intact_episode(row: Row) -> Episode | None:
    """Return the episode of a row of `_row`, or None where the checksum does not hold."""
    if seal(*row[:-1]) != row[-1]:
        return None
    values: dict[str, Any] = dict(zip(EPISODES, row, strict=False))
    del values["status"]
    worst = [values.pop(name) for name in _OBSERVATION]
    values["labels"] = json.loads(values["labels"])
    values["feedback"] = None if values["feedback"] is None else Feedback(values["feedback"])
    return Episode(**values, worst=None if worst[0] is None else Observation(*worst))


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)
