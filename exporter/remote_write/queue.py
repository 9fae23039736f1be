"""Requests that wait on disk: a folder with a file for every evaluation, oldest first.

A file holds the requests of one evaluation, each behind its length. It is deleted when all of them were taken, so that
a process that is killed sends them again: the same samples with the same timestamps, which a store takes as they are.
"""

from __future__ import annotations

import json
import logging
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Queue"]

log = logging.getLogger(__name__)

_LENGTHS = struct.Struct("<II")
"""Bytes of a request, and samples in it."""
_SUFFIX = ".requests"
_NEWEST = "newest.json"


class Queue:
    """The requests for one store. One thread takes them out; any may put some in.

    Parameters
    ----------
    folder : Path
        Created where it is missing.
    max_bytes : int
        Of all files; beyond it the oldest are dropped.

    Attributes
    ----------
    dropped : int
        Samples that were dropped for want of room, since the start.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.max_bytes = max_bytes
        self.dropped = 0
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        for half in folder.glob("*.part"):
            half.unlink()
        self._files = {file: file.stat().st_size for file in sorted(folder.glob(f"*{_SUFFIX}"))}
        last = next(reversed(self._files), None)
        self._number = 0 if last is None else int(last.name.removesuffix(_SUFFIX)) + 1
        self._newest = self._read_newest()
        self._taken: Path | None = None

    @property
    def size(self) -> int:
        """Bytes that wait."""
        with self._lock:
            return sum(self._files.values())

    def newest(self, query: str) -> float:
        """Return the newest instant of a query that was put in, by this process or one before, Unix seconds."""
        return self._newest.get(query, float("-inf"))

    def put(self, requests: Sequence[tuple[bytes, int]], query: str, at: float) -> None:
        """Add the requests of one evaluation, with the samples that each has.

        Parameters
        ----------
        query : str
        at : float, Unix seconds
            The newest instant in them.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        body = b"".join(piece for body, count in requests for piece in (_LENGTHS.pack(len(body), count), body))
        with self._lock:
            file = self._folder / f"{self._number:012d}{_SUFFIX}"
            self._number += 1
            part = file.with_suffix(".part")
            part.write_bytes(body)
            part.rename(file)
            self._files[file] = len(body)
            self._newest[query] = max(at, self.newest(query))
            self._write_newest()
            # What is being sent stays.
            while sum(self._files.values()) > self.max_bytes and (spare := self._files.keys() - {self._taken, file}):
                self._drop(min(spare))
            self._more.notify()

    def wait(self, seconds: float) -> Path | None:
        """Return the oldest file, after waiting for one; None where none came."""
        with self._lock:
            if not self._files:
                self._more.wait(seconds)
            self._taken = next(iter(self._files), None)
            return self._taken

    def wake(self) -> None:
        """End a `wait`."""
        with self._lock:
            self._more.notify()

    def requests(self, file: Path) -> Iterator[tuple[bytes, int]]:
        """Yield the requests of a file, with the samples in each; none where it was dropped meanwhile."""
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            return
        place = 0
        while place + _LENGTHS.size <= len(text):
            length, count = _LENGTHS.unpack_from(text, place)
            place += _LENGTHS.size
            yield text[place : place + length], count
            place += length

    def done(self, file: Path) -> None:
        """Remove a file: all of it was taken, or never will be."""
        with self._lock:
            self._files.pop(file, None)
            file.unlink(missing_ok=True)

    def _drop(self, file: Path) -> None:
        self.dropped += sum(count for _, count in self.requests(file))
        self._files.pop(file)
        file.unlink(missing_ok=True)

    def _read_newest(self) -> dict[str, float]:
        with suppress(OSError, ValueError, AttributeError):
            stored = json.loads((self._folder / _NEWEST).read_text())
            return {str(query): float(at) for query, at in stored.items()}
        return {}

    def _write_newest(self) -> None:
        part = self._folder / f"{_NEWEST}.part"
        part.write_text(json.dumps(self._newest))
        part.rename(self._folder / _NEWEST)
