"""Recorded samples get the scores that the engine gives when it sees them one by one."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.detect.output import is_anomaly_now, to_csv, to_json
from exporter.detect.recorded_series import RecordedSeries
from exporter.detect.scoring import ScoredSeries, detect_step, score_series
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

AT = 1772323200.0
SETTINGS = EngineSettings(zone=ZoneInfo("UTC"), baseline=BaselineSettings(), detection=DetectionSettings())
FloatArray = npt.NDArray[np.float64]


def series(times: FloatArray, values: FloatArray, **labels: str) -> RecordedSeries:
    stamps = np.array([f"{at:.0f}".encode() for at in times])
    return RecordedSeries(labels, stamps, np.asarray(times, float), np.asarray(values, float))


def daily(n: int, step: float = 300.0, seed: int = 1, begin: float = AT) -> tuple[FloatArray, FloatArray]:
    times = begin + step * np.arange(n)
    noise = np.random.default_rng(seed).standard_normal(n)
    return times, 100 + 20 * np.sin(times / 86400 * 2 * np.pi) + noise


def said(scored: ScoredSeries) -> str:
    arrays = (scored.score, scored.expected, scored.lower, scored.upper, scored.votes, scored.severities)
    return repr([array.tolist() for array in arrays])


def cut(one: RecordedSeries, rows: slice | npt.NDArray[np.bool_]) -> RecordedSeries:
    return RecordedSeries(one.labels, one.stamps[rows], one.times[rows], one.values[rows])


def test_scores_are_those_of_the_engine_step_by_step() -> None:
    times, values = daily(5000)
    values[4000:4010] *= 3
    scored = score_series([series(times, values)], SETTINGS, 300.0)[0]
    engine = Engine(SETTINGS)
    engine.align([b"{}"], np.array([np.nan]), AT)
    steps = [engine.step(float(at), np.array([value]), 300.0) for at, value in zip(times, values, strict=True)]
    np.testing.assert_array_equal(scored.score, [verdict.score[0] for verdict in steps])
    np.testing.assert_array_equal(scored.upper, [verdict.upper[0] for verdict in steps])
    np.testing.assert_array_equal(scored.severities, np.transpose([verdict.each[:, 0] for verdict in steps]))
    assert scored.anomalous[4000:4010].all()


def test_later_samples_change_no_earlier_score() -> None:
    rng = np.random.default_rng(3)
    times, values = daily(1500)
    whole = cut(series(times, values), rng.random(1500) > 0.2)
    full = score_series([whole], SETTINGS, detect_step([whole]))[0]
    for length in (201, 640, 1111):
        part = cut(whole, slice(length))
        before = score_series([part], SETTINGS, detect_step([part]))[0]
        np.testing.assert_array_equal(before.score, full.score[:length])
        np.testing.assert_array_equal(before.severities, full.severities[:, :length])


def test_a_series_gets_the_same_alone_as_among_others() -> None:
    gaps = np.random.default_rng(2).random(2000) > 0.3
    gaps[:2] = True
    several = [
        series(*daily(2000, seed=1), name="a"),
        cut(series(*daily(2000, seed=2), name="b"), gaps),
        series(*daily(900, seed=3, begin=AT + 17), name="on another grid"),
        series(*daily(500, seed=4, begin=AT + 300 * 1200), name="began later"),
    ]
    together = score_series(several, SETTINGS, 300.0)
    assert [one.series.labels["name"] for one in together] == ["a", "b", "on another grid", "began later"]
    for one, scored in zip(several[:3], together, strict=False):
        assert said(score_series([one], SETTINGS, 300.0)[0]) == said(scored)


def test_missing_instants_are_as_empty_rows() -> None:
    times, values = daily(1500)
    there = np.ones(1500, np.bool_)
    there[700:740] = there[1000] = False
    empty = series(times, np.where(there, values, np.nan))
    left_out = cut(empty, there)
    np.testing.assert_array_equal(
        score_series([left_out], SETTINGS, 300.0)[0].score, score_series([empty], SETTINGS, 300.0)[0].score[there]
    )


def test_a_gap_of_years_costs_nothing() -> None:
    times, values = daily(100, step=1.0)
    times[50:] += 1e9
    assert len(score_series([series(times, values)], SETTINGS, 1.0)[0].score) == 100


def test_a_sample_that_stands_twice_counts_once() -> None:
    times, values = daily(500)
    twice = series(np.repeat(times, 2), np.repeat(values, 2))
    once = score_series([series(times, values)], SETTINGS, 300.0)[0]
    np.testing.assert_array_equal(score_series([twice], SETTINGS, 300.0)[0].score, np.repeat(once.score, 2))


@pytest.mark.parametrize(
    ("times", "step"),
    [
        pytest.param([AT], 60.0, id="one sample"),
        pytest.param([AT, AT], 60.0, id="one instant"),
        pytest.param([AT, AT + 300], 300.0, id="two"),
        pytest.param([AT, AT + 300, AT + 600, AT + 5000, AT + 5300], 300.0, id="a gap"),
        pytest.param([AT + 0.1, AT + 0.2, AT + 0.3], 0.1, id="milliseconds"),
    ],
)
def test_the_step_is_the_median_spacing(times: list[float], step: float) -> None:
    assert detect_step([series(np.array(times), np.zeros(len(times)))]) == step


def test_the_step_is_that_of_the_series_without_gaps() -> None:
    assert detect_step([series(*daily(50, step=600.0)), series(*daily(50)), series(*daily(1))]) == 300.0


# ------------------------------------------------------------------ what is written


def scored(*several: RecordedSeries) -> list[ScoredSeries]:
    return score_series(several, SETTINGS, 300.0)


def spiked(rows: slice, **labels: str) -> RecordedSeries:
    times, values = daily(1500)
    values[rows] = 500.0
    return series(times, values, **labels)


def test_csv_has_a_row_a_sample_and_empty_fields_for_what_is_absent() -> None:
    times, values = daily(30)
    values[20:23] = [np.nan, np.inf, 7.0]
    lines = to_csv(scored(series(times, values))).decode().splitlines()
    assert lines[0] == "timestamp,value,anomaly_score,expected_value,expected_value_lower,expected_value_upper,votes"
    assert len(lines) == 31
    assert lines[1] == f"{AT:.0f},{float(values[0])!r},,,,,"
    assert lines[21].startswith(f"{AT + 20 * 300:.0f},,,")
    assert lines[22].split(",")[1] == "+Inf"
    assert lines[23].split(",")[1] == "7"


def test_csv_reads_back_as_the_same_bits() -> None:
    one = scored(spiked(slice(1400, 1410)))[0]
    columns = np.genfromtxt(to_csv([one]).decode().splitlines(), delimiter=",", names=True)
    for name, array in (("anomaly_score", one.score), ("expected_value_upper", one.upper), ("votes", one.votes)):
        np.testing.assert_array_equal(columns[name], array)
    np.testing.assert_array_equal(columns["value"], one.series.values)


def test_csv_of_several_series_says_which() -> None:
    lines = to_csv(scored(series(*daily(2), __name__="up", job='a"b'), series(*daily(3), __name__="up"))).decode()
    names = [line.rsplit(",", 7)[0] for line in lines.splitlines()]
    assert names == ["series", *['"up{job=""a\\""b""}"'] * 2, *["up"] * 3]


def test_characters_that_are_not_seen_are_written_as_escapes() -> None:
    value = "a\u202eb\x1b[31m\x9bc\r\n\U000e0041é"
    results = scored(series(*daily(2), job=value), series(*daily(2), job="b"))
    written, answer = to_csv(results).decode(), to_json(results, 300.0).decode()
    for text in (written, answer):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert r"""{job=""a\u202eb\x1b[31m\x9bc\r\n\U000e0041é""}""" in written
    assert json.loads(answer)["results"][0]["series"] == {"job": value}


def test_json_is_the_verdict_on_the_newest_sample() -> None:
    answer = json.loads(to_json(scored(spiked(slice(1498, 1500), job="a")), 300.0))
    assert next(iter(answer)) == "is_anomaly"
    assert answer["is_anomaly"] is True
    assert answer["anomaly_score"] > 0.9
    assert answer["votes"] >= answer["quorum"] == 3
    assert answer["detectors"].keys() == {detector.kind for detector in SETTINGS.detection.detectors}
    assert answer["detectors"]["zscore"]["severity"] > 1.0
    assert answer["observed_value"] == 500.0
    assert answer["expected_value_lower"] < answer["expected_value"] < answer["expected_value_upper"] < 500.0
    assert answer["timestamp"] == int(AT + 1499 * 300)
    assert answer["series"] == {"job": "a"}
    assert answer["samples"] == 1500
    assert [found["timestamp"] for found in answer["anomalies"][-2:]] == [AT + 1498 * 300, AT + 1499 * 300]
    assert answer["anomalies"][-1].items() <= answer.items()


def test_json_says_null_where_nothing_can_be_said() -> None:
    times, values = daily(1500)
    values[-1] = np.nan
    for one in (series(times, values), series(*daily(3))):
        answer = json.loads(to_json(scored(one), 300.0))
        assert (answer["is_anomaly"], answer["anomaly_score"], answer["votes"]) == (False, None, None)


def test_json_of_several_series_is_about_any_that_is_still_there() -> None:
    quiet, loud, gone = series(*daily(1500), name="q"), spiked(slice(1499, 1500), name="l"), spiked(slice(1400, 1401))
    gone = cut(gone, slice(1401))
    now = scored(quiet, loud, gone)
    answer = json.loads(to_json(now, 300.0))
    assert (answer["is_anomaly"], answer["anomalous_series"], answer["samples"]) == (True, 1, 4401)
    assert [one["is_anomaly"] for one in answer["results"]] == [False, True, True]
    assert is_anomaly_now(now, 300.0)
    past = scored(quiet, gone)
    assert json.loads(to_json(past, 300.0))["is_anomaly"] is False
    assert not is_anomaly_now(past, 300.0)


def test_an_infinite_value_is_written_as_prometheus_does() -> None:
    times, values = daily(100)
    values[-1] = -np.inf
    answer = json.loads(to_json(scored(series(times, values)), 300.0))
    assert answer["observed_value"] == "-Inf"
    assert answer["is_anomaly"] is True


def test_every_row_has_its_votes_on_request() -> None:
    judged = scored(spiked(slice(1498, 1500), job="a"))
    assert "rows" not in json.loads(to_json(judged, 300.0))
    answer = json.loads(to_json(judged, 300.0, every=True))
    rows = answer["rows"]
    assert len(rows) == answer["samples"]
    assert [row["is_anomaly"] for row in rows[-2:]] == [True, True]
    assert {name: rows[-1]["detectors"][name] for name in answer["detectors"]} == answer["detectors"]
    assert sum(vote["votes"] for vote in rows[-1]["detectors"].values()) >= answer["quorum"]
