"""The body of a request, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from exporter.alerting.alert import AlertState
from exporter.delivery.payload import Outgoing, payload, validity
from tests.alerts import T0, alert

RESOLVED = AlertState.RESOLVED


def ends(one: dict, *, now: float = T0 + 100, theirs: float | None = None) -> tuple[str, str]:
    [posted] = json.loads(payload([Outgoing(alert(**one), 240.0)], now=now, theirs=theirs))
    return posted["startsAt"], posted["endsAt"]


def test_the_body_of_a_firing_and_a_resolved_alert(golden: Callable[[str, bytes], None]) -> None:
    firing = alert(
        "a:9100",
        annotations={"summary": 'caf\u00e9 "quoted" \u2028 <b>', "observed": "0.93"},
        fired_at=T0 + 0.2204,
        generator_url="http://prom.example/graph?g0.expr=m+%3E+0&g0.tab=1",
    )
    over = alert("b:9100", RESOLVED, resolved_at=T0 + 60.5, labels={"alertname": "X", "empty": ""}, generator_url="")
    golden("alerts.json", payload([Outgoing(firing, 240.0), Outgoing(over, 240.0)], now=T0 + 100))


@pytest.mark.parametrize(
    ("interval", "resend_delay", "expected"),
    [(60.0, 60.0, 240.0), (1.0, 3.0, 240.0), (300.0, 60.0, 1200.0), (60.0, 120.0, 480.0), (0.0, 60.0, 240.0)],
)
def test_validity_outlasts_two_failures(interval: float, resend_delay: float, expected: float) -> None:
    assert validity(interval, resend_delay) == expected


@pytest.mark.parametrize(
    ("one", "clock", "expected"),
    [
        pytest.param({}, {}, ("08:00:00.000", "08:05:40.000"), id="firing-ends-validity-after-it-is-sent"),
        pytest.param({}, {"now": T0 - 9e4}, ("08:00:00.000", "08:04:00.000"), id="clock-set-back-before-the-start"),
        pytest.param({}, {"theirs": T0 + 200}, ("08:00:00.000", "08:07:20.000"), id="they-are-ahead-by-minutes"),
        pytest.param({}, {"theirs": T0 + 50}, ("08:00:00.000", "08:05:40.000"), id="they-are-behind-by-minutes"),
        pytest.param(
            {}, {"now": T0 + 90 * 86400, "theirs": T0 + 100}, ("08:00:00.000", "08:05:40.000"), id="we-are-months-ahead"
        ),
        pytest.param({}, {"now": T0 - 9e6, "theirs": T0 + 100}, ("08:00:00.000", "08:05:40.000"), id="we-are-behind"),
        pytest.param(
            {"fired_at": T0 + 9e6},
            {"now": T0 + 9e6, "theirs": T0},
            ("08:00:01.000", "08:04:00.000"),
            id="no-start-in-their-future",
        ),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 + 60},
            {"theirs": T0 + 30},
            ("08:00:00.000", "08:00:30.000"),
            id="resolved-now-by-their-clock",
        ),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 + 99.9},
            {"theirs": T0 + 99.2},
            ("08:00:00.000", "08:01:39.900"),
            id="their-clock-is-known-to-a-second",
        ),
        pytest.param({"fired_at": T0 + 0.9996}, {}, ("08:00:01.000", "08:05:40.000"), id="milliseconds-are-rounded"),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 + 60}, {}, ("08:00:00.000", "08:01:00.000"), id="resolved-when-it-was"
        ),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 - 60}, {}, ("08:00:00.000", "08:00:00.000"), id="not-before-its-start"
        ),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 + 900},
            {},
            ("08:00:00.000", "08:01:40.000"),
            id="an-end-in-the-future-would-fire",
        ),
        pytest.param(
            {"state": RESOLVED, "resolved_at": T0 + 60},
            {"theirs": T0 + 7200},
            ("08:00:00.000", "08:01:00.000"),
            id="resolved-has-its-own-time",
        ),
    ],
)
def test_both_ends_are_always_there(one: dict, clock: dict, expected: tuple[str, str]) -> None:
    assert ends(one, **clock) == tuple(f"2027-01-15T{time}Z" for time in expected)


@pytest.mark.parametrize(("at", "text"), [(-5.0, "1970-01-01T00:00:00.000Z"), (1e15, "9999-12-31T23:59:59.999Z")])
def test_an_absurd_time_is_the_nearest_that_can_be_written(at: float, text: str) -> None:
    assert ends({"fired_at": at})[0] == text


@pytest.mark.parametrize("url", ["foo bar", "javascript:alert(1)", "http://h/%zz"])
def test_a_link_that_would_cost_the_alert_is_left_out(url: str) -> None:
    [posted] = json.loads(payload([Outgoing(alert(generator_url=url), 240.0)], now=T0))
    assert posted["generatorURL"] == ""


def test_even_broken_text_can_be_written() -> None:
    body = payload([Outgoing(alert(annotations={"summary": "\ud800\x00"}), 240.0)], now=T0)
    assert b"\\ud800\\u0000" in body
