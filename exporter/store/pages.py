"""Rows in the pages of a damaged SQLite file, without its trees.

A page that is gone takes with it, for SQLite, everything that is reached through it: a table, where it was the root.
The other pages still hold their rows. What a row is worth, its checksum says, not this module.

The format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

__all__ = ["PAGE_SIZE", "mend_header", "rows_in_pages"]

PAGE_SIZE = 4096
"""Bytes of a page of our databases."""

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x0A, 0x0D
_MOST_OVERFLOW = 65536
"""Pages of one row."""


def mend_header(data: bytearray) -> None:
    """Make the file header fit the file, in place: its fixed fields, the number of pages, and a last whole page."""
    data.extend(bytes(-len(data) % PAGE_SIZE))
    if len(data) < PAGE_SIZE:
        return
    data[:16] = _MAGIC
    # Page size, format of a write-ahead log, no reserved bytes, and the only fractions that there are.
    data[16:24] = struct.pack(">HBBBBBB", PAGE_SIZE, 2, 2, 0, 64, 32, 32)
    # The count of changes twice: only then the number of pages that is written here counts.
    data[28:32] = struct.pack(">I", len(data) // PAGE_SIZE)
    data[92:96] = data[24:28]
    data[44:48] = struct.pack(">I", 4)
    data[56:60] = struct.pack(">I", 1)


def rows_in_pages(data: bytes) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the row id (0 in tables without) and the stored values of every row of every page that is in use."""
    free = _free_pages(data)
    for number in range(1, len(data) // PAGE_SIZE + 1):
        if number not in free:
            yield from _rows(data, number)


def _rows(data: bytes, number: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
    begin = (number - 1) * PAGE_SIZE
    head = begin + (_HEADER if number == 1 else 0)
    kind = data[head]
    if kind not in (_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE):
        return
    cells = head + (12 if kind == _INTERIOR_INDEX else 8)
    (count,) = struct.unpack_from(">H", data, head + 3)
    for cell in range(min(count, PAGE_SIZE // 2)):
        # Whatever a damaged page says, it costs its own rows only.
        with suppress(struct.error, IndexError, ValueError, OverflowError):
            (offset,) = struct.unpack_from(">H", data, cells + 2 * cell)
            yield _row(data, begin + offset, kind)


def _row(data: bytes, at: int, kind: int) -> tuple[int, tuple[Any, ...]]:
    identity = 0
    if kind == _INTERIOR_INDEX:
        at += 4
    size, at = _varint(data, at)
    if kind == _LEAF_TABLE:
        identity, at = _varint(data, at)
    return identity, _values(_payload(data, at, size, table=kind == _LEAF_TABLE))


def _payload(data: bytes, at: int, size: int, *, table: bool) -> bytes:
    if size > len(data):
        raise ValueError("longer than the file")
    most = PAGE_SIZE - 35 if table else (PAGE_SIZE - 12) * 64 // 255 - 23
    if size <= most:
        return data[at : at + size]
    least = (PAGE_SIZE - 12) * 32 // 255 - 23
    local = least + (size - least) % (PAGE_SIZE - 4)
    local = local if local <= most else least
    parts = [data[at : at + local]]
    (page,) = struct.unpack_from(">I", data, at + local)
    left = size - local
    for _ in range(_MOST_OVERFLOW):
        if left <= 0 or page == 0:
            break
        start = (page - 1) * PAGE_SIZE
        (page,) = struct.unpack_from(">I", data, start)
        parts.append(data[start + 4 : start + 4 + min(left, PAGE_SIZE - 4)])
        left -= PAGE_SIZE - 4
    return b"".join(parts)


def _values(payload: bytes) -> tuple[Any, ...]:
    length, at = _varint(payload, 0)
    kinds = []
    while at < length:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    at = length
    for kind in kinds:
        size = _size(kind)
        raw = payload[at : at + size]
        if len(raw) < size:
            raise ValueError("cut off")
        values.append(_value(kind, raw))
        at += size
    return tuple(values)


def _size(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]


def _value(kind: int, raw: bytes) -> Any:
    if kind >= 12:
        return raw.decode("utf-8", "replace") if kind % 2 else raw
    if kind == 7:
        return struct.unpack(">d", raw)[0]
    if kind in (0, 8, 9):
        return (None, 0, 1)[0 if kind == 0 else kind - 7]
    return int.from_bytes(raw, "big", signed=True)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(9):
        byte = data[at + number]
        if number == 8:
            return _signed(value << 8 | byte), at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    raise AssertionError("nine bytes end it")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _free_pages(data: bytes) -> set[int]:
    """Return the pages of the list of free pages, as far as it reads: they hold rows that were deleted."""
    free: set[int] = set()
    with suppress(struct.error):
        (trunk,) = struct.unpack_from(">I", data, 32)
        while 0 < trunk <= len(data) // PAGE_SIZE and trunk not in free:
            free.add(trunk)
            start = (trunk - 1) * PAGE_SIZE
            trunk, count = struct.unpack_from(">II", data, start)
            count = min(count, PAGE_SIZE // 4 - 2)
            free.update(struct.unpack_from(f">{count}I", data, start + 8))
    return free
