"""Storms by hand: when one begins, who joins, what becomes of alerts that were there, and how it ends."""

from __future__ import annotations

import pytest

from tests.storms import Stage

MANY = [f"i{number:02d}" for number in range(40)]


def events(*steps) -> list[str]:
    return [str(one.event) for step in steps for one in step.transitions]


@pytest.fixture
def stage() -> Stage:
    return Stage(MANY)


def test_series_that_turn_together_are_one_alert(stage: Stage) -> None:
    first = stage.slot(MANY[:30])
    assert stage.states() == {"storm 1": "firing"}
    assert events(first) == ["open", "firing"]
    assert events(stage.slot(MANY[:30]), stage.slot(MANY[:30])) == []
    assert events(stage.slot()) == ["resolved"]
    assert stage.states() == {"storm 1": "resolved"}


def test_few_series_have_alerts_of_their_own(stage: Stage) -> None:
    stage.slot(MANY[:4])
    assert stage.states() == dict.fromkeys(MANY[:4], "firing")


def test_silenced_series_are_in_no_storm_whose_alert_the_silence_would_not_cover(stage: Stage) -> None:
    stage.slot(MANY[:20], silenced=MANY[:20])
    assert stage.states() == dict.fromkeys(MANY[:20], "firing")
    stage.slot(MANY[:24], silenced=MANY[:20])
    assert stage.states() == dict.fromkeys(MANY[:24], "firing")
    assert stage.slot(MANY[:30], silenced=MANY[:20]).alerts
    assert stage.storm().annotations["members"].startswith(("6 of", "10 of"))


def test_members_that_are_silenced_leave_their_storm(stage: Stage) -> None:
    stage.slot(MANY[:10])
    assert stage.states() == {"storm 1": "firing"}
    stage.slot(MANY[:10], silenced=MANY[:7])
    assert stage.states() == {"storm 1": "firing", **dict.fromkeys(MANY[:7], "firing")}
    assert stage.storm().annotations["members"].startswith("3 of")
    stage.slot(MANY[:10], silenced=MANY[:10])
    assert stage.states() == {"storm 1": "resolved", **dict.fromkeys(MANY[:10], "firing")}


def test_a_switch_turns_storms_off() -> None:
    stage = Stage(MANY, storm={"enabled": False})
    stage.slot(MANY)
    assert stage.states() == dict.fromkeys(MANY, "firing")


def test_the_identity_is_what_all_series_share_and_stays() -> None:
    series = {name: {"instance": name, "job": "app", "storm": "mine"} for name in MANY}
    stage = Stage(series)
    stage.slot(MANY[:5])
    labels = dict(stage.storm().labels)
    assert labels == {
        "alertname": "AnomalyDetected", "exported_storm": "mine", "job": "app", "query": "cpu", "storm": "1"
    }  # fmt: skip
    stage.slot(MANY[3:20])
    stage.slot(MANY[10:12])
    assert stage.storm().labels == labels


def test_an_exporter_that_remembers_other_series_gives_a_storm_the_same_labels() -> None:
    now = {name: {"instance": name, "job": "app"} for name in MANY}
    young, old = Stage(now), Stage({**now, "gone": {"instance": "gone", "job": "before"}})
    young.slot(MANY[:6])
    old.slot(MANY[:6], missing=["gone"])
    assert young.storm().labels == old.storm().labels
    assert old.storm().labels["job"] == "app"


def test_who_turns_later_joins_and_is_in_the_explanation(stage: Stage) -> None:
    stage.slot(MANY[:5])
    assert stage.storm().annotations["members"] == "5 of 40 series"
    step = stage.slot(MANY[2:9])
    assert events(step) == []
    assert stage.storm().annotations["members"] == "7 of 40 series, 9 in the course of it"


