"""One SQLite file: a single writer thread, short-lived readers, and errors that the next call recovers from."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from exporter.store.errors import SQLITE_ERRORS, StoreError, StoreReason, fault_of
from exporter.store.opening import BUSY_TIMEOUT, Recovery, Schema, connect, prepare

__all__ = ["Database", "Synchronous"]

T = TypeVar("T")
Synchronous = Literal["FULL", "NORMAL"]
"""FULL survives power loss with every commit; NORMAL may lose the last ones, and never more."""

log = logging.getLogger(__name__)

_SHORT_TIMEOUT = 0.05
"""Seconds to wait for a lock that was held for the whole of `BUSY_TIMEOUT` before."""
_WAL_LIMIT = 64 * 2**20
_SLICE_PAGES = 500
_KEEPS_CONNECTION = {StoreReason.FULL, StoreReason.LOCKED}


class Database:
    """A sound database file in WAL mode. Every method may be called from any thread; all of them raise `StoreError`.

    Parameters
    ----------
    file : Path
        In a locked `StateDirectory`.
    schema : Schema
    synchronous : "FULL" or "NORMAL"
    at : float
        Unix seconds of this start, for the name of a damaged file.

    Attributes
    ----------
    recovery : Recovery or None
        What happened where the file was damaged.
    restored : int
        How often the file was written anew because somebody had deleted it, or its log, while it was in use.

    Raises
    ------
    StoreError
        The file is newer than this program, or cannot be read or written.
    """

    def __init__(self, file: Path, schema: Schema, *, synchronous: Synchronous, at: float) -> None:
        self.file = file
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._files: tuple[object, object] = (None, None)
        self._impatient = False
        self._closed = False
        self.restored = 0
        self.recovery: Recovery | None = prepare(file, schema, at=at)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"store-{file.stem}")
        try:
            # Opens the connection, so that a file that cannot be used is noticed at the start.
            self._submit(lambda con: None)  # noqa: ARG005
        except BaseException:
            self._writer.shutdown()
            raise

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the writer thread in one transaction and return what it returned, once it is committed.

        Raises
        ------
        StoreError
            Nothing was changed; except after reason ``io``, where a commit may show after a restart, so
            that `work` must be idempotent. The next call works again once the cause is gone.
        """
        return self._submit(lambda con: self._transaction(con, work))

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on one snapshot of the file in the calling thread, without waiting for the writer."""
        if self._closed:
            raise self._closed_error()
        if not self.file.exists():
            # The writer still has it.
            self._submit(lambda con: None)  # noqa: ARG005
        try:
            with contextlib.closing(connect(self.file, read_only=True)) as con:
                con.execute("BEGIN")
                return work(con)
        except SQLITE_ERRORS as error:
            raise fault_of(error, f"cannot read {self.file}") from error

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the database and cut it to nothing; False while a reader prevents it."""
        return self._submit(self._truncate_log)

    def shrink(self) -> None:
        """Give free pages back to the file system, in short slices between which others may write."""
        while self._submit(self._give_back):
            pass

    def wal_bytes(self) -> int:
        """Size of the write-ahead log, in bytes."""
        return _size(self.file.with_name(self.file.name + "-wal"))

    def size_bytes(self) -> int:
        """Size of the database and its write-ahead log, in bytes."""
        return _size(self.file) + self.wal_bytes()

    def close(self) -> None:
        """Finish what is being written, checkpoint and close. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._writer.submit(self._finish).result()
        self._writer.shutdown()

    def _submit(self, job: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise self._closed_error()
        try:
            future = self._writer.submit(self._guard, job)
        except RuntimeError as error:
            # Closed between the check and now.
            raise self._closed_error() from error
        return future.result()

    def _guard(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs in the writer thread; whatever happens, the connection is outside a transaction afterwards."""
        try:
            if self._connection is not None and self._identities() != self._files:
                self._restore(self._connection)
            result = job(self._open())
        except (*SQLITE_ERRORS, OSError) as error:
            fault = fault_of(error, f"cannot write {self.file}")
            if fault.reason is StoreReason.LOCKED:
                self._wait_for_locks(patiently=False)
            self._roll_back(keep=fault.reason in _KEEPS_CONNECTION)
            raise fault from error
        except BaseException:
            self._roll_back(keep=True)
            raise
        if self._impatient:
            self._wait_for_locks(patiently=True)
        return result

    def _wait_for_locks(self, *, patiently: bool) -> None:
        """Wait for a lock of another process for seconds, or, where it was held for so long already, hardly at all.

        Evaluators wait for the store: a lock that stays must not take seconds from every slot of every query.
        """
        self._impatient = not patiently
        if self._connection is not None:
            timeout = BUSY_TIMEOUT if patiently else _SHORT_TIMEOUT
            self._connection.execute(f"PRAGMA busy_timeout={round(timeout * 1000)}")

    def _identities(self) -> tuple[object, object]:
        return _identity(self.file), _identity(self.file.with_name(self.file.name + "-wal"))

    def _restore(self, con: sqlite3.Connection) -> None:
        """Write the database anew: its file or its log was deleted, and goes on to exist for our connection only."""
        now = self._identities()
        if now[0] not in (None, self._files[0]):
            text = f"{self.file} was replaced by another file while in use; stop, put the right one there, and start"
            raise StoreError(StoreReason.REFUSED, text)
        self._roll_back(keep=True)
        new = self.file.with_name(self.file.name + ".new")
        new.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(new)) as copy:
            new.chmod(0o600)
            con.backup(copy)
        self._connection = None
        # It may remove a log of this name.
        con.close()
        for suffix in ("-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        new.replace(self.file)
        self.restored += 1
        log.error("%s or its write-ahead log was deleted while in use; it was written anew, complete", self.file)

    def _transaction(self, con: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        con.execute("BEGIN IMMEDIATE")
        result = work(con)
        con.execute("COMMIT")
        if self.wal_bytes() > _WAL_LIMIT:
            # The transaction is committed: that the log stays long must not look like a failed write.
            with contextlib.suppress(sqlite3.Error):
                self._truncate_log(con)
        return result

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            con = connect(self.file)
            try:
                con.execute("PRAGMA trusted_schema=OFF")
                con.execute(f"PRAGMA synchronous={self._synchronous}")
                mode = con.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                # So that the log is there.
                con.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except BaseException:
                con.close()
                raise
            if mode != "wal":
                con.close()
                text = f"{self.file}: the file system has no shared memory for a write-ahead log; use a local disk"
                raise StoreError(StoreReason.REFUSED, text)
            self._connection, self._files = con, self._identities()
            if self._impatient:
                self._wait_for_locks(patiently=False)
        return self._connection

    def _roll_back(self, *, keep: bool) -> None:
        con = self._connection
        if con is None:
            return
        try:
            if con.in_transaction:
                con.execute("ROLLBACK")
        except sqlite3.Error:
            keep = False
        if not keep:
            # After a failed write or sync the pages that SQLite remembers may not be those on the disk.
            self._connection = None
            con.close()

    def _truncate_log(self, con: sqlite3.Connection) -> bool:
        # Without waiting: a reader that stays for hours must not cost every commit the busy timeout.
        con.execute("PRAGMA busy_timeout=0")
        try:
            busy: int = con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            self._wait_for_locks(patiently=not self._impatient)
        return not busy

    def _give_back(self, con: sqlite3.Connection) -> bool:
        before: int = con.execute("PRAGMA freelist_count").fetchone()[0]
        # A script, because the pragma frees a page a step and `execute` takes one step.
        con.executescript(f"PRAGMA incremental_vacuum({_SLICE_PAGES})")
        left: int = con.execute("PRAGMA freelist_count").fetchone()[0]
        return 0 < left < before

    def _finish(self) -> None:
        con = self._connection
        self._connection = None
        if con is not None:
            # What is committed is in the log; the next start reads it there if it cannot be moved now.
            with contextlib.suppress(sqlite3.Error):
                self._truncate_log(con)
            con.close()

    def _closed_error(self) -> StoreError:
        return StoreError(StoreReason.REFUSED, f"{self.file} is closed")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _identity(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
