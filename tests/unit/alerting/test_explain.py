"""Annotations: what the woken person reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.explain import explain, format_numbers, generator_url
from exporter.alerting.labels import is_link
from exporter.alerting.template import expand

NAN, INF = math.nan, math.inf


def told(**changes: Any) -> dict[str, str]:
    values: dict[str, Any] = {
        "observed": 0.93,
        "expected": 0.21,
        "lower": 0.1,
        "upper": 0.35,
        "score": 0.968,
        "votes": ["zscore", "iqr"],
        "quorum": 2,
        "templates": {},
    }
    labels = {"alertname": "AnomalyDetected", "query": "api_latency_p99", "instance": "a:9100"}
    return explain("api_latency_p99", labels, **{**values, **changes})


def test_the_built_in_annotations() -> None:
    assert told(since=1_800_000_000.0) == {
        "summary": "api_latency_p99 of instance=a:9100 is 0.93, expected 0.21 (band 0.10 to 0.35)",
        "observed": "0.93",
        "expected": "0.21",
        "band": "0.10 to 0.35",
        "votes": "zscore, iqr (2 of 2 needed)",
        "score": "0.97",
        "since": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        pytest.param({"lower": -INF}, "(band up to 0.35)", id="no-lower-edge"),
        pytest.param({"upper": INF}, "(band from 0.10)", id="no-upper-edge"),
        pytest.param({"lower": -INF, "upper": INF}, "expected 0.21", id="no-band"),
        pytest.param({"expected": NAN, "lower": NAN, "upper": NAN}, " is 0.93", id="nothing-expected"),
        pytest.param({"observed": INF}, "is +Inf, expected 0.21 (band 0.10 to 0.35)", id="infinite"),
    ],
)
def test_the_summary_says_only_what_is_known(changes: dict, end: str) -> None:
    summary = told(**changes)["summary"]
    assert summary.endswith(end), summary


def test_what_cannot_be_said_has_no_annotation() -> None:
    assert {"expected", "band", "score"}.isdisjoint(told(expected=NAN, lower=NAN, upper=NAN, score=NAN))


def test_the_users_annotations_win() -> None:
    found = told(
        templates={"summary": "{{observed}} > {{ upper }} on {{ labels.instance }}", "runbook_url": "http://r"}
    )
    assert found["summary"] == "0.93 > 0.35 on a:9100"
    assert found["runbook_url"] == "http://r"
    assert found["band"] == "0.10 to 0.35"


def test_an_empty_annotation_of_the_user_removes_the_built_in_one() -> None:
    assert "votes" not in told(templates={"votes": ""})


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param([0.1 + 0.2, 0.3, 0.1], ["0.30", "0.30", "0.10"], id="no-binary-noise"),
        pytest.param([512.3, 150.0, 120.25, 180.0], ["512", "150", "120", "180"], id="wide"),
        pytest.param([100.02, 100.01, 100.0], ["100.020", "100.010", "100.000"], id="close-together"),
        pytest.param([1234567.8, 1300000.2], ["1234568", "1300000"], id="large"),
        pytest.param([3.2e-7, 1.1e-7], ["3.2e-07", "1.1e-07"], id="tiny"),
        pytest.param([1e-9, 5.0], ["1e-09", "5.0"], id="small-is-not-zero"),
        pytest.param([0.0, 5.0], ["0.0", "5.0"], id="zero"),
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


@given(st.lists(st.floats(), max_size=4))
def test_any_number_can_be_written(numbers: list[float]) -> None:
    texts = format_numbers(numbers)
    assert len(texts) == len(numbers)
    for number, text in zip(numbers, texts, strict=True):
        assert len(text) <= 24
        if math.isfinite(number):
            assert (float(text) == 0) == (number == 0)


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

    @given(st.text("{}% $observedlabels.\u00e9", max_size=20))
    def test_a_value_is_never_expanded_again(self, value: str) -> None:
        assert expand("<{{ labels.a }}>", {"observed": "SECRET"}, {"a": value}) == f"<{value}>"

    def test_a_blow_up_is_cut(self) -> None:
        found = told(templates={"summary": "{{ labels.instance }}" * 10_000})
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


@given(st.text(st.characters(codec=None)))
def test_any_expression_has_a_link_that_can_be_sent(expr: str) -> None:
    assert is_link(generator_url("http://prom.example:9090/prefix", expr))
