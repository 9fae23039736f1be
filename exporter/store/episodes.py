"""Episodes page by page, their acknowledgement, and their feedback."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from exporter.alerting.alert import AuditEvent
from exporter.alerting.episode import Episode, Feedback, Status
from exporter.store.audit import PAGE_LIMIT
from exporter.store.database import Database
from exporter.store.episode_list import EpisodeCursor, EpisodeFilter, EpisodePage, page_of
from exporter.store.episode_rows import (
    find_episode,
    transitions_of,
)
from exporter.store.feedback_rows import (
    SOON,
    PendingFeedback,
    SilenceComment,
    append_event,
    decline,
    is_acknowledged_by,
    is_noted,
    next_number,
)
from exporter.store.rows import AUDIT_NAMES, AuditEntry, entry_of, intact, sealed

__all__ = [
    "EpisodeChange",
    "EpisodeCursor",
    "EpisodeFilter",
    "EpisodeLog",
    "EpisodePage",
]

log = logging.getLogger(__name__)

_FEEDBACKS = frozenset(Feedback)
_GIVEN = (
    AuditEvent.FEEDBACK,
    AuditEvent.ACKNOWLEDGED,
    AuditEvent.UNACKNOWLEDGED,
    AuditEvent.FEEDBACK_WITHDRAWN,
)
_ALL = EpisodeFilter()

EventTime = tuple[str, float]
"""Name of a known event, and when it began, Unix seconds."""


@dataclass(frozen=True, slots=True)
class EpisodeChange:
    """Result of an acknowledgement or of feedback.

    Attributes
    ----------
    episode : Episode or None
        As it is now; None where there is none.
    changed : bool
        False where it was so before, or cannot be: an episode that is over is not acknowledged.
    """

    episode: Episode | None
    changed: bool = False


class EpisodeLog:
    """Episodes and their feedback; whatever was written is durable when a call returns. Calls raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: tuple[Callable[[PendingFeedback], None], ...] = ()
        self._withdrawal_listeners: tuple[Callable[[str], None], ...] = ()
        self._events_during: Callable[[Episode], Sequence[EventTime]] = lambda episode: ()  # noqa: ARG005

    def on_feedback(self, notify: Callable[[PendingFeedback], None]) -> None:
        """Call `notify` with all new feedback, once it is durable, in the thread that gave it."""
        self._listeners = (*self._listeners, notify)

    def on_withdrawal(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with the episode whose feedback is withdrawn, once that is durable."""
        self._withdrawal_listeners = (*self._withdrawal_listeners, notify)

    def note_events(self, during: Callable[[Episode], Sequence[EventTime]]) -> None:
        """Note with new feedback which known events there were: `during` returns name and start of each."""
        self._events_during = during

    def page(
        self,
        filters: EpisodeFilter = _ALL,
        *,
        after: EpisodeCursor | None = None,
        limit: int = 100,
    ) -> EpisodePage:
        """Return a page of episodes, those opened last first.

        Parameters
        ----------
        filters : EpisodeFilter
        after : EpisodeCursor, optional
            `next` of the page before.
        limit : int
            Episodes a page, 1 to 1000. A page filtered by labels may have fewer although more follow.

        Raises
        ------
        ValueError
            The limit is out of range.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise ValueError(f"limit must be between 1 and {PAGE_LIMIT}, not {limit}")
        return self._database.read(lambda con: page_of(con, filters, after, limit))

    def get(self, episode: str) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
        """Return an episode with its transitions, oldest first; None where there is none."""

        def read(con: sqlite3.Connection) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
            match = find_episode(con, episode)
            return None if match is None else (match, tuple(map(entry_of, transitions_of(con, episode))))

        return self._database.read(read)

    def acknowledge(self, episode: str, *, at: float, who: str, why: str, silence: str = "") -> EpisodeChange:
        """Acknowledge an episode. Only the first acknowledgement counts; an episode that is over stays as it is.

        `silence` is the id of the silence that does it.
        """

        def write(con: sqlite3.Connection) -> EpisodeChange:
            match = find_episode(con, episode)
            if match is None or match.acknowledged_at is not None or match.status is Status.RESOLVED:
                return EpisodeChange(match)
            if silence and is_acknowledged_by(con, match, silence):
                # It was taken back since.
                return EpisodeChange(match)
            details = {"silence": silence} if silence else {}
            number = next_number(con, match, AuditEvent.ACKNOWLEDGED)
            changed = append_event(con, match, AuditEvent.ACKNOWLEDGED, at, who, why, details, number)
            return EpisodeChange(changed, changed=True)

        change = self._database.write(write)
        if change.changed and change.episode is not None:
            more = {"query": change.episode.query, "episode": episode, "who": who, "why": why}
            log.info("alert acknowledged", extra=more)
        return change

    def give_feedback(
        self,
        episode: str,
        verdict: Feedback,
        *,
        at: float,
        who: str,
        comment: str,
        remark: SilenceComment | None = None,
    ) -> EpisodeChange:
        """Add feedback to an episode; the newest holds, and repeating it changes nothing.

        Feedback that changes the baseline is pending until `discard_feedback`.

        Parameters
        ----------
        remark : SilenceComment, optional
            Where it is the comment of a silence: it counts once, also after a restart, and never against what was said
            later. The audit notes why where it does not count.
        """

        def write(con: sqlite3.Connection) -> EpisodeChange:
            match = find_episode(con, episode)
            if match is None:
                return EpisodeChange(None)
            if (match.feedback, match.feedback_by, match.feedback_comment) == (verdict, who, comment):
                return EpisodeChange(match)
            details = {"verdict": str(verdict)}
            if remark is not None:
                if is_noted(con, match, remark.silence, who, comment):
                    return EpisodeChange(match)
                details["silence"] = remark.silence
                later = match.feedback_at is not None and match.feedback_at > remark.written_at
                if why := remark.declined or ("a later verdict holds" if later else ""):
                    return EpisodeChange(decline(con, match, at, who, why, {**details, "comment": comment}))
            con.execute("DELETE FROM lessons WHERE episode=?", (episode,))
            if verdict.changes_baseline:
                written_at = at if remark is None else min(at, remark.written_at)
                if match.worst is not None and match.worst.at <= written_at + SOON:
                    details["level"] = json.dumps([match.worst.observed, match.worst.expected])
                row = sealed(episode, match.query, match.fingerprint, str(verdict), float(written_at))
                con.execute("INSERT INTO lessons VALUES (?, ?, ?, ?, ?, ?)", row)
            if events := self._events_during(match):
                details["events"] = json.dumps(list(events))
            number = next_number(con, match, AuditEvent.FEEDBACK)
            changed = append_event(con, match, AuditEvent.FEEDBACK, at, who, comment, details, number)
            return EpisodeChange(changed, changed=True)

        change = self._database.write(write)
        if change.changed and change.episode is not None:
            more = {"query": change.episode.query, "episode": episode, "who": who, "verdict": str(verdict)}
            log.info("feedback on an alert", extra={**more, "why": comment})
            written_at = at if remark is None else min(at, remark.written_at)
            feedback = PendingFeedback(episode, change.episode.query, change.episode.fingerprint, verdict, written_at)
            for notify in self._listeners:
                notify(feedback)
        return change

    def given_here(self, since: float) -> list[AuditEntry]:
        """Return what people did here since an instant, and not by a silence: said of anomalies, and taken back."""
        marks = ", ".join("?" * len(_GIVEN))
        select = f"SELECT id, {AUDIT_NAMES} FROM audit WHERE at >= ? AND event IN ({marks}) ORDER BY at DESC LIMIT ?"  # noqa: S608
        values = (since, *map(str, _GIVEN), PAGE_LIMIT)
        entries = map(entry_of, self._database.read(lambda con: con.execute(select, values).fetchall()))
        return [entry for entry in entries if entry.intact and "silence" not in entry.details]

    def adopt(self, feedback: PendingFeedback) -> None:
        """Take feedback on an episode that this exporter does not have, because it was not running."""
        row = sealed(feedback.episode, feedback.query, feedback.fingerprint, str(feedback.verdict), float(feedback.at))
        insert = "INSERT OR REPLACE INTO lessons VALUES (?, ?, ?, ?, ?, ?)"
        self._database.write(lambda con: con.execute(insert, row))
        for notify in self._listeners:
            notify(feedback)

    def deviation_of(self, feedback: PendingFeedback) -> float | None:
        """Return how far from the expected an episode had been at most when it was called normal; None: not known."""
        result = self.get(feedback.episode)
        given = [] if result is None else [each for each in result[1] if each.event == AuditEvent.FEEDBACK]
        level = json.loads(given[-1].details.get("level", "[]")) if given and given[-1].intact else []
        return None if len(level) != 2 or None in level else abs(level[0] - level[1])

    def note_unlearned(self, feedback: PendingFeedback, *, at: float, why: str) -> None:
        """Note in the audit why feedback was not learned."""

        def write(con: sqlite3.Connection) -> None:
            match = find_episode(con, feedback.episode)
            if match is not None:
                decline(con, match, at, "exporter", why, {"verdict": str(feedback.verdict)})

        self._database.write(write)

    def take_back(
        self, episode: str, event: AuditEvent, *, at: float, who: str, why: str = "", silence: str = ""
    ) -> EpisodeChange:
        """Take back an acknowledgement or feedback, by a further transition.

        Parameters
        ----------
        event : AuditEvent
            `UNACKNOWLEDGED` or `FEEDBACK_WITHDRAWN`. A level that was already accepted stays so.
        silence : str
            Id of the silence that says so, which another exporter made.
        """
        of_feedback = event is AuditEvent.FEEDBACK_WITHDRAWN

        def write(con: sqlite3.Connection) -> EpisodeChange:
            match = find_episode(con, episode)
            if match is None or (match.feedback_at if of_feedback else match.acknowledged_at) is None:
                return EpisodeChange(match)
            if of_feedback:
                con.execute("DELETE FROM lessons WHERE episode=?", (episode,))
            details = {"silence": silence} if silence else {}
            changed = append_event(con, match, event, at, who, why, details, next_number(con, match, event))
            return EpisodeChange(changed, changed=True)

        change = self._database.write(write)
        if change.changed and change.episode is not None:
            text = "feedback on an alert withdrawn" if of_feedback else "acknowledgement of an alert withdrawn"
            log.info(text, extra={"query": change.episode.query, "episode": episode, "who": who, "why": why})
            if of_feedback:
                for notify in self._withdrawal_listeners:
                    notify(episode)
        return change

    def expected_during(self) -> dict[tuple[str, str], set[float]]:
        """Return the events during which people called alerts expected.

        Returns
        -------
        dict
            By name of the event and query: when each began, Unix seconds.
        """
        select = (
            "SELECT audit.query, audit.details FROM audit JOIN episodes ON episodes.id = audit.episode "
            "WHERE audit.event = ? AND episodes.feedback = ? AND audit.details LIKE '%\"events\"%'"
        )
        values = (str(AuditEvent.FEEDBACK), str(Feedback.EXPECTED))
        starts: dict[tuple[str, str], set[float]] = {}
        for query, details in self._database.read(lambda con: con.execute(select, values).fetchall()):
            for name, start in json.loads(json.loads(details).get("events", "[]")):
                starts.setdefault((str(name), query), set()).add(float(start))
        return starts

    def pending_feedback(self) -> list[PendingFeedback]:
        """Return the feedback that the baselines have not applied yet, oldest first."""
        select = "SELECT episode, query, fingerprint, verdict, at, crc FROM lessons ORDER BY at"
        rows = self._database.read(lambda con: con.execute(select).fetchall())
        return [
            PendingFeedback(episode, query, fingerprint, Feedback(verdict), at)
            for episode, query, fingerprint, verdict, at in intact(rows)
        ]

    def discard_feedback(self, applied: Iterable[PendingFeedback]) -> None:
        """Delete pending feedback whose effect is durable; newer feedback on the same episode stays."""
        keys = [(feedback.episode, feedback.at) for feedback in applied]
        self._database.write(lambda con: con.executemany("DELETE FROM lessons WHERE episode=? AND at=?", keys))

    def count_feedback(self) -> dict[tuple[str, str], dict[Feedback, int]]:
        """Return how many episodes have which feedback, by query and fingerprint."""
        counts: dict[tuple[str, str], dict[Feedback, int]] = {}
        for query, fingerprint, feedback, count in self._database.read(_verdicts):
            if feedback in _FEEDBACKS:
                counts.setdefault((query, fingerprint), {})[Feedback(feedback)] = count
        return counts


def _verdicts(con: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    select = "SELECT query, fingerprint, feedback, count(*) FROM episodes WHERE feedback IS NOT NULL GROUP BY 1, 2, 3"
    return con.execute(select).fetchall()