def test_a_closed_storm_takes_nobody_and_the_next_wave_is_another() -> None:
    stage = Stage(MANY, storm={"window": 120.0})
    stage.slot(MANY[:5])
    for _ in range(3):
        stage.slot(MANY[:5])
    stage.slot([*MANY[:5], "i20"])
    assert stage.states() == {"storm 1": "firing", "i20": "firing"}
    for _ in range(2):
        stage.slot([*MANY[:5], "i20"])
    stage.slot([*MANY[:5], "i20", *MANY[30:35]])
    assert stage.states() == {"storm 1": "firing", "i20": "firing", "storm 2": "firing"}
    stage.slot(MANY[30:35])
    assert stage.states() == {"storm 1": "resolved", "i20": "resolved", "storm 2": "firing"}


def test_what_waits_goes_into_the_storm_which_has_waited_for_it() -> None:
    stage = Stage(MANY, for_=180.0)
    stage.slot(MANY[:3])
    began = stage.at
    step = stage.slot(MANY[:6])
    assert stage.states() == {"storm 1": "pending"}
    assert sorted(events(step)) == ["dropped"] * 3 + ["open"]
    assert {one.why for one in step.transitions if one.event == "dropped"} == {"storm"}
    assert stage.storm().active_at == began
    stage.slot(MANY[:6])
    assert stage.states() == {"storm 1": "pending"}
    stage.slot(MANY[:6])
    assert stage.states() == {"storm 1": "firing"}
    assert stage.at == began + 180.0


def test_what_was_said_already_goes_on_until_its_series_is_normal(stage: Stage) -> None:
    stage.slot(MANY[:3])
    stage.slot(MANY[:10])
    assert stage.states() == {**dict.fromkeys(MANY[:3], "firing"), "storm 1": "firing"}
    step = stage.slot(MANY[1:10])
    assert events(step) == ["resolved"]
    assert stage.states() == {"i00": "resolved", "i01": "firing", "i02": "firing", "storm 1": "firing"}
    assert events(stage.slot(MANY[:10])) == []  # i00 is a member, and nobody is told anew.
    assert sorted(events(stage.slot())) == ["resolved"] * 3


def test_what_turned_long_before_is_no_member() -> None:
    stage = Stage(MANY, storm={"window": 120.0})
    for _ in range(4):
        stage.slot(MANY[:3])
    stage.slot(MANY[:5])
    assert stage.states() == dict.fromkeys(MANY[:5], "firing")


def test_a_storm_that_fires_stays_however_small(stage: Stage) -> None:
    stage.slot(MANY)
    for number in range(len(MANY) - 1):
        assert events(stage.slot(MANY[number:])) == []
    assert stage.states() == {"storm 1": "firing"}


def test_a_storm_that_waits_and_shrinks_is_dissolved_and_the_rest_wait_on() -> None:
    stage = Stage(MANY, for_=180.0)
    stage.slot(MANY[:10])
    began = stage.at
    stage.slot(MANY[:3])
    assert stage.states() == {"storm 1": "pending"}
    step = stage.slot(MANY[:2])
    assert stage.states() == dict.fromkeys(MANY[:2], "pending")
    assert sorted(events(step)) == ["dropped", "open", "open"]
    stage.slot(MANY[:2])
    assert stage.states() == dict.fromkeys(MANY[:2], "firing")
    assert stage.at == began + 180.0


def test_a_member_that_dips_does_not_leave(stage: Stage) -> None:
    stage.slot(MANY[:10])
    for _ in range(10):
        stage.slot(MANY[1:10])  # The storm is closed for others by now.
    assert events(stage.slot(MANY[2:10]), stage.slot(MANY[1:10])) == []


def test_a_member_that_was_normal_for_the_window_alerts_by_itself(stage: Stage) -> None:
    stage.slot(MANY[:10])
    for _ in range(7):
        stage.slot(MANY[1:10])
    stage.slot(MANY[:10])
    assert stage.states() == {"storm 1": "firing", "i00": "firing"}


def test_missing_and_unknown_members_do_not_end_a_storm(stage: Stage) -> None:
    stage.slot(MANY[:6])
    for _ in range(8):
        assert events(stage.slot((), unknown=MANY[:6])) == []
    assert events(stage.slot((), missing=MANY[:6])) == []
    for _ in range(8):
        assert events(stage.slot((), missing=MANY[:6], partial=True)) == []
    steps = [stage.slot((), missing=MANY[:6]) for _ in range(4)]
    assert [one.why for step in steps for one in step.transitions] == ["no_data"]


