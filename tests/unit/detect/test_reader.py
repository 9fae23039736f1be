"""Every form of recorded samples, good and bad."""

from __future__ import annotations

import gzip
import json
import math
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.detect.reader import InputFormat, read
from exporter.detect.recorded_series import InputError, RecordedSeries, format_labels

Samples = list[tuple[str, float]]


def samples(one: RecordedSeries) -> Samples:
    return list(zip([stamp.decode() for stamp in one.stamps.tolist()], one.values.tolist(), strict=True))


def series(text: str | bytes, form: InputFormat = "auto") -> dict[str, Samples]:
    data = text.encode() if isinstance(text, str) else text
    return {format_labels(one.labels): samples(one) for one in read(data, form, source="in")}


def problems(text: str | bytes, form: InputFormat = "auto") -> list[str]:
    with pytest.raises(InputError) as caught:
        series(text, form)
    assert str(caught.value).startswith("in: ")
    return caught.value.problems


TWO: dict[str, Samples] = {"{}": [("60", 1.0), ("120", 2.5)]}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("60,1\n120,2.5\n", id="no header"),
        pytest.param("timestamp,value\n60,1\n120,2.5\n", id="header"),
        pytest.param("Time,load of host a\n60,1\n120,2.5", id="a header of other names, no line break at the end"),
        pytest.param("60,1,x\n120,2.5,y\n", id="a column of notes"),
        pytest.param("time,load,note\n60,1,deploy\n120,2.5,\n", id="a column of notes with a header"),
        pytest.param("timestamp,value,limit\n60,1,9\n120,2.5,9\n", id="numbers beside a column called value"),
        pytest.param("sep=;\nTime;load\n60;1,0\n120;2,5\n", id="a line with the separator, decimal commas"),
        pytest.param("# exported\n\ntime,load\n60,1\n120,2.5\n", id="comments first"),
        pytest.param("time;value\r\n60;1\r\n120;2.5\r\n", id="semicolons and CRLF"),
        pytest.param("60\t1\n120\t2.5\n", id="tabs"),
        pytest.param('"60","1"\n"120","2.5"\n', id="quotes"),
        pytest.param("\n60,1\n\n120,2.5\n\n", id="blank lines"),
        pytest.param("\ufefftimestamp,value\n60,1\n120,2.5\n", id="byte order mark"),
        pytest.param('[[60,"1"],[120,"2.5"]]', id="bare list"),
        pytest.param("[[60,1],[120,2.5]]", id="bare list of numbers"),
        pytest.param('{"resultType":"matrix","result":[{"metric":{},"values":[[60,"1"],[120,"2.5"]]}]}', id="data"),
        pytest.param('{"metric":{},"values":[[60,"1"],[120,"2.5"]]}', id="one series"),
        pytest.param("{} =>\n1 @[60]\n2.5 @[120]\n", id="promtool"),
    ],
)
def test_one_series_is_read(text: str) -> None:
    assert series(text) == TWO


@pytest.mark.parametrize(
    ("mark", "complete"),
    [
        ({}, True),
        ({"infos": ["not a counter"], "isPartial": False, "warnings": []}, True),
        ({"warnings": ["PromQL info: not a counter"]}, True),
        ({"warnings": ["store s1 did not answer"]}, False),
        ({"isPartial": True}, False),
    ],
    ids=str,
)
def test_an_answer_that_is_not_whole_is_noted(mark: dict[str, object], complete: bool) -> None:
    rows = [{"metric": {"i": name}, "values": [[60, "1"]]} for name in "ab"]
    text = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}, **mark})
    found = read(text.encode(), "auto", source="in")
    assert [one.complete for one in found] == [complete, complete]
    assert bool(found[0].warning) == bool(mark.get("warnings") or mark.get("isPartial"))
    assert not found[1].warning


