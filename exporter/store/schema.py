"""The tables of ``anomaly.db``, version by version, and what is carried over from a damaged file."""

from __future__ import annotations

import sqlite3
from operator import itemgetter

from exporter.alerting.alert import AlertState
from exporter.alerting.episode import Feedback
from exporter.store.episode_rows import EPISODES
from exporter.store.errors import SQLITE_ERRORS
from exporter.store.events import EVENT_COLUMNS, EVENT_TABLES, SILENCE_COLUMNS
from exporter.store.opening import Schema, migration
from exporter.store.pages import rows_in_pages
from exporter.store.rows import ALERT_COLUMNS, AUDIT_COLUMNS, Row, intact, seal, sealed

__all__ = ["ALERTS_SCHEMA"]

_AUDIT_GUARDS = (
    "CREATE INDEX audit_by_time ON audit (at)",
    "CREATE INDEX audit_by_query ON audit (query, at)",
    "CREATE INDEX audit_by_fingerprint ON audit (fingerprint, at)",
    """
    CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
    """
    CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    WHEN NOT EXISTS (SELECT 1 FROM retention WHERE running = 1 AND before > OLD.at)
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only; only the retention job deletes'); END
    """,
    """
    CREATE TRIGGER audit_id_is_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
)
"""Indexes of the audit, and the triggers that keep it append-only."""

