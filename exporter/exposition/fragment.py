"""The rows of one metric of one query, rendered and compressed once a cycle.

A scrape then only writes out bytes that exist. A fragment is a raw deflate segment that refers to
nothing before it and ends on a byte boundary, so fragments can be strung together in any order into
one gzip member; its checksum can be joined to that of what stands before it without seeing the text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Fragment", "deflate", "join_checksums", "render_rows"]

FloatArray = NDArray[np.float64]

# Rows rendered at a time: enough to amortise the calls, few enough that the text of a million
# rows never exists at once.
_BATCH = 16_384
_FASTEST = 1
_RAW = -zlib.MAX_WBITS

# CRC-32 is arithmetic on polynomials over GF(2), modulo this one; the highest bit is x^0.
_POLYNOMIAL = 0xEDB88320
_ONE = 0x80000000
_X8 = 0x00800000


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of the page.

    Parameters
    ----------
    deflated : bytes
        The text as a raw deflate segment.
    size : int
        Bytes of the text.
    crc : int
        CRC-32 of the text.
    shift : int
        What the CRC-32 of any text before this one is multiplied by when this one is appended.
    """

    deflated: bytes
    size: int
    crc: int
    shift: int

    def text(self, chunk: int = 1 << 18) -> Iterator[bytes]:
        """Inflate the text again, at most `chunk` bytes at a time."""
        inflater = zlib.decompressobj(_RAW)
        pending = self.deflated
        while pending:
            piece = inflater.decompress(pending, chunk)
            if piece:
                yield piece
            pending = inflater.unconsumed_tail


def render_rows(metric: str, prefixes: Sequence[bytes], values: FloatArray) -> Fragment:
    """Render one metric of one query; a NaN leaves its row out.

    Parameters
    ----------
    metric : str
        Name of the metric.
    prefixes : sequence of bytes, length n
        What stands between the braces of each row (`exporter.exposition.labels`).
    values : (n,) float64
        NaN = absent, infinities are written as such.
    """
    if len(prefixes) != len(values):
        raise ValueError(f"{metric}: {len(prefixes)} rows of labels for {len(values)} values")
    opening = f"{metric}{{".encode()
    between = b"\n" + opening
    deflater = zlib.compressobj(_FASTEST, zlib.DEFLATED, _RAW)
    deflated, size, crc = [], 0, 0
    for start in range(0, len(prefixes), _BATCH):
        batch = values[start : start + _BATCH]
        labels: Sequence[bytes] = prefixes[start : start + _BATCH]
        present = ~np.isnan(batch)
        if not present.all():
            labels = list(compress(labels, present.tolist()))
            batch = batch[present]
        if not labels:
            continue
        rows = [label + b"} " + number for label, number in zip(labels, _numbers(batch), strict=True)]
        text = b"%b%b\n" % (opening, between.join(rows))
        deflated.append(deflater.compress(text))
        crc = zlib.crc32(text, crc)
        size += len(text)
    deflated.append(deflater.flush(zlib.Z_SYNC_FLUSH))
    return Fragment(b"".join(deflated) if size else b"", size, crc, _shift(size))


def deflate(text: bytes) -> Fragment:
    """Make a fragment of any text."""
    deflater = zlib.compressobj(_FASTEST, zlib.DEFLATED, _RAW)
    deflated = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return Fragment(deflated, len(text), zlib.crc32(text), _shift(len(text)))


def join_checksums(crc: int, following: Fragment) -> int:
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
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _shift(size: int) -> int:
    """Return x^(8 size): appending `size` bytes multiplies what stands before by it."""
    power, square = _ONE, _X8
    while size:
        if size & 1:
            power = _times(power, square)
        square = _times(square, square)
        size >>= 1
    return power
