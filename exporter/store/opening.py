"""Check, migrate or recover a database file before it is used.

A damaged file is moved aside, never deleted; a file that is newer than this program is not touched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exporter.store.errors import SQLITE_ERRORS, StoreError, StoreReason, fault_of, primary_code
from exporter.store.pages import mend_header

__all__ = ["Migration", "Recovery", "Salvage", "Schema", "connect", "migration", "prepare"]

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0
"""Seconds to wait for a lock that an outside process holds on a database."""

Migration = Callable[[sqlite3.Connection], None]
"""Takes the schema one version up with single statements; it must not commit (`executescript` would)."""

Salvage = Callable[[sqlite3.Connection, sqlite3.Connection, bytes], None]
"""Copies what still reads from a damaged file (first) into a new one, also from the bytes of the damaged one; may raise
sqlite3.Error at any point."""

_HEADER = struct.Struct(">16s2xBB80x")
_MAGIC = b"SQLite format 3\x00"
_SCHEMA_VERSION = "CREATE TABLE schema_version (version INTEGER NOT NULL)"
_SIDES = ("-wal", "-shm", "-journal")
# Faults of the machine at this moment. All other errors while reading mean that the file is damaged.
_PASSING = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}


@dataclass(frozen=True, slots=True)
class Schema:
    """Schema of a database file.

    Attributes
    ----------
    application_id : int
        Marks the file as one of this program.
    migrations : tuple of Migration
        In order: number *i* takes version *i* to *i* + 1; version 0 is an empty file.
    salvage : Salvage, optional
        Rows that it copied before it failed are kept.
    page_size : int, bytes
        Of a new file.
    """

    application_id: int
    migrations: tuple[Migration, ...]
    salvage: Salvage | None = None
    page_size: int = 4096

    @property
    def version(self) -> int:
        """The version that this program reads and writes."""
        return len(self.migrations)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A database was damaged, is kept under another name, and was begun afresh.

    Attributes
    ----------
    file, moved_to : Path
    why : str
        The damage.
    salvaged : int
        Rows that were copied.
    """

    file: Path
    moved_to: Path
    why: str
    salvaged: int


class _DamagedError(Exception):
    """The file cannot be trusted; the text says why."""


def migration(*statements: str) -> Migration:
    """Return the migration that executes these statements."""

    def run(con: sqlite3.Connection) -> None:
        for statement in statements:
            con.execute(statement)

    return run


