"""How alerts stand, as Alertmanagers say it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.alerting.alert import fingerprint
from exporter.silences.alert_status import AlertListing, AlertStatus, Muting
from exporter.views.anomalies import alert_status_texts

LABELS = {"alertname": "A", "instance": "h", "empty": ""}


def listed(state: str = "active", **status: Any) -> bytes:
    labels = {name: value for name, value in LABELS.items() if value}
    status = {"state": state, "silencedBy": [], "inhibitedBy": [], **status}
    one = {"labels": labels, "status": status, "fingerprint": "f", "receivers": [{"name": "pager"}], "annotations": {}}
    return json.dumps([one]).encode()


def test_an_alert_is_found_by_its_labels_whatever_is_empty() -> None:
    told = AlertListing.read(listed(), at=60.0).status("am", LABELS, 0.0, {})
    assert told == AlertStatus("am", 60.0, "active", ("pager",))


def test_a_silence_that_is_not_known_has_its_id() -> None:
    told = AlertListing.read(listed("suppressed", silencedBy=["s1"]), at=60.0).status("am", LABELS, 0.0, {})
    assert told is not None
    assert [(one.id, one.by) for one in told.silenced_by] == [("s1", None)]


def test_what_is_not_there_may_be_on_its_way() -> None:
    nothing = AlertListing.read(b"[]", at=60.0)
    assert nothing.status("am", LABELS, 31.0, {}) is None
    assert nothing.status("am", LABELS, 30.0, {}) == AlertStatus("am", 60.0, "absent")
    assert nothing.count() == {"active": 0, "suppressed": 0, "unprocessed": 0}


def test_the_incident_of_an_alert_is_that_under_which_it_was_first_sent() -> None:
    def sent(at: str, **labels: str) -> dict[str, Any]:
        named = {"alertname": "A", "service": "checkout", **labels}
        return {"labels": named, "status": {"state": "active"}, "fingerprint": at, "startsAt": at}

    alerts = [
        sent("2026-11-30T04:00:09.000Z", incident="late", incident_role="root"),
        sent("2026-11-30T04:00:00.500Z", incident="forged" * 1000, incident_role="root"),
        sent("2026-11-30T04:00:01.000Z", incident="first", incident_role="effect"),
        sent("2026-11-30T04:00:00.000Z", service="search"),
    ]
    listing = AlertListing.read(json.dumps(alerts).encode(), at=60.0)
    plain = fingerprint({"alertname": "A", "service": "checkout"})
    assert listing.incidents == {plain: {"incident": "first", "incident_role": "effect"}}


def test_one_alert_that_cannot_be_read_costs_the_others_nothing() -> None:
    odd = [*json.loads(listed("asleep")), None, 1, {"labels": {"a": 1}}]
    listing = AlertListing.read(json.dumps([*odd, *json.loads(listed())]).encode(), at=60.0)
    assert listing.status("am", LABELS, 0.0, {}) == AlertStatus("am", 60.0, "active", ("pager",))
    assert "asleep" in (listing.error or "")


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[1]", listed("asleep"), b"[" * 5000, b'[{"labels": {"a": 1}, "status": {}}]']
)
def test_an_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a list of alerts"):
        AlertListing.read(body, at=0.0)


def grouped(*groups: tuple[str, list[str]]) -> bytes:
    [item] = json.loads(listed())
    listing = [
        {
            "labels": {},
            "receiver": {"name": receiver},
            "alerts": [{**item, "status": {**item["status"], "state": "suppressed", "mutedBy": intervals}}],
        }
        for receiver, intervals in groups
    ]
    return json.dumps(listing).encode()


def test_an_alert_that_is_muted_for_all_is_no_active_one() -> None:
    listing = AlertListing.read(listed(), grouped(("pager", ["nights", "sundays"])), at=60.0)
    status = listing.status("am", LABELS, 0.0, {})
    assert status == AlertStatus("am", 60.0, "suppressed", ("pager",), muted=(Muting("pager", ("nights", "sundays")),))
    assert alert_status_texts([status]) == ["Alertmanager am: muted by nights, sundays; pager is not notified."]
    assert listing.count()["suppressed"] == 1


def test_an_alert_may_be_muted_for_some() -> None:
    groups = grouped(("hook", ["nights"]), ("pager", []))
    status = AlertListing.read(listed(), groups, at=60.0).status("am", LABELS, 0.0, {})
    assert status == AlertStatus("am", 60.0, "active", ("pager",), muted=(Muting("hook", ("nights",)),))
    assert alert_status_texts([status]) == ["Alertmanager am: notifies pager; hook is muted by nights."]


@pytest.mark.parametrize("groups", [b"", b"{}", b"[1]", b"404 page not found", listed()])
def test_what_is_no_list_of_groups_mutes_nobody(groups: bytes) -> None:
    status = AlertListing.read(listed(), groups, at=60.0).status("am", LABELS, 0.0, {})
    assert status == AlertStatus("am", 60.0, "active", ("pager",))


@pytest.mark.parametrize(
    ("starts_at", "since", "expected"),
    [
        pytest.param("2026-11-30T04:00:00Z", "2026-11-30T03:00:00Z", 3600.0, id="anomalous-before-it-fired"),
        pytest.param("2026-11-30T04:00:00Z", "0001-01-01T00:00:00Z", 0.0, id="anomalous-since-ever"),
        pytest.param("0001-01-01T00:00:00Z", "", None, id="active-since-ever"),
    ],
)
def test_a_start_that_none_of_our_alerts_has_is_not_taken_over(
    starts_at: str, since: str, expected: float | None
) -> None:
    at = datetime(2026, 11, 30, 4, tzinfo=UTC).timestamp()
    item = {"labels": LABELS, "status": {"state": "active"}, "startsAt": starts_at, "annotations": {"since": since}}
    sent = AlertListing.read(json.dumps([item]).encode(), at=at).sent.values()
    assert [one.starts_at - one.onset for one in sent] == ([] if expected is None else [expected])
