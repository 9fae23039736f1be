"""What was learned as one file that another state directory can take: a database with the rows of ``learned.db``.

It is written beside a running daemon, from one snapshot, and every row keeps its checksum.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.store.errors import SQLITE_ERRORS, StoreError, StoreReason, fault_of
from exporter.store.learned_arrays import LEARNED_SCHEMA, LearnedArrays, read_head, read_state
from exporter.store.opening import connect

__all__ = ["ArchivedQuery", "export_state", "import_state"]

_APPLICATION = 0x616E6F33
"""Marks an archive: the schema is that of ``learned.db``, whose version is its version."""
_TABLES = ("learned", "parts", "pieces", "series")


@dataclass(frozen=True, slots=True)
class ArchivedQuery:
    """The state of one query in an archive.

    Attributes
    ----------
    at : float, Unix seconds
        The newest slot that is in it.
    identity : str
        Of the configuration that it belongs to.
    taken : bool
        Whether it was imported: not where the directory has newer state of the same identity.
    """

    name: str
    series: int
    at: float
    identity: str
    taken: bool = True


def export_state(directory: Path, target: Path, queries: Collection[str] | None = None) -> list[ArchivedQuery]:
    """Write what is learned of all queries, or of some; a file that is there is replaced as a whole, or stays.

    Parameters
    ----------
    directory : Path
        Of the state; a daemon may use it.

    Raises
    ------
    StoreError
    """
    source = directory / "learned.db"
    if not source.is_file():
        raise StoreError(StoreReason.REFUSED, f"{directory} has no learned state: there is no {source.name} in it")
    if target.exists() and (not target.is_file() or target.samefile(source)):
        raise StoreError(StoreReason.REFUSED, f"{target} is not a file that an archive may replace")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with contextlib.closing(connect(source, read_only=True)) as old:
            _check(old, source, LEARNED_SCHEMA.application_id)
            if missing := sorted(set(queries or ()) - _names(old)):
                raise StoreError(StoreReason.REFUSED, f"{source}: nothing is learned of {', '.join(missing)}")
            # Before anything is in it: what was learned says what there is to see.
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with contextlib.closing(sqlite3.connect(partial)) as new:
                old.backup(new)
                new.execute("PRAGMA journal_mode=DELETE")
                new.execute(f"PRAGMA application_id={_APPLICATION}")
                for name in _names(new) - set(_names(new) if queries is None else queries):
                    for table in _TABLES:
                        new.execute(f"DELETE FROM {table} WHERE query=?", (name,))  # noqa: S608 - our own names.
                new.commit()
                if queries is not None:
                    new.execute("VACUUM")
                written = [_described(new, name) for name in sorted(_names(new))]
                damaged = _damaged(new, [each.name for each in written])
        if damaged:
            raise StoreError(StoreReason.CORRUPT, f"{source}: the state of {damaged} is damaged; nothing was exported")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except SQLITE_ERRORS as error:
        raise fault_of(error, f"cannot export to {target}") from error
    except OSError as error:
        raise fault_of(error, f"cannot write {target}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return written


def import_state(file: Path, arrays: LearnedArrays, queries: Collection[str] | None = None) -> list[ArchivedQuery]:
    """Take over the state of the queries of an archive, each as a whole; all of it is checked first.

    State of the same identity that is as new stays.

    Raises
    ------
    StoreError
        The file is no archive of this version, or is damaged; then nothing was imported.
    """
    try:
        with _opened(file) as con:
            if missing := sorted(set(queries or ()) - _names(con)):
                raise StoreError(StoreReason.REFUSED, f"{file}: nothing is learned of {', '.join(missing)}")
            names = sorted(_names(con) if queries is None else queries)
            if damaged := _damaged(con, names):
                raise StoreError(StoreReason.CORRUPT, f"{file}: the state of {damaged} is damaged: nothing is imported")
            return [_imported(con, name, arrays) for name in names]
    except SQLITE_ERRORS as error:
        raise fault_of(error, f"cannot import {file}") from error


def _imported(con: sqlite3.Connection, name: str, arrays: LearnedArrays) -> ArchivedQuery:
    described = _described(con, name)
    present = arrays.database.read(lambda own: read_head(own, name))
    if present is not None and present[1] == described.identity and present[2] >= described.at:
        return ArchivedQuery(name, described.series, described.at, described.identity, taken=False)
    state = read_state(con, name, described.identity)
    if state is None:
        raise StoreError(StoreReason.CORRUPT, f"the state of {name} is gone")
    arrays.forget(name)
    arrays.save(name, described.identity, state.at, state.parts, state.series)
    return described


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    if not file.is_file():
        raise StoreError(StoreReason.REFUSED, f"{file} is not there, or no file")
    with contextlib.closing(connect(file, read_only=True)) as con:
        _check(con, file, _APPLICATION)
        yield con


def _check(con: sqlite3.Connection, file: Path, application: int) -> None:
    try:
        (identifier,) = con.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError:
        identifier = None
    if identifier != application:
        what = "an archive of `state export`" if application == _APPLICATION else "a database of this program"
        raise StoreError(StoreReason.REFUSED, f"{file} is not {what}")
    (version,) = con.execute("SELECT version FROM schema_version").fetchone()
    if version != LEARNED_SCHEMA.version:
        text = f"{file} is of version {version}; this program reads and writes version {LEARNED_SCHEMA.version}"
        raise StoreError(StoreReason.REFUSED, text)


def _names(con: sqlite3.Connection) -> set[str]:
    return {str(name) for (name,) in con.execute("SELECT query FROM learned")}


def _described(con: sqlite3.Connection, name: str) -> ArchivedQuery:
    (series,) = con.execute("SELECT count(*) FROM series WHERE query=?", (name,)).fetchone()
    head = read_head(con, name)
    if head is None or head[1] is None:
        raise StoreError(StoreReason.CORRUPT, f"the state of {name} is damaged")
    return ArchivedQuery(name, series, float(head[2]), str(head[1]))


def _damaged(con: sqlite3.Connection, names: Collection[str]) -> str:
    """Return the first query whose state does not match its checksums; empty where all do."""
    for name in names:
        state = read_state(con, name, _described(con, name).identity)
        if state is None or state.damaged:
            return name
    return ""
