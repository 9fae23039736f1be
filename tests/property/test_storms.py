"""Storms under any history: nothing is lost, nothing is said twice, and a crash changes nothing."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from exporter.alerting.alert import AlertState, AuditEvent, Step
from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses
from tests.storms import Stage, who

SERIES = {f"i{number}": {"instance": f"i{number}", "zone": "ab"[number % 2]} for number in range(12)}
STATES = st.sampled_from(["anomalous", "anomalous", "normal", "normal", "missing", "unknown"])
SLOT = st.fixed_dictionaries(dict.fromkeys(SERIES, STATES))
SAME = st.just(None)
SCRIPT = st.lists(st.one_of(SLOT, SAME, SAME), min_size=2, max_size=25)
SETTINGS = st.fixed_dictionaries(
    {
        "storm": st.fixed_dictionaries(
            {
                "members": st.integers(2, 6),
                "window": st.sampled_from([60.0, 120.0, 300.0]),
                "by": st.sampled_from([(), ("zone",)]),
            }
        ),
        "for_": st.sampled_from([0.0, 0.0, 60.0, 150.0]),
        "keep_firing_for": st.sampled_from([0.0, 120.0]),
    }
)


EDGES = [
    DependencySettings(caller={"instance": f"i{one}"}, callee={"instance": f"i{other}"})
    for one, other in ((0, 1), (1, 2), (2, 0), (3, 1), (4, 5))
]


def parts(said: dict[str, str]) -> dict[str, list[str]]:
    return {state: [name for name in SERIES if said[name] == state] for state in ("anomalous", "missing", "unknown")}


def told(step: Step) -> list[tuple[str, str]]:
    return [(one.fingerprint, str(one.event)) for one in step.transitions]


@settings(max_examples=150, deadline=None)
@given(script=SCRIPT, how=SETTINGS, crashes=st.sets(st.integers(0, 24)))
def test_a_crash_after_any_slot_changes_nothing(script, how, crashes) -> None:
    clean, killed = Stage(SERIES, causes=RootCauses(EDGES), **how), Stage(SERIES, causes=RootCauses(EDGES), **how)
    said = dict.fromkeys(SERIES, "normal")
    for number, now in enumerate(script):
        said = now or said
        one = clean.slot(**parts(said))
        # Killed before the step was stored: the slot is judged again.
        killed.at += 60.0
        lost = killed.judge(**parts(said))
        if number in crashes:
            killed.causes = RootCauses(EDGES)
            killed.crash(number)
        again = killed.judge(**parts(said))
        if number in crashes:
            assert (again.alerts, set(told(again))) == (lost.alerts, set(told(lost)))
        killed.keep(again)
        assert killed.alert_store.alerts == clean.alert_store.alerts
        assert sorted(told(again)) == sorted(told(one))


@settings(max_examples=150, deadline=None)
@given(script=SCRIPT, how=SETTINGS)
def test_every_anomalous_series_is_spoken_for_and_nothing_resolves_before_it_is_over(script, how) -> None:
    stage = Stage(SERIES, **how)
    said = dict.fromkeys(SERIES, "normal")
    fired: set[str] = set()
    for now in script:
        said = now or said
        before = {alert.fingerprint for alert in stage.open()}
        step = stage.slot(**parts(said))
        alone = {who(alert) for alert in stage.open() if "storm" not in alert.labels}
        storms = {storm.identity: storm for storm in stage.rows._stored.open_storms()}
        members = {row for storm in storms.values() for row in stage.rows._index.rows_of(storm.members).tolist()}
        names = {stage.names[row] for row in members if row >= 0}
        assert set(parts(said)["anomalous"]) <= alone | names
        # Every open storm is known, and each series is in one at most.
        assert storms.keys() == {alert.fingerprint for alert in stage.open() if "storm" in alert.labels}
        assert len(members) == sum(len(storm.members) for storm in storms.values())
        for one in step.transitions:
            if one.event is AuditEvent.FIRING:
                assert one.fingerprint not in fired
                fired.add(one.fingerprint)
            elif one.event is AuditEvent.RESOLVED:
                assert one.fingerprint in before
                fired.remove(one.fingerprint)
        assert fired == {alert.fingerprint for alert in stage.open() if alert.state is AlertState.FIRING}
        assert all(storm.active for storm in storms.values()) or how["keep_firing_for"]
        # A storm that begins has the members it takes; those of one that still waits are not all gone.
        for storm in storms.values():
            if storm.identity not in before:
                assert storm.active >= how["storm"]["members"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 11), min_size=5, max_size=60), st.integers(0, 3))
def test_series_that_turn_one_after_the_other_are_few_notifications(order, pause) -> None:
    """Whatever the order, at most one alert each before the storm is seen, and then one for all."""
    stage = Stage(SERIES, storm={"members": 4, "window": 300.0})
    wrong: set[str] = set()
    firing = 0
    for number in order:
        wrong.add(f"i{number}")
        for _ in range(1 + pause):
            step = stage.slot(wrong)
            firing += sum(one.event is AuditEvent.FIRING for one in step.transitions)
    # Within the window there are at most three alone; a storm that was closed may be followed by another.
    longest = len(order) * (1 + pause)
    assert firing <= 4 * (1 + longest // 5)
    assert firing <= len(wrong)