MATRIX = [
    {"metric": {"__name__": "up", "job": "a"}, "values": [[60.5, "1"], [120.5, "NaN"]]},
    {"metric": {"__name__": "up", "job": 'b"\\\n'}, "values": [[120.5, "+Inf"]]},
]
UP = {'up{job="a"}': [("60.5", 1.0), ("120.5", math.nan)], 'up{job="b\\"\\\\\\n"}': [("120.5", math.inf)]}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            json.dumps({"status": "success", "data": {"resultType": "matrix", "result": MATRIX}}), id="whole answer"
        ),
        pytest.param(json.dumps(MATRIX, indent=2), id="list of series"),
        pytest.param(
            'up{job="a"} =>\n1 @[60.5]\nNaN @[120.5]\nup{job="b\\"\\\\\\n"} =>\n+Inf @[120.5]\n', id="promtool"
        ),
    ],
)
def test_many_series_are_read(text: str) -> None:
    assert str(series(text)) == str(UP)  # NaN is not equal to NaN.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('up{a="x"} => 3 @[60]\nup{a="y"} => 4 @[60]', {'up{a="x"}': 3.0, 'up{a="y"}': 4.0}, id="promtool"),
        pytest.param("scalar: 3 @[60]", {"{}": 3.0}, id="promtool scalar"),
        pytest.param('{"my.metric", "la.bel"="é =>"} => 3 @[60]', {'my.metric{la.bel="é =>"}': 3.0}, id="UTF-8 names"),
        pytest.param('up{a="\\u00e9\\x41\\t"} => 3 @[60]', {'up{a="éA\\t"}': 3.0}, id="escapes"),
        pytest.param('[{"metric":{"a":"x","b":""},"value":[60,"3"]}]', {'{a="x"}': 3.0}, id="an empty label is none"),
        pytest.param('{"status":"success","data":{"resultType":"scalar","result":[60,"3"]}}', {"{}": 3.0}, id="scalar"),
    ],
)
def test_instants_are_series_of_one_sample(text: str, expected: dict[str, float]) -> None:
    assert series(text) == {name: [("60", value)] for name, value in expected.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            '"Time","web-1","web-2"\n60,1,2\n120,,4\n',
            {'{column="web-1"}': [("60", 1.0), ("120", math.nan)], '{column="web-2"}': [("60", 2.0), ("120", 4.0)]},
            id="columns",
        ),
        pytest.param(
            "60,1,2\n120,3,NA\n",
            {'{column="2"}': [("60", 1.0), ("120", 3.0)], '{column="3"}': [("60", 2.0), ("120", math.nan)]},
            id="columns without a header",
        ),
        pytest.param(
            "time,host,value\n60,a,1\n60,b,2\n120,a,3\n120,b,4\n",
            {'{host="a"}': [("60", 1.0), ("120", 3.0)], '{host="b"}': [("60", 2.0), ("120", 4.0)]},
            id="a column of names, in turns",
        ),
        pytest.param(
            "host,value,note,timestamp\na,1,x,60\na,2.5,y,120\n",
            {'{host="a"}': [("60", 1.0), ("120", 2.5)]},
            id="the header says which columns",
        ),
        pytest.param(
            "time,host,load\n60,a,1\n120,a,3\n60,b,2\n120,b,4\n",
            {'{host="a"}': [("60", 1.0), ("120", 3.0)], '{host="b"}': [("60", 2.0), ("120", 4.0)]},
            id="a column of names, in blocks",
        ),
        pytest.param(
            "time,shop_id,sales\n60,7,1\n60,8,2\n120,7,3\n120,8,4\n",
            {'{shop_id="7"}': [("60", 1.0), ("120", 3.0)], '{shop_id="8"}': [("60", 2.0), ("120", 4.0)]},
            id="a column of numbers that are names",
        ),
        pytest.param(
            "time,host,load\n0,a,1\n30,b,2\n60,a,3\n90,b,4\n120,a,5\n150,b,6\n",
            {
                '{host="a"}': [("0", 1.0), ("60", 3.0), ("120", 5.0)],
                '{host="b"}': [("30", 2.0), ("90", 4.0), ("150", 6.0)],
            },
            id="a column of names, each at times of its own",
        ),
        pytest.param(
            "Datum;Uhrzeit;Anfragen\n01.03.2026;00:00;1,5\n01.03.2026;00:05;2\n",
            {"{}": [("01.03.2026 00:00", 1.5), ("01.03.2026 00:05", 2.0)]},
            id="a column of days and one of times",
        ),
        pytest.param(
            "Time,Date,load\n1:00 AM,3/1/2026,1\n2:00 AM,3/1/2026,2\n",
            {"{}": [("3/1/2026 1:00 AM", 1.0), ("3/1/2026 2:00 AM", 2.0)]},
            id="a column of times before that of days",
        ),
        pytest.param(
            "#group,false\n,result,table,_start,_time,_value,host\n,,0,1970-01-01T00:00:00Z,1970-01-01T00:01:00Z,1,a\n",
            {'{host="a"}': [("1970-01-01T00:01:00Z", 1.0)]},
            id="InfluxDB",
        ),
        pytest.param(
            '"@timestamp per minute",Count\n"Jan 1, 1970 @ 00:01:00.000","1,500"\n',
            {"{}": [("Jan 1, 1970 @ 00:01:00.000", 1500.0)]},
            id="Kibana",
        ),
        pytest.param(
            '{"metric":{"job":"a"},"values":[1,null],"timestamps":[1772323200000,1772323260000]}\n'
            '{"metric":{"job":"b"},"values":[2],"timestamps":[1772323200000]}\n',
            {
                '{job="a"}': [("1772323200000", 1.0), ("1772323260000", math.nan)],
                '{job="b"}': [("1772323200000", 2.0)],
            },
            id="export of VictoriaMetrics",
        ),
        pytest.param(
            '[{"time":60,"host":"a","load":1},{"time":60,"host":"b"},{"time":120,"host":"a","load":3},'
            '{"time":120,"host":"b","load":null}]',
            {'{host="a"}': [("60", 1.0), ("120", 3.0)], '{host="b"}': [("60", math.nan), ("120", math.nan)]},
            id="rows of a database",
        ),
        pytest.param('{"time":60,"load":1}\n{"time":120,"load":2.5}\n', TWO, id="rows of a database, one a line"),
        pytest.param("time|load\n60|1\n120|2.5\n", TWO, id="bars"),
        pytest.param("Time\tload\n60\t1\n".encode("utf-16"), {"{}": [("60", 1.0)]}, id="UTF-16"),
    ],
)
def test_every_column_of_a_csv_is_read(text: str | bytes, expected: dict[str, Samples]) -> None:
    assert str(series(text)) == str(expected)  # NaN is not equal to NaN.


