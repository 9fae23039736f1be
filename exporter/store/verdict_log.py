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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels, key_of
from exporter.engine.verdict import Verdict
from exporter.store.verdict_files import (
    ChunkHeader,
    Columns,
    FloatArray,
    Keys,
    PackedSlot,
    empty,
    pack,
    read_journal,
    read_sealed,
    read_sealed_rows,
    seal,
    unpack,
    unpack_rows,
    write_header,
    write_slot,
)

__all__ = ["KeptVerdicts", "VerdictLog"]

log = logging.getLogger(__name__)

_MOST_SLOTS, _MOST_BYTES = 240, 64 * 2**20
"""Of a journal, before it is sealed."""
_MOST_PENDING = 2_000_000
"""Series in slots that wait to be written; further slots are dropped."""
_MOST_ROWS = 20_000
"""Series of which the past is read at once at most: some seconds, and 100 MB."""
_JOURNAL, _SEALED = ".journal", ".verdicts"


@dataclass(frozen=True, slots=True)
class KeptVerdicts:
    """The verdicts on one series, by time. Arrays of shape (t,), source units, NaN = absent.

    Attributes
    ----------
    times : Unix seconds
    lines
        `observed`, `expected`, `lower`, `upper`, `score` and `votes`.
    severities
        Of each detector, by its kind.
    quorum : shape (t,)
        Votes that were needed.
    """

    times: FloatArray
    lines: dict[str, FloatArray]
    severities: dict[str, FloatArray]
    quorum: FloatArray

    def __len__(self) -> int:
        return len(self.times)


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
        key = _key(labels)
        for _ in range(2):
            # A journal may be sealed, or an old file removed, between the look at the directory and the reading.
            with contextlib.suppress(FileNotFoundError):
                parts = list(self._parts(self._home(query), key, start, end))
                return _joined(parts, start, end)
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
        if len(series) > _MOST_ROWS:
            return None
        keys = np.array([0 if labels is None else _key(labels) for labels in series], np.uint64)
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                return _newest_rows(_files(self._home(query)), keys, end, spacing, most)
        return None

    def _parts(
        self, home: Path, key: int, start: float, end: float
    ) -> Iterator[tuple[ChunkHeader, FloatArray, Columns]]:
        files = _files(home)
        for index, path in enumerate(files):
            following = _begin(files[index + 1]) if index + 1 < len(files) else np.inf
            if following < start or _begin(path) > end:
                continue
            part = read_sealed(path, key) if path.suffix == _SEALED else _from_journal(path, key)
            if part is not None:
                yield part
            elif not path.exists():
                raise FileNotFoundError(path)

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
        for path in self._directory.glob(f"*/*{_JOURNAL}"):
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
        path = home / f"{round(at * 1000):015d}{_JOURNAL}"
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
            new.replace(path.with_suffix(_SEALED))
        path.unlink(missing_ok=True)

    def _limit(self, at: float) -> None:
        """Remove what is too old, and the oldest of all where all are too large."""
        retention, most = self._limits
        files = sorted((path for path in self._directory.glob("*/*") if path.suffix != ".new"), key=lambda f: f.name)
        sizes = {path: path.stat().st_size for path in files}
        total = sum(sizes.values())
        open_now = {chunk.path for chunk in self._chunks.values()}
        for path in files:
            if path in open_now or (total <= most and _begin(path) >= at - retention):
                continue
            path.unlink(missing_ok=True)
            total -= sizes[path]
        self._bytes = total

    def _home(self, query: str) -> Path:
        return self._directory / hashlib.blake2b(query.encode(), digest_size=8).hexdigest()


def _is_full(chunk: _Chunk) -> bool:
    return chunk.slots >= _MOST_SLOTS or chunk.bytes >= _MOST_BYTES


def _key(labels: Labels) -> int:
    return int.from_bytes(hashlib.blake2b(key_of(labels), digest_size=8).digest(), "little")


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
        key = _key(labels)
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


def _files(home: Path) -> list[Path]:
    """Return the files of a query, the oldest first."""
    try:
        return sorted(path for path in home.iterdir() if path.suffix in (_JOURNAL, _SEALED))
    except FileNotFoundError:
        return []


def _begin(path: Path) -> float:
    """Return the first slot of a file, Unix seconds."""
    return int(path.stem) / 1000.0 if path.stem.isdigit() else np.inf