_TO_VERSION_1 = migration(
    """
    CREATE TABLE alerts (
        query TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        episode TEXT NOT NULL,
        state TEXT NOT NULL,
        active_at REAL NOT NULL,
        evaluated_at REAL NOT NULL,
        fired_at REAL,
        resolved_at REAL,
        keep_since REAL,
        missing INTEGER NOT NULL,
        generator_url TEXT NOT NULL,
        labels TEXT NOT NULL,
        annotations TEXT NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (query, fingerprint)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE deliveries (
        am_key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        episode TEXT NOT NULL,
        acked_state TEXT NOT NULL,
        acked_at REAL NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (am_key, fingerprint)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX alerts_by_fingerprint ON alerts (fingerprint)",
    "CREATE INDEX deliveries_by_fingerprint ON deliveries (fingerprint)",
    """
    CREATE TABLE watermarks (
        query TEXT NOT NULL PRIMARY KEY,
        slot REAL NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        query TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        episode TEXT NOT NULL,
        event TEXT NOT NULL,
        who TEXT NOT NULL,
        why TEXT NOT NULL,
        details TEXT NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (fingerprint, episode, event)
    )
    """,
    # One row a retention job that deleted something: the log of what is gone, and the key to the trigger below.
    """
    CREATE TABLE retention (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        before REAL NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0,
        running INTEGER NOT NULL
    )
    """,
    "CREATE INDEX retention_running ON retention (before) WHERE running = 1",
    # REPLACE deletes without asking the trigger against it. IGNORE, because an event that repeats is no mistake.
    """
    CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
    WHEN EXISTS (
        SELECT 1 FROM audit WHERE fingerprint = NEW.fingerprint AND episode = NEW.episode AND event = NEW.event
    )
    BEGIN SELECT RAISE(IGNORE); END
    """,
    *_AUDIT_GUARDS,
    """
    CREATE TRIGGER retention_is_not_deleted BEFORE DELETE ON retention
    BEGIN SELECT RAISE(ABORT, 'the log of retention is append-only'); END
    """,
)

# State beside the alerts: storms and root causes; see `Step.notes`. SQLite keeps the text as it stands here, blanks
# included, and a database with another text counts as damaged.
_TO_VERSION_2 = migration("""
    CREATE TABLE notes (
        query TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
""")

_EPISODES_AND_FEEDBACK = migration(
    # The number distinguishes transitions that happen several times in an episode.
    """
    CREATE TABLE audit_3 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        query TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        episode TEXT NOT NULL,
        event TEXT NOT NULL,
        who TEXT NOT NULL,
        why TEXT NOT NULL,
        details TEXT NOT NULL,
        number INTEGER NOT NULL DEFAULT 0,
        crc INTEGER NOT NULL,
        UNIQUE (fingerprint, episode, event, number)
    )
    """,
    # What was damaged stays damaged.
    """
    INSERT INTO audit_3 SELECT id, at, query, fingerprint, episode, event, who, why, details, 0,
        CASE WHEN seal(at, query, fingerprint, episode, event, who, why, details) = crc
            THEN seal(at, query, fingerprint, episode, event, who, why, details, 0) ELSE crc END
    FROM audit
    """,
    # Numbers of entries are not given again, even where the last ones were deleted.
    "DELETE FROM sqlite_sequence WHERE name = 'audit_3'",
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'audit_3', seq FROM sqlite_sequence WHERE name = 'audit'",
    "DROP TABLE audit",
    "ALTER TABLE audit_3 RENAME TO audit",
    """
    CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
    WHEN EXISTS (
        SELECT 1 FROM audit
        WHERE fingerprint = NEW.fingerprint AND episode = NEW.episode AND event = NEW.event AND number = NEW.number
    )
    BEGIN SELECT RAISE(IGNORE); END
    """,
    *_AUDIT_GUARDS,
    "CREATE INDEX audit_by_episode ON audit (episode, id)",
    """
    CREATE TABLE episodes (
        id TEXT NOT NULL PRIMARY KEY,
        query TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        status TEXT NOT NULL,
        opened_at REAL NOT NULL,
        fired_at REAL,
        resolved_at REAL,
        resolved_why TEXT,
        acknowledged_at REAL,
        acknowledged_by TEXT,
        acknowledged_why TEXT,
        feedback TEXT,
        feedback_at REAL,
        feedback_by TEXT,
        feedback_comment TEXT,
        labels TEXT NOT NULL,
        summary TEXT NOT NULL,
        seen_at REAL,
        observed REAL,
        expected REAL,
        lower REAL,
        upper REAL,
        score REAL,
        z REAL,
        votes REAL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX episodes_by_time ON episodes (opened_at, id)",
    "CREATE INDEX episodes_by_status ON episodes (status, opened_at, id)",
    "CREATE INDEX episodes_by_query ON episodes (query, opened_at, id)",
    "CREATE INDEX episodes_by_feedback ON episodes (query, feedback) WHERE feedback IS NOT NULL",
    # Feedback that the baseline has not applied yet.
    """
    CREATE TABLE lessons (
        episode TEXT NOT NULL PRIMARY KEY,
        query TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        verdict TEXT NOT NULL,
        at REAL NOT NULL,
        crc INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


def _to_version_3(con: sqlite3.Connection) -> None:
    """Episodes and feedback. Episodes are rebuilt from the audit at the start."""
    con.create_function("seal", -1, seal, deterministic=True)
    _EPISODES_AND_FEEDBACK(con)


# Columns without the checksum, which is last.
_SALVAGED = {
    "watermarks": ("query", "slot"),
    "alerts": ALERT_COLUMNS,
    "deliveries": ("am_key", "fingerprint", "episode", "acked_state", "acked_at"),
    "notes": ("query", "value"),
    "audit": AUDIT_COLUMNS,
    "episodes": EPISODES,
    "lessons": ("episode", "query", "fingerprint", "verdict", "at"),
    "events": EVENT_COLUMNS,
    "silences": SILENCE_COLUMNS,
}
_REAL = frozenset({
    "at", "slot", "active_at", "evaluated_at", "fired_at", "resolved_at", "keep_since", "acked_at", "opened_at",
    "acknowledged_at", "feedback_at", "seen_at", "observed", "expected", "lower", "upper", "score", "z", "votes",
    "multiplier", "starts_at", "ends_at", "created_at", "updated_at", "revision",
})  # fmt: skip
"""Columns of real numbers."""
_ADDED: dict[tuple[str, str], object] = {("audit", "number"): 0}
"""What a column is worth where an older version did not have it."""


def _salvage(old: sqlite3.Connection, new: sqlite3.Connection, image: bytes) -> None:
    partly = []
    for table, columns in _SALVAGED.items():
        key = "id" if table == "audit" else columns[0]
        # From the other end too where reading stopped at a damaged page.
        if not _copy(old, new, table, columns, f"{key} ASC"):
            _copy(old, new, table, columns, f"{key} DESC")
            partly.append(table)
    if partly:
        _scan(image, new, partly)


def _scan(image: bytes, new: sqlite3.Connection, tables: list[str]) -> None:
    """Add the rows that tables could not reach any more, from the pages that hold them."""
    rows: dict[str, list[tuple[int, Row]]] = {table: [] for table in tables}
    for identity, stored in rows_in_pages(image):
        for table in tables:
            # The id of a table with row ids stands beside its row.
            values = _typed(table, stored[1:] if table == "audit" and stored[:1] == (None,) else stored)
            if values is not None and seal(*values[:-1]) == values[-1]:
                rows[table].append((identity, values))
                break
    for table, of_table in rows.items():
        insert = _insert(table, _SALVAGED[table])
        for _, values in sorted(of_table, key=_newest_first if table == "alerts" else itemgetter(0)):
            new.execute(insert, values)


def _newest_first(row: tuple[int, Row]) -> float:
    # Of several rows of one key the newest: a page that is not in use any more may hold the one before.
    return -float(row[1][ALERT_COLUMNS.index("evaluated_at")])


def _typed(table: str, stored: Row) -> Row | None:
    """Return a stored row as one of a table, or None where it has other columns."""
    columns = _SALVAGED[table]
    if len(stored) != len(columns) + 1:
        return None
    # SQLite stores whole numbers as such in columns of real ones, too.
    values = tuple(
        float(value) if type(value) is int and name in _REAL else value
        for name, value in zip((*columns, "crc"), stored, strict=True)
    )
    of = dict(zip(columns, values, strict=False))
    if table == "deliveries" and of["acked_state"] not in frozenset(AlertState):
        return None
    if table == "lessons" and of["verdict"] not in frozenset(Feedback):
        return None
    if table == "notes" and not isinstance(of["value"], bytes):
        return None
    if table == "watermarks" and not isinstance(of["slot"], float):
        return None
    return values


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, columns: tuple[str, ...], order: str) -> bool:
    try:
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
        read = tuple(name for name in columns if name in there)
        added = tuple(_ADDED[table, name] for name in columns if name not in there)
        # The names are our own, not data. Columns that were added later are the last ones.
        select = f"SELECT {', '.join((*read, 'crc'))} FROM {table} ORDER BY {order}"  # noqa: S608
        insert = _insert(table, columns)
        for row in intact(old.execute(select)):
            new.execute(insert, sealed(*row, *added))
    except (*SQLITE_ERRORS, KeyError):
        # A table that the older version did not have, or a page that does not read.
        return False
    return True


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return (
        f"INSERT INTO {table} ({', '.join((*columns, 'crc'))})"  # noqa: S608 - our own names.
        f" VALUES ({', '.join('?' * (len(columns) + 1))}) ON CONFLICT DO NOTHING"
    )


ALERTS_SCHEMA = Schema(
    application_id=0x616E6F31,
    migrations=(_TO_VERSION_1, _TO_VERSION_2, _to_version_3, migration(*EVENT_TABLES)),
    salvage=_salvage,
)
"""The schema of ``anomaly.db``; add a migration at the end, and never change one that was released."""