AGAIN = "give each series a column, a column with its name, or a file"


GRAFANA_COLUMNS = """"Time","p99 {service=""pay""}","cpu","comment"
2026-03-01 01:00:00,12.5 ms,45%,first
2026-03-01 01:01:00,1.25 s,NA,second
"""
GRAFANA_ROWS = """sep=;
"Series";"Time";"Value";"TZ"
"web-0";"01.03.2026 01:00";"1,5 GiB";"CET"
"web-0";"01.03.2026 01:01";"512 MiB";"CET"
"""


def test_exports_of_dashboards_are_read_with_their_units_and_zones() -> None:
    joined = read(GRAFANA_COLUMNS.encode(), "auto", source="x", zone=ZoneInfo("Europe/Berlin"))
    assert [dict(each.labels) for each in joined] == [{"__name__": "p99", "service": "pay"}, {"column": "cpu"}]
    assert [each.times.tolist() for each in joined] == [[1772323200.0, 1772323260.0]] * 2
    assert joined[0].values.tolist() == [0.0125, 1.25]
    assert np.array_equal(joined[1].values, [45.0, np.nan], equal_nan=True)
    (rows,) = read(GRAFANA_ROWS.encode(), "auto", source="x")
    assert (dict(rows.labels), rows.times[0]) == ({"Series": "web-0"}, 1772323200.0)
    assert rows.values.tolist() == [1.5 * 1024**3, 0.5 * 1024**3]


