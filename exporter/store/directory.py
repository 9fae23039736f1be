"""The state directory: ours alone, and used by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Self

from exporter.store.errors import StoreError, StoreReason, fault_of

__all__ = ["StateDirectory"]

_LOCK = "LOCK"
_IN_USE = b"open"
_LONGEST_LOCK = 32
# What SQLite keeps beside a database.
_BESIDE = ("", "-wal", "-shm", "-journal")


class StateDirectory:
    """An open, locked state directory. Close it to let the next process in.

    Use `open`. The directory has mode 0700 and its files 0600, so that nobody else can plant a file
    between our look at it and SQLite's.
    """

    def __init__(self, path: Path, descriptor: int, lock: int) -> None:
        self.path = path
        self.killed = os.pread(lock, _LONGEST_LOCK, 0).rstrip().endswith(_IN_USE)
        """Whether the last process did not close its databases."""
        self._descriptor: int | None = descriptor
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create `path` where it is missing, check that it is safe, and lock it.

        Raises
        ------
        StoreError
            It is not a directory, a symbolic link, somebody else's, writable for everybody, read-only,
            or used by another process.
        """
        descriptor = _open_directory(path)
        try:
            _check_directory(path, descriptor)
            return cls(path, descriptor, _lock_directory(path, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def mark(self, *, in_use: bool) -> None:
        """Note whether databases are open: then each has its write-ahead log beside it."""
        if self._lock is not None:
            # The number makes the message of a second instance helpful. A full disk must not prevent a start.
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
                os.pwrite(self._lock, b"%d%s\n" % (os.getpid(), b" " + _IN_USE if in_use else b""), 0)

    def file(self, name: str) -> Path:
        """Return the path of database `name` after a check that it and what belongs to it is ours.

        Raises
        ------
        StoreError
            One of the files is not a regular file, has another owner, or is read-only.
        """
        for suffix in _BESIDE:
            self._check_file(name + suffix)
        return self.path / name

    def close(self) -> None:
        """Release the lock. Closing twice does nothing."""
        # The lock file stays: removing it would let two processes hold locks on two files of the same name.
        for descriptor in (self._lock, self._descriptor):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_file(self, name: str) -> None:
        path = self.path / name
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            raise fault_of(error, f"cannot look at {path}") from error
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(StoreReason.REFUSED, f"{path} is not a regular file; symbolic links are not followed")
        if status.st_uid != os.geteuid():
            raise StoreError(StoreReason.REFUSED, _foreign(path, status.st_uid))
        if name.endswith(_BESIDE[1:]):
            # SQLite gave them the mode that the database had then; what counts is the database itself.
            if stat.S_IMODE(status.st_mode) != 0o600:
                _set_mode(path, 0o600)
            return
        if not os.access(name, os.R_OK | os.W_OK, dir_fd=self._descriptor, effective_ids=True):
            raise StoreError(StoreReason.REFUSED, f"{path} is read-only; the state must be readable and writable")
        if status.st_mode & 0o177:
            _set_mode(path, status.st_mode & 0o600)


def _open_directory(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileExistsError as error:
        raise StoreError(StoreReason.REFUSED, f"{path} is not a directory") from error
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            text = f"{path} is not a directory, or is a symbolic link, which is not followed; name the directory itself"
            raise StoreError(StoreReason.REFUSED, text) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            text = f"cannot create or open the state directory {path}: {error.strerror}; it must be writable"
            raise StoreError(StoreReason.REFUSED, text) from error
        raise fault_of(error, f"cannot open the state directory {path}") from error


def _check_directory(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise StoreError(StoreReason.REFUSED, _foreign(path, status.st_uid))
    if status.st_mode & stat.S_IWOTH:
        text = f"{path} is writable for everybody, so its files cannot be trusted; use a directory of mode 0700"
        raise StoreError(StoreReason.REFUSED, text)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise StoreError(StoreReason.REFUSED, f"the state directory {path} is read-only; it must be writable")
    if status.st_mode & 0o077:
        _set_mode(path, status.st_mode & 0o700)


def _lock_directory(path: Path, directory: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(_LOCK, flags, 0o600, dir_fd=directory)
    except OSError as error:
        raise fault_of(error, f"cannot open {path / _LOCK}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, _LONGEST_LOCK, 0).decode("ascii", "replace").partition(" ")[0].strip()
        os.close(lock)
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise StoreError(StoreReason.LOCKED, f"the state directory {path} is in use by {who}") from error
    except OSError as error:
        os.close(lock)
        text = f"the file system of {path} cannot lock files ({error.strerror}); keep the state on a local disk"
        raise StoreError(StoreReason.REFUSED, text) from error
    return lock


def _set_mode(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:
        raise fault_of(error, f"cannot make {path} private") from error


def _foreign(path: Path, owner: int) -> str:
    return f"{path} belongs to user {owner}, this process runs as {os.geteuid()}; the state must have one owner"