def connect(file: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection that leaves transactions to us and survives text that is not UTF-8."""
    address = f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    con = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    con.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return con


def prepare(file: Path, schema: Schema, *, at: float) -> Recovery | None:
    """Leave at `file` a sound database of the current version; the caller holds the directory's lock.

    Returns
    -------
    Recovery or None
        None where the file was sound, or was not there and has been created.

    Raises
    ------
    StoreError
        The file is newer than this program, or the disk does not let us read or write it.
    """
    try:
        for suffix in ("", *_SIDES):
            _beside(file, f".new{suffix}").unlink(missing_ok=True)
        if not file.exists() and not _beside(file, "-wal").exists():
            _build(file, schema, damaged=False)
            _beside(file, ".new").rename(file)
            _sync_directory(file.parent)
            return None
        try:
            _migrate(file, schema, _inspect(file, schema))
        except _DamagedError as damage:
            return _replace(file, schema, str(damage), at)
    except (sqlite3.Error, OSError) as error:
        raise fault_of(error, f"cannot open {file}") from error
    return None


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _inspect(file: Path, schema: Schema) -> int:
    """Return the version of a sound file, without writing to it."""
    if not file.exists():
        raise _DamagedError("there is a write-ahead log, but not the database it belongs to")
    # SQLite takes an empty file for a new database, and an unknown write version for a read-only one.
    # New files of ours appear complete, so that neither can be an interrupted start.
    with file.open("rb") as stream:
        header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _DamagedError(f"the file has only {len(header)} bytes")
    magic, write_version, read_version = _HEADER.unpack(header)
    if magic != _MAGIC or not {write_version, read_version} <= {1, 2}:
        raise _DamagedError("the file is not a database")
    with _damage_noticed(), contextlib.closing(connect(file, read_only=True)) as con:
        # Not quick_check, which passes over indexes: one that is damaged fails a commit weeks later.
        result = con.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if result != "ok":
            raise _DamagedError(f"the check of the database says: {result}")
        version: int = con.execute("PRAGMA user_version").fetchone()[0]
        mark = con.execute("PRAGMA application_id").fetchone()[0]
        # The header has no checksum. A flipped bit in the version must not be taken for a newer program.
        recorded = con.execute("SELECT version FROM schema_version").fetchall()
        if mark != schema.application_id or recorded != [(version,)] or version < 1:
            raise _DamagedError("the header is not that of a database of this program")
        if version > schema.version:
            text = (
                f"{file} has schema version {version}, this program knows up to {schema.version}: "
                "it was written by a newer version; run that one, or move the file away"
            )
            raise StoreError(StoreReason.REFUSED, text)
        # A flipped bit in the text of a table is another column, and in that of a trigger an open audit.
        missing = _objects_of(schema, version) - _objects(con)
        if missing:
            raise _DamagedError(f"{', '.join(sorted(name for name, _ in missing))} is not as this program made it")
        return version


def _objects(con: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(con.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())


def _objects_of(schema: Schema, version: int) -> set[tuple[str, str]]:
    """Tables, indexes and triggers of a version, as its migrations make them."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
        con.execute("BEGIN")
        con.execute(_SCHEMA_VERSION)
        for migration in schema.migrations[:version]:
            migration(con)
        return _objects(con)


@contextlib.contextmanager
def _damage_noticed() -> Iterator[None]:
    try:
        yield
    except SQLITE_ERRORS as error:
        if isinstance(error, sqlite3.Error) and primary_code(error) in _PASSING:
            raise
        raise _DamagedError(str(error)) from error


def _build(file: Path, schema: Schema, *, damaged: bool) -> int:
    """Build a whole new database beside `file`, with what reads from a damaged one; returns salvaged rows."""
    new = _beside(file, ".new")
    _touch(new)
    salvaged = 0
    with contextlib.closing(connect(new)) as con:
        con.execute(f"PRAGMA page_size={schema.page_size}")
        con.execute("PRAGMA auto_vacuum=INCREMENTAL")
        con.execute("BEGIN IMMEDIATE")
        con.execute(_SCHEMA_VERSION)
        con.execute("INSERT INTO schema_version VALUES (0)")
        _climb(con, schema, 0)
        con.execute(f"PRAGMA application_id={schema.application_id}")
        con.execute("COMMIT")
        if damaged and schema.salvage is not None and file.exists():
            salvaged = _salvage(file, con, schema.salvage)
        con.execute("PRAGMA journal_mode=WAL")
    return salvaged


def _touch(file: Path) -> None:
    # Created by us and not by SQLite, because the -wal and -shm files take their mode from it.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def _salvage(file: Path, new: sqlite3.Connection, copy: Salvage) -> int:
    before = new.total_changes
    new.execute("BEGIN IMMEDIATE")
    try:
        with _mended(file) as (mended, image), contextlib.closing(connect(mended)) as old:
            # The text of one table must not hide the others.
            old.execute("PRAGMA writable_schema=ON")
            copy(old, new, image)
    # A damaged file can answer with anything at all, and a start is worth more than what was in it.
    except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
        log.warning("salvage of %s ended early: %s", file, error)
    new.execute("COMMIT")
    return new.total_changes - before


@contextlib.contextmanager
def _mended(file: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield a copy of a damaged file that SQLite opens, its log moved into it, and the bytes of that copy."""
    copy = _beside(file, ".mended")
    try:
        for suffix in ("", *_SIDES):
            _beside(copy, suffix).unlink(missing_ok=True)
        _write_mended(copy, file.read_bytes())
        with contextlib.suppress(FileNotFoundError):
            _beside(copy, "-wal").write_bytes(_beside(file, "-wal").read_bytes())
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(copy)) as con:
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        # The log has a header of its own.
        _write_mended(copy, copy.read_bytes())
        yield copy, copy.read_bytes()
    finally:
        for suffix in ("", *_SIDES):
            _beside(copy, suffix).unlink(missing_ok=True)


def _write_mended(file: Path, data: bytes) -> None:
    mended = bytearray(data)
    mend_header(mended)
    if not file.exists():
        _touch(file)
    file.write_bytes(mended)


def _climb(con: sqlite3.Connection, schema: Schema, version: int) -> None:
    for migration in schema.migrations[version:]:
        migration(con)
        if not con.in_transaction:
            raise RuntimeError("a migration ended the transaction it runs in")
    con.execute("UPDATE schema_version SET version=?", (schema.version,))
    con.execute(f"PRAGMA user_version={schema.version}")


def _migrate(file: Path, schema: Schema, version: int) -> None:
    if version == schema.version:
        return
    try:
        with contextlib.closing(connect(file)) as con:
            copy = _back_up(file, con, version)
            con.execute("PRAGMA synchronous=FULL")
            con.execute("BEGIN IMMEDIATE")
            _climb(con, schema, version)
            con.execute("COMMIT")
    except SQLITE_ERRORS as error:
        # Only what SQLite calls damage is damage here: a fault in a migration must not cost the user their state.
        if fault_of(error, "").reason is StoreReason.CORRUPT:
            raise _DamagedError(str(error)) from error
        raise
    log.info("migrated %s from schema version %d to %d; the old one is kept in %s", file, version, schema.version, copy)


def _back_up(file: Path, con: sqlite3.Connection, version: int) -> Path:
    new, kept = _beside(file, ".new"), _beside(file, f".bak-v{version}")
    _touch(new)
    with contextlib.closing(connect(new)) as copy:
        con.backup(copy)
    new.replace(kept)
    _sync_directory(file.parent)
    return kept


def _replace(file: Path, schema: Schema, why: str, at: float) -> Recovery:
    """Put a new database in the place of a damaged one, which is kept with what belongs to it."""
    moved_to = _free_name(file, at)
    # The new file is whole before the old one goes: a kill in between finds the old one again.
    salvaged = _build(file, schema, damaged=True)
    if file.exists():
        _second_name(file, moved_to)
    for suffix in _SIDES:
        with contextlib.suppress(FileNotFoundError):
            _beside(file, suffix).rename(_beside(moved_to, suffix))
    _beside(file, ".new").replace(file)
    _sync_directory(file.parent)
    log.error("%s is damaged (%s); kept as %s, begun afresh with %d rows of it", file, why, moved_to, salvaged)
    return Recovery(file, moved_to, why, salvaged)


def _second_name(file: Path, other: Path) -> None:
    try:
        os.link(file, other)
    except OSError:
        # A file system without hard links. A kill now means a start without salvage, but nothing is lost.
        file.rename(other)


def _free_name(file: Path, at: float) -> Path:
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = _beside(file, f".corrupt-{stamp}")
    number = 1
    while any(_beside(name, suffix).exists() for suffix in ("", *_SIDES)):
        number += 1
        name = _beside(file, f".corrupt-{stamp}.{number}")
    return name


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