def test_what_is_left_out_is_said() -> None:
    first = read(GRAFANA_COLUMNS.encode(), "auto", source="x")[0]
    assert "column 'comment' is left out: it has neither numbers nor names that repeat" in first.warning.splitlines()
    first = read(b"timestamp,value,other\n1,2,3\n2,3,4\n", "auto", source="x")[0]
    assert first.warning == "column 'other' is left out: the values are in 'value'"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(
            "CPU all hosts\nof October\n\ntime,load\n60,1\n120,2\n",
            "lines 1 to 2 are left out, above the table: 'CPU all hosts'",
            id="titles",
        ),
        pytest.param(
            "Full label,CPU\nLabel,CPU\nPeriod,300\n60,1\n120,2\n",
            "lines 2 to 3 are left out, without a time: 'Label,CPU'",
            id="CloudWatch",
        ),
        pytest.param(
            "time,load\n60,1\n120,2\nTotal,3\n", "line 4 is left out, a summary of the others: 'Total,3'", id="sum"
        ),
        pytest.param(
            "time,load,state\n60,1,OK\n120,2,OK\n180,1,WARN\n240,1,OK\n300,1,OK\n360,1,WARN\n420,1,OK\n",
            "column 'state' is left out: no time comes twice: its texts are states of one series, not names of several",
            id="states",
        ),
        pytest.param(
            "time,day,load\n60,Monday,1\n120,Monday,2\n180,Monday,1\n240,Tuesday,1\n300,Tuesday,1\n360,Tuesday,1\n",
            "column 'day' is left out: no time comes twice: its texts are states of one series, not names of several",
            id="days of the week",
        ),
        pytest.param(
            "time;Größe\n60;1\n".encode("cp1252"), "byte 7 is not UTF-8: read as Windows-1252", id="Windows-1252"
        ),
        pytest.param("id,at,load\n1,2026-03-01,1\n2,2026-03-02,2\n", "", id="rows that are numbered are series, too"),
        pytest.param(
            "time,value,value\n60,1,7\n120,2,8\n",
            "column 'value' is left out: another column has the same name",
            id="two columns of a name",
        ),
        pytest.param(
            "time,load\n240,4\n180,3\n120,2\n60,1\n",
            "line 2: the newest sample comes first: read from the end",
            id="newest first",
        ),
    ],
)
def test_lines_and_columns_that_are_no_samples_are_named(text: str | bytes, warning: str) -> None:
    first = read(text if isinstance(text, bytes) else text.encode(), "auto", source="x")[0]
    assert first.warning == warning
    assert (np.diff(first.times) > 0).all()
    assert first.values[0] == 1.0


def test_a_bad_time_is_one_problem_of_its_row() -> None:
    assert problems("time,a,b\n60,1,2\nsoon,1,2\n") == ["line 3: not a timestamp: 'soon'"]


def test_two_lists_of_one_series_have_one_length() -> None:
    assert problems('{"metric":{},"values":[1,2],"timestamps":[1]}') == ["series 1: 1 timestamps and 2 values"]


def test_rows_that_do_not_fit_their_header_are_refused() -> None:
    assert problems("time,load\n60,1,5\n") == ["line 2: 3 cells under 2 names of columns: '60,1,5'", FORM]
    assert problems("time,load,load\n60,1,5\n") == ["two columns are called 'load'; give each its own name"]


def test_blocks_without_names_are_refused() -> None:
    block = "60,1\n120,2\n180,3\n240,4\n"
    assert problems(block * 2) == [f"line 5: the times begin again: {AGAIN}"]
    assert problems(f"time,load\n{block}\ntime,load\n300,1\n") == [f"line 7: the header again: {AGAIN}", FORM]


