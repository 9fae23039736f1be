"""What has to be said of an alert now."""

from __future__ import annotations

from math import inf

import pytest

from exporter.alerting.alert import Alert, AlertState
from exporter.delivery.alert_snapshot import QueryAlerts
from exporter.delivery.resend_policy import Ack, Due, due, owes_resolved, restored_acks
from exporter.store import Delivery
from tests.alerts import T0, alert, limits

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
E1, E2 = "episode-a-1", "episode-a-2"
M0 = 5000.0


def why(one: Alert, ack: Ack | None = None, *, slot: float = T0 + 60, now: float | None = None, **sheet: float) -> str:
    made = QueryAlerts(
        {one.fingerprint: one},
        slot,
        sheet.get("interval", 60.0),
        sheet.get("published", M0),
        judged=bool(sheet.get("judged", True)),
    )
    found = due(
        one,
        ack,
        made,
        limits(),
        now=T0 + 60 if now is None else now,
        mono=sheet.get("mono", M0),
        started=sheet.get("started", -inf),
        paired=bool(sheet.get("paired")),
    )
    return "" if found is None else found.name


def ack(state: AlertState = FIRING, episode: str = E1, **fields: float | bool) -> Ack:
    return Ack(episode, state, **{"slot": T0, "at": M0, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "known", "expected"),
    [
        pytest.param(alert(state=PENDING), None, "", id="pending-is-not-said"),
        pytest.param(alert(), None, "FIRING", id="new"),
        pytest.param(alert(), ack(episode=E2), "FIRING", id="new-episode"),
        pytest.param(alert(), ack(RESOLVED, E2), "FIRING", id="new-episode-after-the-end-of-another"),
        pytest.param(alert(), ack(), "", id="known"),
        pytest.param(alert(), ack(PENDING), "FIRING", id="fires-again-after-for-was-raised"),
        pytest.param(alert(), ack(RESOLVED), "", id="never-after-its-end"),
        pytest.param(alert(), ack(RESOLVED, restored=True), "FIRING", id="the-store-had-lost-the-end"),
        pytest.param(alert(state=RESOLVED), ack(), "RESOLVED", id="ended"),
        pytest.param(alert(state=RESOLVED), None, "RESOLVED", id="ended-before-it-was-known"),
        pytest.param(alert(state=RESOLVED), ack(episode=E2), "RESOLVED", id="ended-and-only-another-known"),
        pytest.param(alert(state=RESOLVED), ack(RESOLVED), "", id="end-known"),
    ],
)
def test_news_is_due_at_once(one: Alert, known: Ack | None, expected: str) -> None:
    assert why(one, known) == expected


@pytest.mark.parametrize("state", [FIRING, RESOLVED])
@pytest.mark.parametrize(
    ("slot", "expected"), [(T0 + 60, ""), (T0 + 60.001, "AGAIN"), (T0 + 120, "AGAIN"), (T0 - 3600, "")]
)
def test_it_is_said_again_at_the_first_slot_strictly_after_the_delay(
    state: AlertState, slot: float, expected: str
) -> None:
    assert why(alert(state=state), ack(state), slot=slot) == expected


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        pytest.param({"mono": M0 + 150.0}, "", id="not-yet"),
        pytest.param({"mono": M0 + 151.0}, "AGAIN", id="no-slot-for-too-long"),
        pytest.param({"mono": M0 + 901.0}, "", id="nobody-publishes-any-more"),
        pytest.param({"mono": M0 + 901.0, "published": M0 + 800.0}, "AGAIN", id="published-but-the-clock-is-behind"),
        pytest.param({"mono": M0 + 1499.0, "interval": 600.0, "published": M0 + 900}, "", id="slow-query"),
        pytest.param({"mono": M0 + 1501.0, "interval": 600.0, "published": M0 + 900}, "AGAIN", id="slow-query-late"),
    ],
)
def test_without_slots_the_monotonic_clock_decides(sheet: dict, expected: str) -> None:
    assert why(alert(), ack(), **sheet) == expected


