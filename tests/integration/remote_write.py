"""Remote write, as small as it can be: protobuf by hand and snappy that only stores.

Samples of today's timestamps have a fixed width on the wire, so numpy lays out a whole series at once:
a million samples take well under a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["STALE", "Series", "batches", "snappy", "write_request"]

Series = tuple[Mapping[str, str], ArrayLike, ArrayLike]
"""Labels (with ``__name__``), timestamps in Unix seconds, values."""

STALE = np.array([0x7FF0000000000002], dtype="<u8").view("<f8")[0]
"""The NaN that tells Prometheus that a series has ended."""

_SAMPLE = np.dtype([("head", "S3"), ("value", "<f8"), ("tag", "u1"), ("at", "u1", (6,))])
_HEAD = bytes([0x12, _SAMPLE.itemsize - 2, 0x09])
_SMALLEST, _LARGEST = 1 << 35, 1 << 42


def batches(series: Iterable[Series], *, samples: int = 100_000) -> Iterator[bytes]:
    """Yield compressed request bodies of about `samples` samples each, in the order given."""
    batch: list[bytes] = []
    count = 0
    for labels, times, values in series:
        at, numbers = np.atleast_1d(np.asarray(times, float)), np.atleast_1d(np.asarray(values, float))
        for first in range(0, len(at), samples):
            part = slice(first, first + samples)
            batch.append(_time_series(labels, at[part], numbers[part]))
            count += len(at[part])
            if count >= samples:
                yield snappy(b"".join(batch))
                batch, count = [], 0
    if batch:
        yield snappy(b"".join(batch))


def write_request(series: Sequence[Series]) -> bytes:
    """Return one uncompressed ``WriteRequest``."""
    return b"".join(_time_series(labels, np.asarray(t, float), np.asarray(v, float)) for labels, t, v in series)


def snappy(data: bytes) -> bytes:
    """Frame `data` in the snappy block format as one literal."""
    if not data:
        return b"\x00"
    return _varint(len(data)) + b"\xfc" + (len(data) - 1).to_bytes(4, "little") + data


def _time_series(labels: Mapping[str, str], times: NDArray[np.float64], values: NDArray[np.float64]) -> bytes:
    pairs = b"".join(_field(1, _field(1, name.encode()) + _field(2, labels[name].encode())) for name in sorted(labels))
    return _field(1, pairs + _samples(times, values))


def _samples(times: NDArray[np.float64], values: NDArray[np.float64]) -> bytes:
    if times.shape != values.shape:
        raise ValueError(f"{len(times)} times but {len(values)} values")
    at = np.rint(times * 1000).astype(np.int64)
    if len(at) and not (at.min() >= _SMALLEST and at.max() < _LARGEST):
        raise ValueError("timestamps must be between 1971 and 2109: their width on the wire is fixed here")
    rows = np.empty(len(at), dtype=_SAMPLE)
    rows["head"], rows["tag"] = _HEAD, 0x10
    # Assigned as raw bits, so that the payload of the stale marker survives.
    rows["value"] = values
    shifts = np.arange(6) * 7
    rows["at"] = (at[:, None] >> shifts & 0x7F) | np.array([0x80] * 5 + [0])
    return rows.tobytes()


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