@pytest.mark.parametrize("empty", ["", " ", "NaN", "nan", "null", "NA", "n/a", "None", "-", "(null)", "#DIV/0!"])
def test_a_missing_value_keeps_its_row(empty: str) -> None:
    assert str(series(f"60,1\n120,{empty}\n")) == str({"{}": [("60", 1.0), ("120", math.nan)]})


def test_a_sample_that_is_repeated_word_for_word_is_kept() -> None:
    assert series("60,1\n60,1\n120,\n120,nan\n180,2\n")["{}"][:2] == [("60", 1.0), ("60", 1.0)]


def test_timestamps_stay_as_they_were_written() -> None:
    stamps = ["2026-03-01T00:00:00Z", "2026-03-01T00:01:00.500+00:00", "2026-03-01 00:02"]
    assert [stamp for stamp, _ in series("".join(f"{stamp},1\n" for stamp in stamps))["{}"]] == stamps
    assert series('[[1772323200.500,"1"],["2026-03-01T00:01:00Z","2"]]')["{}"] == [
        ("1772323200.500", 1.0),
        ("2026-03-01T00:01:00Z", 2.0),
    ]


FORM = "write timestamp,value; timestamps are Unix seconds, Unix milliseconds or ISO 8601"
SORT = "samples must stand in the order of time; sort them first (a CSV of Unix seconds: sort -t, -k1,1n)"
WANTED = "needed is an answer of the query API, its list of series, or one list of [timestamp, value]"
EMPTY = "it is empty; did the command that should write it fail, or find nothing?"
OTHER = "not a Prometheus answer (JSON), CSV, OpenMetrics, line protocol or the text of promtool: it begins with "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [EMPTY], id="empty"),
        pytest.param("\n", [EMPTY], id="nothing found"),
        pytest.param(gzip.compress(b""), [EMPTY], id="nothing compressed"),
        pytest.param("timestamp,value\n", ["no samples in it (read as csv)"], id="only a header"),
        pytest.param(b"\xff\xfea\x00\x00", ["it is not text (byte 4 is not UTF-16)"], id="half a character of UTF-16"),
        pytest.param(b"60,1\n\x81", ["it is not text (byte 5 is not UTF-8)"], id="binary"),
        pytest.param(b"60,1\n\x00", ["it is not text (byte 5 is zero)"], id="zeros"),
        pytest.param(
            b"PK\x03\x04",
            ["it is an archive (zip, or a spreadsheet of Excel); unpack it, or save it as CSV"],
            id="a spreadsheet",
        ),
        pytest.param("Service Unavailable", [OTHER + "'Service Unavailable'"], id="text of a proxy"),
        pytest.param("<html>\n<b>404</b>", [OTHER + "'<html>'"], id="HTML"),
        pytest.param(
            "60,1\nx,2\n120,y\nz",
            ["line 2: not a timestamp: 'x'", "line 3: not a number: 'y'", "line 4: no value: 'z'", FORM],
            id="bad rows",
        ),
        pytest.param("60,1_0", ["line 1: not a number: '1_0'", FORM], id="Python's underscores"),
        pytest.param("60,1e999", ["line 1: not a number: '1e999'", FORM], id="too large a number"),
        pytest.param("60,1\n30,1\n", ["line 2: 30 is earlier than 60 (line 1)", SORT], id="out of order"),
        pytest.param("60,1\n60,2\n", ["line 2: 60 has another value than before (line 1)", SORT], id="two values"),
        pytest.param('"60,1\n', ["line 1: no value: '60,1\\n'", FORM], id="open quote"),
        pytest.param(
            '{"status":"success","da', ["broken JSON, perhaps cut off: Input data was truncated"], id="cut JSON"
        ),
        pytest.param(
            '\n[[60,"1"],\n [120,"2"],\n [180 "3"]]\n',
            ["broken JSON in line 4, column 7: JSON is malformed: expected ',' or ']'"],
            id="JSON that is broken in a line",
        ),
        pytest.param(
            '{"status":"error","errorType":"bad_data","error":"no"}',
            ["the server answered with an error: bad_data: no"],
            id="error",
        ),
        pytest.param(
            '{"status":"success","data":{"resultType":"matrix","result":[]}}',
            ["no samples in it (read as prometheus-json)"],
            id="no series",
        ),
        pytest.param(
            '{"data":{"resultType":"string","result":[1,"a"]}}',
            ["the expression is a string; it has no samples"],
            id="string",
        ),
        pytest.param('{"a":1}', [WANTED], id="another object"),
        pytest.param('[{"metric":{}}]', [f"series 1: neither values nor value; {WANTED}"], id="no values"),
        pytest.param(
            '[[1,"2"],[2,"x"],[3],[4,"5"]]',
            ["series 1, sample 2: not a number: 'x'", "series 1, sample 3: not a pair of timestamp and value: '[3]'"],
            id="bad pairs",
        ),
        pytest.param(
            '[{"metric":{"a":"b"},"values":[[2,"1"],[1,"1"]]}]',
            ['series 1 {a="b"}, sample 2: 1 is earlier than 2 (series 1 {a="b"}, sample 1)', SORT],
            id="JSON out of order",
        ),
        pytest.param(
            '[{"metric":{"a":"b"},"values":[]},{"metric":{"a":"b"},"values":[]}]',
            ['series 2 {a="b"}: the same labels as series 1'],
            id="twice",
        ),
        pytest.param(
            "a{} =>\n1 @[60]\nx @[61]\n-\nb{ =>\n",
            [
                "line 3: not a number: 'x'",
                "line 4: neither a series nor a sample of one: '-'",
                "line 5: neither a series nor a sample of one: 'b{ =>'",
            ],
            id="bad promtool",
        ),
        pytest.param(
            "a{} =>\n1 @[60]\na{} =>\n2 @[120]", ["line 3: the same series as in line 1"], id="promtool twice"
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str | bytes, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize("text", ['[{"metric":{},"histograms":[]}]', "a{} =>\n{count:1, sum:2, [0,1]:1} @[60]"])
def test_native_histograms_are_told(text: str) -> None:
    assert "native histograms cannot be scored" in problems(text)[0]


def test_twenty_problems_are_shown_in_the_order_of_lines() -> None:
    found = problems("".join(f"60,{'x' if i % 2 else i}\n" for i in range(60)))
    assert [line.split(":")[0] for line in found[:20]] == [f"line {number}" for number in range(2, 22)]
    assert found[20:] == ["and 39 more problems", SORT]


def test_a_format_that_was_given_is_not_guessed() -> None:
    assert problems("60,1\n", "promtool") == ["line 1: neither a series nor a sample of one: '60,1'"]
    assert problems("60,1\n", "prometheus-json")[0].startswith("broken JSON")
    assert len(problems('{"status":"success"}', "csv")) == 2


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"data":' * 100_000, '{"data":' * 500 + "1" + "}" * 500])
def test_deep_json_is_refused(deep: str) -> None:
    assert len(problems(deep)) == 1


def test_what_the_exporter_wrote_is_left_out_and_named() -> None:
    def answer(*metrics: dict[str, str]) -> bytes:
        rows = [{"metric": metric, "values": [[1, "1"], [2, "2"]]} for metric in metrics]
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}).encode()

    own = {"__name__": "anomaly_score", "query": "load", "instance": "a"}
    (only,) = read(answer(own, {"instance": "a"}), "auto", source="s")
    assert only.labels == {"instance": "a"}
    assert only.warning.startswith("1 series that this exporter wrote are left out, such as anomaly_score{")
    with pytest.raises(InputError, match="only series that this exporter wrote"):
        read(answer(own), "auto", source="s")


def test_thousands_of_states_of_one_series_do_not_cut_it_into_pieces() -> None:
    # Each text is there twice, and no time is: comments, one by one compared with every row.
    rows = "\n".join(f"{60 * index},job {index // 2},{index}" for index in range(6000))
    (only,) = series(f"time,note,load\n{rows}\n").values()
    assert len(only) == 6000
