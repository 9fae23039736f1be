"""The end of an alert waits for the other exporter of a pair."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from exporter.alerting.alert import AlertState, fingerprint
from exporter.delivery.listing import ListingReader, read_started_at, read_updates
from exporter.delivery.other_senders import Ending, OtherSenders
from tests.alerts import T0, alert, fp

OVER = alert(state=AlertState.RESOLVED, resolved_at=T0)
MONO = 5000.0


def ending(others: OtherSenders, after: float, *, sent: float = -60.0, interval: float = 60.0) -> str:
    """What to do so many seconds after the end."""
    verdict = others.ending(OVER, T0 + sent, interval=interval, resend_delay=60.0, now=T0 + after, mono=MONO + after)
    return verdict.name


def pair(*, updated: float | None = None, looked: float = 40.0, skew: float = 0.0) -> OtherSenders:
    others = OtherSenders()
    others.at_work = True
    others.take({} if updated is None else {fp(): T0 + updated + skew}, skew=skew, mono=MONO + looked)
    return others


def test_without_a_pair_an_end_is_sent_at_once() -> None:
    assert ending(OtherSenders(), 0.0) == "SEND"


def test_the_other_one_may_need_as_long_for_the_same_slot() -> None:
    assert [ending(pair(looked=after), after) for after in (0.0, 32.0, 34.0)] == ["WAIT", "WAIT", "SEND"]
    # With short intervals it says only now and then that an alert fires.
    assert [ending(pair(looked=after), after, interval=1.0) for after in (13.0, 15.0)] == ["WAIT", "SEND"]


def test_what_is_listed_must_be_the_present() -> None:
    assert ending(pair(looked=30.0), 40.0) == "LOOK"
    assert ending(pair(looked=39.0), 40.0) == "SEND"


@pytest.mark.parametrize("skew", [0.0, 3600.0])
@pytest.mark.parametrize(
    ("updated", "sent", "expected"),
    [
        pytest.param(None, -60.0, "SEND", id="nobody-keeps-it"),
        pytest.param(-59.0, -60.0, "SEND", id="the-other-one-sent-it-before-the-end"),
        pytest.param(8.0, -60.0, "LEAVE", id="the-other-one-sent-it-since"),
        pytest.param(8.0, 8.0, "SEND", id="that-was-this-one-late"),
    ],
)
def test_what_another_keeps_active_is_left(skew: float, updated: float | None, sent: float, expected: str) -> None:
    assert ending(pair(updated=updated, skew=skew), 40.0, sent=sent) == expected


def test_an_alert_of_an_incident_is_looked_up_as_it_is_listed() -> None:
    others = pair()
    labels = {**OVER.labels, "incident": "i", "incident_role": "root"}
    others.take({fingerprint(labels): T0 + 8.0}, skew=0.0, mono=MONO + 40.0)
    marked = replace(OVER, labels=labels)
    for one, expected in ((OVER, Ending.SEND), (marked, Ending.LEAVE)):
        verdict = others.ending(one, T0 - 60.0, interval=60.0, resend_delay=60.0, now=T0 + 40.0, mono=MONO + 40.0)
        assert verdict is expected


def test_another_one_that_went_away_keeps_nothing() -> None:
    assert ending(pair(updated=8.0, looked=150.0), 150.0) == "LEAVE"
    assert ending(pair(updated=8.0, looked=160.0), 160.0) == "SEND"


def test_listings_are_read_as_far_as_they_can_be() -> None:
    labels = {"alertname": "AnomalyDetected", "instance": "a"}
    listed = [{"labels": labels, "updatedAt": "2027-01-15T08:00:08.500Z"}, {"labels": {"a": "b"}, "updatedAt": "?"}]
    assert read_updates(json.dumps(listed).encode()) == {fp(): T0 + 8.5}
    odd: list[object] = [None, {"labels": None}, {"labels": {}, "updatedAt": None}]
    assert read_updates(json.dumps([*odd, *listed]).encode()) == {fp(): T0 + 8.5}
    assert read_updates(b"<html>") is None


LISTED = json.dumps([{"labels": {"alertname": "A"}, "updatedAt": "2027-01-15T08:00:00Z"}]).encode()


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (503, b"overloaded"), (429, b""), (200, b"<html>"), (200, b"{}"), (302, b"")]
)
def test_an_answer_that_is_no_list_does_not_say_that_nobody_keeps_an_alert(status: int, body: bytes) -> None:
    reader = ListingReader()
    assert [reader.read(status, body, MONO + after) for after in (0.0, 59.0)] == [None, None]
    # For ever it is not waited for.
    assert reader.read(status, body, MONO + 60.0) == {}
    assert len(reader.read(200, LISTED, MONO + 62.0) or {}) == 1
    assert reader.read(status, body, MONO + 64.0) is None


def test_a_list_that_is_too_long_is_not_waited_for_for_ever() -> None:
    reader = ListingReader()
    assert [reader.failed(MONO + after) for after in (0.0, 59.0, 60.0)] == [None, None, {}]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
def test_who_does_not_list_alerts_gets_ends_as_ever(status: int) -> None:
    assert ListingReader().read(status, b"", MONO) == {}
    assert read_started_at(b'{"uptime": "2027-01-15T08:00:08.500Z"}') == T0 + 8.5
    assert read_started_at(b'{"uptime": "long"}') is read_started_at(b"[]") is read_started_at(b"{}") is None


def test_verdicts_are_all_used() -> None:
    assert {verdict.name for verdict in Ending} == {"SEND", "WAIT", "LOOK", "LEAVE"}
