"""Bodies of remote write, read back by a reader of protobuf of a few lines."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from exporter.remote_write.encode import encode_labels, encode_range, encode_slot


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield number and value of every field; of a double its eight bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = message[place]
            place += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while place < len(message):
        key = varint()
        match key & 7:
            case 0:
                yield key >> 3, varint()
            case 1:
                yield key >> 3, message[place : place + 8]
                place += 8
            case _:
                length = varint()
                yield key >> 3, message[place : place + length]
                place += length


def decoded(messages: Iterable[tuple[bytes, int]]) -> list[tuple[list[tuple[str, str]], list[tuple[int, float]]]]:
    """Return labels and samples of all series, and check the counts."""
    series = []
    for body, count in messages:
        here = []
        for number, message in fields(body):
            assert number == 1
            assert isinstance(message, bytes)
            labels, samples = [], []
            for kind, part in fields(message):
                assert isinstance(part, bytes)
                content = dict(fields(part))
                if kind == 1:
                    labels.append((content[1].decode(), content[2].decode()))  # type: ignore[union-attr]
                else:
                    samples.append((content[2], struct.unpack("<d", content[1])[0]))  # type: ignore[arg-type]
            here.append((labels, samples))
        assert sum(len(samples) for _, samples in here) == count
        series += here
    return series  # type: ignore[return-value]


def test_a_slot_has_a_sample_of_every_row_with_a_value() -> None:
    rows = [encode_labels([("query", "q"), ("job", name)]) for name in ("a", "b", "ü" * 100)]
    values = np.array([0.5, np.nan, 1.0, 0.1])
    messages = list(encode_slot("anomaly_score", [*rows, None], values, 1_796_000_000.25, 10))
    assert decoded(messages) == [
        ([("__name__", "anomaly_score"), ("job", "a"), ("query", "q")], [(1_796_000_000_250, 0.5)]),
        ([("__name__", "anomaly_score"), ("job", "ü" * 100), ("query", "q")], [(1_796_000_000_250, 1.0)]),
    ]


def test_labels_are_sorted_and_empty_ones_left_out() -> None:
    row = encode_labels([("zone", "1"), ("Zone", "2"), ("_x", "3"), ("job", "")])
    ((labels, _),) = decoded(encode_slot("m", [row], np.array([1.0]), 1.0, 10))
    assert labels == [("Zone", "2"), ("__name__", "m"), ("_x", "3"), ("zone", "1")]


def test_messages_have_at_most_so_many_samples() -> None:
    rows = [encode_labels([("i", str(number))]) for number in range(7)]
    messages = list(encode_slot("m", rows, np.arange(7.0), 1.0, 3))
    assert [count for _, count in messages] == [3, 3, 1]
    assert [samples[0][1] for _, samples in decoded(messages)] == list(range(7))
    values = np.array([[1.0, np.nan], [np.nan, 4.0], [3.0, 5.0]])
    parts = list(encode_range("m", rows[:2], values, np.array([10.0, 20.0, 30.0]), 3))
    assert [count for _, count in parts] == [3, 1]
    assert [samples for _, samples in decoded(parts)] == [
        [(10_000, 1.0), (30_000, 3.0)],
        [(20_000, 4.0)],
        [(30_000, 5.0)],
    ]
