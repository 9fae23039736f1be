"""The decoder against a plain reading of the same JSON, and against answers that were cut."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.engine.series import labels_of
from exporter.http_client import Fault
from exporter.prometheus.decode import LabelCheck, decode_matrix, decode_response, decode_vector

# No lone surrogates: they are not text, and JSON with them is refused as a whole.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LABELS = st.dictionaries(TEXT, TEXT, max_size=3)
TIMES = st.floats(0, 4e9).map(lambda at: round(at, 3)) | st.integers(0, 4_000_000_000)
NUMBERS = st.floats().map(repr) | st.sampled_from(
    [
        "NaN",
        "+Inf",
        "-Inf",
        "1_0",
        " 1",
        "٣",
        "1e999",
        "",
        "0x1p3",
        "1e5",
        "+1",
        ".5",
        "5.",
        "-NaN",
        "1,2",
        "1\n",
        "9" * 400,
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PAIRS = st.tuples(TIMES, NUMBERS).map(list)
ROWS = st.fixed_dictionaries({"metric": LABELS, "value": PAIRS})
ODD_ROWS = (
    ROWS
    | st.fixed_dictionaries({"metric": LABELS | JUNK, "value": PAIRS | JUNK})
    | st.fixed_dictionaries({"metric": LABELS, "histogram": JUNK})
    | JUNK
)
GO_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number(text: Any) -> float | None:
    """What strconv.ParseFloat would say, written plainly; None = refuses."""
    if not isinstance(text, str):
        return None
    if text.lower() == "nan":
        return float("nan")
    if text.lower() in ("inf", "+inf", "-inf"):
        return float(text)
    if GO_FLOAT.fullmatch(text) is None or abs(float(text)) == float("inf"):
        return None
    return float(text)


def pair(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2 or isinstance(value[0], bool):
        return None
    if not isinstance(value[0], (int, float)) or (parsed := number(value[1])) is None:
        return None
    return float(value[0]), parsed


def labelled(row: Any) -> bool:
    metric = row.get("metric") if isinstance(row, dict) else None
    return isinstance(metric, dict) and all(isinstance(value, str) for value in metric.values())


def envelope(kind: str, result: Any, *, spaces: bool = False) -> bytes:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return json.dumps(body, separators=None if spaces else (",", ":"), ensure_ascii=spaces).encode()


@given(st.lists(ODD_ROWS, max_size=8), st.booleans())
@example([{"metric": {}, "value": [1, "2,3"]}, {"metric": {}, "value": [4, ""]}], False)
@example([{"metric": {}, "value": [1, "NaN"]}, {"metric": {"a": "NaN"}, "value": [4, "-0"]}], False)
def test_a_vector_is_read_as_plainly_as_can_be(rows: list[Any], spaces: bool) -> None:
    expected = [(row["metric"], pair(row.get("value"))) for row in rows if labelled(row)]
    good = [(metric, one) for metric, one in expected if one is not None]
    read = decode_vector(decode_response(envelope("vector", rows, spaces=spaces)).data, LabelCheck())
    assert read.left_out.rows == len(rows) - len(good)
    assert [json.loads(key) for key in read.keys] == [metric for metric, _ in good]
    np.testing.assert_array_equal(read.timestamps, [at for _, (at, _) in good])
    np.testing.assert_array_equal(read.values, [value for _, (_, value) in good])
    for key, (metric, _) in zip(read.keys, good, strict=True):
        assert labels_of(key) == tuple(sorted((name, value) for name, value in metric.items() if value))


@given(st.lists(st.lists(PAIRS | JUNK, max_size=5), max_size=4), st.booleans())
def test_a_matrix_is_read_as_plainly_as_can_be(series: list[list[Any]], spaces: bool) -> None:
    rows = [{"metric": {"i": str(index)}, "values": values} for index, values in enumerate(series)]
    read = decode_matrix(decode_response(envelope("matrix", rows, spaces=spaces)).data, LabelCheck())
    good = [[one for value in values if (one := pair(value)) is not None] for values in series]
    broken = [str(index) for index, values in enumerate(series) if len(values) != len(good[index])]
    assert [json.loads(each.key)["i"] for each in read.unread] == broken
    for times, values, one in zip(read.times, read.values, good, strict=True):
        np.testing.assert_array_equal(times, [at for at, _ in one])
        np.testing.assert_array_equal(values, [value for _, value in one])


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_an_answer_cut_at_any_byte_is_no_answer(rows: list[Any]) -> None:
    body = envelope("vector", rows)
    for cut in range(len(body)):
        with pytest.raises(Fault):
            decode_response(body[:cut])


@given(st.lists(ROWS, min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_read_or_refused_and_never_a_crash(rows: list[Any], data: st.DataObject) -> None:
    body = bytearray(envelope("vector", rows))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_vector(decode_response(bytes(body)).data, LabelCheck())
    except Fault:
        return
    assert len(read.keys) == len(read.values) == len(read.timestamps)
    for key in read.keys:
        labels_of(key)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(Fault):
        decode_vector(decode_response(body).data, LabelCheck())
