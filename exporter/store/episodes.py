"""Episodes as rows: written with the transitions that make them, and read page by page.

Everything but the reading follows from the audit. A row that is missing or damaged is made of the audit again, so
a database of an older version gets its history, and a flipped bit costs nothing.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

from exporter.alerting.alert import Alert, AlertTransition, AuditEvent, Observation
from exporter.alerting.episode import Episode, Feedback, Status, apply, episode_of
from exporter.store.rows import Row, entry_of, mapping, seal, storable

__all__ = [
    "EPISODES",
    "EpisodeCursor",
    "EpisodePage",
    "Wanted",
    "count_feedback",
    "find_episode",
    "read_episodes",
    "rebuild_missing",
    "transitions_of",
    "write_episodes",
]

log = logging.getLogger(__name__)

_READING = ("seen_at", "observed", "expected", "lower", "upper", "score", "z", "votes")
EPISODES = (
    "id", "query", "fingerprint", "status", "opened_at", "fired_at", "resolved_at", "resolved_why", "acknowledged_at",
    "acknowledged_by", "acknowledged_why", "feedback", "feedback_at", "feedback_by", "feedback_comment", "labels",
    "summary", *_READING,
)  # fmt: skip
"""Columns, without the checksum, which is last."""

PAGE_LIMIT = 1000
_SCAN = 500
_MOST_SCANNED = 10_000
"""Rows that one request may look at where labels are asked for: no index helps there."""

_NAMES = ", ".join((*EPISODES, "crc"))
_SELECT = f"SELECT {_NAMES} FROM episodes"  # noqa: S608 - our own names.
_INSERT = f"INSERT OR REPLACE INTO episodes ({_NAMES}) VALUES ({', '.join('?' * (len(EPISODES) + 1))})"  # noqa: S608
_AUDIT = "SELECT id, at, query, fingerprint, episode, event, who, why, details, number, crc FROM audit"
_OPENED = EPISODES.index("opened_at")

EpisodeCursor = tuple[float, str]
"""Where a page ended: when its last episode was opened, and its id."""


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """Episodes, newest first, and where the next page begins; None where there is none."""

    episodes: tuple[Episode, ...]
    next: EpisodeCursor | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which episodes are asked for; what is None does not matter.

    Attributes
    ----------
    since, until : float, Unix seconds
        Episodes that were not over before the first and that had begun by the second.
    fired : bool
        Whether Alertmanagers were told.
    least_score : float
        Of the worst slot.
    labels : callable
        Whether a label set is asked for.
    """

    query: str | None = None
    fingerprint: str | None = None
    status: Status | None = None
    feedback: Feedback | None = None
    since: float | None = None
    until: float | None = None
    fired: bool | None = None
    least_score: float | None = None
    labels: Callable[[Mapping[str, str]], bool] | None = None


def write_episodes(
    con: sqlite3.Connection, transitions: Iterable[AlertTransition], worse: Iterable[Alert] = ()
) -> dict[str, Episode]:
    """Apply transitions, which are in the audit already, and new worst readings; return the episodes that changed."""
    changed: dict[str, Episode | None] = {}

    def known(episode: str) -> Episode | None:
        if episode not in changed:
            changed[episode] = find_episode(con, episode)
        return changed[episode]

    for transition in transitions:
        # Where it is unknown, and did not begin just now, the audit knows more.
        before = known(transition.episode)
        after = apply(before, transition)
        changed[transition.episode] = _rebuilt(con, transition.episode) if after is None else after
    for alert in worse:
        before = known(alert.episode)
        if before is not None and alert.worst is not None and alert.worst.is_worse_than(before.worst):
            summary = alert.annotations.get("summary", "")
            changed[alert.episode] = replace(before, worst=alert.worst, summary=summary)
    found = {name: episode for name, episode in changed.items() if episode is not None}
    con.executemany(_INSERT, [_row(episode) for episode in found.values()])
    return found


def find_episode(con: sqlite3.Connection, episode: str) -> Episode | None:
    """Return an episode, or None where there is none."""
    row = con.execute(f"{_SELECT} WHERE id=?", (episode,)).fetchone()
    if row is None:
        return None
    found = _episode(row)
    return _rebuilt(con, episode) if found is None else found


def transitions_of(con: sqlite3.Connection, episode: str) -> list[Row]:
    """Return the rows of the audit about an episode, oldest first; see `entry_of`."""
    return con.execute(f"{_AUDIT} WHERE episode=? ORDER BY id", (episode,)).fetchall()


def rebuild_missing(con: sqlite3.Connection) -> int:
    """Make the episodes that only the audit knows: of an older version, or lost with a damaged file."""
    missing = con.execute(
        "SELECT episode FROM audit WHERE event='open' AND NOT EXISTS (SELECT 1 FROM episodes WHERE id=audit.episode)"
    ).fetchall()
    made = [_rebuilt(con, episode) for (episode,) in missing]
    con.executemany(_INSERT, [_row(episode) for episode in made if episode is not None])
    return len(made)


