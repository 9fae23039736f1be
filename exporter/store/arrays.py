"""Arrays as pieces of raw bytes with checksums, and back; everything read is checked first."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.deflate import adler32, crc32
from exporter.store.rows import seal

__all__ = ["DamagedPartError", "Written", "move_part", "read_part", "write_part"]

Array = NDArray[Any]

PIECE = 2**20
"""Bytes in a row; a change writes only the rows that it touches."""
PART_LIMIT = 4 * 2**30
"""Bytes in an array; a larger size is damage."""

_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
# On the disk everything is little-endian, whatever machine wrote it.
_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _NAMES}
_DIMENSIONS = 8
_Length = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
_decode_shape = msgspec.json.Decoder(Annotated[tuple[_Length, ...], msgspec.Meta(max_length=_DIMENSIONS)]).decode


@dataclass(frozen=True, slots=True)
class Written:
    """Checksums of a part as it was written.

    Attributes
    ----------
    head : tuple
        Type, shape, bytes, and how many of them are a piece.
    pieces : tuple of (int, int)
        Two checksums of each piece: other contents have the same ones once in 2**64 times.
    """

    head: tuple[str, str, int, int]
    pieces: tuple[tuple[int, int], ...]


class DamagedPartError(Exception):
    """A stored array is not what was written; the text says why."""


def write_part(con: sqlite3.Connection, query: str, part: str, array: Array, before: Written | None = None) -> Written:
    """Replace a part of a query by `array`; pieces that `before` lists as stored are not written again.

    Raises
    ------
    ValueError
        The type of the array is none of those that are stored.
    """
    name = array.dtype.name
    if name not in _DTYPES or array.ndim > _DIMENSIONS:
        raise ValueError(f"part {part!r}: arrays of {array.dtype} with {array.ndim} dimensions are not stored")
    # Not ascontiguousarray, which makes a vector of a scalar.
    plain = np.asarray(array, dtype=_DTYPES[name], order="C")
    data = plain.reshape(-1).view(np.uint8).data
    head = (name, str(list(plain.shape)), plain.nbytes, PIECE)
    if before is None or before.head != head:
        before = None
        delete_part(con, query, part)
        row = (query, part, *head[:3])
        con.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
    pieces = []
    for number, start in enumerate(range(0, plain.nbytes, PIECE)):
        piece = data[start : start + PIECE]
        checksums = _checksum(query, part, number, piece), adler32(piece)
        pieces.append(checksums)
        if before is None or before.pieces[number] != checksums:
            piece_row = (checksums[0], piece, query, part, number)
            # Not INSERT OR REPLACE: in its place, only the pages that differ are written.
            if not con.execute(
                "UPDATE pieces SET crc=?, data=? WHERE query=? AND part=? AND piece=?", piece_row
            ).rowcount:
                con.execute("INSERT INTO pieces (crc, data, query, part, piece) VALUES (?, ?, ?, ?, ?)", piece_row)
    return Written(head, tuple(pieces))


def delete_part(con: sqlite3.Connection, query: str, part: str) -> None:
    """Delete a part of a query, if it is there."""
    con.execute("DELETE FROM parts WHERE query=? AND part=?", (query, part))
    con.execute("DELETE FROM pieces WHERE query=? AND part=?", (query, part))


def move_part(con: sqlite3.Connection, row: tuple[Any, ...], to: str) -> None:
    """Give a part, a row of the table ``parts``, to another query; what is damaged is left out."""
    query, part = row[:2]
    if seal(*row[:-1]) == row[-1]:
        moved = (to, *row[1:-1])
        con.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", (*moved, seal(*moved)))
        numbers = con.execute("SELECT piece FROM pieces WHERE query=? AND part=? ORDER BY piece", (query, part))
        # Piece by piece: a part may be large.
        for (number,) in numbers.fetchall():
            where = (query, part, number)
            select = "SELECT crc, data FROM pieces WHERE query=? AND part=? AND piece=?"
            crc, data = con.execute(select, where).fetchone()
            if isinstance(data, bytes) and crc == _checksum(query, part, number, data):
                new = (to, _checksum(to, part, number, data), *where)
                con.execute("UPDATE pieces SET query=?, crc=? WHERE query=? AND part=? AND piece=?", new)
    delete_part(con, query, part)


def read_part(con: sqlite3.Connection, row: tuple[Any, ...]) -> Array:
    """Return the array of a row of the table ``parts``, writable and in the byte order of this machine.

    Raises
    ------
    DamagedPartError
    """
    query, part, name, text, size, checksum = row
    if seal(*row[:-1]) != checksum:
        raise DamagedPartError("its description does not match its checksum")
    try:
        shape = _decode_shape(text)
    except (ValueError, TypeError):
        shape = None
    dtype = _DTYPES.get(name)
    size_is_valid = isinstance(size, int) and size <= PART_LIMIT
    if dtype is None or shape is None or not size_is_valid or math.prod(shape) * dtype.itemsize != size:
        raise DamagedPartError(f"{size} bytes are no array of {name} with shape {text}")
    # What is there is measured before memory is taken for it.
    stored = con.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM pieces WHERE query=? AND part=? AND typeof(data)='blob'",
        (query, part),
    ).fetchone()[0]
    if stored != size:
        raise DamagedPartError(f"{stored} bytes are stored of {size}")
    buffer = bytearray(size)
    filled = 0
    pieces = con.execute(
        "SELECT piece, crc, data FROM pieces WHERE query=? AND part=? AND typeof(data)='blob' ORDER BY piece",
        (query, part),
    )
    for number, (piece, crc, data) in enumerate(pieces):
        if piece != number or crc != _checksum(query, part, number, data) or filled + len(data) > size:
            raise DamagedPartError(f"piece {number} does not match its checksum")
        buffer[filled : filled + len(data)] = data
        filled += len(data)
    array: Array = np.ndarray(shape, dtype, buffer=buffer)
    if name == "bool" and size and array.view(np.uint8).max() > 1:
        raise DamagedPartError("a truth value is neither 0 nor 1")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _checksum(query: str, part: str, number: int, data: bytes | memoryview) -> int:
    # Begins with the place, so that a piece that stands in another one's place is found too.
    return crc32(data, seal(query, part, number))
