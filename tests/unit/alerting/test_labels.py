"""What an alert may carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.alerting.alert import AlertState
from exporter.alerting.identity import is_plain_name, plain_labels
from exporter.alerting.labels import alert_labels, validate
from exporter.alerting.limits import bounded_annotations, is_link
from exporter.alerting.settings import AlertSettings
from tests.alerts import T0, alert, rule

OWN = {"alertname": "AnomalyDetected", "query": "cpu"}


@pytest.mark.parametrize(
    ("series", "labels", "external", "expected"),
    [
        pytest.param({"__name__": "up", "job": "n"}, {}, {}, {"job": "n"}, id="the-metric-name-is-left-out"),
        pytest.param(
            {"__tenant__": "x", "__type__": "gauge"},
            {},
            {},
            {"exported___tenant__": "x"},
            id="reserved-names-are-moved",
        ),
        pytest.param({"reason": "q"}, {}, {}, {"exported_reason": "q"}, id="reason-is-ours"),
        pytest.param({"query": "q"}, {}, {}, {"exported_query": "q"}, id="query-is-ours"),
        pytest.param({"alertname": "q"}, {}, {}, {"exported_alertname": "q"}, id="alertname-is-ours"),
        pytest.param(
            {"query": "q", "exported_query": "r"},
            {},
            {},
            {"exported_query": "r", "exported_exported_query": "q"},
            id="exported-until-free",
        ),
        pytest.param(
            {"query": "q"},
            {"exported_query": "r"},
            {},
            {"exported_query": "r"},
            id="the-rule-wins-over-what-was-moved",
        ),
        pytest.param({"severity": "x"}, {"severity": "page"}, {}, {"severity": "page"}, id="the-rule-wins"),
        pytest.param({"severity": "x"}, {"severity": ""}, {}, {}, id="an-empty-rule-label-removes"),
        pytest.param({"dc": "x"}, {}, {"dc": "y", "eu": "1"}, {"dc": "x", "eu": "1"}, id="external-where-absent"),
        pytest.param({}, {"dc": "z"}, {"dc": "y"}, {"dc": "z"}, id="the-rule-wins-over-external"),
        pytest.param({"dc": ""}, {}, {"dc": "y"}, {"dc": "y"}, id="empty-is-absent"),
        pytest.param({}, {}, {"alertname": "x", "query": "y"}, {}, id="external-never-wins-over-ours"),
        pytest.param(
            {"gr\u00f6\u00dfe": "1", "a-b": "2", "x\udfff": "3"},
            {},
            {},
            {"gr\u00f6\u00dfe": "1", "a-b": "2", "x_": "3"},
            id="names-of-any-form",
        ),
        pytest.param({"a": "x\ud800y"}, {}, {}, {"a": "x\ufffdy"}, id="lone-surrogate"),
        pytest.param({"a": "\u00e9" * 2000}, {}, {}, {"a": "\u00e9" * 1018 + "\u2026" + "609f7eea"}, id="too-long"),
        pytest.param({"a": "x" * 2048}, {}, {}, {"a": "x" * 2048}, id="just-not-too-long"),
    ],
)
def test_labels_of_an_alert(series: dict, labels: dict, external: dict, expected: dict) -> None:
    assert alert_labels(series.items(), "cpu", rule(labels=labels), external) == {**OWN, **expected}


@pytest.mark.parametrize("name", ["alertname", "query"])
def test_a_configured_label_cannot_take_the_place_of_ours(name: str) -> None:
    with pytest.raises(ValidationError, match="set by the exporter"):
        AlertSettings(labels={name: "x"})


TEXT = st.text(st.characters(codec=None), max_size=30) | st.text(max_size=3000)
NAMES = st.sampled_from(["a", "query", "alertname", "exported_query", "__name__", "1x", "gr\u00f6\u00dfe"]) | TEXT


@given(st.dictionaries(NAMES, TEXT, max_size=8), st.dictionaries(st.sampled_from(["a", "b"]), TEXT))
def test_whatever_the_source_says_the_labels_can_be_sent(series: dict, external: dict) -> None:
    labels = alert_labels(series.items(), "cpu", rule(), external)
    assert labels["alertname"] == "AnomalyDetected"
    assert labels["query"] == "cpu"
    assert all(labels.values())
    assert max(len(value.encode()) for value in labels.values()) <= 2048
    assert validate(alert(labels=labels)) == ()
    assert all(map(is_plain_name, plain_labels(labels)))


@given(st.dictionaries(NAMES, st.text(st.characters(codec=None), max_size=5000), max_size=5))
def test_whatever_they_say_annotations_can_be_sent(annotations: dict) -> None:
    bounded = bounded_annotations(annotations)
    assert all(0 < len(text.encode()) <= 4096 for text in bounded.values())
    assert validate(alert(annotations=bounded)) == ()


def test_control_characters_are_replaced_in_annotations() -> None:
    assert bounded_annotations({"a": "x\x00\x1b[31m\ty\nz"}) == {"a": "x\ufffd\ufffd[31m\ty\nz"}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        pytest.param({"fired_at": None}, "start time missing", id="no-start"),
        pytest.param(
            {"state": AlertState.RESOLVED, "resolved_at": T0 - 1}, "start time must be before end time", id="end"
        ),
        pytest.param({"labels": {}}, "at least one label pair required", id="no-label"),
        pytest.param({"labels": {"a": ""}}, "at least one label pair required", id="only-empty-labels"),
        pytest.param({"labels": {"": "1"}}, "invalid label name ''", id="label-name"),
        pytest.param({"annotations": {"a-b": "1"}}, "invalid annotation name 'a-b'", id="annotation-name"),
        pytest.param({"labels": {"a": "\ud800"}}, "the value of label 'a' is not valid UTF-8", id="value"),
    ],
)
def test_what_alertmanager_would_refuse(fields: dict, fault: str) -> None:
    assert validate(alert(**fields)) == (fault,)


def test_a_good_alert_is_valid() -> None:
    assert validate(alert()) == ()
    assert validate(alert(labels={"a-b": "1"})) == ()


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://prom.example/graph?g0.expr=m+%3E+0&g0.tab=1", True),
        ("https://[::1]:9090/prefix/", True),
        ("http://h", True),
        ("", False),
        ("foo bar", False),
        ("::::", False),
        ("/graph", False),
        ("http://h/%zz", False),
        ("http://h/a b", False),
        ("http://user:secret@h/", False),
        ("javascript:alert(1)", False),
        ("http://h/" + "a" * 8192, False),
    ],
)
def test_links_that_alertmanager_takes(url: str, good: bool) -> None:
    assert is_link(url) is good
