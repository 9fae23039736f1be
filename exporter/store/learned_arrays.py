"""``learned.db``: the learned state of each query, written at checkpoints.

It can be learned again from Prometheus, so the last commits may be lost when the power fails, and damaged parts are
left out and reported instead of being repaired.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from exporter.store.arrays import DamagedPartError, Written, move_part, read_part, write_part
from exporter.store.database import Database
from exporter.store.errors import primary_code
from exporter.store.opening import Schema, migration
from exporter.store.rows import seal

__all__ = ["LEARNED_SCHEMA", "LearnedArrays", "LearnedState", "read_head", "read_state"]

log = logging.getLogger(__name__)

_TO_VERSION_1 = migration(
    """
    CREATE TABLE learned (
        query TEXT NOT NULL PRIMARY KEY,
        version TEXT NOT NULL,
        at REAL NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE parts (
        query TEXT NOT NULL,
        part TEXT NOT NULL,
        dtype TEXT NOT NULL,
        shape TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (query, part)
    ) WITHOUT ROWID
    """,
    # With a row id, because rows with large blobs are slow to find in a table without one.
    """
    CREATE TABLE pieces (
        query TEXT NOT NULL,
        part TEXT NOT NULL,
        piece INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (query, part, piece)
    )
    """,
    """
    CREATE TABLE series (
        query TEXT NOT NULL,
        number INTEGER NOT NULL,
        name BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (query, number)
    ) WITHOUT ROWID
    """,
)
_TABLES = ("learned", "parts", "pieces", "series")


_PAGE_SIZE = 32768
"""Bytes: most pieces are large, and in pages of 4 KiB they take twice the time to write."""

LEARNED_SCHEMA = Schema(application_id=0x616E6F32, migrations=(_TO_VERSION_1,), page_size=_PAGE_SIZE)
"""The schema of ``learned.db``; add a migration at the end, and never change one that was released."""


@dataclass(frozen=True, slots=True)
class LearnedState:
    """Learned state of a query.

    Attributes
    ----------
    at : float
        The newest slot that is in it, Unix seconds.
    parts : dict
        Arrays by name, as they were saved.
    series : list of (int, bytes)
        Row and key of each series, by row.
    damaged : tuple of str
        Parts that are left out because they do not match their checksum; ``series`` where that holds for a row of
        the series.
    """

    at: float
    parts: dict[str, NDArray[Any]]
    series: list[tuple[int, bytes]]
    damaged: tuple[str, ...]


class LearnedArrays:
    """Learned state of all queries. Calls raise `StoreError`.

    Parameters
    ----------
    file : Path
        In a locked `StateDirectory`.
    at : float
        Unix seconds of this start.

    Attributes
    ----------
    database : Database
    """

    def __init__(self, file: Path, *, at: float) -> None:
        self.database = Database(file, LEARNED_SCHEMA, synchronous="NORMAL", at=at)
        self._written: dict[str, dict[str, Written]] = {}

    def save(
        self,
        query: str,
        version: str,
        at: float,
        parts: Mapping[str, NDArray[Any]],
        series: Iterable[tuple[int, bytes]] | None = None,
        removed: Iterable[int] = (),
    ) -> None:
        """Write what has changed since the last call, all of it or nothing.

        Parameters
        ----------
        query : str
        version : str
            Of the configuration and code that the arrays belong to. Where it is another one than is
            stored, all that is stored of the query is dropped first.
        at : float
            The newest slot that is in the arrays, Unix seconds.
        parts : mapping
            Arrays by name; those not given stay as they are. The call reads them until it returns.
        series : iterable of (int, bytes), optional
            Rows that are new or have another key.
        removed : iterable of int
            Rows without a series now; removed before `series` is added.

        Raises
        ------
        ValueError
            A type that is not stored.
        """
        names = [(query, int(row), bytes(key)) for row, key in series or ()]
        gone = [(query, int(row)) for row in removed]
        head = (query, version, float(at))
        # Taken away until it is committed: after a failure everything is written again.
        before = self._written.pop(query, {})

        def write(con: sqlite3.Connection) -> dict[str, Written]:
            stored, written = read_head(con, query), before
            if stored is None or stored[1] != version:
                _forget(con, query)
                written = {}
            con.executemany("DELETE FROM series WHERE query=? AND number=?", gone)
            con.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)", map(_sealed, names))
            new = {part: write_part(con, query, part, array, written.get(part)) for part, array in parts.items()}
            con.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?, ?)", (*head, seal(*head)))
            return written | new

        self._written[query] = self.database.write(write)

    def load(self, query: str, version: str) -> LearnedState | None:
        """Return what is stored of a query, or None where there is nothing of this version.

        Raises
        ------
        StoreError
            The file cannot be read; damaged parts are in `LearnedState.damaged`.
        """
        return self.database.read(lambda con: read_state(con, query, version))

    def forget(self, query: str) -> None:
        """Delete the state of a query."""
        self._written.pop(query, None)
        self.database.write(lambda con: _forget(con, query))
        self.database.shrink()

    def rename(self, query: str, to: str) -> None:
        """Put the state of a query in place of what is stored under another name; what is damaged is left out."""
        for name in (query, to):
            self._written.pop(name, None)

        def write(con: sqlite3.Connection) -> None:
            head = read_head(con, query)
            if head is None or head[1] is None:
                return
            _forget(con, to)
            for row in con.execute("SELECT * FROM parts WHERE query=?", (query,)).fetchall():
                move_part(con, row, to)
            for _, number, name, crc in con.execute("SELECT * FROM series WHERE query=?", (query,)).fetchall():
                if isinstance(number, int) and isinstance(name, bytes) and _sealed((query, number, name))[3] == crc:
                    con.execute("INSERT INTO series VALUES (?, ?, ?, ?)", _sealed((to, number, name)))
            moved = (to, *head[1:3])
            con.execute("INSERT INTO learned VALUES (?, ?, ?, ?)", (*moved, seal(*moved)))
            _forget(con, query)

        self.database.write(write)

    def version(self, query: str) -> str | None:
        """Return of which version the stored state of a query is; None where there is none."""
        head = self.database.read(lambda con: read_head(con, query))
        return None if head is None else head[1]

    def queries(self) -> list[str]:
        """Return the names of the queries that have stored state."""
        rows = self.database.read(lambda con: con.execute("SELECT query FROM learned ORDER BY query").fetchall())
        return [str(query) for (query,) in rows]

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def read_head(con: sqlite3.Connection, query: str) -> tuple[Any, ...] | None:
    """Return query, version, newest slot and checksum of what is stored of a query; None where there is nothing."""
    row: tuple[Any, ...] | None = con.execute("SELECT * FROM learned WHERE query=?", (query,)).fetchone()
    # An unreadable head counts as another version: a part of it would be kept without knowing what it belongs to.
    return row if row is None or seal(*row[:-1]) == row[-1] else (query, None, None, None)


def _forget(con: sqlite3.Connection, query: str) -> None:
    for table in _TABLES:
        con.execute(f"DELETE FROM {table} WHERE query=?", (query,))  # noqa: S608 - our own names.


def read_state(con: sqlite3.Connection, query: str, version: str) -> LearnedState | None:
    """Return what is stored of a query; see `LearnedArrays.load`."""
    head = read_head(con, query)
    if head is None:
        return None
    if head[1] != version:
        log.info("query=%s: what was learned is of other settings or an earlier version; it is learned anew", query)
        return None
    damaged: list[str] = []
    parts: dict[str, NDArray[Any]] = {}
    for row in con.execute("SELECT * FROM parts WHERE query=? ORDER BY part", (query,)).fetchall():
        try:
            parts[row[1]] = read_part(con, row)
        except (DamagedPartError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.Error) and primary_code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            damaged.append(str(row[1]))
            log.warning("query=%s: learned part %r is damaged and is learned again: %s", query, row[1], error)
    series = []
    for _, number, name, crc in con.execute("SELECT * FROM series WHERE query=? ORDER BY number", (query,)):
        if isinstance(number, int) and isinstance(name, bytes) and _sealed((query, number, name))[3] == crc:
            series.append((number, name))
        elif "series" not in damaged:
            damaged.append("series")
            log.warning("query=%s: a row of the learned series is damaged", query)
    return LearnedState(head[2], parts, series, tuple(damaged))


def _sealed(row: tuple[str, int, bytes]) -> tuple[str, int, bytes, int]:
    return (*row, seal(row[0], row[1], row[2].hex()))
