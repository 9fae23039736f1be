"""Whatever comes in, it is read or refused with a sentence; nothing else is raised."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporter.detect.output import to_csv, to_json
from exporter.detect.reader import InputFormat, read
from exporter.detect.recorded_series import InputError
from exporter.detect.scoring import detect_step, score_series
from exporter.engine.engine import EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

SETTINGS = EngineSettings(zone=ZoneInfo("UTC"), baseline=BaselineSettings(), detection=DetectionSettings())
GOOD = [
    b"timestamp,value\n60,1\n120,2\n180,\n240,NaN\n2026-03-01T00:00:00Z,3\n",
    b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[60,"1"],[120.5,"+Inf"]]}]}}',
    b'[[60,"1"],[120,2],[180,null]]',
    b'up{a="b", c="\\u00e9"} =>\n1 @[60]\nNaN @[120.5]\nup{} => 3 @[60]\n',
    b'# TYPE up gauge\nup{a="b"} 1 60\nup{a="b"} NaN 120.5\n{"up",a="c"} 3 60 # {x="y"} 1\n# EOF\n',
    b'cpu,host=a\\ b load=1.5,up=t,note="x y" 60\ncpu,host=a\\ b load=2i 120\n',
]
PIECES = [
    b"",
    b",",
    b"\n",
    b'"',
    b"-",
    b"1e308",
    b"NaN",
    b"[",
    b"]",
    b"{",
    b"}",
    b" =>",
    b"@[",
    b"null",
    b"\xc3",
    b"9" * 20,
]

changes = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 8), st.sampled_from(PIECES)), max_size=4)
formats: st.SearchStrategy[InputFormat] = st.sampled_from(
    ["auto", "csv", "prometheus-json", "promtool", "openmetrics", "influx"]
)


@given(st.sampled_from(GOOD), changes, formats)
def test_every_input_is_scored_or_refused(data: bytes, edits: list[tuple[int, int, bytes]], form: InputFormat) -> None:
    for at, length, piece in edits:
        at %= len(data) + 1
        data = data[:at] + piece + data[at + length :]
    try:
        series = read(data, form, source="in")
    except InputError:
        return
    step = detect_step(series)
    scored = score_series(series, SETTINGS, step)
    rows = sum(len(one.times) for one in series)
    assert to_csv(scored).count(b"\n") >= rows + 1
    assert to_json(scored, step).startswith(b"{")
    assert all(np.isfinite(one.times).all() and (np.diff(one.times) >= 0).all() for one in series)
