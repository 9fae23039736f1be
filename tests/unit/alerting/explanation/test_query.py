"""Annotations: what the woken person reads."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.explanation.explanation import Explanation, explain_entity, explain_series
from exporter.alerting.explanation.formatting import Unit, format_numbers, format_span, rounded_numbers
from exporter.alerting.explanation.input import (
    CauseInput,
    CoOccurrentSeries,
    DetectorVote,
    EntityInput,
    ExplanationInput,
    HourStatistics,
    LevelChange,
    LevelDrift,
    MetricShare,
    StormInput,
)
from exporter.alerting.explanation.links import chart_links, generator_url
from exporter.alerting.explanation.registry import CAUSE, ENTITY, EVENT, STORM, VARIABLES, reference
from exporter.alerting.explanation.storm import same_incident, suspected_effects
from exporter.alerting.explanation.template import check, expand
from exporter.alerting.label_index import FrequentLabel
from exporter.alerting.limits import is_link
from exporter.alerting.settings import AlertSettings

NAN, INF = math.nan, math.inf


LABELS = {"alertname": "AnomalyDetected", "query": "api_latency_p99", "instance": "a:9100"}
VOTES = (
    DetectorVote("zscore", 2.07, reason="6.2 standard deviations above the mean of Mondays 14:00-15:00"),
    DetectorVote("iqr", 1.4, reason="far above the middle half of Mondays 14:00-15:00, 0.180 s to 0.240 s"),
    DetectorVote("novelty", 1.0, 2, "unlike anything that this series has shown before"),
    DetectorVote("collective", 0.2, 3),
)
SINCE = 1_800_000_000.0


def told(templates: dict[str, str] | None = None, **changes: Any) -> dict[str, str]:
    case = ExplanationInput(
        "api_latency_p99", LABELS, {"instance": "a:9100"}, at=SINCE + 720.0, since=SINCE, observed=0.93, expected=0.21,
        lower=0.1, upper=0.35, score=0.968, z=6.2, votes=VOTES, cast=4, quorum=3, when="Mondays 14:00-15:00",
    )  # fmt: skip
    return explain_series(replace(case, **changes), templates or {}).annotations


def test_the_built_in_annotations() -> None:
    past = HourStatistics("week", 3.9, mean=0.2, std=0.03, q1=0.18, q3=0.24)
    co_occurrent = (CoOccurrentSeries("errors", {"instance": "a:9100"}, SINCE + 60.0, 0.99),)
    found = told(
        unit="seconds",
        zone="Europe/Berlin",
        past=past,
        moved=LevelChange(0.21, 0.9, 7200.0),
        co_occurrent=co_occurrent,
        co_occurrent_count=4,
        external_url="https://anomaly.example/x/",
    )
    window = f"&instance=a%3A9100&from={SINCE - 10800:.0f}&to={SINCE + 720:.0f}"
    assert found == {
        "summary": "api_latency_p99 of instance=a:9100 is 0.93 s, 4.4 times the expected 0.21 s "
        "(band 0.10 s to 0.35 s), for 12 min",
        "observed": "0.93 s",
        "expected": "0.21 s",
        "band": "0.10 s to 0.35 s",
        "deviation": "0.72 s above expected, 0.58 s above the band",
        "since": "2027-01-15T08:00:00Z",
        "lasted": "12 min",
        "score": "0.97",
        "votes": "zscore, iqr, novelty (2): 4 votes, 3 are enough",
        "why": "zscore: 6.2 standard deviations above the mean of Mondays 14:00-15:00 (2.1 times what it takes)\n"
        "iqr: far above the middle half of Mondays 14:00-15:00, 0.180 s to 0.240 s (1.4 times what it takes)\n"
        "novelty: unlike anything that this series has shown before (just what it takes)",
        "history": "past Mondays 14:00-15:00 were mostly 0.18 s to 0.24 s, mean 0.20 s (4 weeks, Europe/Berlin)",
        "level_shift": "the level moved from 0.21 s to 0.90 s at 2027-01-15T08:00:00Z",
        "also": "errors of instance=a:9100 since 08:01 UTC (score 0.99)\nand 3 more series",
        "chart_url": f"https://anomaly.example/x/graph?query=api_latency_p99{window}",
        "chart_image": f"https://anomaly.example/x/chart.png?query=api_latency_p99{window}",
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"lower": -INF}, "is 0.93, 4.4 times the expected 0.21 (band up to 0.35), for 12 min", id="top"),
        pytest.param({"upper": INF}, "is 0.93, 4.4 times the expected 0.21 (band from 0.10), for 12 min", id="bottom"),
        pytest.param({"lower": NAN, "upper": NAN}, "is 0.93, 4.4 times the expected 0.21, for 12 min", id="no-band"),
        pytest.param({"expected": NAN, "lower": NAN, "upper": NAN}, "is 0.93, for 12 min", id="nothing-expected"),
        pytest.param({"observed": INF}, "is +Inf, expected 0.21 (band 0.10 to 0.35), for 12 min", id="infinite"),
        pytest.param({"observed": NAN}, "has no sample, expected 0.21 (band 0.10 to 0.35), for 12 min", id="gone"),
        pytest.param({"observed": 0.05}, "is 0.05, 24 % of the expected 0.21 (band 0.10 to 0.35), for 12 min", id="-"),
        pytest.param({"observed": 0.0}, "is 0, expected 0.21 (band 0.10 to 0.35), for 12 min", id="zero"),
        pytest.param({"observed": -0.5}, "is -0.50, expected 0.21 (band 0.10 to 0.35), for 12 min", id="other-sign"),
        pytest.param(
            {"observed": 0.3, "upper": 0.25}, "is 0.30, 43 % above the expected 0.21 (band 0.10 to 0.25), for 12 min",
            id="a-part-above",
        ),
        pytest.param(
            {"observed": 0.15, "lower": 0.18}, "is 0.15, 29 % below the expected 0.21 (band 0.18 to 0.35), for 12 min",
            id="a-part-below",
        ),
        pytest.param({"expected": 0.0, "lower": 0.0}, "is 0.93, expected 0 (band 0 to 0.35), for 12 min", id="0"),
        pytest.param(
            {"observed": 0.44}, "is 0.44, 2.1 times the expected 0.21 (band 0.10 to 0.35), for 12 min", id="twice"
        ),
        pytest.param(
            {"observed": 999.0, "expected": 1.0, "lower": NAN, "upper": NAN},
            "is 999, 999 times the expected 1, for 12 min", id="many-times",
        ),
        pytest.param(
            {"observed": 1000.0, "expected": 1.0, "lower": NAN, "upper": NAN},
            "is 1000, expected 1, for 12 min", id="too-many-times",
        ),
        pytest.param(
            {"observed": 4.0, "expected": 1e-307, "lower": -1e-307, "upper": 1e-307},
            "is 4, expected 0 (band 0 to 0), for 12 min", id="nothing-is-zero",
        ),
        pytest.param({"observed": 0.2101}, "is 0.21, about the expected 0.21 (band 0.10 to 0.35), for 12 min", id="="),
        pytest.param(
            {"observed": 0.56, "expected": 12.17, "lower": 8.2, "upper": 16.1, "unit": "per_second"},
            "is 0.56/s, 4.7 % of the expected 12/s (band 8.2/s to 16/s), for 12 min", id="digits-of-a-part",
        ),
        pytest.param(
            {"observed": 0.053, "expected": 0.04, "lower": 0.03, "upper": 0.05, "unit": "ratio"},
            "is 5.3 %, 1.3 percentage points above the expected 4.0 % (band 3.0 % to 5.0 %), for 12 min", id="points",
        ),
        pytest.param({"in_storm": True}, "is 0.93, 4.4 times the expected 0.21 (band 0.10 to 0.35)", id="in-a-storm"),
        pytest.param({"since": SINCE + 720}, "is 0.93, 4.4 times the expected 0.21 (band 0.10 to 0.35)", id="just-now"),
    ],
)  # fmt: skip
def test_the_summary_says_only_what_is_known(changes: dict, sentence: str) -> None:
    assert told(**changes)["summary"] == f"api_latency_p99 of instance=a:9100 {sentence}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "has drifted from 100 to 117 since Friday 00:00, 2.1 % an hour, for 8 h"),
        ({"zone": "Asia/Kolkata"},
         "has drifted from 100 to 117 since Friday 05:30 (Asia/Kolkata), 2.1 % an hour, for 8 h"),
        (
            {"unit": "ratio", "drift": LevelDrift(0.20, 0.36, SINCE - 28800.0)},
            "has drifted from 20 % to 36 % since Friday 00:00, 2 percentage points an hour, for 8 h",
        ),
        ({"drift": LevelDrift(0.0, 16.0, SINCE - 28800.0)}, "has drifted from 0 to 16 since Friday 00:00, for 8 h"),
        ({"drift": LevelDrift(117.0, 100.0, SINCE - 28800.0)},
         "has drifted from 117 to 100 since Friday 00:00, 1.8 % an hour, for 8 h"),
        ({"in_storm": True}, "has drifted from 100 to 117 since Friday 00:00, 2.1 % an hour"),
    ],
)  # fmt: skip
def test_a_drift_says_from_what_to_what_since_when(changes: dict, sentence: str) -> None:
    drift = LevelDrift(100.0, 117.0, SINCE - 28800.0)
    found = told(**{"at": SINCE, "since": SINCE, "shape": "drift", "drift": drift, "observed": 118.0, **changes})
    assert found["summary"] == f"api_latency_p99 of instance=a:9100 {sentence}"
    assert found["shape"] == "drift"
    # The same beginning and duration everywhere.
    assert (found["since"], found["lasted"]) == ("2027-01-15T00:00:00Z", "8 h")


@pytest.mark.parametrize(
    ("shape", "begin"),
    [
        ("", "is 0.93"),
        ("jump", "is 0.93"),
        ("missing", "is 0.93"),
        ("build-up", "has built up to 0.93"),
        ("drop", "has dropped to 0.93"),
        ("level shift", "has moved to 0.93"),
        ("noisier", "varies more than usual and is 0.93"),
        ("frozen", "does not move from 0.93"),
    ],
)
def test_the_summary_names_the_shape(shape: str, begin: str) -> None:
    summary = told(shape=shape)["summary"]
    assert summary.startswith(f"api_latency_p99 of instance=a:9100 {begin}, 4.4 times the expected 0.21 (band ")


@pytest.mark.parametrize(
    ("changes", "deviation"),
    [
        ({}, "0.72 above expected, 0.58 above the band"),
        ({"observed": 0.05}, "0.16 (76 %) below expected, 0.05 below the band"),
        ({"observed": 0.3}, "0.09 (43 %) above expected, inside the band"),
        ({"observed": 0.21}, "as expected, inside the band"),
        ({"unit": "ratio"}, "72 percentage points above expected, 58 percentage points above the band"),
        ({"unit": "ratio", "observed": 0.3}, "9 percentage points above expected, inside the band"),
        (
            {"unit": "per_second", "observed": 0.56, "expected": 12.17, "lower": 8.2, "upper": 16.1},
            "11/s (95 %) below expected, 7.6/s below the band",
        ),
        ({"expected": NAN}, None),
        ({"observed": NAN}, None),
    ],
)
def test_the_deviation_is_in_source_units_and_relative(changes: dict, deviation: str | None) -> None:
    assert told(**changes).get("deviation") == deviation


@pytest.mark.parametrize(
    ("past", "history"),
    [
        (
            HourStatistics("day", 5.2, 150.0, 22.0, 120.0, 180.0),
            "past days at 14:00-15:00 were mostly 120 to 180, mean 150 (5 days, UTC)",
        ),
        (
            HourStatistics("all", 0.4, 150.0, 22.0, 120.0, 180.0),
            "so far values were mostly 120 to 180, mean 150 (1 day)",
        ),
        (HourStatistics("all", 0.4, NAN, NAN, NAN, NAN), None),
    ],
    ids=["day", "all", "nothing"],
)
def test_the_past_is_that_of_what_was_compared(past: HourStatistics, history: str | None) -> None:
    assert told(past=past).get("history") == history


@pytest.mark.parametrize(
    ("severity", "times"),
    [
        (1.0, "just what it takes"),
        (1.2, "1.2 times what it takes"),
        (12.3, "12 times what it takes"),
        (2000.0, "over 1000 times what it takes"),
    ],
)
def test_why_has_the_reason_and_the_severity(severity: float, times: str) -> None:
    votes = (DetectorVote("stl", severity, reason="above its trend"), DetectorVote("iqr", 0.9))
    assert told(votes=votes)["why"] == f"stl: above its trend ({times})"


def test_what_cannot_be_said_has_no_annotation() -> None:
    nothing = told(expected=NAN, lower=NAN, upper=NAN, score=NAN, votes=(), since=SINCE + 720.0)
    assert nothing.keys() == {"summary", "observed", "since"}


def test_the_summary_of_an_entity_names_the_metrics_with_a_twentieth_of_the_score() -> None:
    shares = {"cpu": 0.9, "errors": 0.05, "latency": 0.04}
    metrics = tuple(MetricShare(name, share, 4.0, 0.1) for name, share in shares.items())
    found = explain_entity(EntityInput("api", {}, {"pod": "a"}, metrics, 0.8, 0.0, 60.0), {}).annotations
    assert found["summary"].endswith(" do not go together: cpu 90%, errors 5%, for 1 min")
    assert found["metrics"].count("\n") == 2


def test_five_effects_are_named_and_the_others_counted() -> None:
    assert suspected_effects(CauseInput(effects=list("abcde"))) == "a; b; c; d; e"
    assert suspected_effects(CauseInput(effects=list("abcdefg"))) == "a; b; c; d; e; 2 more"


def test_what_is_about_the_same_thing_is_no_cause() -> None:
    first = CauseInput(first="cpu", first_since=SINCE, first_ahead=120.0)
    assert same_incident(first) == "cpu, anomalous since 2027-01-15T08:00:00Z, 2 min before this"
    assert same_incident(replace(first, first_ahead=-60.0)).endswith(", 1 min after this")
    assert same_incident(replace(first, first_ahead=0.0)).endswith(", at the same time")
    assert same_incident(CauseInput(mates=list("abcdefg"))) == "a; b; c; d; e; 2 more"
    assert same_incident(CauseInput(earlier_first="cpu, long ago")) == "cpu, long ago"


def test_the_users_annotations_win() -> None:
    found = told({"summary": "{{observed}} > {{ upper }} on {{ labels.instance }}", "runbook_url": "http://r"})
    assert found["summary"] == "0.93 > 0.35 on a:9100"
    assert found["runbook_url"] == "http://r"
    assert found["band"] == "0.10 to 0.35"


def test_an_empty_annotation_of_the_user_removes_the_built_in_one() -> None:
    assert "votes" not in told({"votes": ""})


def test_whatever_the_numbers_are_there_is_a_sentence() -> None:
    odd = [NAN, INF, -INF, 0.0, -0.0, 1e300, -1e300, 5e-324, 1.0]
    for observed in odd:
        for expected in odd:
            found = told(observed=observed, expected=expected, lower=expected, upper=expected, z=observed)
            assert found["summary"].startswith("api_latency_p99 of instance=a:9100 ")
            assert len(found["summary"]) < 300


def test_annotations_are_small_enough_for_every_receiver() -> None:
    series = {f"label_{number}": "\u00e9" * 3000 for number in range(40)}
    co_occurrent = tuple(CoOccurrentSeries("q" * 128, series, SINCE, 1.0) for _ in range(5))
    votes = tuple(DetectorVote(f"detector{number}", 2.0, reason="x" * 100) for number in range(10))
    found = told(series=series, co_occurrent=co_occurrent, votes=votes, external_url="http://x")
    assert len(found["summary"]) < 400
    assert sum(len(text.encode()) for text in found.values()) < 8000
    assert found["chart_url"].endswith(f"query=api_latency_p99&from={SINCE - 10800:.0f}&to={SINCE + 720:.0f}")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param([0.1 + 0.2, 0.3, 0.1], ["0.3", "0.3", "0.1"], id="no-binary-noise"),
        pytest.param([512.3, 150.0, 120.25, 180.0], ["512", "150", "120", "180"], id="wide"),
        pytest.param([100.02, 100.01, 100.0], ["100.02", "100.01", "100.00"], id="close-together"),
        pytest.param([1234567.8, 1300000.2], ["1234568", "1300000"], id="large"),
        pytest.param([3.2e-7, 1.1e-7], ["3.2e-07", "1.1e-07"], id="tiny"),
        pytest.param([5e-4, 5.0], ["0.0005", "5.0"], id="small-is-not-zero"),
        pytest.param([1e-307, -1e-9, 5.0], ["0", "0", "5"], id="rounding-is-zero"),
        pytest.param([0.56, 12.17, 8.2, 16.1], ["0.56", "12", "8.2", "16"], id="two-digits-each"),
        pytest.param([117.2, 118.1, 84.0, 152.0], ["117.2", "118.1", "84.0", "152.0"], id="two-that-are-close"),
        pytest.param([4.0, 0.0, 0.0, 6.0], ["4", "0", "0", "6"], id="counts"),
        pytest.param([0.0, 5.0], ["0", "5"], id="zero"),
        pytest.param([1e300, -1e300], ["1e+300", "-1e+300"], id="beyond"),
        pytest.param([7.123456], ["7.123"], id="alone"),
        pytest.param([1234567.0], ["1234567"], id="a-large-one-alone"),
        pytest.param([-0.0], ["0"], id="minus-zero"),
        pytest.param([NAN, INF, -INF], ["NaN", "+Inf", "-Inf"], id="not-finite"),
        pytest.param([], [], id="none"),
    ],
)
def test_numbers_are_written_for_people(numbers: list[float], expected: list[str]) -> None:
    assert format_numbers(numbers) == expected


@pytest.mark.parametrize(
    ("unit", "numbers", "expected"),
    [
        ("seconds", [0.93, 0.21], ["0.93 s", "0.21 s"]),
        ("seconds", [3e-6], ["3 \u00b5s"]),
        ("seconds", [400.0, 90.0], ["6.7 min", "1.5 min"]),
        ("seconds", [86400.0], ["24 h"]),
        ("bytes", [1.2 * 2**30, 5 * 2**20], ["1.2 GiB", "5 MiB"]),
        ("bytes", [0.0], ["0 B"]),
        ("bytes_per_second", [2048.0], ["2 KiB/s"]),
        ("per_second", [12.5], ["12.5/s"]),
        ("percent", [12.5, NAN], ["12.5 %", "NaN"]),
        ("ratio", [0.125, INF], ["12.5 %", "+Inf"]),
    ],
)
def test_units(unit: Unit, numbers: list[float], expected: list[str]) -> None:
    assert format_numbers(numbers, unit) == expected


def test_spans_have_two_units_at_most() -> None:
    spans = [0.0, 59.9, 60.0, 3599.0, 3660.0, 7200.0, 90000.0, 864000.0]
    assert [format_span(one) for one in spans] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "1 h 1 min",
        "2 h",
        "1 d 1 h",
        "10 d",
    ]


@given(st.lists(st.floats(), max_size=4))
def test_any_number_can_be_written(numbers: list[float]) -> None:
    texts = format_numbers(numbers)
    assert len(texts) == len(numbers)
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    for number, text, rounded in zip(numbers, texts, rounded_numbers(numbers), strict=True):
        assert len(text) <= 24
        assert float(text) == rounded or math.isnan(number)
        if math.isfinite(number):
            assert (float(text) == 0) == (number == 0 or abs(number) < 1e-5 * largest)


def test_the_documentation_is_that_of_the_registry(update_golden: bool) -> None:
    document = Path(__file__).parents[4] / "docs" / "annotations.md"
    text = document.read_text()
    begin, end = "<!-- registry: begin -->\n", "\n<!-- registry: end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    expected = before + begin + reference() + end + after
    if update_golden:
        document.write_text(expected)
    assert document.read_text() == expected


class TestTemplates:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("", ""),
            ("plain } text {", "plain } text {"),
            ("{{observed}}{{ observed }}", "77"),
            ("{{ labels.host }}/{{ labels.none }}", "h/"),
            ("a }} b", "a }} b"),
            ("{{ observed", "<error expanding template: {{ without }}>"),
            ("{{}}", '<error expanding template: unknown variable ""; known: observed, labels.NAME>'),
            ("{{ labels }}", '<error expanding template: unknown variable "labels"; known: observed, labels.NAME>'),
            (
                "x {{ observed.__class__ }}",
                '<error expanding template: unknown variable "observed.__class__"; known: observed, labels.NAME>',
            ),
        ],
    )
    def test_expansion(self, template: str, expected: str) -> None:
        assert expand(template, {"observed": "7"}, {"host": "h"}) == expected

    @pytest.mark.parametrize(
        ("template", "problem"),
        [
            ("{{ observed", "{{ without }}; a variable is written {{ observed }}"),
            ("{{ $value }}", "unknown variable '$value'; did you mean 'observed'?"),
            ("{{ $labels.job }}", "unknown variable '$labels.job'; did you mean 'labels.job'?"),
            ("{{ labels }}", "unknown variable 'labels'; did you mean 'labels.NAME'?"),
            ("{{ observd }}", "unknown variable 'observd'; did you mean 'observed'?"),
            ("{{}}", f"unknown variable ''; known are {', '.join(VARIABLES)} and labels.NAME"),
        ],
    )
    def test_what_cannot_be_expanded_is_found_in_the_configuration(self, template: str, problem: str) -> None:
        with pytest.raises(ValueError, match="^" + re.escape(problem) + "$"):
            check(template)

    @pytest.mark.parametrize("name", VARIABLES)
    def test_every_registered_name_is_a_variable_of_every_alert(self, name: str) -> None:
        template = "<{{ " + name + " }}>"
        assert check(template) == template
        assert AlertSettings(annotations={"own": template}).annotations == {"own": template}
        assert "error" not in told({"own": template})["own"]
        entity = EntityInput("api", {}, {"pod": "a"}, (), score=0.8, since=0.0, at=60.0)
        assert "error" not in explain_entity(entity, {"own": template}).annotations["own"]

    def test_a_variable_has_the_text_of_the_annotation(self) -> None:
        source = EntityInput(
            "api", {}, {"pod": "a"}, (MetricShare("cpu", 1.0, 4.0, 0.1),), 0.8, 0.0, 60.0, "http://x", shape="jump"
        )
        storm = StormInput("api", ["a is high"], 5, 7, 40, [FrequentLabel("zone", "b", 5, 9)], 0.0, 60.0)
        own = {f"own_{name}": "{{ " + name + " }}" for name in VARIABLES}
        explanation = explain_entity(source, own).add(
            CAUSE, CauseInput("disk", 0.0, 60.0, effects=["shop"], mates=["cpu"])
        )
        explanation = explanation.add(EVENT, "is silenced").add(STORM, storm)
        annotations = explanation.annotations
        for name in (
            *(one.name for one in (*ENTITY, *CAUSE, *EVENT) if one.sent),
            "members",
            "in_common",
            "worst",
        ):
            if name not in {"summary", "since", "lasted"}:  # Those of the worst member.
                assert annotations[f"own_{name}"] == annotations[name] != "", name
        assert annotations["own_group"] == "api"
        assert annotations["own_query"] == "cpu"
        assert annotations["summary"].startswith(
            "5 of 40 series of api are anomalous together, mostly zone=b, for 1 min; "
        )
        assert annotations["own_summary"].startswith("The metrics of pod=a (api)")

    def test_a_text_that_an_alert_does_not_have_is_empty(self) -> None:
        assert told({"own": "<{{ suspected_cause }}{{ metrics }}>"})["own"] == "<>"

    def test_texts_of_storms_incidents_and_events_win_over_the_users(self) -> None:
        explanation = Explanation({}, {"calendar": "mine", "in_common": "mine"})
        found = explanation.add(EVENT, "is silenced").add(STORM, StormInput("q", [""], 1, 1, 2, [], 0.0, 0.0))
        found = found.annotations
        assert (found["calendar"], found["in_common"]) == ("is silenced", "mine")

    @given(st.text("{}% $observedlabels.\u00e9", max_size=20))
    def test_a_value_is_never_expanded_again(self, value: str) -> None:
        assert expand("<{{ labels.a }}>", {"observed": "SECRET"}, {"a": value}) == f"<{value}>"

    def test_a_blow_up_is_cut(self) -> None:
        found = told({"summary": "{{ labels.instance }}" * 10_000})
        assert len(found["summary"].encode()) <= 4096


@pytest.mark.parametrize(
    ("base", "expr", "expected"),
    [
        ("http://p", "m > 0", "http://p/graph?g0.expr=m+%3E+0&g0.tab=1"),
        ("http://p/x/", 'a{b="\u00e9"}', "http://p/x/graph?g0.expr=a%7Bb%3D%22%C3%A9%22%7D&g0.tab=1"),
        ("http://p", "m" * 9000, "http://p/graph"),
        ("not a url", "m", ""),
    ],
)
def test_the_link_to_the_expression(base: str, expr: str, expected: str) -> None:
    assert generator_url(base, expr) == expected


def test_a_chart_shows_thirty_days_at_most() -> None:
    page, _ = chart_links("http://x", "q", {}, since=SINCE - 40 * 86400.0, at=SINCE)
    assert page == f"http://x/graph?query=q&from={SINCE - 30 * 86400:.0f}&to={SINCE:.0f}"


def test_a_link_of_two_thousand_characters_has_the_labels_and_a_longer_one_has_not() -> None:
    pages = [chart_links("http://x", "q", {"a": "v" * count}, since=SINCE, at=SINCE)[0] for count in range(1850, 2050)]
    lengths = [len(page) for page in pages if "&a=" in page]
    assert 1980 < max(lengths) <= 2000
    assert "&a=" not in pages[-1] != ""


@given(st.dictionaries(st.text(max_size=5), st.text(st.characters(codec=None), max_size=20), max_size=5))
def test_a_chart_has_a_link_that_can_be_sent_or_none(series: dict[str, str]) -> None:
    for link in chart_links("https://x.example/p", "q", series, since=SINCE, at=SINCE + 40 * 86400.0):
        assert is_link(link)
        assert len(link) <= 2000
    assert chart_links("", "q", series, since=SINCE, at=SINCE) == ("", "")


@given(st.text(st.characters(codec=None)))
def test_any_expression_has_a_link_that_can_be_sent(expr: str) -> None:
    assert is_link(generator_url("http://prom.example:9090/prefix", expr))
