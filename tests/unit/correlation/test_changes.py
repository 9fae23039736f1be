"""Deploys and other changes: what marks them, which alerts name them, and for whom the band is another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exporter.alerting.alert import AlertCandidate
from exporter.alerting.explanation.explanation import Explanation
from exporter.calendar.events import AnnouncedEvent
from exporter.correlation.changes import Change, ChangeLog, changes_in
from exporter.correlation.settings import AfterChangeSettings, ChangeSettings

NAN = np.nan
DEPLOY = ChangeSettings(name="deploys", expr="x", text="deploy {{ labels.version }} of {{ labels.service }}")


def marked(*series: tuple[dict[str, str], list[float]], settings: ChangeSettings = DEPLOY) -> list[tuple[float, str]]:
    keys = [json.dumps(labels).encode() for labels, _ in series]
    values = np.array([values for _, values in series]).T
    times = 60.0 * np.arange(len(values))
    return [(change.at, change.text) for change in changes_in(settings, times, keys, values)]


def shop(version: str) -> dict[str, str]:
    return {"__name__": "build", "service": "shop", "version": version}


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        pytest.param([1, 1, 2, 2, 4], [120.0, 240.0], id="it rises"),
        pytest.param([3, 3, 1, 1, 1], [], id="it falls: a restart of the source"),
        pytest.param([1, NAN, NAN, 1, 1], [], id="a gap"),
        pytest.param([1, NAN, NAN, 2, 2], [180.0], id="a rise behind a gap"),
        pytest.param([NAN, NAN, 5, 5, 5], [120.0], id="it is new while others are there"),
    ],
)
def test_a_change_is_where_a_series_rises_or_is_new(values: list[float], changes: list[float]) -> None:
    other = ({"service": "mail", "version": "1"}, [7.0] * len(values))
    found = marked((shop("1.4.2"), values), other)
    assert found == [(at, "deploy 1.4.2 of shop") for at in changes]


def test_what_comes_back_with_its_source_is_not_new() -> None:
    assert marked((shop("1"), [NAN, NAN, 5.0, 5.0]), (shop("2"), [NAN, NAN, 1.0, 1.0])) == []


def test_no_answer_and_a_single_instant_are_no_change() -> None:
    assert marked((shop("1"), [1.0])) == []
    assert changes_in(DEPLOY, np.arange(3.0), [], np.zeros((3, 0))) == ()


def test_a_text_has_the_new_value_and_the_name() -> None:
    settings = ChangeSettings(name="scale", expr="x", text="{{ name }} to {{ value }}")
    assert marked((shop("1"), [1.0, 3.0]), settings=settings) == [(60.0, "scale to 3")]
    with pytest.raises(ValueError, match="unknown variable 'observed'"):
        ChangeSettings(name="scale", expr="x", text="{{ observed }}")


class Log:
    def __init__(self, *changes: Change, announced: tuple[AnnouncedEvent, ...] = (), **settings: object) -> None:
        self.log = ChangeLog(lambda: announced)
        self.settings = ChangeSettings(name="deploys", expr="x", **settings)
        self.log.configure([self.settings])
        self.log.add("deploys", changes, before=0.0)

    def text(self, began: float, at: float | None = None, alerts: dict | None = None, **labels: str) -> str:
        candidate = AlertCandidate({"query": "latency", **labels}, Explanation({}), "", since=began)
        explained = self.log.explain(at or began, alerts or {}, {"f": candidate}, slack=60.0)
        return explained["f"].explanation.annotations.get("change", "")


def change(at: float, text: str = "deploy", **labels: str) -> Change:
    return Change(at, text, tuple(sorted(labels.items())))


def test_an_alert_names_what_changed_before_it_the_newest_first() -> None:
    log = Log(change(1000.0, "deploy 1"), change(1600.0, "deploy 2"), change(90_000.0, "deploy 3"))
    assert log.text(1720.0) == "2 min after deploy 2\n12 min after deploy 1"
    assert log.text(9000.0) == ""


def test_a_change_that_is_seen_a_bit_later_counts_and_what_comes_later_does_not() -> None:
    log = Log(change(1030.0, "deploy 1"), change(1500.0, "deploy 2"))
    assert log.text(1000.0, at=1060.0) == "at the same time as deploy 1"
    assert log.text(1000.0, at=2000.0) == "at the same time as deploy 1"


@pytest.mark.parametrize(
    ("settings", "labels", "named"),
    [
        pytest.param({}, {"service": "shop"}, True, id="the same service"),
        pytest.param({}, {"service": "mail"}, False, id="another service"),
        pytest.param({}, {}, True, id="no service"),
        pytest.param({"equal": ["service"]}, {}, False, id="a label that both must have"),
        pytest.param({"equal": ["service"]}, {"service": "shop", "version": "9"}, True, id="other labels do not count"),
        pytest.param({"match": ['query="latency"']}, {}, True, id="matchers that fit"),
        pytest.param({"match": ['query="errors"']}, {}, False, id="matchers that do not"),
    ],
)
def test_which_alerts_a_change_concerns(settings: dict, labels: dict[str, str], named: bool) -> None:
    log = Log(change(1000.0, service="shop", version="1.4.2"), **settings)
    assert bool(log.text(1060.0, **labels)) is named


def test_announced_events_are_named_by_their_comment() -> None:
    event = AnnouncedEvent("i", "deploy-7", "api", "note", 1.0, ('service="shop"',), 1000.0, 1300.0,
                           "deploy v1.4.2 of shop", "ci", 0.0, 0.0)  # fmt: skip
    log = Log(announced=(event,))
    assert log.text(1720.0, service="shop") == "12 min after deploy v1.4.2 of shop"
    assert log.text(1720.0, service="mail") == ""


def test_an_old_alert_keeps_what_it_said() -> None:
    class Open:
        is_open, active_at, annotations = True, 1000.0, {"change": "2 min after deploy 1"}

    assert Log().text(1000.0, at=200_000.0, alerts={"f": Open()}) == "2 min after deploy 1"


def test_the_same_change_is_taken_once_and_old_ones_are_forgotten() -> None:
    log = ChangeLog()
    log.configure([DEPLOY])
    assert log.add("deploys", [change(100.0)], before=0.0) == (change(100.0),)
    assert log.add("deploys", [change(100.0), change(200.0)], before=0.0) == (change(200.0),)
    log.add("deploys", [], before=150.0)
    assert log.concerning({}, 0.0, 1000.0) == [change(200.0)]
    log.configure([DEPLOY.model_copy(update={"expr": "y"})])
    assert log.concerning({}, 0.0, 1000.0) == []


def test_the_band_is_another_for_a_while_for_what_a_change_concerns() -> None:
    log = Log(change(1000.0, "deploy", service='a"b.c'))
    (band,) = log.log.bands({"latency": AfterChangeSettings(band=2.0, duration="10m")})
    assert (band.action, band.multiplier, band.window.start, band.window.end) == ("widen", 2.0, 1000.0, 1600.0)

    def concerns(**labels: str) -> bool:
        return all(matcher.matches(labels.get(matcher.name, "")) for matcher in band.matchers)

    assert concerns(query="latency", service='a"b.c')
    assert concerns(query="latency")
    assert not concerns(query="latency", service='a"bxc')
    assert not concerns(query="errors", service='a"b.c')
