"""Odd rows, odd numbers, odd shapes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from msgspec import Raw

from exporter.engine.series import labels_of
from exporter.errors import Reason
from exporter.exposition.families import FAMILIES
from exporter.http_client import Fault
from exporter.own_metrics import is_own
from exporter.prometheus.decode import (
    InstantVector,
    LabelCheck,
    decode_matrix,
    decode_response,
    decode_vector,
)
from exporter.prometheus.unreadable import LeftOut


def vector(*rows: str) -> InstantVector:
    return decode_vector(Raw(f'{{"resultType":"vector","result":[{",".join(rows)}]}}'.encode()), LabelCheck())


def row(value: str, metric: str = '{"a":"b"}') -> str:
    return f'{{"metric":{metric},"value":{value}}}'


GOOD = row('[1.5,"2"]')


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-0", -0.0), ("1e-300", 1e-300), ("1.2345678901234568e+29", 1.2345678901234568e29),
        ("4.9406564584124654e-324", 5e-324), ("1e308", 1e308), ("+5", 5.0), (".5", 0.5), ("5.", 5.0), ("007", 7.0),
        ("1E5", 1e5), ("9007199254740993", 9007199254740992.0), ("+Inf", math.inf), ("-Inf", -math.inf),
        ("Inf", math.inf), ("NaN", math.nan), ("nan", math.nan),
    ],
)  # fmt: skip
def test_numbers_as_go_writes_and_reads_them(text: str, value: float) -> None:
    read = vector(row(json.dumps([1.5, text])), GOOD)
    np.testing.assert_array_equal(read.values, [value, 2.0])
    assert math.copysign(1, read.values[0]) == math.copysign(1, value) or math.isnan(value)
    assert read.left_out.rows == 0


@pytest.mark.parametrize(
    "text",
    ["1_0", " 1 ", "1 ", "\t1", "1\n", "٣", "\uff11", "", "-", "+", "e5", "1e", "0x10", "1,2",
     "1e999", "-1e999", "9" * 5000, "-NaN", "+nan", "infinity", "Infinity", "∞", "null", "true", "1.2.3", "--1",
     "1\u0000", "NaN1", "1f"],
)  # fmt: skip
def test_what_go_would_not_read_rejects_the_row_and_only_that(text: str) -> None:
    read = vector(GOOD, row(json.dumps([1.5, text])), row('[2,"NaN"]'))
    np.testing.assert_array_equal(read.values, [2.0, np.nan])
    np.testing.assert_array_equal(read.timestamps, [1.5, 2.0])
    assert read.left_out.rows == 1
    assert len(read.keys) == 2


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            '{"metric":{"a":"b"},"histogram":[1,{"count":"1","sum":"2","buckets":[]}]}', id="native histogram"
        ),
        pytest.param(row('["1","2"]'), id="time is text"),
        pytest.param(row("[1,2]"), id="value is a number"),
        pytest.param(row("[1,1e999]"), id="value is a number out of range"),
        pytest.param(row('[1e999,"1"]'), id="time out of range"),
        pytest.param(row('[null,"1"]'), id="no time"),
        pytest.param(row("[1,null]"), id="no value"),
        pytest.param(row("[1,true]"), id="value is a boolean"),
        pytest.param(row('[1,"2",3]'), id="three of a pair"),
        pytest.param(row("[1]"), id="half a pair"),
        pytest.param(row("[]"), id="empty pair"),
        pytest.param(row('"1"'), id="no pair"),
        pytest.param(row("null"), id="null for a pair"),
        pytest.param(row('[1,"2"]', '{"a":1}'), id="label value is a number"),
        pytest.param(row('[1,"2"]', '{"a":null}'), id="label value is null"),
        pytest.param(row('[1,"2"]', '{"a":"1","a":"b"}'), id="a label twice"),
        pytest.param(row('[1,"2"]', '{"a" : "1", "a" : "b"}'), id="a label twice, with blanks"),
        pytest.param(row('[1,"2"]', "[]"), id="labels are a list"),
        pytest.param(row('[1,"2"]', "null"), id="no labels"),
        pytest.param('{"metric":{}}', id="no value at all"),
        pytest.param('{"value":[1,"2"]}', id="no metric"),
        pytest.param("5", id="a number"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="a list"),
    ],
)
def test_an_unreadable_row_is_counted_and_the_others_are_used(bad: str) -> None:
    for rows in ((bad, GOOD), (GOOD, bad), (GOOD, bad, bad, GOOD)):
        read = vector(*rows)
        assert read.left_out.rows == rows.count(bad)
        np.testing.assert_array_equal(read.values, [2.0] * rows.count(GOOD))
        assert read.keys == [b'{"a":"b"}'] * rows.count(GOOD)


def test_values_that_lend_each_other_a_number_are_not_read_across_rows() -> None:
    read = vector(row('[1,"2,3"]'), row('[,"4"]'.replace("[,", "[5,").replace('"4"', '""')), GOOD)
    assert (read.values.tolist(), read.left_out.rows) == ([2.0], 2)


@pytest.mark.parametrize("metric", ['{"a":"x\\":","b":"\\":\\""}', '{ "a" : "b" , "c":"d" }', "{}"])
def test_a_label_is_there_once_whatever_its_value_looks_like(metric: str) -> None:
    assert vector(row('[1,"2"]', metric)).left_out.rows == 0


def test_spaces_are_no_obstacle() -> None:
    read = vector(' { "value" : [ 1.5 , "2" ] , "more" : {} , "metric" : { "a" : "b" } } ')
    assert (read.values.tolist(), read.timestamps.tolist(), read.left_out.rows) == ([2.0], [1.5], 0)
    assert labels_of(read.keys[0]) == (("a", "b"),)


@pytest.mark.parametrize("result", ["[]", "null"])
def test_no_series_is_no_error(result: str) -> None:
    read = decode_vector(Raw(f'{{"resultType":"vector","result":{result}}}'.encode()), LabelCheck())
    assert (read.keys, len(read.values), read.left_out.rows) == ([], 0, 0)


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("NaN", math.nan), ("+Inf", math.inf)])
def test_a_scalar_is_one_series_without_labels(text: str, value: float) -> None:
    read = decode_vector(Raw(b'{"resultType":"scalar","result":[7.5,"%s"]}' % text.encode()), LabelCheck())
    np.testing.assert_array_equal(read.values, [value])
    assert (read.keys, read.timestamps.tolist()) == ([b"{}"], [7.5])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"resultType":"string","result":[1,"s"]}', Reason.BAD_DATA),
        ('{"resultType":"matrix","result":[]}', Reason.BAD_DATA),
        ('{"resultType":"vector","result":{}}', Reason.MALFORMED),
        ('{"resultType":"vector","result":5}', Reason.MALFORMED),
        ('{"resultType":5,"result":[]}', Reason.MALFORMED),
        ('{"result":[]}', Reason.MALFORMED),
        ("{}", Reason.MALFORMED),
        ("null", Reason.MALFORMED),
        ("[]", Reason.MALFORMED),
    ],
)
def test_another_shape_is_an_error(data: str, reason: Reason) -> None:
    with pytest.raises(Fault) as caught:
        decode_vector(Raw(data.encode()), LabelCheck())
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"status":5}', b"Service Unavailable", b"\xff", b'{"status":"success"',
     b'{"status":"success","data":NaN}', b'{"status":"success","data":' + b"[" * 100_000,
     b'{"status":"success"}{"status":"success"}', b'{"status":"success","data":"\\ud800"}'],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_answer_of_the_api_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Fault, match=r"not an answer of the Prometheus API|ended early: cut JSON"):
        decode_response(body)


def test_deep_nesting_costs_the_row_and_not_the_program() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    data = f'{{"status":"success","data":{{"resultType":"vector","result":[{GOOD},{row(deep)}]}}}}'.encode()
    with pytest.raises(Fault):
        decode_vector(decode_response(data).data, LabelCheck())


def matrix(*values: str) -> object:
    rows = ",".join(f'{{"metric":{{"i":"{i}"}},"values":{one}}}' for i, one in enumerate(values))
    return decode_matrix(Raw(f'{{"resultType":"matrix","result":[{rows}]}}'.encode()), LabelCheck())


def test_a_matrix_keeps_the_good_samples_of_every_series() -> None:
    read = matrix('[[1,"1"],[2,"NaN"],[3.5,"3"]]', '[[1,"+Inf"],[2,"x"],[3,"4"]]', "[]", '[[1,"5"],7]', "null")
    assert [t.tolist() for t in read.times] == [[1, 2, 3.5], [1, 3], [], [1], []]
    np.testing.assert_array_equal(read.values[0], [1, np.nan, 3])
    np.testing.assert_array_equal(read.values[1], [np.inf, 4])
    # Of the second sample of one series the instant is known, of that of another it is not.
    first, second = read.unread
    assert (first.key, first.times.tolist()) == (b'{"i":"1"}', [2.0])
    assert (second.key, second.times) == (b'{"i":"3"}', None)


UNREAD = [
    ('{"metric":{"a":"x"},"histograms":[[1,{}],[3,{}]]}', b'{"a":"x"}', [1.0, 3.0]),
    ('{"metric":{"a":"x"},"values":[[1,"2"]],"histograms":[[2,{}]]}', b'{"a":"x"}', [2.0]),
    ('{"metric":{"a":"x"},"values":[["1","2"],[2,"2"]]}', b'{"a":"x"}', [1.0]),
    ('{"metric":{"a":"x"},"values":{}}', b'{"a":"x"}', None),
    ('{"metric":{"a":"x"}}', b'{"a":"x"}', None),
    ('{"metric":[],"values":[[1,"2"]]}', None, None),
    ("7", None, None),
]


@pytest.mark.parametrize(("row", "key", "times"), UNREAD)
def test_of_what_cannot_be_read_of_a_matrix_series_and_instants_are_known(
    row: str, key: bytes | None, times: list[float] | None
) -> None:
    good = '{"metric":{},"values":[[1,"2"]]}'
    read = decode_matrix(Raw(f'{{"resultType":"matrix","result":[{good},{row}]}}'.encode()), LabelCheck())
    (unread,) = read.unread
    assert (unread.key, None if unread.times is None else unread.times.tolist()) == (key, times)
    assert unread.histograms == ("histograms" in row)


def test_a_matrix_that_is_a_vector_is_refused() -> None:
    with pytest.raises(Fault, match="returned a vector"):
        decode_matrix(Raw(b'{"resultType":"vector","result":[]}'), LabelCheck())


def test_the_memory_of_label_sets_is_bounded_and_bad_ones_stay_bad() -> None:
    check = LabelCheck(limit=10)
    for number in range(100):
        keys = [b'{"i":"%d"}' % number, b"[]"]
        assert check.bad(keys) == check.bad(keys) == [1]
        assert len(check._valid) <= 10


def test_the_newest_answer_is_remembered_whole_however_large_it_is() -> None:
    check = LabelCheck(limit=10)
    keys = [b'{"i":"%d"}' % number for number in range(30)]
    assert check.bad(keys) == []
    assert check.bad([*keys, b'{"i":"new"}']) == []
    assert len(check._valid) == 31
    assert check.bad([b'{"i":"other"}']) == []
    assert len(check._valid) == 1


HISTOGRAM = '{"metric":{"a":"%s"},"histogram":[1,{"count":"1","sum":"2","buckets":[]}]}'


def test_of_an_unreadable_row_it_is_known_which_series_it_is_and_what_would_read_it() -> None:
    read = vector(GOOD, HISTOGRAM % "h", row('[1,"1_0"]', '{"a":"n"}'), row('[1,"2"]', "[]"))
    assert read.left_out == LeftOut((b'{"a":"n"}', b'{"a":"h"}'), 3, 1)
    assert read.left_out.nameless
    assert "1 native histogram: take numbers from them by histogram_quantile" in str(read.left_out)
    assert str(read.left_out).endswith("; 2 rows that cannot be read")


OWN = [
    {"__name__": "anomaly_score", "query": "x"}, {"__name__": "observed_value", "query": "x"},
    {"__name__": "anomaly_exporter_build_info"}, {"__name__": "query:anomaly_score:max", "query": "x"},
    {"__name__": "anomaly_group_score", "group": "g"}, {"__name__": "expected_value_lower", "query": "x"},
]  # fmt: skip


@pytest.mark.parametrize("labels", OWN, ids=[labels["__name__"] for labels in OWN])
def test_what_the_exporter_wrote_is_never_taken(labels: dict[str, str]) -> None:
    own = row('[1,"2"]', json.dumps({**labels, "namespace": "prod"}))
    check = LabelCheck()
    for _ in range(2):
        read = decode_vector(Raw(f'{{"resultType":"vector","result":[{GOOD},{own}]}}'.encode()), check)
        assert (read.keys, read.own, read.left_out.rows) == ([b'{"a":"b"}'], 1, 0)
    matrix = Raw(f'{{"resultType":"matrix","result":[{{"metric":{json.dumps(labels)},"values":[[1,"2"]]}}]}}'.encode())
    assert decode_matrix(matrix, LabelCheck()).keys == []
    assert len(decode_matrix(matrix, LabelCheck(), with_own=True).keys) == 1


def test_metrics_of_others_that_are_called_alike_are_taken() -> None:
    for name in ("observed_value", "anomaly", "my_anomaly_score", "anomalies_total"):
        assert vector(row('[1,"2"]', json.dumps({"__name__": name, "site": "a"}))).own == 0


def test_every_metric_of_scores_is_recognised() -> None:
    assert all(is_own({"__name__": name, "query": "x"}) for name in FAMILIES)


@pytest.mark.parametrize("label", ["query", "group"])
def test_what_rules_record_of_scores_of_what_they_recorded_is_recognised_by_its_labels(label: str) -> None:
    assert is_own({"__name__": "job:load:twice", label: "load", f"exported_{label}": "load", "pod": "a"})
    # A rule over another exporter, or a label of that name at the source.
    assert not is_own({"__name__": "job:load:twice", label: "load", "pod": "a"})
    assert not is_own({"__name__": "statements", f"exported_{label}": "load", "pod": "a"})


def test_a_mark_of_the_encoding_is_no_part_of_the_answer() -> None:
    assert decode_response(b'\xef\xbb\xbf{"status":"success"}').status == "success"
