"""The rows of a metric of a query, rendered once per evaluation, and compressed once where the page is large.

A scrape only writes existing bytes. A compressed fragment is a raw deflate segment that refers to nothing before it and
ends on a byte boundary, so fragments in any order make up one gzip member; their checksums are combined without the
text. Rows that are the same as in the evaluation before are not rendered again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporter.deflate import compressobj, crc32
from exporter.exposition.labels import with_label

__all__ = ["RenderedMetric", "Fragment", "Packed", "join_checksums", "render_rows"]

FloatArray = NDArray[np.float64]

# Rows of a fragment: enough that a scrape has few to write, few enough that one row that changes does not cost much.
_BATCH = 8192
_FASTEST = 1
_RAW = -zlib.MAX_WBITS

# CRC-32 is arithmetic on polynomials over GF(2), modulo this one; the highest bit is x^0.
_POLYNOMIAL = 0xEDB88320
_IDENTITY = 0x80000000
_X8 = 0x00800000


class Fragment:
    """A piece of the page: text, until it is requested as a raw deflate segment. Its content never changes.

    Parameters
    ----------
    text : bytes

    Attributes
    ----------
    size : int
        Bytes of the text.
    """

    __slots__ = ("_packed", "_text", "size")

    def __init__(self, text: bytes) -> None:
        self.size = len(text)
        self._text: bytes | None = text
        self._packed: Packed | None = None

    def packed(self) -> Packed:
        """Return it compressed, and keep only that; two threads at the same time both compress it."""
        text, packed = self._text, self._packed  # In this order: the text goes after the other has come.
        if packed is None:
            assert text is not None  # noqa: S101 - it is one of the two.
            self._packed = packed = _pack(text)
        self._text = None
        return packed

    def text(self, chunk: int = 1 << 18) -> Iterator[bytes]:
        """Yield the text, at most `chunk` bytes at a time where it has to be inflated."""
        text = self._text
        if text is not None:
            yield text
            return
        inflater = zlib.decompressobj(_RAW)
        pending = self.packed().deflated
        while pending:
            piece = inflater.decompress(pending, chunk)
            if piece:
                yield piece
            pending = inflater.unconsumed_tail


@dataclass(frozen=True, slots=True)
class Packed:
    """A piece of the page, compressed.

    Parameters
    ----------
    deflated : bytes
        The text as a raw deflate segment.
    crc : int
        CRC-32 of the text.
    shift : int
        What the CRC-32 of any text before this one is multiplied by when this one is appended.
    """

    deflated: bytes
    crc: int
    shift: int


@dataclass(frozen=True, slots=True)
class RenderedMetric:
    """A metric of a query as rendered, with its input. Never changed.

    Parameters
    ----------
    prefixes : tuple of bytes, length n
    values : (n,) float64
    fragments : tuple of Fragment
        Of so many rows each.
    """

    prefixes: tuple[bytes, ...]
    values: FloatArray
    fragments: tuple[Fragment, ...]

    def matches(self, rows: slice, prefixes: tuple[bytes, ...], values: FloatArray) -> bool:
        """Return whether some rows are the same; values to the bit, so that NaN is like NaN."""
        same = self.prefixes is prefixes or self.prefixes[rows] == prefixes[rows]
        return same and self.values[rows].tobytes() == values[rows].tobytes()


def render_rows(
    metric: str,
    prefixes: Sequence[bytes],
    values: FloatArray,
    before: RenderedMetric | None = None,
    *,
    more: bytes = b"",
) -> RenderedMetric:
    """Render one metric of one query; a NaN leaves its row out, and so does an empty prefix.

    Parameters
    ----------
    metric : str
        Name of the metric.
    prefixes : sequence of bytes, length n
        What stands between the braces of each row (`exporter.exposition.labels`). The same tuple as before where
        nothing changed is recognised at once.
    values : (n,) float64
        NaN = absent, infinities are written as such. Nobody may change them afterwards.
    before : RenderedMetric, optional
        The same metric in the evaluation before.
    more : bytes
        A label that all rows have beside those of their prefix, with its comma; the same as before.
    """
    if len(prefixes) != len(values):
        raise ValueError(f"{metric}: {len(prefixes)} rows of labels for {len(values)} values")
    prefixes = tuple(prefixes)
    fragments = []
    for number, start in enumerate(range(0, len(prefixes), _BATCH)):
        rows = slice(start, start + _BATCH)
        if before is not None and before.matches(rows, prefixes, values):
            fragments.append(before.fragments[number])
        else:
            fragments.append(Fragment(_text(metric, prefixes[rows], values[rows], more)))
    return RenderedMetric(prefixes, values, tuple(fragments))


def _text(metric: str, labels: Sequence[bytes], values: FloatArray, more: bytes) -> bytes:
    present = ~np.isnan(values)
    if b"" in labels:
        present &= np.fromiter(map(bool, labels), np.bool_, len(labels))
    if not present.all():
        labels = list(compress(labels, present.tolist()))
        values = values[present]
    if not labels:
        return b""
    opening = f"{metric}{{".encode()
    if more:
        labels = [with_label(label, more) for label in labels]
    # All pieces in one list, and so one copy of each: the rows of a large page are many megabytes.
    pieces = [b"\n" + opening, b"", b"} ", b""] * len(labels)
    pieces[0] = opening
    pieces[1::4] = labels
    pieces[3::4] = _numbers(values)
    pieces.append(b"\n")
    return b"".join(pieces)


def _pack(text: bytes) -> Packed:
    if not text:
        return Packed(b"", 0, _IDENTITY)
    deflater = compressobj(_FASTEST, zlib.DEFLATED, _RAW)
    deflated = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return Packed(deflated, crc32(text), _shift(len(text)))


def join_checksums(crc: int, following: Packed) -> int:
    """Return the CRC-32 of a text whose CRC-32 is `crc` with `following` appended."""
    return _times(crc, following.shift) ^ following.crc


def _numbers(values: FloatArray) -> list[bytes]:
    """Write every value with the fewest digits that read back as the same float64."""
    # The encoder of a JSON list is the fastest writer of many floats there is in Python; it writes
    # null for what JSON does not know.
    numbers = msgspec.json.encode(values.tolist())[1:-1].split(b",")
    for row in np.flatnonzero(np.isinf(values)).tolist():
        numbers[row] = b"+Inf" if values[row] > 0 else b"-Inf"
    return numbers


def _times(a: int, b: int) -> int:
    product = 0
    while a:
        if a & _IDENTITY:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _shift(size: int) -> int:
    """Return x^(8 size): appending `size` bytes multiplies what stands before by it."""
    power, place = _IDENTITY, 0
    while size:
        if digit := size & 0xFF:
            power = _times(power, _power(digit, place)) if power != _IDENTITY else _power(digit, place)
        size >>= 8
        place += 1
    return power


@lru_cache(maxsize=2048)
def _power(digit: int, place: int) -> int:
    """Return x^(8 digit 256^place), of which there are few, and every size is made of."""
    power, square = _IDENTITY, _X8
    for _ in range(8 * place):
        square = _times(square, square)
    for _ in range(8):
        if digit & 1:
            power = _times(power, square)
        square = _times(square, square)
        digit >>= 1
    return power
