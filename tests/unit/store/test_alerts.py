import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState, AuditEvent, Step
from exporter.store import Delivery, Store, StoreError, StoreReason
from tests.store_values import a_step, a_transition, an_alert, append, open_store


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "state") as store:
        yield store


def written_rows(store: Store, step: Step, slot: float) -> int:
    """Rows that a commit touched, counted by SQLite."""
    database = store.alerts.database
    before = database.write(lambda con: con.total_changes)
    assert store.alerts.commit("q", slot, step)
    return database.write(lambda con: con.total_changes) - before


@pytest.mark.parametrize(
    "alert",
    [
        pytest.param(an_alert(), id="firing"),
        pytest.param(an_alert(state=AlertState.PENDING, fired_at=None), id="pending"),
        pytest.param(
            an_alert(state=AlertState.RESOLVED, resolved_at=90.125, keep_since=80.5, missing=3), id="resolved"
        ),
        pytest.param(an_alert(labels={"a": "\ud800 \x00 \n \"'--"}, annotations={}), id="odd labels"),
        pytest.param(an_alert(active_at=0.1 + 0.2, evaluated_at=1e18), id="odd times"),
        pytest.param(an_alert(active_at=1, evaluated_at=2), id="whole numbers"),
    ],
)
def test_an_alert_comes_back_as_it_was(tmp_path: Path, alert) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(alert))
        assert store.alerts.load() == {"q": {"f1": alert}}
    with open_store(tmp_path / "state") as store:
        assert store.alerts.load() == {"q": {"f1": alert}}
        assert store.damaged == ()


def test_text_that_is_not_unicode_is_stored_with_a_mark_in_its_place(store: Store) -> None:
    store.alerts.commit(
        "q", 60.0, a_step(an_alert(generator_url="http://x/\ud800"), transitions=(a_transition(why="\udfff"),))
    )
    assert store.alerts.load()["q"]["f1"].generator_url == "http://x/?"
    assert store.audit.page().entries[0].why == "?"


def test_a_step_replaces_the_alerts_of_its_query_only(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert("f1"), an_alert("f2")))
    store.alerts.commit("other", 60.0, a_step(an_alert("f3", "other")))
    store.alerts.commit("q", 120.0, a_step(an_alert("f2", missing=1), an_alert("f4")))
    alerts = store.alerts.load()
    assert set(alerts["q"]) == {"f2", "f4"}
    assert alerts["q"]["f2"].missing == 1
    assert set(alerts["other"]) == {"f3"}


def test_only_rows_that_changed_are_written(store: Store) -> None:
    alerts = [an_alert(f"f{number}") for number in range(20)]
    store.alerts.commit("q", 60.0, a_step(*alerts))
    # The watermark is the one row that every commit writes.
    assert written_rows(store, a_step(*alerts), 120.0) == 1
    assert written_rows(store, a_step(an_alert("f0", missing=1), *alerts[1:]), 180.0) == 2
    assert written_rows(store, a_step(*alerts[1:]), 240.0) == 2


@pytest.mark.parametrize("slot", [60.0, 59.0, -1.0])
def test_a_slot_that_is_not_newer_changes_nothing(store: Store, slot: float) -> None:
    assert store.alerts.commit("q", 60.0, a_step(an_alert(), transitions=(a_transition(),)))
    before = store.alerts.load(), store.audit.page()
    assert not store.alerts.commit("q", slot, a_step(transitions=(a_transition(event=AuditEvent.RESOLVED),)))
    assert (store.alerts.load(), store.audit.page()) == before
    assert store.alerts.watermarks().get("q") == 60.0


@pytest.mark.parametrize("slot", [math.nan, math.inf, -math.inf])
def test_a_slot_that_is_no_instant_is_refused(store: Store, slot: float) -> None:
    with pytest.raises(ValueError, match="instant"):
        store.alerts.commit("q", slot, a_step())
    assert store.alerts.watermarks().get("q") is None


def test_watermarks_are_kept_per_query_and_over_a_restart(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step())
        store.alerts.commit("other", 30.0, a_step())
    with open_store(tmp_path / "state") as store:
        assert (
            store.alerts.watermarks().get("q"),
            store.alerts.watermarks().get("other"),
            store.alerts.watermarks().get("none"),
        ) == (
            60.0,
            30.0,
            None,
        )


def test_a_step_without_a_slot_leaves_the_watermark(store: Store) -> None:
    store.alerts.record("q", a_step(an_alert(), transitions=(a_transition(),)))
    assert store.alerts.watermarks().get("q") is None
    store.alerts.commit("q", 60.0, a_step(an_alert()))
    store.alerts.record("q", a_step(transitions=(a_transition(event=AuditEvent.EXPIRED),)))
    assert store.alerts.watermarks().get("q") == 60.0
    assert store.alerts.load() == {}
    assert {entry.event for entry in store.audit.page().entries} == {"expired", "open"}


def test_a_step_with_alerts_of_another_query_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="other"):
        store.alerts.commit("q", 60.0, a_step(an_alert(query="other")))
    assert store.alerts.load() == {}


