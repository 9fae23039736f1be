r"""Samples as bodies of Prometheus' remote write 1.0 [1]_: protobuf, compressed by snappy.

Only a few bytes of a message depend on the sample, so bodies are joined from pieces: the labels of a series are encoded
once, and samples are laid out by numpy.

References
----------
.. [1] Prometheus Remote-Write 1.0 specification, https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat

import numpy as np
import numpy.typing as npt

__all__ = ["SeriesLabels", "encode_labels", "encode_range", "encode_slot"]

FloatArray = npt.NDArray[np.float64]

_NAME = "__name__"
_SERIES, _LABEL, _SAMPLE = b"\x0a", b"\x0a", b"\x12"
"""Tags: ``WriteRequest.timeseries``, ``TimeSeries.labels``, ``TimeSeries.samples``."""
_VALUE, _TIMESTAMP = b"\x09", b"\x10"
"""Tags of ``Sample``: a double, and milliseconds as a varint."""


@dataclass(frozen=True, slots=True)
class SeriesLabels:
    """The labels of a series without its name, encoded: those that sort before the name, and those after it."""

    before: bytes
    after: bytes


def encode_labels(labels: Sequence[tuple[str, str]]) -> SeriesLabels:
    """Encode labels; an empty value is no label, as everywhere in Prometheus."""
    before, after = bytearray(), bytearray()
    for name, value in sorted(labels):
        if value:
            (before if name < _NAME else after).extend(_label(name, value))
    return SeriesLabels(bytes(before), bytes(after))


def encode_slot(
    metric: str, series: Sequence[SeriesLabels | None], values: FloatArray, at: float, most: int
) -> Iterator[tuple[bytes, int]]:
    """Yield messages with one sample of each series, and how many samples are in each.

    Parameters
    ----------
    metric : str
    series : sequence, length n
        None: the row is left out.
    values : ndarray of float64, shape (n,)
        NaN: the row is left out.
    at : float, Unix seconds
    most : int
        Samples in one message.
    """
    name = _label(_NAME, metric)
    stamp = _TIMESTAMP + _varint(round(at * 1000.0))
    sample = _SAMPLE + _varint(9 + len(stamp)) + _VALUE
    fixed = len(name) + len(sample) + 8 + len(stamp)
    chosen = [row for row in np.flatnonzero(~np.isnan(values)).tolist() if series[row] is not None]
    numbers = values[chosen].astype("<f8").tobytes()
    pieces: list[bytes] = []
    for index, row in enumerate(chosen):
        labels = series[row]
        assert labels is not None  # noqa: S101 - chosen for that.
        length = _varint(fixed + len(labels.before) + len(labels.after))
        value = numbers[8 * index : 8 * index + 8]
        pieces += (_SERIES, length, labels.before, name, labels.after, sample, value, stamp)
        if (index + 1) % most == 0:
            yield b"".join(pieces), most
            pieces = []
    if pieces:
        yield b"".join(pieces), len(chosen) % most


def encode_range(
    metric: str, series: Sequence[SeriesLabels | None], values: FloatArray, times: FloatArray, most: int
) -> Iterator[tuple[bytes, int]]:
    """Yield messages with the samples of a range of time, and how many samples are in each.

    Parameters
    ----------
    values : ndarray of float64, shape (t, n)
        NaN: no sample.
    times : ndarray of float64, shape (t,), Unix seconds
        Ascending.
    """
    name = _label(_NAME, metric)
    pieces: list[bytes] = []
    count = 0
    for row in np.flatnonzero(~np.isnan(values).all(axis=0)).tolist():
        labels = series[row]
        if labels is None:
            continue
        head = labels.before + name + labels.after
        samples = zip(times.tolist(), values[:, row].tolist(), strict=True)
        present = ((at, value) for at, value in samples if value == value)
        while part := list(islice(present, most - count)):
            body = b"".join(chain.from_iterable(zip(repeat(_SAMPLE), map(_sample, part), strict=False)))
            pieces += (_SERIES, _varint(len(head) + len(body)), head, body)
            count += len(part)
            if count == most:
                yield b"".join(pieces), count
                pieces, count = [], 0
    if pieces:
        yield b"".join(pieces), count


def _sample(point: tuple[float, float]) -> bytes:
    """Encode a sample, with its length."""
    at, value = point
    stamp = _varint(round(at * 1000.0))
    return _varint(10 + len(stamp)) + _VALUE + np.float64(value).tobytes() + _TIMESTAMP + stamp


def _label(name: str, value: str) -> bytes:
    pair = b"".join(
        tag + _varint(len(text)) + text for tag, text in ((b"\x0a", name.encode()), (b"\x12", value.encode()))
    )
    return _LABEL + _varint(len(pair)) + pair


def _varint(number: int) -> bytes:
    """Write a number, 0 or more, seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
