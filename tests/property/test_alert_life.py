"""The life of alerts under any history: against a plain model, and against the invariants.

The model knows one series and thinks in words, not in rows: since when, for how long, how often in a row. Steps
of the machine are slots of any kind, restarts, reloads and clock steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exporter.alerting.alert import Alert, AlertState, AuditEvent, EvaluatedSlot, Step
from exporter.alerting.labels import validate
from exporter.alerting.state_machine import evaluate, hold, restore, withdraw
from tests.alerts import T0, finding, fp, limits, table
from tests.alerts import rule as alert_rule

SERIES = ("a", "b", "c")
LIMITS = limits(max_alerts=1000)
INTERVAL = 60.0
FORS = st.sampled_from([0.0, 60.0, 150.0])
ANSWERS = st.fixed_dictionaries(
    dict.fromkeys(SERIES, st.sampled_from(["anomalous", "anomalous", "normal", "missing", "missing", "unknown"]))
)
ENDS = {AuditEvent.RESOLVED, AuditEvent.DROPPED, AuditEvent.EXPIRED, AuditEvent.EXPIRED_SOURCE_DOWN}


class Model:
    """What one series should be, by the words of the documentation."""

    def __init__(self) -> None:
        self.state = "none"
        self.waited_from = self.normal_from = self.ended = 0.0
        self.fired: float | None = None
        self.absent = 0

    def end(self, at: float) -> None:
        self.state = "none" if self.fired is None else "resolved"
        self.ended = at

    def see(self, what: str, at: float, rule_) -> None:
        if self.state == "resolved" and what != "anomalous":
            if at - self.ended > LIMITS.resolved_retention:
                self.state = "none"
            return
        if what == "anomalous":
            if self.state in ("none", "resolved"):
                self.state, self.waited_from, self.fired = "pending", at, None
            self.absent, self.normal_from = 0, 0.0
            if self.state == "pending" and at - self.waited_from >= rule_.for_:
                self.state = "firing"
                self.fired = at if self.fired is None else self.fired
            elif self.state == "firing" and at - self.waited_from < rule_.for_ > self.fired - self.waited_from:
                self.state = "pending"
        elif self.state != "none" and what == "normal":
            self.absent = 0
            self.fade(at, rule_)
        elif self.state != "none" and what == "missing":
            self.absent += 1
            kept_enough = self.normal_from and at - self.normal_from >= rule_.keep_firing_for
            patient = rule_.no_data == "alert" and self.state == "firing"
            if kept_enough or rule_.no_data == "resolve" or (self.absent >= 4 and not patient):
                self.end(at)

    def fade(self, at: float, rule_) -> None:
        if self.state == "firing" and rule_.keep_firing_for > 0:
            self.normal_from = self.normal_from or at
            if at - self.normal_from < rule_.keep_firing_for:
                return
        self.end(at)

    def fail(self, at: float, good: float) -> None:
        if self.state == "resolved":
            self.see("unknown", at, None)
        elif at - good - INTERVAL >= LIMITS.source_hold:
            self.state = "none"

    def start(self, at: float, down: float) -> None:
        if self.state == "resolved":
            self.see("unknown", at, None)
        elif down > LIMITS.outage_tolerance:
            self.state = "none"
        elif self.state == "pending":
            self.waited_from += down


class Life(RuleBasedStateMachine):
    """Drives `exporter.alerting.state_machine` and a model a series side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.at = T0
        self.good = T0
        self.alerts: Mapping[str, Alert] = {}
        self.models = {name: Model() for name in SERIES}
        self.seen: set[tuple[str, str, AuditEvent]] = set()
        self.open: dict[str, str] = {}
        self.starts: dict[str, float] = {}
        self.opened: dict[tuple[str, str], float] = {}
        self.repeatable: set[tuple[str, str]] = set()
        """Episodes of slots that come again, as the clock was set back: they have the same name then."""
        self.modelled = True

    @initialize(for_=FORS, keep=FORS, no_data=st.sampled_from(["hold", "resolve", "alert"]))
    def configure(self, for_: float, keep: float, no_data: str) -> None:
        self.rule = alert_rule(for_=for_, keep_firing_for=keep, no_data=no_data)

    def apply(self, step: Step) -> None:
        # I6: every event once in an episode; I2: one open episode a fingerprint.
        for event in step.transitions:
            key = (event.fingerprint, event.episode, event.event)
            if event.event is AuditEvent.OPEN:
                self.begin(key[:2], event.at)
            assert key not in self.seen, f"twice: {key}"
            self.seen.add(key)
            if event.event is AuditEvent.OPEN:
                assert event.fingerprint not in self.open
                self.open[event.fingerprint] = event.episode
            elif event.event is AuditEvent.FIRING:
                assert self.open[event.fingerprint] == event.episode
            if event.event in ENDS:
                assert self.open.pop(event.fingerprint) == event.episode
        self.alerts = step.alerts
        living = {one.fingerprint: one.episode for one in self.alerts.values() if one.state != AlertState.RESOLVED}
        assert living == self.open

    def begin(self, episode: tuple[str, str], at: float) -> None:
        if episode in self.repeatable:
            self.seen = {key for key in self.seen if key[:2] != episode}
            self.starts.pop(episode[1], None)
        self.opened[episode] = at

    @rule(script=st.lists(ANSWERS, min_size=1, max_size=8), steps=st.integers(1, 2))
    def slots(self, script: list[dict[str, str]], steps: int) -> None:
        for said in script:
            self.at += steps * INTERVAL
            self.slot(said)

    @rule(name=st.sampled_from(SERIES), script=st.text("xxx.mmu", min_size=1, max_size=12))
    def slots_of_one_series(self, name: str, script: str) -> None:
        letters = {"x": "anomalous", ".": "normal", "m": "missing", "u": "unknown"}
        for letter in script:
            self.at += INTERVAL
            self.slot({**dict.fromkeys(SERIES, "unknown"), name: letters[letter]})

    def slot(self, said: dict[str, str]) -> None:
        self.good = self.at
        slot = EvaluatedSlot(
            self.at,
            {fp(name): finding(name) for name in SERIES if said[name] == "anomalous"},
            missing=[fp(name) for name in SERIES if said[name] == "missing"],
            unknown=[fp(name) for name in SERIES if said[name] == "unknown"],
        )
        step = evaluate(self.rule, LIMITS, "cpu", self.alerts, slot)
        assert step == evaluate(self.rule, LIMITS, "cpu", self.alerts, slot)
        self.apply(step)
        for name, model in self.models.items():
            model.see(said[name], self.at, self.rule)
        if step.alerts:
            again = evaluate(self.rule, LIMITS, "cpu", step.alerts, slot)
            assert again == Step(alerts=step.alerts)
        self.as_the_model_says()

    @rule(steps=st.integers(1, 8))
    def failed_slot(self, steps: int) -> None:
        self.at += steps * INTERVAL
        step = hold(LIMITS, "cpu", self.alerts, at=self.at, since=self.good, interval=INTERVAL)
        assert not {event.event for event in step.transitions} & {
            AuditEvent.RESOLVED,
            AuditEvent.FIRING,
            AuditEvent.OPEN,
        }
        self.apply(step)
        for model in self.models.values():
            model.fail(self.at, self.good)

    @rule(down=st.sampled_from([0.0, 1.0, 59.0, 200.0, 1000.0, 4000.0]))
    def restart(self, down: float) -> None:
        lived = {key: one.evaluated_at for key, one in self.alerts.items()}
        now = max([self.at, *lived.values()]) + down
        self.apply(restore(LIMITS, self.alerts, at=now))
        for name, model in self.models.items():
            model.start(now, now - lived.get(fp(name), now))
        self.at = self.good = now

    @rule(back=st.sampled_from([1.0, 3600.0, 86400.0]))
    def restart_with_the_clock_set_back(self, back: float) -> None:
        # The model has one clock that only goes forward; from here on only the invariants are asked.
        self.modelled = False
        now = self.at - back
        before = {key: one for key, one in self.alerts.items() if one.state is AlertState.FIRING}
        self.apply(restore(LIMITS, self.alerts, at=now))
        assert before.keys() <= self.alerts.keys()
        self.repeatable |= {episode for episode, at in self.opened.items() if at > now}
        self.at = self.good = now

    @rule(back=st.sampled_from([0.0, 1.0, 3600.0]))
    def an_old_slot_again(self, back: float) -> None:
        if self.alerts:
            at = max(one.evaluated_at for one in self.alerts.values()) - back
            before = self.alerts
            self.apply(evaluate(self.rule, LIMITS, "cpu", self.alerts, EvaluatedSlot(at, {})))
            assert self.alerts == before

    @rule(for_=FORS, keep=FORS, no_data=st.sampled_from(["hold", "resolve", "alert"]))
    def reload(self, for_: float, keep: float, no_data: str) -> None:
        self.configure(for_, keep, no_data)

    @rule()
    def reload_without_the_query(self) -> None:
        self.apply(withdraw(self.alerts, at=self.at, why="rule_removed"))
        for model in self.models.values():
            if model.state in ("pending", "firing"):
                model.end(self.at)
        assert {one.state for one in self.alerts.values()} <= {AlertState.RESOLVED}

    @invariant()
    def as_the_model_says(self) -> None:
        if self.modelled:
            states = {name: str(self.alerts[fp(name)].state) if fp(name) in self.alerts else "none" for name in SERIES}
            assert states == {name: model.state for name, model in self.models.items()}

    @invariant()
    def instants_are_in_order_and_the_start_is_constant(self) -> None:
        for one in self.alerts.values():
            if one.fired_at is not None:
                assert self.starts.setdefault(one.episode, one.fired_at) == one.fired_at
                assert validate(one) == ()
            if one.state is AlertState.RESOLVED:
                assert one.fired_at is not None
                assert one.fired_at <= one.resolved_at

    @invariant()
    def the_table_is_keyed_by_identity(self) -> None:
        assert table(self.alerts.values()) == self.alerts


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