def test_an_event_that_repeats_is_kept_once_as_it_was_first(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert(), transitions=(a_transition(why="first"),)))
    store.alerts.commit("q", 120.0, a_step(an_alert(), transitions=(a_transition(why="second"), a_transition("f2"))))
    assert {(entry.fingerprint, entry.why) for entry in store.audit.page().entries} == {
        ("f1", "first"),
        ("f2", "too high"),
    }
    assert append(store, [a_transition(), a_transition("f3"), a_transition("f3")]) == 1


def test_a_fault_in_a_step_leaves_nothing_of_it(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert()))
    broken = a_transition(at=math.nan)
    with pytest.raises(StoreError):
        store.alerts.commit("q", 120.0, a_step(an_alert("f2"), transitions=(a_transition("f2"), broken)))
    assert set(store.alerts.load()["q"]) == {"f1"}
    assert store.audit.page().entries == ()
    assert store.alerts.watermarks().get("q") == 60.0
    assert store.alerts.commit("q", 120.0, a_step(an_alert("f2")))


def test_what_an_alertmanager_took_is_kept_over_a_restart(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(an_alert("f1"), an_alert("f2")))
        store.deliveries.record("one", [("f1", "f1-1", AlertState.FIRING), ("f2", "f2-1", AlertState.FIRING)], 61.0)
        store.deliveries.record("two", [("f1", "f1-1", AlertState.FIRING)], 62.0)
        store.deliveries.record("one", [("f1", "f1-1", AlertState.RESOLVED)], 63.0)
    with open_store(tmp_path / "state") as store:
        assert store.deliveries.load("one") == {
            "f1": Delivery("f1", "f1-1", AlertState.RESOLVED, 63.0),
            "f2": Delivery("f2", "f2-1", AlertState.FIRING, 61.0),
        }
        assert set(store.deliveries.load("two")) == {"f1"}
        store.deliveries.forget("one")
        assert store.deliveries.load("one") == {}
        assert set(store.deliveries.load("two")) == {"f1"}


def test_a_confirmation_of_an_episode_that_is_gone_is_not_kept(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert("f1", episode="new")))
    store.deliveries.record("one", [("f1", "old", AlertState.RESOLVED), ("f9", "f9-1", AlertState.FIRING)], 61.0)
    assert store.deliveries.load("one") == {}


def test_confirmations_go_with_their_alert(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert("f1"), an_alert("f2")))
    store.deliveries.record("one", [("f1", "f1-1", AlertState.FIRING), ("f2", "f2-1", AlertState.FIRING)], 61.0)
    store.alerts.commit("q", 120.0, a_step(an_alert("f2")))
    assert set(store.deliveries.load("one")) == {"f2"}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("alerts", 'UPDATE alerts SET labels = \'{"alertname":"B"}\''),
        ("alerts", "UPDATE alerts SET active_at = active_at + 1"),
        ("alerts", "UPDATE alerts SET labels = x'ff00ff'"),
        ("alerts", "UPDATE alerts SET labels = CAST(x'ff00ff' AS TEXT)"),
        ("alerts", "UPDATE alerts SET state = 'firing '"),
        ("deliveries", "UPDATE deliveries SET acked_state = 'resolved'"),
        ("watermarks", "UPDATE watermarks SET slot = 1e300"),
    ],
)
def test_a_damaged_row_is_dropped_and_reported(tmp_path: Path, table: str, change: str) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(an_alert()))
        store.alerts.commit("other", 60.0, a_step(an_alert("f2", "other")))
        store.deliveries.record("one", [("f1", "f1-1", AlertState.FIRING)], 61.0)
    with sqlite3.connect(path / "anomaly.db") as con:
        key = "fingerprint = 'f1'" if table != "watermarks" else "query = 'q'"
        con.execute(f"{change} WHERE {key}")
    con.close()
    with open_store(path) as store:
        assert len(store.damaged) == 1
        assert store.damaged[0].startswith(f"{table}: ")
        assert store.recovered == ()
        assert ("q" in store.alerts.load()) == (table != "alerts")
        assert (store.alerts.watermarks().get("q") is None) == (table == "watermarks")
        assert (store.deliveries.load("one") == {}) == (table != "watermarks")
        assert set(store.alerts.load()["other"]) == {"f2"}
        assert store.alerts.commit("q", 120.0, a_step(an_alert()))
    with open_store(path) as store:
        assert store.damaged == ()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state")
    store.close()
    store.close()
    for call in (store.alerts.load, store.checkpoint, lambda: store.alerts.commit("q", 1.0, a_step())):
        with pytest.raises(StoreError, match="closed") as caught:
            call()
        assert caught.value.reason is StoreReason.REFUSED


def test_notes_are_written_with_the_step_and_stay_until_there_are_others(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.alerts.commit("q", 60.0, replace(a_step(an_alert()), notes=b"\x00one"))
        store.alerts.record("other", replace(a_step(), notes=b"two"))
        store.alerts.commit("q", 120.0, a_step(an_alert()))
        assert store.alerts.notes() == {"q": b"\x00one", "other": b"two"}
        assert not store.alerts.commit("q", 120.0, replace(a_step(), notes=b"late"))
    with open_store(tmp_path) as store:
        assert store.alerts.notes() == {"q": b"\x00one", "other": b"two"}
