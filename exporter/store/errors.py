"""`StoreError` with its closed set of reasons, and the mapping of SQLite's errors to it."""

from __future__ import annotations

import errno
import sqlite3
from enum import StrEnum

from exporter.errors import StateError

__all__ = ["SQLITE_ERRORS", "StoreError", "StoreReason", "fault_of", "primary_code"]

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of SQLite; the second where a damaged file puts bytes into a message."""


class StoreReason(StrEnum):
    """Why the state could not be used. The value is the metric label ``reason``; the set is closed."""

    FULL = "full"
    IO = "io"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    REFUSED = "refused"
    """Wrong owner, newer schema, already closed: needs a change by the operator."""


class StoreError(StateError):
    """The state cannot be read or written.

    Parameters
    ----------
    reason : StoreReason
    message : str
        One sentence for a log line, with the file it is about.
    """

    def __init__(self, reason: StoreReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


# Primary SQLite result codes. What is not listed is a fault of the medium as far as a caller is concerned.
_REASONS = {
    sqlite3.SQLITE_FULL: StoreReason.FULL,
    sqlite3.SQLITE_BUSY: StoreReason.LOCKED,
    sqlite3.SQLITE_LOCKED: StoreReason.LOCKED,
    sqlite3.SQLITE_PROTOCOL: StoreReason.LOCKED,
    sqlite3.SQLITE_CORRUPT: StoreReason.CORRUPT,
    sqlite3.SQLITE_NOTADB: StoreReason.CORRUPT,
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def fault_of(error: sqlite3.Error | UnicodeDecodeError | OSError, what: str) -> StoreError:
    """Map an error of SQLite or of the system to a `StoreError`; `what` begins the message."""
    if isinstance(error, UnicodeDecodeError):
        return StoreError(StoreReason.CORRUPT, f"{what}: {error.object!r}")
    if isinstance(error, OSError):
        reason = StoreReason.FULL if error.errno in _NO_SPACE else StoreReason.IO
        return StoreError(reason, f"{what}: {error.strerror or error}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreError(_REASONS.get(primary_code(error), StoreReason.IO), f"{what}: {error} ({name})")


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 1 (a generic error) where Python raised by itself."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
