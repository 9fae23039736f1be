"""All state of the exporter: a locked directory with two databases."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from exporter.alerting.alert import Alert, AlertState, AlertTransition, Step
from exporter.alerting.episode import Episode, Feedback
from exporter.store.alerts import AlertLog
from exporter.store.audit import AuditCursor, AuditPage, read_audit, retain_audit
from exporter.store.directory import StateDirectory
from exporter.store.episodes import (
    EpisodeCursor,
    EpisodePage,
    Wanted,
    count_feedback,
    find_episode,
    read_episodes,
    transitions_of,
)
from exporter.store.events import EventLog
from exporter.store.feedback import Change, PendingFeedback, acknowledge, forget_lessons, give_feedback, read_lessons
from exporter.store.learned_arrays import LearnedArrays, LearnedState
from exporter.store.opening import Recovery
from exporter.store.rows import AuditEntry, Delivery, entry_of

__all__ = ["Store"]


class Store:
    """The state, safe to use from any thread. Use `open`.

    What concerns alerts is durable when a call returns; learned arrays may lose their last checkpoints
    when the power fails. Calls raise `StoreError`, whose `reason` is a metric label, and work again as
    soon as the cause is gone.

    Attributes
    ----------
    recovered : tuple of Recovery
        Databases that were damaged at the start and were begun afresh; empty on a normal start.
    damaged : tuple of str
        Rows of intact databases that were dropped at the start because their checksum did not hold.
    calendar : EventLog
        Announced events, and the silences that were made for the calendar.
    """

    def __init__(
        self, directory: StateDirectory, alerts: AlertLog, learned: LearnedArrays, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._alerts = alerts
        self._learned = learned
        self._clock = clock
        found = (alerts.database.recovery, learned.database.recovery)
        self.recovered: tuple[Recovery, ...] = tuple(recovery for recovery in found if recovery is not None)
        self.damaged: tuple[str, ...] = alerts.damaged
        self.calendar = EventLog(alerts.database)

    @classmethod
    def open(cls, path: Path | str, *, clock: Callable[[], float]) -> Self:
        """Lock the directory, bring both databases into a sound state of this version, and open them.

        Parameters
        ----------
        path : Path or str
            The state directory; created where it is missing.
        clock : callable
            Returns Unix seconds.

        Raises
        ------
        StoreError
            The directory is unsafe, read-only or in use, or a database is newer than this program.
        """
        with contextlib.ExitStack() as opened:
            directory = opened.enter_context(StateDirectory.open(Path(path)))
            alerts = AlertLog(directory.file("anomaly.db"), at=clock())
            opened.callback(alerts.close)
            learned = LearnedArrays(directory.file("learned.db"), at=clock())
            opened.pop_all()
        return cls(directory, alerts, learned, clock)

    def commit(self, query: str, slot: float, step: Step) -> bool:
        """Apply the step of a slot: alerts, transitions and watermark, all or nothing.

        Returns False, and changes nothing, where `slot` is not newer than the query's watermark.
        """
        return self._alerts.commit(query, slot, step)

    def record(self, query: str, step: Step) -> None:
        """Apply a step that belongs to no slot (hold, restore, withdraw): the watermark stays."""
        self._alerts.record(query, step)

    def append(self, transitions: Iterable[AlertTransition]) -> int:
        """Add events to the audit that change no alert, and return how many were new."""
        return self._alerts.append(transitions)

    def alerts(self) -> dict[str, dict[str, Alert]]:
        """Return all alerts, by query and fingerprint."""
        return self._alerts.alerts()

    def notes(self) -> dict[str, bytes]:
        """Return what is remembered beside the alerts, by query; see `Step.notes`."""
        return self._alerts.notes()

    def watermark(self, query: str) -> float | None:
        """Return the newest slot that was committed for a query, or None."""
        return self._alerts.watermark(query)

    def delivered(self, am_key: str, items: Iterable[tuple[str, str, AlertState]], at: float) -> None:
        """Note that an Alertmanager took alerts: (fingerprint, episode, state) as they were sent."""
        self._alerts.delivered(am_key, items, at)

    def deliveries(self, am_key: str) -> dict[str, Delivery]:
        """Return what an Alertmanager confirmed last, by fingerprint; compare its episode."""
        return self._alerts.deliveries(am_key)

    def forget_alertmanager(self, am_key: str) -> None:
        """Drop what an Alertmanager confirmed, because it is no longer configured."""
        self._alerts.forget_alertmanager(am_key)

    def audit(
        self,
        *,
        query: str | None = None,
        fingerprint: str | None = None,
        since: float | None = None,
        after: AuditCursor | None = None,
        limit: int = 100,
    ) -> AuditPage:
        """Return a page of the audit, newest first; `after` is `next` of the page before, `limit` at most 1000."""
        return read_audit(
            self._alerts.database, query=query, fingerprint=fingerprint, since=since, after=after, limit=limit
        )

    def episodes(
        self,
        wanted: Wanted = Wanted(),  # noqa: B008 - frozen.
        *,
        after: EpisodeCursor | None = None,
        limit: int = 100,
    ) -> EpisodePage:
        """Return a page of episodes, newest first; `after` is `next` of the page before, `limit` at most 1000."""
        return self._alerts.database.read(lambda con: read_episodes(con, wanted, after=after, limit=limit))

    def episode(self, episode: str) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
        """Return an episode with its transitions, oldest first; None where there is none."""

        def read(con: sqlite3.Connection) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
            found = find_episode(con, episode)
            return None if found is None else (found, tuple(map(entry_of, transitions_of(con, episode))))

        return self._alerts.database.read(read)

    def acknowledge(self, episode: str, *, at: float, who: str, why: str) -> Change:
        """Note that somebody takes care of an episode. The first one does; an episode that is over stays as it is."""
        return self._alerts.database.write(lambda con: acknowledge(con, episode, at=at, who=who, why=why))

    def give_feedback(self, episode: str, verdict: Feedback, *, at: float, who: str, comment: str) -> Change:
        """Note what somebody says an episode was; the newest word holds. Where it teaches, it is a lesson as well."""
        return self._alerts.database.write(
            lambda con: give_feedback(con, episode, verdict, at=at, who=who, comment=comment)
        )

    def lessons(self) -> list[PendingFeedback]:
        """Return the feedback that the baseline has not been taught so far, oldest first."""
        return self._alerts.database.read(read_lessons)

    def forget_lessons(self, lessons: Iterable[PendingFeedback]) -> None:
        """Note that lessons were learned, and that what came of them is durable."""
        learned = tuple(lessons)
        self._alerts.database.write(lambda con: forget_lessons(con, learned))

    def feedback(self) -> dict[str, dict[Feedback, int]]:
        """Return how many episodes have which feedback, by query."""
        return self._alerts.database.read(count_feedback)

    def retain(self, before: float) -> int:
        """Delete episodes and events that ended before an instant, in short slices; returns entries of the audit."""
        self.calendar.retain(before)
        return retain_audit(self._alerts.database, before, at=self._clock())

    def save_learned(
        self,
        query: str,
        version: str,
        at: float,
        parts: Mapping[str, NDArray[Any]],
        series: Iterable[tuple[int, bytes]] | None = None,
        removed: Iterable[int] = (),
    ) -> None:
        """Write the parts and series that changed, all or nothing; another `version` drops what was there."""
        self._learned.save(query, version, at, parts, series, removed)

    def load_learned(self, query: str, version: str) -> LearnedState | None:
        """Return what was learned of a query, or None where there is nothing of this version."""
        return self._learned.load(query, version)

    def forget_learned(self, query: str) -> None:
        """Drop all that was learned of a query."""
        self._learned.forget(query)

    def learned_queries(self) -> list[str]:
        """Return the names of the queries of which something is learned."""
        return self._learned.queries()

    def checkpoint(self) -> bool:
        """Empty both write-ahead logs; False while an outside reader prevents it."""
        return all([self._alerts.database.checkpoint(), self._learned.database.checkpoint()])

    def wal_bytes(self) -> int:
        """Size of both write-ahead logs, in bytes."""
        return self._alerts.database.wal_bytes() + self._learned.database.wal_bytes()

    def size_bytes(self) -> int:
        """Size of both databases with their logs, in bytes."""
        return self._alerts.database.size_bytes() + self._learned.database.size_bytes()

    def close(self) -> None:
        """Finish writing, checkpoint, close and unlock. Closing twice does nothing."""
        try:
            self._alerts.close()
        finally:
            try:
                self._learned.close()
            finally:
                self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
