"""An answer with the rows of the one before it: only its samples are parsed, as the decoder of all reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exporter.http_client import Fault
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.decode import InstantVector, LabelCheck, decode_response, decode_vector
from exporter.prometheus.frame import Frame
from exporter.prometheus.repeated_answer import answer_ends, repeated_samples
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer

LABELS = [
    {"__name__": "up", "job": "a"},
    {},
    {"path": '"]},{"metric":{"a":"b"},"value":[1,"2', "ü": "\n\\"},
    {"__name__": "up", "job": "b"},
]


def text(values: list[str], labels: list[dict[str, str]] = LABELS, time: float = 1.781, **more: object) -> bytes:
    rows = [{"metric": each, "value": [time, value]} for each, value in zip(labels, values, strict=True)]
    whole = {"status": "success", "data": {"resultType": "vector", "result": rows}, **more}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()


FIRST = text(["1", "2", "NaN", "4"])


def decoded(body: bytes) -> InstantVector:
    return decode_vector(decode_response(body).data, LabelCheck())


PIECES = [b"", b"7", b'"', b",", b"}", b"\n", b"{", b"e1", b"N"]
KEYS = decoded(FIRST).keys
ENDS = answer_ends(FIRST, KEYS)
assert ENDS is not None


def agrees(body: bytes) -> bool:
    """Check that a body is not read, or as the decoder reads it; return whether it is read."""
    samples = repeated_samples(body, KEYS, ENDS)
    if samples is None:
        return False
    read = decoded(body)
    assert read.keys == KEYS
    assert not read.left_out.rows
    np.testing.assert_array_equal(read.values, samples[0])
    assert (np.signbit(read.values) == np.signbit(samples[0])).all()
    assert set(read.timestamps) == {samples[1]}
    return True


@pytest.mark.parametrize(
    "values",
    [["1", "2", "3", "4"], ["NaN", "-0", "1e-300", "9007199254740993"], ["-1.5E+5", "5e-324", "0", "NaN"]],
)
def test_other_values_are_read(values: list[str]) -> None:
    assert agrees(text(values, time=1754.0))


@pytest.mark.parametrize(
    "body",
    [
        text(["1", "2", "3", "+Inf"]), text(["1", "2", "3", "007"]), text(["1", "2", "3", ""]),
        text(["1,2", "2", "3", "4"]), text(["1", "2", "null", "4"]), text(["1", "2", " 3", "4"]),
        text(["1", "2", "3"], LABELS[:3]), text(["1", "2", "3", "4", "5"], [*LABELS, {"z": ""}]),
        text(["1", "2", "3", "4"], LABELS[::-1]), text(["1", "2", "3", "4"], [*LABELS[:3], {"job": "c"}]),
        text(["1", "2", "3", "4"], warnings=["a store is down"]), text(["1", "2", "3", "4"], isPartial=True),
        text(["1", "2", "3", "4"]).replace(b"[1.781,", b"[1.782,", 1), FIRST[:-1], FIRST + b" ", b"",
        FIRST.replace(b'{},"value"', b'{}5,"value"'), FIRST.replace(b'{},"value"', b'{} ,"value"'),
        FIRST.replace(b'"value"', b'"histogram"', 1),
    ],
)  # fmt: skip
def test_what_differs_in_more_is_left_to_the_decoder(body: bytes) -> None:
    assert repeated_samples(body, KEYS, ENDS) is None


def test_no_change_of_bytes_is_read_as_anything_else() -> None:
    rng, read = np.random.default_rng(5), 0
    for _ in range(3000):
        body = bytearray(FIRST)
        for _ in range(int(rng.integers(1, 3))):
            start = int(rng.integers(len(body)))
            body[start : start + int(rng.integers(0, 3))] = PIECES[rng.integers(len(PIECES))]
        try:
            read += agrees(bytes(body))
        except Fault:
            pytest.fail(f"{bytes(body)!r} is read, and is no answer")
    assert read > 50


@pytest.mark.parametrize(
    "body",
    [
        text([], []), b'{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}',
        FIRST.replace(b'"result":[', b'"result": ['), b'{"x":{"status":"success",' + FIRST[1:] + b"}",
        FIRST.replace(b'"status":"success"', b'"status":"success","stats":{"a":1}'),
    ],
)  # fmt: skip
def test_answers_of_another_form_are_not_gone_by(body: bytes) -> None:
    assert answer_ends(body, KEYS) is None


def test_queries_read_the_same_with_the_answer_before() -> None:
    bodies = [
        FIRST, text(["5", "6", "7", "8"]), text(["5", "6", "7", "+Inf"]), text(["5", "6", "x", "8"]),
        text(["5", "6", "7", "8"]), text(["5", "6", "7", "8"], warnings=["a store is down"]),
        text(["5", "6", "7", "8"], infos=["PromQL info: metric might not be a counter"]),
        text(["1", "6", "7", "8"], infos=["PromQL info: metric might not be a counter"]), text(["5"], LABELS[:1]),
    ]  # fmt: skip
    sent = iter(body for body in bodies for _ in range(2))

    def reply(exchange: Exchange) -> None:
        exchange.send(answer(next(sent)))

    with Scripted.run(reply) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url), user_agent="test/1")
        before: Frame | None = None
        same = []
        for number, _ in enumerate(bodies):
            plain = api.instant("up", 1.0 + number, timeout=20)
            frame = api.instant("up", 1.0 + number, timeout=20, before=before)
            same.append(before is not None and frame.keys is before.keys)
            for name in ("at", "keys", "warnings", "infos", "own", "refused", "unreadable"):
                assert getattr(frame, name) == getattr(plain, name), name
            np.testing.assert_array_equal(frame.values, plain.values)
            np.testing.assert_array_equal(frame.timestamps, plain.timestamps)
            before = frame
        api.close()
    assert same == [False, True, False, False, False, False, False, True, False]
