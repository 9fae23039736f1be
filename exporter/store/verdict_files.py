"""Files of verdicts: a journal that slots are appended to, and the sealed file that it becomes.

A journal has one record per slot: the arrays of all series one after another, as the engine returned them. A sealed
file has the same numbers by series, 64 series a compressed block, so that the past of one series is a few small reads.
Floats are kept as float32; score and severities in steps that keep their thresholds exact.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.deflate import compress, crc32
from exporter.engine.verdict import Verdict

__all__ = [
    "ChunkHeader",
    "PackedSlot",
    "empty",
    "pack",
    "read_journal",
    "read_sealed",
    "read_sealed_rows",
    "seal",
    "unpack",
    "unpack_rows",
    "write_header",
    "write_slot",
]

FloatArray = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Columns = dict[str, npt.NDArray[np.generic]]

_FLOATS = ("observed", "expected", "lower", "upper")
_LAYOUT = (*((name, "<f4") for name in _FLOATS), ("score", "<u2"), ("votes", "u1"), ("flags", "u1"))
"""Of a sample; the severity of each detector follows, a byte each."""
_HEADER, _RECORD = struct.Struct("<4sI"), struct.Struct("<4sdIIII")
_JOURNAL, _SEALED, _SLOT = b"AXJ1", b"AXV1", b"SLOT"
_GROUP = 64
"""Series in a compressed block."""
_LEVEL = 1
"""Of zlib; higher ones are three times as slow and save a tenth."""
_SCORE_STEPS, _NO_SCORE = 65534.0, 65535
_SEVERITY_STEPS, _NO_BYTE = 32.0, 255
READY, MASKED, ABSENT, ZERO, SUPPRESSED = 1, 2, 4, 8, 4
"""Bits of a flag; the reason why a series is suppressed is in those above the first four."""


class ChunkHeader(msgspec.Struct, frozen=True):
    """What holds for all slots of a file."""

    query: str
    identity: str
    quorum: int
    interval: float
    detectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackedSlot:
    """One slot of a file: instant, the series that are new in it, and its columns, shape (n,) or (n * detectors,)."""

    at: float
    new: Keys
    columns: Columns


def pack(verdict: Verdict, suppressed: npt.NDArray[np.int8]) -> Columns:
    """Return the columns of a verdict, shape (size,) each, and (d, size) of `each`."""
    with np.errstate(all="ignore"):
        # What is beyond float32 is infinite.
        columns: Columns = {name: getattr(verdict, name).astype("<f4") for name in _FLOATS}
        # Rounded down: what is below the threshold stays below it.
        score = np.floor(verdict.score * _SCORE_STEPS)
        columns["score"] = np.where(np.isnan(score), _NO_SCORE, score).astype("<u2")
        columns["votes"] = np.where(np.isnan(verdict.votes), _NO_BYTE, np.clip(verdict.votes, 0, 254)).astype(np.uint8)
        severity = np.floor(_SEVERITY_STEPS * np.log2(1.0 + np.maximum(verdict.each, 0.0)))
        each = np.where(np.isnan(severity), _NO_BYTE, np.minimum(severity, 254.0)).astype(np.uint8)
    flags = READY * verdict.ready + MASKED * verdict.masked + ABSENT * verdict.absent + ZERO * verdict.zero
    columns["flags"] = (flags.astype(np.uint8) | (suppressed.astype(np.uint8) << SUPPRESSED)).astype(np.uint8)
    columns["each"] = each
    return columns


def unpack(columns: Columns) -> dict[str, FloatArray]:
    """Return the numbers of one series: columns of shape (t,), and `each` of shape (d, t)."""
    lines = unpack_rows(columns)
    votes, each = columns["votes"].astype(np.float64), columns["each"].astype(np.float64)
    lines["votes"] = np.where(votes == _NO_BYTE, np.nan, votes)
    lines["each"] = np.where(each == _NO_BYTE, np.nan, np.exp2(each / _SEVERITY_STEPS) - 1.0)
    return lines


def write_header(file: BinaryIO, header: ChunkHeader) -> None:
    """Begin a journal."""
    text = msgspec.json.encode(header)
    file.write(_HEADER.pack(_JOURNAL, len(text)) + text)


def write_slot(file: BinaryIO, at: float, new: Keys, columns: Columns) -> int:
    """Append a slot; returns its length in bytes."""
    payload = [new.astype("<u8").tobytes(), *(columns[name].tobytes() for name, _, _ in _sizes(0))]
    crc = 0
    for part in payload:
        crc = crc32(part, crc)
    length = sum(map(len, payload))
    file.write(_RECORD.pack(_SLOT, at, len(columns["score"]), len(new), length, crc))
    file.writelines(payload)
    return _RECORD.size + length


def unpack_rows(columns: Columns) -> dict[str, FloatArray]:
    """Return the numbers of values, bands and scores, in the shape of the columns."""
    lines = {name: columns[name].astype(np.float64) for name in _FLOATS}
    score = columns["score"].astype(np.float64)
    return lines | {"score": np.where(score == _NO_SCORE, np.nan, score / _SCORE_STEPS)}


def _sizes(detectors: int) -> list[tuple[str, np.dtype[np.generic], int]]:
    """Return name, type and numbers per series of each column."""
    return [*((name, np.dtype(kind), 1) for name, kind in _LAYOUT), ("each", np.dtype("u1"), detectors)]


def read_journal(path: Path) -> tuple[ChunkHeader, list[PackedSlot]] | None:
    """Read a journal up to its last whole record; None where there is nothing to be read.

    The columns are views into the mapped file, so that of a large one only the rows that are used are read.
    """
    try:
        raw = np.memmap(path, np.uint8, mode="r")
    except (ValueError, OSError):  # Empty, or gone.
        return None
    begun = _header(raw, _JOURNAL)
    if begun is None:
        return None
    header, place = begun
    slots: list[PackedSlot] = []
    while place + _RECORD.size <= len(raw):
        magic, at, count, new, length, crc = _RECORD.unpack(raw[place : place + _RECORD.size].tobytes())
        end = place + _RECORD.size + length
        if magic != _SLOT or end > len(raw):
            break
        # Only the last one can be torn.
        if end + _RECORD.size > len(raw) and crc32(raw[place + _RECORD.size : end].data) != crc:
            break
        keys, columns = _split(raw[place + _RECORD.size : end], count, new, len(header.detectors))
        slots.append(PackedSlot(at, keys, columns))
        place = end
    return header, slots


def _split(payload: npt.NDArray[np.uint8], count: int, new: int, detectors: int) -> tuple[Keys, Columns]:
    place = 8 * new
    keys: Keys = np.frombuffer(payload[:place].tobytes(), "<u8")
    columns: Columns = {}
    for name, kind, each in _sizes(detectors):
        end = place + kind.itemsize * count * each
        # A view of bytes as numbers; numpy reads them wherever they begin.
        columns[name] = np.ndarray(count * each, kind, payload[place:end])
        place = end
    columns["each"] = columns["each"].reshape(detectors, count)
    return keys, columns


def _header(raw: npt.NDArray[np.uint8], magic: bytes) -> tuple[ChunkHeader, int] | None:
    if len(raw) < _HEADER.size:
        return None
    begin, length = _HEADER.unpack(raw[: _HEADER.size].tobytes())
    if begin != magic or len(raw) < _HEADER.size + length:
        return None
    try:
        header = msgspec.json.decode(raw[_HEADER.size : _HEADER.size + length].tobytes(), type=ChunkHeader)
    except msgspec.MsgspecError:
        return None
    return header, _HEADER.size + length


# ---------------------------------------------------------------- sealed files


def seal(header: ChunkHeader, slots: Sequence[PackedSlot]) -> Iterator[bytes]:
    """Yield the parts of a sealed file."""
    keys = np.concatenate([slot.new for slot in slots]).astype("<u8")
    text = msgspec.json.encode(header)
    blocks = [_block(slots, start, min(start + _GROUP, len(keys)), len(header.detectors))
              for start in range(0, len(keys), _GROUP)]  # fmt: skip
    ends = np.cumsum([0, *map(len, blocks)]).astype("<u8")
    yield _HEADER.pack(_SEALED, len(text)) + text
    yield struct.pack("<II", len(slots), len(keys))
    yield np.array([slot.at for slot in slots], "<f8").tobytes()
    yield keys.tobytes()
    yield ends.tobytes()
    yield from blocks


def _block(slots: Sequence[PackedSlot], start: int, end: int, detectors: int) -> bytes:
    """Compress the rows from `start` to `end`: by column, row after row, the bytes of numbers side by side."""
    parts = []
    for name, kind, each in _sizes(detectors):
        part = np.full((each, end - start, len(slots)), empty(name), kind)
        for index, slot in enumerate(slots):
            column = slot.columns[name].reshape(each, -1)
            present = max(0, min(end, column.shape[1]) - start)
            part[:, :present, index] = column[:, start : start + present]
        parts.append(np.ascontiguousarray(part).view(np.uint8).reshape(-1, kind.itemsize).T.tobytes())
    return compress(b"".join(parts), _LEVEL)


def empty(name: str) -> float:
    """Return what a column has where there is no verdict."""
    return {"score": _NO_SCORE, "votes": _NO_BYTE, "each": _NO_BYTE, "flags": 0}.get(name, np.nan)


def read_sealed(path: Path, key: int) -> tuple[ChunkHeader, FloatArray, Columns] | None:
    """Read what a sealed file has of one series: times of shape (t,), columns, and `each` of shape (d, t)."""
    index = _index_of(path)
    if index is None or not len(rows := np.flatnonzero(index.keys == np.uint64(key))):
        return None
    group, row = divmod(int(rows[0]), _GROUP)
    decoded = _group_of(index, group)
    if decoded is None:
        return None
    return index.header, index.times, {name: part[:, row] if name == "each" else part[0, row] for name, part in decoded}


def read_sealed_rows(path: Path, most: int) -> tuple[FloatArray, Keys, Columns] | None:
    """Read the times, shape (t,), keys, shape (n,), and columns, shape (n, t), of all series; not of more than `most`.

    `votes`, `flags` and `each` are left out.
    """
    index = _index_of(path)
    if index is None or not 0 < len(index.keys) <= most:
        return None
    groups = [_group_of(index, group) for group in range(len(index.ends) - 1)]
    columns: Columns = {}
    for name in (*_FLOATS, "score"):
        parts = [dict(group)[name][0] for group in groups if group is not None]
        columns[name] = np.concatenate(parts) if len(parts) == len(groups) else np.zeros(0)
    return None if any(group is None for group in groups) else (index.times, index.keys, columns)


@dataclass(frozen=True, slots=True)
class _SealedIndex:
    """What a sealed file has, and where: compressed groups of series between `ends`, after `place`."""

    header: ChunkHeader
    raw: npt.NDArray[np.uint8]
    place: int
    times: FloatArray
    keys: Keys
    ends: npt.NDArray[np.uint64]


def _index_of(path: Path) -> _SealedIndex | None:
    try:
        raw = np.memmap(path, np.uint8, mode="r")
    except (ValueError, OSError):
        return None
    begun = _header(raw, _SEALED)
    if begun is None:
        return None
    header, place = begun
    count, size = struct.unpack("<II", raw[place : place + 8].tobytes())
    place += 8
    parts = []
    for kind, length in (("<f8", count), ("<u8", size), ("<u8", -(-size // _GROUP) + 1)):
        parts.append(np.frombuffer(raw[place : place + 8 * length].tobytes(), kind))
        place += 8 * length
    return _SealedIndex(header, raw, place, *parts)


def _group_of(index: _SealedIndex, group: int) -> list[tuple[str, npt.NDArray[np.generic]]] | None:
    """Return the columns of a group of series, shape (each, rows, t); None where it is damaged."""
    begin, end = (index.place + int(index.ends[group + more]) for more in (0, 1))
    try:
        block = zlib.decompress(index.raw[begin:end].data)
    except zlib.error:
        return None
    rows, count = min(_GROUP, len(index.keys) - group * _GROUP), len(index.times)
    columns = []
    place = 0
    for name, kind, each in _sizes(len(index.header.detectors)):
        length = each * rows * count
        end = place + length * kind.itemsize
        pieces = np.frombuffer(block[place:end], np.uint8).reshape(kind.itemsize, length)
        columns.append((name, np.ascontiguousarray(pieces.T).view(kind).reshape(each, rows, count)))
        place = end
    return columns