@pytest.mark.parametrize("slot", [T0 + 61, T0 + 600])
def test_an_end_is_said_once_more_and_then_no_more(slot: float) -> None:
    over = alert(state=RESOLVED)
    assert why(over, ack(RESOLVED), slot=slot, now=slot) == "AGAIN"
    assert why(over, ack(RESOLVED, repeated=True), slot=slot, now=slot) == ""


@pytest.mark.parametrize(
    ("one", "expected"), [(alert(), "AGAIN"), (alert(state=RESOLVED), "RESOLVED")], ids=["firing", "over"]
)
def test_what_an_alertmanager_was_sent_before_it_was_started_is_due_again(one: Alert, expected: str) -> None:
    taken = ack(one.state, repeated=True)
    assert why(one, taken, started=M0 - 1.0) == ""
    assert why(one, taken, started=M0 + 1.0, mono=M0 + 2.0) == expected
    assert why(one, taken, started=M0 + 1.0, mono=M0 + 2.0, now=T0 + 901) == ("" if expected == "RESOLVED" else "AGAIN")


def test_where_there_is_a_pair_each_slot_shows_that_an_alert_fires() -> None:
    assert why(alert(), ack(), slot=T0 + 60) == ""
    assert why(alert(), ack(), slot=T0 + 60, paired=True) == "AGAIN"
    assert why(alert(), ack(), slot=T0 + 30, paired=True) == ""


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        pytest.param({}, "", id="the-other-one-may-have-ended-it"),
        pytest.param({"paired": False}, "AGAIN", id="alone"),
        pytest.param({"judged": True}, "AGAIN", id="judged"),
        pytest.param({"mono": M0 + 121.0}, "AGAIN", id="before-it-expires"),
    ],
)
def test_an_alert_of_before_a_start_waits_for_a_verdict_where_there_is_a_pair(sheet: dict, expected: str) -> None:
    taken = ack(restored=True)
    assert why(alert(), taken, slot=T0 + 90, **{"paired": True, "judged": False, **sheet}) == expected


def test_the_end_of_a_query_that_is_gone_is_said_again_for_as_long_as_any_end() -> None:
    one = alert(state=RESOLVED)
    assert why(one, ack(RESOLVED), mono=M0 + 899.0, now=T0 + 900) == "AGAIN"
    assert why(one, ack(RESOLVED), mono=M0 + 899.0, now=T0 + 901) == ""


def test_an_end_that_is_long_ago_is_not_said() -> None:
    assert why(alert(state=RESOLVED), None, now=T0 + 900) == "RESOLVED"
    assert why(alert(state=RESOLVED), None, now=T0 + 901) == ""


@pytest.mark.parametrize(
    ("known", "now", "expected"),
    [
        pytest.param(None, T0 + 60, True, id="nothing-known"),
        pytest.param(ack(FIRING), T0 + 60, True, id="known-as-firing"),
        pytest.param(ack(RESOLVED), T0 + 60, False, id="end-known"),
        pytest.param(ack(FIRING, E2), T0 + 60, False, id="the-next-one-is-known"),
        pytest.param(ack(RESOLVED, "episode-a-0"), T0 + 60, True, id="only-an-older-one-known"),
        pytest.param(ack(FIRING), T0 + 901, False, id="long-ago"),
    ],
)
def test_the_end_of_the_last_episode_is_owed_before_the_next_one(known: Ack | None, now: float, expected: bool) -> None:
    last, current = alert(state=RESOLVED), alert(episode=E2, fired_at=T0 + 30)
    assert owes_resolved(last, current, known, limits(), now=now) is expected


def test_acks_of_the_last_run_are_as_old_as_they_are() -> None:
    stored = [Delivery("f", E1, FIRING, T0 - 100), Delivery("g", E1, RESOLVED, T0 + 3600)]
    acks = restored_acks(stored, now=T0, mono=M0)
    assert acks == {
        "f": Ack(E1, FIRING, slot=T0 - 100, at=M0 - 100, restored=True),
        "g": Ack(E1, RESOLVED, slot=T0 + 3600, at=M0, restored=True),
    }


def test_news_goes_before_repetitions() -> None:
    assert sorted(Due) == [Due.FIRING, Due.RESOLVED, Due.AGAIN]
