"""Kept verdicts, as they are read from the files of a verdict log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels, key_of
from exporter.store.verdict_files import (
    ChunkHeader,
    Columns,
    FloatArray,
    Keys,
    PackedSlot,
    empty,
    read_journal,
    read_sealed,
    read_sealed_rows,
    unpack,
    unpack_rows,
)

__all__ = ["JOURNAL", "MOST_ROWS", "SEALED", "KeptVerdicts", "first_slot", "newest_rows", "read_series", "series_key"]

JOURNAL, SEALED = ".journal", ".verdicts"
MOST_ROWS = 20_000
"""Series of which the past is read at once at most: some seconds, and 100 MB."""


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


def read_series(home: Path, key: int, start: float, end: float) -> KeptVerdicts | None:
    """Return the verdicts on one series from `start` to `end`, Unix seconds; None where there are none.

    Raises
    ------
    FileNotFoundError
        A file of `home`, the directory of a query, was sealed or removed meanwhile; try again.
    """
    return _joined(list(_parts(home, key, start, end)), start, end)


def series_key(labels: Labels) -> int:
    """Return what a series is called in the files, from 8 bytes of a hash of its labels."""
    return int.from_bytes(hashlib.blake2b(key_of(labels), digest_size=8).digest(), "little")


def _parts(home: Path, key: int, start: float, end: float) -> Iterator[tuple[ChunkHeader, FloatArray, Columns]]:
    files = _files(home)
    for index, path in enumerate(files):
        following = first_slot(files[index + 1]) if index + 1 < len(files) else np.inf
        if following < start or first_slot(path) > end:
            continue
        part = read_sealed(path, key) if path.suffix == SEALED else _from_journal(path, key)
        if part is not None:
            yield part
        elif not path.exists():
            raise FileNotFoundError(path)


def _files(home: Path) -> list[Path]:
    """Return the files of a query, the oldest first."""
    try:
        return sorted(path for path in home.iterdir() if path.suffix in (JOURNAL, SEALED))
    except FileNotFoundError:
        return []


def first_slot(path: Path) -> float:
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


def newest_rows(
    home: Path, keys: Keys, end: float, spacing: float, most: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None:
    """Return times, shape (t,), and what was observed and expected and the score, shape (t, n), by `keys`.

    Parameters
    ----------
    home : Path
        The directory of a query.
    end, spacing : float, seconds
        Slots before this instant, so far apart at least.
    most : int
        Slots at most, the newest.

    Raises
    ------
    FileNotFoundError
        As `read_series`.
    """
    parts: list[tuple[FloatArray, ...]] = []
    for path in reversed(_files(home)):
        if first_slot(path) >= end or sum(len(part[0]) for part in parts) >= most:
            continue
        read = read_sealed_rows(path, 2 * MOST_ROWS) if path.suffix == SEALED else _rows_of_journal(path)
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
    # Where the clock was set back, the newest verdict on an instant holds.
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
