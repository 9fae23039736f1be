"""The audit: append-only, read page by page, deleted from by retention alone."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.alerting.alert import AlertTransition
from exporter.store.database import Database
from exporter.store.rows import AUDIT_NAMES, AuditEntry, audit_row, entry_of

__all__ = ["PAGE_LIMIT", "AuditCursor", "AuditLog", "AuditPage", "append_audit"]

log = logging.getLogger(__name__)

PAGE_LIMIT = 1000
_SLICE = 0.03
"""Seconds of deleting before others may write; the commit that follows takes the rest of 100 ms."""
_SCAN = 250

AuditCursor = tuple[float, int]
"""Where a page ended: the time and id of its last entry."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first, and where the next page begins; None where there is none."""

    entries: tuple[AuditEntry, ...]
    next: AuditCursor | None


class AuditLog:
    """Transitions of all episodes. Calls raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        *,
        query: str | None = None,
        since: float | None = None,
        after: AuditCursor | None = None,
        limit: int = 100,
    ) -> AuditPage:
        """Return a page of the audit, newest first.

        Parameters
        ----------
        query : str, optional
            Only entries of this one.
        since : float, optional
            Only entries at this instant or later, Unix seconds.
        after : AuditCursor, optional
            `next` of the page before.
        limit : int
            Entries a page, 1 to 1000.

        Raises
        ------
        ValueError
            The limit is out of range.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise ValueError(f"limit must be between 1 and {PAGE_LIMIT}, not {limit}")
        filters: list[tuple[str, tuple[object, ...]]] = []
        if query is not None:
            filters.append(("query = ?", (query,)))
        if since is not None:
            filters.append(("at >= ?", (since,)))
        if after is not None:
            filters.append(("(at, id) < (?, ?)", after))
        where = " AND ".join(condition for condition, _ in filters) or "1"
        values = [value for _, each in filters for value in each]
        # The conditions are those above; all data are parameters.
        select = f"SELECT id, {AUDIT_NAMES} FROM audit WHERE {where} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608
        rows = self._database.read(lambda con: con.execute(select, (*values, limit + 1)).fetchall())
        entries = tuple(entry_of(row) for row in rows[:limit])
        return AuditPage(entries, (rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None)

    def retain(self, before: float, *, at: float) -> int:
        """Delete episodes whose last event is older than `before` and that have no alert any more.

        Other writers get their turn every 100 ms. What was deleted is noted in the table ``retention``, and stays
        deleted where a later slice fails.

        Parameters
        ----------
        before, at : float
            Unix seconds; `at` is now.

        Returns
        -------
        int
            Rows deleted.
        """
        job = _Retention(before, at)
        while not self._database.write(job.slice):
            pass
        if job.deleted:
            self._database.shrink()
            log.info("retention deleted %d audit rows of episodes that ended before %.0f", job.deleted, before)
        return job.deleted


def append_audit(con: sqlite3.Connection, transitions: Iterable[AlertTransition]) -> int:
    """Append transitions that are not in the audit already; return how many."""
    before = con.total_changes
    # Named conflict only: OR IGNORE would swallow a missing value as well.
    con.executemany(
        f"INSERT INTO audit ({AUDIT_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names.
        " ON CONFLICT (fingerprint, episode, event, number) DO NOTHING",
        [audit_row(transition) for transition in transitions],
    )
    return con.total_changes - before


class _Retention:
    """Walks the old part of the audit once, in time order, a slice at a time."""

    def __init__(self, before: float, at: float) -> None:
        self.deleted = 0
        self._before = before
        self._at = at
        self._cursor: AuditCursor = (-1e300, 0)
        self._job: int | None = None

    def slice(self, con: sqlite3.Connection) -> bool:
        """Work for one slice; True when there is nothing left."""
        until = time.monotonic() + _SLICE
        deleted = 0
        cursor = self._cursor
        rows = con.execute(
            "SELECT at, id, query, fingerprint, episode FROM audit WHERE at < ? AND (at, id) > (?, ?)"
            " ORDER BY at, id LIMIT ?",
            (self._before, *cursor, _SCAN),
        ).fetchall()
        done = len(rows) < _SCAN
        job = self._job
        for at, number, query, fingerprint, episode in rows:
            if time.monotonic() > until:
                done = False
                break
            cursor = (at, number)
            if self._open(con, query, fingerprint, episode):
                continue
            if not deleted:
                job = self._unlock(con, job)
            deleted += con.execute(
                "DELETE FROM audit WHERE fingerprint=? AND episode=?", (fingerprint, episode)
            ).rowcount
            con.execute("DELETE FROM episodes WHERE id=?", (episode,))
            con.execute("DELETE FROM lessons WHERE episode=?", (episode,))
        if deleted:
            con.execute("UPDATE retention SET running=0, deleted=deleted+? WHERE id=?", (deleted, job))
        # Only what is committed counts; a slice that fails is begun again by the next job.
        self.deleted, self._cursor, self._job = self.deleted + deleted, cursor, job
        return done

    def _open(self, con: sqlite3.Connection, query: str, fingerprint: str, episode: str) -> bool:
        row = con.execute(
            "SELECT EXISTS (SELECT 1 FROM alerts WHERE query=? AND fingerprint=? AND episode=?)"
            " OR EXISTS (SELECT 1 FROM audit WHERE fingerprint=? AND episode=? AND at >= ?)",
            (query, fingerprint, episode, fingerprint, episode, self._before),
        )
        return bool(row.fetchone()[0])

    def _unlock(self, con: sqlite3.Connection, job: int | None) -> int | None:
        # Only inside this transaction: the trigger allows deletion while a job runs, and up to its `before`.
        if job is not None:
            con.execute("UPDATE retention SET running=1 WHERE id=?", (job,))
            return job
        return con.execute(
            "INSERT INTO retention (at, before, running) VALUES (?, ?, 1)", (self._at, self._before)
        ).lastrowid
