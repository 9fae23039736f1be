"""What was decided of every sample, kept for a while: so that a chart shows what the daemon said at the time.

Slots are written by a thread of their own, as whole arrays; an evaluation hands over its arrays and goes on. What is
lost with a power failure, a full disk or a slow one is lost to charts only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels
from exporter.engine.verdict import Verdict
from exporter.store.kept_verdicts import (
    JOURNAL,
    MOST_ROWS,
    SEALED,
    KeptVerdicts,
    first_slot,
    newest_rows,
    read_series,
    series_key,
)
from exporter.store.verdict_files import (
    ChunkHeader,
    FloatArray,
    empty,
    pack,
    read_journal,
    seal,
    write_header,
    write_slot,
)

__all__ = ["VerdictLog"]

log = logging.getLogger(__name__)

_MOST_SLOTS, _MOST_BYTES = 240, 64 * 2**20
"""Of a journal, before it is sealed."""
_MOST_PENDING = 2_000_000
"""Series in slots that wait to be written; further slots are dropped."""


@dataclass
class _Chunk:
    """The journal that the slots of one query are appended to."""

    path: Path
    file: BinaryIO
    header: ChunkHeader
    last: float
    slots: int = 0
    bytes: int = 0
    row_of: dict[int, int] = field(default_factory=dict)
    """From the key of a series to its row in the file."""
    names: Sequence[Labels | None] = ()
    places: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    """Row in the file by row of the engine, for `names`; -1 where there is no series."""


class VerdictLog:
    """Keeps verdicts in a directory. Safe for many threads; a slow disk delays no caller of `add`.

    Parameters
    ----------
    directory : Path
        In a locked `StateDirectory`. Nothing is written before `configure`.
    dropped : callable
        Called with the query of a slot that was not kept.
    """

    def __init__(self, directory: Path, dropped: Callable[[str], None] = lambda _: None) -> None:
        self._directory = directory
        self.dropped = dropped
        self._chunks: dict[str, _Chunk] = {}
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._limits = (np.inf, np.inf)
        self._closed = False
        self._bytes = 0
        self._thread: threading.Thread | None = None

    def size_bytes(self) -> int:
        """Size of all files, in bytes, as of the newest sealed file."""
        return self._bytes

    def configure(self, *, retention: float, most_bytes: float) -> None:
        """Set the limits: how long verdicts are kept, seconds, and how much disk they take; 0 keeps none."""
        self._limits = (retention, most_bytes)
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="verdict-log", daemon=True)
                self._thread.start()
                self._waiting.put(self._adopt)

    def add(
        self, header: ChunkHeader, series: Sequence[Labels | None], verdict: Verdict, suppressed: npt.NDArray[np.int8]
    ) -> None:
        """Keep the verdicts of a slot.

        Parameters
        ----------
        series : sequence of label sets
            By row; None where a row has none. The same object as long as nothing changed.
        verdict : Verdict
            Not changed afterwards.
        suppressed : ndarray of int8, shape (size,)
        """
        size = len(verdict.score)
        if self._limits[1] <= 0 or self._thread is None or self._closed:
            return
        with self._lock:
            if self._pending and self._pending + size > _MOST_PENDING:
                self.dropped(header.query)
                return
            self._pending += size
        self._waiting.put(lambda: self._write(header, series, verdict, suppressed))

    def flush(self) -> None:
        """Wait until everything that was added can be read."""
        if self._thread is not None and not self._closed:
            done = threading.Event()
            self._waiting.put(done.set)
            done.wait()

    def read(self, query: str, labels: Labels, start: float, end: float) -> KeptVerdicts | None:
        """Return the verdicts on one series from `start` to `end`, Unix seconds; None where there are none."""
        key = series_key(labels)
        for _ in range(2):
            # A journal may be sealed, or an old file removed, between the look at the directory and the reading.
            with contextlib.suppress(FileNotFoundError):
                return read_series(self._home(query), key, start, end)
        return None

    def read_rows(
        self, query: str, series: Sequence[Labels | None], end: float, *, spacing: float, most: int
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
        """Return times, shape (t,), and what was observed and expected and the score, shape (t, n), of all series.

        None where there are none, or there are more series than is quick to read.

        Parameters
        ----------
        end, spacing : float, seconds
            Slots before this instant, so far apart at least.
        most : int
            Slots at most, the newest.
        """
        if len(series) > MOST_ROWS:
            return None
        keys = np.array([0 if labels is None else series_key(labels) for labels in series], np.uint64)
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                return newest_rows(self._home(query), keys, end, spacing, most)
        return None

    def close(self) -> None:
        """Finish writing. Closing twice does nothing."""
        with self._lock:
            self._closed, thread = True, self._thread
            self._thread = None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    # ------------------------------------------------------------------ in the thread of the log

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                job()
            except OSError as error:
                log.warning("verdicts are not kept", extra={"error": error.strerror or str(error)})
            except Exception:
                log.exception("verdicts are not kept")
        for chunk in self._chunks.values():
            chunk.file.close()

    def _adopt(self) -> None:
        """Seal the journals that an earlier process left."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for path in self._directory.glob(f"*/*{JOURNAL}"):
            self._seal(path)
        self._limit(-np.inf)

    def _write(
        self, header: ChunkHeader, series: Sequence[Labels | None], verdict: Verdict, suppressed: npt.NDArray[np.int8]
    ) -> None:
        with self._lock:
            self._pending -= len(verdict.score)
        chunk = self._chunks.get(header.query)
        if chunk is not None and (chunk.header != header or verdict.at <= chunk.last or _is_full(chunk)):
            self._end(chunk, verdict.at)
            chunk = None
        try:
            if chunk is None:
                chunk = self._begin(header, verdict.at)
            self._append(chunk, series, verdict, suppressed)
        except OSError:
            self.dropped(header.query)
            # What follows a torn record could not be read.
            if chunk is not None:
                self._chunks.pop(header.query, None)
                chunk.file.close()
            raise

    def _append(
        self, chunk: _Chunk, series: Sequence[Labels | None], verdict: Verdict, suppressed: npt.NDArray[np.int8]
    ) -> None:
        new = _place(chunk, series) if chunk.names is not series else []
        packed, rows = pack(verdict, suppressed), len(chunk.row_of)
        places = chunk.places[: len(verdict.score)]
        used = places >= 0
        whole = len(places) == rows and bool(used.all()) and bool((np.diff(places) == 1).all())
        columns = packed if whole else {name: _placed(name, part, places, used, rows) for name, part in packed.items()}
        chunk.bytes += write_slot(chunk.file, verdict.at, np.array(new, np.uint64), columns)
        chunk.file.flush()
        chunk.slots, chunk.last = chunk.slots + 1, verdict.at

    def _begin(self, header: ChunkHeader, at: float) -> _Chunk:
        home = self._home(header.query)
        home.mkdir(mode=0o700, exist_ok=True)
        path = home / f"{round(at * 1000):015d}{JOURNAL}"
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
        chunk = self._chunks[header.query] = _Chunk(path, file, header, -np.inf)
        write_header(file, header)
        return chunk

    def _end(self, chunk: _Chunk, at: float) -> None:
        self._chunks.pop(chunk.header.query, None)
        chunk.file.close()
        self._seal(chunk.path)
        self._limit(at)

    def _seal(self, path: Path) -> None:
        """Write a journal anew as a sealed file; where that fails, the journal stays and is read as it is."""
        content = read_journal(path)
        if content is not None and content[1]:
            new = path.with_suffix(".new")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.writelines(seal(*content))
            new.replace(path.with_suffix(SEALED))
        path.unlink(missing_ok=True)

    def _limit(self, at: float) -> None:
        """Remove what is too old, and the oldest of all where all are too large."""
        retention, most = self._limits
        files = sorted((path for path in self._directory.glob("*/*") if path.suffix != ".new"), key=lambda f: f.name)
        sizes = {path: path.stat().st_size for path in files}
        total = sum(sizes.values())
        open_now = {chunk.path for chunk in self._chunks.values()}
        for path in files:
            if path in open_now or (total <= most and first_slot(path) >= at - retention):
                continue
            path.unlink(missing_ok=True)
            total -= sizes[path]
        self._bytes = total

    def _home(self, query: str) -> Path:
        return self._directory / hashlib.blake2b(query.encode(), digest_size=8).hexdigest()


def _is_full(chunk: _Chunk) -> bool:
    return chunk.slots >= _MOST_SLOTS or chunk.bytes >= _MOST_BYTES


def _place(chunk: _Chunk, series: Sequence[Labels | None]) -> list[int]:
    """Find the row of each series in the file; returns the keys of those that are new in it."""
    before, new = chunk.names, []
    places = np.full(len(series), -1, np.intp)
    kept = min(len(before), len(series))
    places[:kept] = chunk.places[:kept]
    for row, labels in enumerate(series):
        if row < kept and before[row] is labels:
            continue
        if labels is None:
            places[row] = -1
            continue
        key = series_key(labels)
        if key not in chunk.row_of:
            chunk.row_of[key] = len(chunk.row_of)
            new.append(key)
        places[row] = chunk.row_of[key]
    chunk.names, chunk.places = series, places
    return new


def _placed(
    name: str, part: npt.NDArray[np.generic], places: npt.NDArray[np.intp], used: npt.NDArray[np.bool_], rows: int
) -> npt.NDArray[np.generic]:
    placed = np.full((*part.shape[:-1], rows), empty(name), part.dtype)
    placed[..., places[used]] = part[..., : len(places)][..., used]
    return placed
