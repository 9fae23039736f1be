"""The life of an alert, slot by slot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.alerting.alert import Alert, AlertState, AuditEvent, EvaluatedSlot, Step
from exporter.alerting.state_machine import evaluate, hold, restore, withdraw
from tests.alerts import T0, alert, finding, found, fp, limits, rule, table

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED


def run(script: str, rule_=None, limits_=None, *, interval: float = 60.0, start: dict | None = None) -> list[Step]:
    """Evaluate series `a` slot by slot.

    A letter a slot: ``x`` anomalous, ``.`` normal, ``m`` missing, ``u`` unknown, ``f`` the query failed,
    ``-`` no slot at all.
    """
    alerts, steps, good = start or {}, [], T0 - interval
    for number, letter in enumerate(script):
        at = T0 + number * interval
        if letter == "-":
            continue
        if letter == "f":
            step = hold(limits_ or limits(), "cpu", alerts, at=at, since=good, interval=interval)
        else:
            good = at
            step = evaluate(
                rule_ or rule(),
                limits_ or limits(),
                "cpu",
                alerts,
                EvaluatedSlot(
                    at,
                    found("a") if letter == "x" else {},
                    missing=[fp()] if letter == "m" else [],
                    unknown=[fp()] if letter == "u" else [],
                ),
            )
        alerts = step.alerts
        steps.append(step)
    return steps


def states(steps: list[Step]) -> str:
    """One letter a step: ``p`` pending, ``F`` firing, ``r`` resolved, ``.`` no alert."""
    letters = {PENDING: "p", FIRING: "F", RESOLVED: "r"}
    return "".join(letters[step.alerts[fp()].state] if step.alerts else "." for step in steps)


def events(steps: list[Step]) -> list[tuple[str, str]]:
    return [(str(event.event), event.why) for step in steps for event in step.transitions]


HOLD_3 = {"no_data": "hold"}


@pytest.mark.parametrize(
    ("script", "expected", "options"),
    [
        pytest.param("x", "F", {}, id="without-for-it-fires-in-the-same-slot"),
        pytest.param("xxxx", "ppFF", {"for_": 120.0}, id="it-fires-when-for-has-passed"),
        pytest.param("xxxx", "pppF", {"for_": 121.0}, id="not-before-for-has-passed"),
        pytest.param("xx.xxx", "pp.ppF", {"for_": 120.0}, id="a-normal-slot-starts-for-again"),
        pytest.param("xx..x", "FFrrF", {}, id="after-a-resolve-a-new-episode"),
        pytest.param("xx.x", "pFrp", {"for_": 60.0}, id="a-new-episode-waits-again"),
        pytest.param("x...", "FFFr", {"keep_firing_for": 120.0}, id="it-is-kept-firing-for-as-long-as-that"),
        pytest.param("x.x...", "FFFFFr", {"keep_firing_for": 120.0}, id="an-anomaly-starts-keep-firing-for-again"),
        pytest.param("x.", "p.", {"for_": 60.0, "keep_firing_for": 120.0}, id="pending-is-not-kept"),
        pytest.param("xmmmm", "FFFFr", HOLD_3, id="three-answers-without-the-series-are-waited-for"),
        pytest.param("xmmmx", "FFFFF", HOLD_3, id="the-series-is-back-in-time"),
        pytest.param("xmmxmmmm", "FFFFFFFr", HOLD_3, id="only-answers-in-a-row-count"),
        pytest.param("xm.", "FFr", HOLD_3, id="normal-after-missing-resolves"),
        pytest.param("xmmfmfm", "FFFFFFr", HOLD_3, id="a-failed-query-is-no-answer"),
        pytest.param("xmmum", "FFFFF", HOLD_3, id="an-answer-that-says-nothing-does-not-count"),
        pytest.param("xuuuuuu.", "FFFFFFFr", {}, id="unknown-stays-as-it-is"),
        pytest.param("xm", "Fr", {"no_data": "resolve"}, id="resolve-at-once-if-so-configured"),
        pytest.param("xmmmmmmmm", "FFFFFFFFF", {"no_data": "alert"}, id="fire-on-if-so-configured"),
        pytest.param("xmmmm", "pppp.", {"for_": 600.0}, id="pending-waits-for-its-series-too"),
        pytest.param("xmmmm", "pppp.", {"for_": 600.0, "no_data": "alert"}, id="pending-does-not-wait-for-ever"),
        pytest.param("xm", "p.", {"for_": 600.0, "no_data": "resolve"}, id="pending-is-dropped-at-once"),
        pytest.param("xmmx", "pppF", {"for_": 120.0}, id="a-missing-series-does-not-fire-before-it-is-seen"),
        pytest.param("x.mm", "FFFr", {"keep_firing_for": 120.0, "no_data": "alert"}, id="kept-then-missing-ends"),
        pytest.param("xffffff.", "FFFFFFFr", {}, id="a-failed-query-resolves-nothing"),
        pytest.param("xffx", "pppF", {"for_": 120.0}, id="a-failed-query-does-not-stop-for"),
        pytest.param("xff.", "FFFr", {}, id="what-is-normal-after-a-failure-resolves"),
        pytest.param("x" + "f" * 16 + "x", "F" * 16 + ".F", {}, id="after-source-hold-it-is-given-up"),
        pytest.param("x" + "f" * 16 + "x", "p" * 16 + ".p", {"for_": 1e4}, id="pending-is-given-up-then-too"),
        pytest.param("x." + "." * 15 + ".", "F" + "r" * 16 + ".", {}, id="resolved-is-kept-for-15-minutes"),
        pytest.param("x." + "f" * 15 + "f", "F" + "r" * 16 + ".", {}, id="resolved-is-kept-no-longer-while-failing"),
    ],
)
def test_the_state_after_each_slot(script: str, expected: str, options: dict) -> None:
    assert states(run(script, rule(**options))) == expected


@pytest.mark.parametrize(
    ("script", "expected", "options"),
    [
        pytest.param(
            "x..x",
            [
                ("open", "anomalous"),
                ("firing", "anomalous"),
                ("resolved", "normal"),
                ("open", "anomalous"),
                ("firing", "anomalous"),
            ],
            {},
            id="two-episodes",
        ),
        pytest.param("x.", [("open", "anomalous"), ("dropped", "normal")], {"for_": 60.0}, id="never-fired"),
        pytest.param(
            "xmmmm", [("open", "anomalous"), ("firing", "anomalous"), ("resolved", "no_data")], {}, id="no-data"
        ),
        pytest.param(
            "x" + "f" * 20,
            [("open", "anomalous"), ("firing", "anomalous"), ("expired_source_down", "source_down")],
            {},
            id="source-down",
        ),
        pytest.param(
            "x" + "f" * 20, [("open", "anomalous"), ("dropped", "source_down")], {"for_": 60.0}, id="pending-down"
        ),
    ],
)
def test_what_the_audit_is_told(script: str, expected: list, options: dict) -> None:
    assert events(run(script, rule(**options))) == expected


def test_instants_of_an_episode() -> None:
    steps = run("xxx.", rule(for_=120.0))
    last = steps[-1].alerts[fp()]
    assert (last.active_at, last.fired_at, last.resolved_at) == (T0, T0 + 120, T0 + 180)
    assert [event.at for step in steps for event in step.transitions] == [T0, T0 + 120, T0 + 180]


def test_a_new_episode_has_a_new_id_and_a_new_start() -> None:
    steps = run("x.x")
    first, second = steps[0].alerts[fp()], steps[2].alerts[fp()]
    assert first.episode != second.episode
    assert (first.fired_at, second.fired_at) == (T0, T0 + 120)
    assert second.resolved_at is None


def test_the_id_of_an_episode_follows_from_its_identity_and_its_start() -> None:
    assert run("x")[0].alerts[fp()].episode == run("x")[0].alerts[fp()].episode


def test_an_episode_that_starts_in_the_millisecond_of_the_last_one_has_another_id() -> None:
    last = run("x")[0].alerts[fp()]
    # As after a start with a clock that was set back.
    over = table([alert(state=RESOLVED, episode=last.episode, evaluated_at=T0 - 1)])
    step = evaluate(rule(), limits(), "cpu", over, EvaluatedSlot(T0, found("a")))
    assert step.alerts[fp()].episode != last.episode


def test_a_slot_that_was_applied_changes_nothing() -> None:
    step = run("xx")[-1]
    for at in (T0 + 60, T0, T0 - 3600):
        again = evaluate(rule(), limits(), "cpu", step.alerts, EvaluatedSlot(at, {}))
        assert again == Step(alerts=step.alerts)
        held = hold(limits(), "cpu", step.alerts, at=at, since=T0 - 1e6, interval=60.0)
        assert held == Step(alerts=step.alerts)


def test_the_explanation_is_renewed_while_anomalous_and_kept_otherwise() -> None:
    alerts = run("x")[0].alerts
    new = {fp(): finding(summary="worse")}
    alerts = evaluate(rule(keep_firing_for=600.0), limits(), "cpu", alerts, EvaluatedSlot(T0 + 60, new)).alerts
    assert alerts[fp()].annotations["summary"] == "worse"
    alerts = evaluate(rule(keep_firing_for=600.0), limits(), "cpu", alerts, EvaluatedSlot(T0 + 120, {})).alerts
    assert alerts[fp()].annotations["summary"] == "worse"


def test_an_input_is_never_changed() -> None:
    alerts = dict(run("x")[0].alerts)
    copy = dict(alerts)
    evaluate(rule(), limits(), "cpu", alerts, EvaluatedSlot(T0 + 60, {}))
    hold(limits(), "cpu", alerts, at=T0 + 6000, since=T0, interval=60.0)
    restore(limits(), alerts, at=T0 + 6000)
    withdraw(alerts, at=T0 + 6000, why="rule_removed")
    assert alerts == copy


class TestForRaisedByReload:
    def raised(self, script: str) -> list[Step]:
        return run(script, rule(for_=240.0), start=dict(run("x")[0].alerts))

    def test_an_alert_that_has_not_waited_enough_is_pending_again(self) -> None:
        assert states(self.raised("-xxxx")) == "pppF"

    def test_it_fires_again_with_the_start_it_had_and_without_a_second_event(self) -> None:
        steps = self.raised("-xxxx")
        assert steps[-1].alerts[fp()].fired_at == T0
        assert events(steps) == []

    def test_it_is_resolved_and_not_forgotten_if_it_ends_meanwhile(self) -> None:
        # An Alertmanager may hold it as firing.
        steps = self.raised("-x.")
        assert states(steps) == "pr"
        assert events(steps) == [("resolved", "normal")]

    def test_an_alert_that_has_waited_enough_fires_on(self) -> None:
        assert states(run("-----xx", rule(for_=240.0), start=dict(run("x")[0].alerts))) == "FF"

    @pytest.mark.parametrize("waited", [300.0, 0.0], ids=["same-for", "for-raised-long-ago"])
    def test_a_clock_that_was_set_back_does_not_look_like_it(self, waited: float) -> None:
        alerts = restore(limits(), table([alert(active_at=T0, fired_at=T0 + waited)]), at=T0 - 3600).alerts
        step = evaluate(rule(for_=300.0), limits(), "cpu", alerts, EvaluatedSlot(T0 - 3540, found("a")))
        assert step.alerts[fp()].state is FIRING


class TestMaxAlerts:
    def test_more_are_turned_away_and_counted(self) -> None:
        step = evaluate(rule(), limits(max_alerts=2), "cpu", {}, EvaluatedSlot(T0, found("a", "b", "c", "d")))
        assert set(step.alerts) == {fp("a"), fp("b")}
        assert step.suppressed == 2
        assert len(step.transitions) == 4

    def test_what_is_there_keeps_its_place(self) -> None:
        alerts = table([alert("x"), alert("y", PENDING)])
        step = evaluate(rule(), limits(max_alerts=1), "cpu", alerts, EvaluatedSlot(T0 + 60, found("a", "x", "y")))
        assert {one.fingerprint: one.state for one in step.alerts.values()} == {fp("x"): FIRING, fp("y"): FIRING}
        assert step.suppressed == 1

    def test_alerts_of_other_queries_count(self) -> None:
        step = evaluate(rule(), limits(max_alerts=3), "cpu", {}, EvaluatedSlot(T0, found("a", "b"), other_alerts=2))
        assert (len(step.alerts), step.suppressed) == (1, 1)

    def test_resolved_alerts_leave_their_place_to_others(self) -> None:
        alerts = table([alert("x", RESOLVED)])
        step = evaluate(rule(), limits(max_alerts=1), "cpu", alerts, EvaluatedSlot(T0 + 60, found("a")))
        assert {one.state for one in step.alerts.values()} == {FIRING, RESOLVED}

    def test_series_that_come_and_go_cannot_fill_the_memory(self) -> None:
        alerts = table([alert("x", RESOLVED), alert("y", RESOLVED)])
        step = evaluate(rule(), limits(max_alerts=1), "cpu", alerts, EvaluatedSlot(T0 + 60, found("a")))
        assert (set(step.alerts), step.suppressed) == ({fp("x"), fp("y")}, 1)
        # A series that is in the table already needs no more memory.
        step = evaluate(rule(), limits(max_alerts=1), "cpu", alerts, EvaluatedSlot(T0 + 60, found("x")))
        assert step.alerts[fp("x")].state is FIRING

    def test_a_resolved_alert_that_may_not_reopen_is_still_resolved(self) -> None:
        alerts = table([alert("x", RESOLVED), alert("y")])
        step = evaluate(rule(), limits(max_alerts=1), "cpu", alerts, EvaluatedSlot(T0 + 60, found("x", "y")))
        assert step.alerts[fp("x")].state is RESOLVED
        assert step.suppressed == 1


class TestHold:
    @pytest.mark.parametrize(
        ("at", "given_up"),
        [(60.0, False), (60.0 + 899, False), (60.0 + 900, True)],
        ids=["first-failure", "in-time", "over"],
    )
    def test_it_counts_from_the_answer_that_did_not_come(self, at: float, given_up: bool) -> None:
        step = hold(limits(), "cpu", table([alert()]), at=T0 + at, since=T0, interval=60.0)
        assert (not step.alerts) is given_up

    def test_one_failure_of_a_slow_query_gives_nothing_up(self) -> None:
        step = hold(limits(), "cpu", table([alert()]), at=T0 + 3600, since=T0, interval=3600.0)
        assert step.alerts[fp()].state is FIRING

    def test_without_a_hold_the_first_failure_gives_up(self) -> None:
        step = hold(limits(source_hold=0.0), "cpu", table([alert()]), at=T0 + 60, since=T0, interval=60.0)
        assert not step.alerts
        assert [event.event for event in step.transitions] == [AuditEvent.EXPIRED_SOURCE_DOWN]


class TestRestore:
    @pytest.mark.parametrize("down", [0.0, 30.0, 3600.0])
    def test_pending_waits_for_as_long_as_it_would_have(self, down: float) -> None:
        step = restore(limits(), table([alert(state=PENDING, active_at=T0 - 100)]), at=T0 + down)
        assert step.alerts[fp()].active_at == T0 - 100 + down

    def test_firing_and_resolved_are_as_they_were(self) -> None:
        alerts = table([alert("a", keep_since=T0 - 5), alert("b", RESOLVED)])
        after = restore(limits(), alerts, at=T0 + 300)
        assert after == Step(alerts={key: replace(one, evaluated_at=T0 + 300) for key, one in alerts.items()})

    def test_the_clock_of_a_resolved_alert_runs_on(self) -> None:
        alerts = table([alert(state=RESOLVED)])
        assert restore(limits(), alerts, at=T0 + 900).alerts
        assert not restore(limits(), alerts, at=T0 + 901).alerts

    @pytest.mark.parametrize("state", [PENDING, FIRING])
    def test_what_is_older_than_the_tolerance_is_dropped(self, state: AlertState) -> None:
        alerts = table([alert(state=state)])
        assert restore(limits(), alerts, at=T0 + 3600).alerts
        step = restore(limits(), alerts, at=T0 + 3600.5)
        assert not step.alerts
        assert [(event.event, event.why) for event in step.transitions] == [(AuditEvent.EXPIRED, "outage_tolerance")]

    def test_starting_twice_before_the_first_slot_is_starting_once(self) -> None:
        alerts = table([alert("a", PENDING), alert("b"), alert("c", RESOLVED)])
        between = restore(limits(), alerts, at=T0 + 60).alerts
        assert restore(limits(), between, at=T0 + 100) == restore(limits(), alerts, at=T0 + 100)

    def test_a_clock_that_was_set_back_leaves_nothing_in_the_future(self) -> None:
        alerts = table(
            [
                alert("a", PENDING, active_at=T0 - 10),
                alert("b", FIRING, keep_since=T0 - 5),
                alert("c", RESOLVED, fired_at=T0 - 7200, resolved_at=T0),
                alert("d", RESOLVED, fired_at=T0 - 10, resolved_at=T0),
            ]
        )
        now = T0 - 3600
        after = restore(limits(), alerts, at=now).alerts
        assert after[fp("a")].active_at == now
        assert (after[fp("b")].fired_at, after[fp("b")].keep_since) == (T0, now)
        assert after[fp("c")].resolved_at == now
        assert after[fp("d")].resolved_at == T0 - 10
        assert {one.evaluated_at for one in after.values()} == {now}

    def test_an_end_after_the_clock_was_set_back_is_not_before_the_start(self) -> None:
        alerts = restore(limits(), table([alert()]), at=T0 - 3600).alerts
        step = evaluate(rule(), limits(), "cpu", alerts, EvaluatedSlot(T0 - 3599, {}))
        assert step.alerts[fp()].resolved_at == T0


def test_withdrawn_alerts_are_resolved() -> None:
    alerts = table([alert("a"), alert("b", PENDING), alert("c", RESOLVED)])
    step = withdraw(alerts, at=T0 + 10, why="rule_removed")
    assert {key: one.state for key, one in step.alerts.items()} == {fp("a"): RESOLVED, fp("c"): RESOLVED}
    assert step.alerts[fp("a")].resolved_at == T0 + 10
    assert step.alerts[fp("c")].resolved_at == T0
    assert sorted((str(event.event), event.why) for event in step.transitions) == [
        ("dropped", "rule_removed"),
        ("resolved", "rule_removed"),
    ]


def test_a_query_that_comes_back_opens_new_episodes() -> None:
    gone = withdraw(table([alert()]), at=T0 + 10, why="rule_removed").alerts
    step = evaluate(rule(), limits(), "cpu", gone, EvaluatedSlot(T0 + 60, found("a")))
    assert step.alerts[fp()].episode != alert().episode


def test_what_is_found_and_missing_is_found() -> None:
    step = evaluate(
        rule(no_data="resolve"), limits(), "cpu", table([alert()]), EvaluatedSlot(T0 + 60, found("a"), missing=[fp()])
    )
    assert step.alerts[fp()].state is FIRING


def test_what_ends_an_alert_that_is_normal_is_in_the_audit() -> None:
    slot = EvaluatedSlot(T0 + 60, {}, endings={fp(): "ignored"})
    [entry] = evaluate(rule(), limits(), "cpu", table([alert()]), slot).transitions
    assert (entry.event, entry.why) == ("resolved", "ignored")


def test_a_pending_alert_that_a_storm_takes_in_part_goes_on() -> None:
    pending = alert(state=AlertState.PENDING, fired_at=None)
    slot = EvaluatedSlot(T0 + 60, found("a"), absorbed=[fp()])
    step = evaluate(rule(), limits(), "cpu", table([pending]), slot)
    assert step.alerts[fp()].episode == pending.episode


def test_a_row_without_its_instants_is_read_kindly() -> None:
    broken: Alert = alert(state=RESOLVED, fired_at=None, resolved_at=None)
    assert restore(limits(), table([broken]), at=T0 + 60).alerts[fp()].resolved_at == T0