def test_a_member_that_is_missing_is_waited_for_after_the_others_are_normal(stage: Stage) -> None:
    stage.slot(MANY[:6])
    stage.slot((), missing=["i00"])
    assert stage.states() == {"storm 1": "firing"}
    stage.slot(())
    assert stage.states() == {"storm 1": "resolved"}


def test_storms_are_told_apart_by_labels() -> None:
    series = {name: {"instance": name, "zone": "ab"[int(name[1:]) % 2]} for name in MANY}
    stage = Stage(series, storm={"by": ("zone",)})
    step = stage.slot([*MANY[:12:2], *MANY[1:14:2], "i02"])
    assert events(step).count("firing") == 2
    assert {alert.labels["zone"] for alert in stage.open()} == {"a", "b"}
    assert {alert.labels["storm"] for alert in stage.open()} == {"1"}
    stage.slot([*MANY[:12:2], "i20"])
    assert sorted(str(alert.state) for alert in stage.alert_store.alerts.values()) == ["firing", "resolved"]


def test_over_represented_label_values_and_the_worst_are_named() -> None:
    series = {name: {"instance": name, "zone": "a" if number < 8 else "b"} for number, name in enumerate(MANY)}
    stage = Stage(series)
    stage.slot(MANY[:8], scores={"i05": 0.99, "i03": 0.97})
    notes = stage.storm().annotations
    assert notes["in_common"] == "zone=a: 8 of 8 members, 8 of all 40"
    assert notes["summary"] == ("8 of 40 series of cpu are anomalous together, mostly zone=a; the worst: i05 is odd")
    assert notes["worst"].splitlines()[:2] == ["i05 is odd", "i03 is odd"]
    assert len(notes["worst"].splitlines()) == 5
    stage.slot([*MANY[:8], *MANY[10:40]])
    assert "in_common" not in stage.storm().annotations


def test_only_the_worst_members_are_explained() -> None:
    many = [f"i{number}" for number in range(3000)]
    stage = Stage(many)
    stage.slot(many)
    assert len(stage.explained) == 5
    assert len(stage.alert_store.alerts) == 1


def test_a_clock_that_was_set_back_does_not_keep_a_storm_open_for_ever(stage: Stage) -> None:
    stage.slot(MANY[:6])
    stage.at -= 86400.0
    stage.keep(stage.alert_store.hold(stage.at))
    stage.alert_store.rewind(stage.at)
    for _ in range(8):
        stage.slot(MANY[:6])
    stage.slot([*MANY[:6], "i20"])
    assert stage.states() == {"storm 1": "firing", "i20": "firing"}


def test_storms_go_when_notes_are_lost_and_nothing_is_lost_with_them(stage: Stage) -> None:
    stage.slot(MANY[:6])
    stage.alert_store.notes = b"\xc1 damaged"
    stage.crash()
    stage.slot(MANY[:6])
    assert stage.states() == {"storm 1": "firing", "storm 2": "firing"}
    for _ in range(4):
        stage.slot(MANY[:6])
    assert stage.states() == {"storm 1": "resolved", "storm 2": "firing"}


def test_a_reload_that_turns_storms_off_leaves_what_fires() -> None:
    stage = Stage(MANY)
    stage.slot(MANY[:6])
    stage.limits = stage.limits.model_copy(update={"storm": stage.limits.storm.model_copy(update={"enabled": False})})
    stage.rows.configure(stage.rule, stage._context(), stage.table, at=stage.at)
    stage.slot(MANY[:8])
    assert stage.states() == {"storm 1": "firing", "i06": "firing", "i07": "firing"}


def test_a_reload_that_names_alerts_anew_ends_the_storm(stage: Stage) -> None:
    stage.slot(MANY[:6])
    stage.rule = stage.rule.model_copy(update={"labels": {"severity": "page"}})
    stage.rows.configure(stage.rule, stage._context(), stage.table, at=stage.at)
    stage.slot(MANY[:6])
    states = sorted((alert.labels.get("severity", ""), str(alert.state)) for alert in stage.alert_store.alerts.values())
    assert states == [("", "resolved"), ("page", "firing")]
