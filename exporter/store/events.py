"""Announced events, and the silences that were created for the calendar, in ``anomaly.db``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from exporter.calendar.events import AnnouncedEvent
from exporter.store.database import Database
from exporter.store.rows import Row, intact, sealed

__all__ = ["EVENT_COLUMNS", "EVENT_TABLES", "SILENCE_COLUMNS", "CreatedSilence", "EventLog", "SilenceLog"]

EVENT_COLUMNS = (
    "id", "name", "source", "action", "multiplier", "matchers", "starts_at", "ends_at", "comment", "who", "created_at",
    "updated_at", "revision",
)  # fmt: skip
SILENCE_COLUMNS = ("id", "entry", "ends_at", "removed")

EVENT_TABLES = (
    """
    CREATE TABLE events (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        action TEXT NOT NULL,
        multiplier REAL NOT NULL,
        matchers TEXT NOT NULL,
        starts_at REAL NOT NULL,
        ends_at REAL NOT NULL,
        comment TEXT NOT NULL,
        who TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        revision REAL NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX events_by_end ON events (ends_at)",
    # Created in an Alertmanager for the calendar, so that they can be ended when an entry is removed.
    """
    CREATE TABLE silences (
        id TEXT NOT NULL PRIMARY KEY,
        entry TEXT NOT NULL,
        ends_at REAL NOT NULL,
        removed INTEGER NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)
"""What a version of the schema adds."""

_SILENCE_RETENTION = 7 * 86400.0
"""Seconds that a silence is kept after its end; Alertmanager forgets it after five days."""


@dataclass(frozen=True)
class CreatedSilence:
    """A silence that this exporter created.

    Attributes
    ----------
    id : str
    entry : str
        Name of the calendar entry that it was created for.
    ends_at : float, Unix seconds
    removed : bool
        Whether this exporter ended it.
    """

    id: str
    entry: str
    ends_at: float
    removed: bool = False


class EventLog:
    """Announced events; durable when a call returns. Calls raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[AnnouncedEvent]:
        """Return every event, those that are over too, in the order in which they begin."""
        select = f"SELECT {', '.join(EVENT_COLUMNS)}, crc FROM events ORDER BY starts_at, name"  # noqa: S608 - our own names.
        rows = self._database.read(lambda con: con.execute(select).fetchall())
        return [_event(row) for row in intact(rows)]

    def put(self, event: AnnouncedEvent) -> None:
        """Add an event, or replace the one of the same name."""
        row = _row(event)
        self._database.write(lambda con: con.execute(_replace("events", len(row)), row))

    def remove(self, identity: str) -> bool:
        """Remove an event by its id; return whether it was there."""
        return self._database.write(lambda con: con.execute("DELETE FROM events WHERE id=?", (identity,)).rowcount > 0)

    def retain(self, before: float) -> int:
        """Delete the events that ended before an instant; return how many."""
        return self._database.write(lambda con: con.execute("DELETE FROM events WHERE ends_at < ?", (before,)).rowcount)


class SilenceLog:
    """Silences that were created for the calendar; durable when a call returns. Calls raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> dict[str, CreatedSilence]:
        """Return the silences that were created, by id."""
        select = f"SELECT {', '.join(SILENCE_COLUMNS)}, crc FROM silences"  # noqa: S608 - our own names.
        rows = self._database.read(lambda con: con.execute(select).fetchall())
        return {name: CreatedSilence(name, entry, end, bool(removed)) for name, entry, end, removed in intact(rows)}

    def record(self, silences: Iterable[CreatedSilence], *, at: float) -> None:
        """Write silences that were created or ended, and delete those that are long over."""
        rows = [sealed(each.id, each.entry, float(each.ends_at), int(each.removed)) for each in silences]

        def write(con: sqlite3.Connection) -> None:
            con.executemany(_replace("silences", len(SILENCE_COLUMNS) + 1), rows)
            con.execute("DELETE FROM silences WHERE ends_at < ?", (at - _SILENCE_RETENTION,))

        self._database.write(write)


def _replace(table: str, columns: int) -> str:
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608 - our own names.


def _row(event: AnnouncedEvent) -> Row:
    # The columns have the order of the fields; all numbers are REAL.
    values = asdict(event)
    again = {name: values.pop(name) for name in ("cron", "duration", "timezone")}
    # What an event that comes again has beside the others stands with its matchers.
    values["match"] = json.dumps({"match": event.match, **again} if event.cron else event.match)
    return sealed(*(float(value) if isinstance(value, int) else value for value in values.values()))


def _event(row: Row) -> AnnouncedEvent:
    matchers = json.loads(row[5])
    again = matchers if isinstance(matchers, dict) else {"match": matchers}
    values: Row = (*row[:5], tuple(again.pop("match")), *row[6:])
    return AnnouncedEvent(*values, **again)