def _from_journal(path: Path, key: int) -> tuple[ChunkHeader, FloatArray, Columns] | None:
    content = read_journal(path)
    if content is None:
        return None
    header, slots = content
    keys: Keys = np.concatenate([np.zeros(0, np.uint64), *(slot.new for slot in slots)])
    rows = np.flatnonzero(keys == np.uint64(key))
    if not len(rows):
        return None
    row = int(rows[0])
    since = [slot for slot in slots if row < len(slot.columns["score"])]
    columns = {name: np.stack([_of_row(slot, name, row) for slot in since], axis=-1) for name in since[0].columns}
    return header, np.array([slot.at for slot in since]), columns


def _rows_of_journal(path: Path) -> tuple[FloatArray, Keys, Columns] | None:
    """Read a journal as `read_sealed_rows` does a sealed file."""
    content = read_journal(path)
    if content is None or not content[1]:
        return None
    slots = content[1]
    keys: Keys = np.concatenate([slot.new for slot in slots])
    columns: Columns = {}
    for name in ("observed", "expected", "lower", "upper", "score"):
        column = np.full((len(keys), len(slots)), empty(name), slots[0].columns[name].dtype)
        for index, slot in enumerate(slots):
            column[: len(slot.columns[name]), index] = slot.columns[name]
        columns[name] = column
    return np.array([slot.at for slot in slots]), keys, columns


def _newest_rows(
    files: Sequence[Path], keys: Keys, end: float, spacing: float, most: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    parts: list[tuple[FloatArray, ...]] = []
    for path in reversed(files):
        if _begin(path) >= end or sum(len(part[0]) for part in parts) >= most:
            continue
        read = read_sealed_rows(path, 2 * _MOST_ROWS) if path.suffix == _SEALED else _rows_of_journal(path)
        if read is not None:
            times = read[0]
            slots = np.flatnonzero(times < end)
            _, first = np.unique(np.floor(times[slots] / spacing), return_index=True)
            parts.insert(0, _by_key(read, keys, slots[first][-most:]))
        elif not path.exists():
            raise FileNotFoundError(path)
    if not parts:
        return None
    times, observed, expected, score = (np.concatenate(each)[-most:] for each in zip(*parts, strict=True))
    return times, observed, expected, score


def _by_key(read: tuple[FloatArray, Keys, Columns], keys: Keys, slots: npt.NDArray[np.intp]) -> tuple[FloatArray, ...]:
    """Return times, and observed, expected and score by the series of `keys`, shape (t, n), NaN = absent."""
    times, present, columns = read
    order = np.argsort(present)
    rows = order[np.minimum(np.searchsorted(present, keys, sorter=order), len(present) - 1)]
    absent = present[rows] != keys
    values = unpack_rows({name: column[np.ix_(rows, slots)] for name, column in columns.items()})
    parts = (np.where(absent, np.nan, values[name].T) for name in ("observed", "expected", "score"))
    return times[slots], *parts


def _of_row(slot: PackedSlot, name: str, row: int) -> npt.NDArray[np.generic]:
    return np.asarray(slot.columns[name][..., row])


def _joined(parts: list[tuple[ChunkHeader, FloatArray, Columns]], start: float, end: float) -> KeptVerdicts | None:
    if not parts:
        return None
    times = np.concatenate([part[1] for part in parts])
    # Where the clock was set back, what was said last of an instant holds.
    _, latest = np.unique(times[::-1], return_index=True)
    order = len(times) - 1 - latest
    order = order[(times[order] >= start) & (times[order] <= end)]
    if not len(order):
        return None
    unpacked = [unpack(part[2]) for part in parts]
    lines = {name: np.concatenate([part[name] for part in unpacked])[order] for name in unpacked[0] if name != "each"}
    kinds = dict.fromkeys(kind for header, _, _ in parts for kind in header.detectors)
    severities = {}
    for kind in kinds:
        line = [
            part["each"][header.detectors.index(kind)] if kind in header.detectors else np.full(len(own), np.nan)
            for part, (header, own, _) in zip(unpacked, parts, strict=True)
        ]
        severities[kind] = np.concatenate(line)[order]
    quorum = np.concatenate([np.full(len(own), float(header.quorum)) for header, own, _ in parts])[order]
    return KeptVerdicts(times[order], lines, severities, quorum)