def read_episodes(
    con: sqlite3.Connection, wanted: Wanted, *, after: EpisodeCursor | None = None, limit: int = 100
) -> EpisodePage:
    """Return a page of episodes, those opened last first.

    Parameters
    ----------
    after : EpisodeCursor, optional
        `next` of the page before.
    limit : int
        Episodes a page, 1 to 1000. A page of which labels are asked may have fewer although more follow.

    Raises
    ------
    ValueError
        The limit is out of range.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise ValueError(f"limit must be between 1 and {PAGE_LIMIT}, not {limit}")
    conditions, values = _conditions(wanted)
    found: list[Episode] = []
    scanned = 0
    while True:
        where = [*conditions, *(["(opened_at, id) < (?, ?)"] if after else [])]
        batch = _SCAN if wanted.labels is not None else limit + 1 - len(found)
        # The conditions are our own; all data are parameters.
        select = f"{_SELECT} WHERE {' AND '.join(where) or '1'} ORDER BY opened_at DESC, id DESC LIMIT ?"
        rows = con.execute(select, (*values, *(after or ()), batch)).fetchall()
        for row in rows:
            episode = _episode(row) or _rebuilt(con, row[0])
            if episode is None or not (wanted.labels is None or wanted.labels(episode.labels)):
                continue
            if len(found) == limit:
                return EpisodePage(tuple(found), _cursor(found[-1]))
            found.append(episode)
        if len(rows) < batch:
            return EpisodePage(tuple(found), None)
        after, scanned = (rows[-1][_OPENED], rows[-1][0]), scanned + len(rows)
        if scanned >= _MOST_SCANNED:
            return EpisodePage(tuple(found), after)


def count_feedback(con: sqlite3.Connection) -> dict[str, dict[Feedback, int]]:
    """Return how many episodes have which feedback, by query."""
    counted: dict[str, dict[Feedback, int]] = {}
    select = "SELECT query, feedback, count(*) FROM episodes WHERE feedback IS NOT NULL GROUP BY query, feedback"
    for query, feedback, count in con.execute(select):
        if feedback in _FEEDBACKS:
            counted.setdefault(query, {})[Feedback(feedback)] = count
    return counted


_FEEDBACKS = frozenset(Feedback)


def _conditions(wanted: Wanted) -> tuple[list[str], list[object]]:
    conditions: list[tuple[str, object]] = []
    for name in ("query", "fingerprint", "status", "feedback"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append((f"{name} = ?", str(value)))
    if wanted.since is not None:
        conditions.append(("coalesce(resolved_at, 1e300) >= ?", float(wanted.since)))
    if wanted.until is not None:
        conditions.append(("opened_at <= ?", float(wanted.until)))
    if wanted.fired is not None:
        conditions.append(("(fired_at IS NOT NULL) = ?", int(wanted.fired)))
    if wanted.least_score is not None:
        conditions.append(("score >= ?", float(wanted.least_score)))
    return [condition for condition, _ in conditions], [value for _, value in conditions]


def _cursor(episode: Episode) -> EpisodeCursor:
    return episode.opened_at, episode.id


def _rebuilt(con: sqlite3.Connection, episode: str) -> Episode | None:
    entries = [entry_of(row) for row in transitions_of(con, episode)]
    transitions = [
        AlertTransition(
            one.fingerprint, one.query, one.episode, AuditEvent(one.event), one.at, one.why, one.who, one.details
        )
        for one in entries
        if one.intact and one.event in _EVENTS
    ]
    return episode_of(transitions)


_EVENTS = frozenset(AuditEvent)


def _row(episode: Episode) -> Row:
    reading = astuple(episode.worst) if episode.worst is not None else (None,) * len(_READING)
    row = (
        episode.id,
        episode.query,
        episode.fingerprint,
        str(episode.status),
        float(episode.opened_at),
        _number(episode.fired_at),
        _number(episode.resolved_at),
        _text(episode.resolved_why),
        _number(episode.acknowledged_at),
        _text(episode.acknowledged_by),
        _text(episode.acknowledged_why),
        None if episode.feedback is None else str(episode.feedback),
        _number(episode.feedback_at),
        _text(episode.feedback_by),
        _text(episode.feedback_comment),
        mapping(episode.labels),
        storable(episode.summary),
        *map(_number, reading),
    )
    return (*row, seal(*row))


def _episode(row: Row) -> Episode | None:
    """Return the episode of a row of `_row`, or None where the checksum does not hold."""
    if seal(*row[:-1]) != row[-1]:
        return None
    values: dict[str, Any] = dict(zip(EPISODES, row, strict=False))
    del values["status"]
    reading = [
        values.pop(name) for name in ("seen_at", "observed", "expected", "lower", "upper", "score", "z", "votes")
    ]
    values["labels"] = json.loads(values["labels"])
    values["feedback"] = None if values["feedback"] is None else Feedback(values["feedback"])
    return Episode(**values, worst=None if reading[0] is None else Observation(*reading))


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)
