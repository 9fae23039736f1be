"""One Alertmanager through any weather: what is decided, without threads and with a clock of its own.

Alerts live by `exporter.alerting`, the outbox decides, and a model of an Alertmanager takes what reaches it. In fair
weather the Alertmanager must know within 45 s what is so; in any weather nothing may be said in the wrong order.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerting.alert import Alert, AlertState, AuditEvent, EvaluatedSlot, fingerprint
from exporter.alerting.state_machine import evaluate, hold, restore
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.outbox import AlertBatch, Outbox
from exporter.delivery.resend_policy import restored_acks
from exporter.delivery.response import DeliveryOutcome, ResponseKind
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import Reason
from exporter.store import Delivery
from tests.alerts import T0, finding, fp, limits, rule

SERIES = ("a", "b", "c", "d", "e")
BAD = "e"
INTERVAL = 30.0
LIMITS = limits()
RULE = rule(for_=INTERVAL)
SETTINGS = AlertmanagerSettings(url="http://am", batch_size=3)
PROMPT = 45.0 + 0.1


@dataclass
class Peer:
    """An Alertmanager: the newest end of every label set that reached it, and all that was said."""

    taken: list[tuple[float, str, float, bool]] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)
    said: dict[tuple[str, float], str] = field(default_factory=dict)

    def hear(self, body: bytes, now: float, *, take: bool) -> bool:
        """Take the good ones; return whether there was a bad one."""
        bad = False
        for posted in json.loads(body):
            start, end = (
                milliseconds(datetime.fromisoformat(posted[name]).timestamp()) for name in ("startsAt", "endsAt")
            )
            assert start <= end
            identity = fingerprint(posted["labels"])
            word = "resolved" if end <= now else "firing"
            # I3: whatever became of the request, an end is never followed by a firing of the same episode.
            assert (self.said.get((identity, start)), word) != ("resolved", "firing")
            self.said[identity, start] = word
            if identity == fp(BAD):
                bad = True
            elif take:
                self.ends[identity] = end
                self.taken.append((now, identity, start, word == "resolved"))
        return bad

    def firing(self, now: float) -> set[str]:
        return {identity for identity, end in self.ends.items() if end > now}


def instant(text: str) -> float:
    return milliseconds(datetime.fromisoformat(text).timestamp())


def milliseconds(at: float) -> float:
    return round(at * 1000) / 1000


class World:
    """Slots, the snapshots, the outbox and the weather between it and its peer."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a seed that a failure can be repeated with.
        self.mono = 1000.0
        self.shift = T0 - self.mono
        self.theirs: float | None = None
        """The shift of the Alertmanager's clock, once its answers have said it."""
        self.peer = Peer()
        self.alerts: Mapping[str, Alert] = {}
        self.anomalous: frozenset[str] = frozenset()
        self.good_slot = T0
        self.failing = False
        self.bad_alerts = False
        self.next_slot = self.mono
        self.acked: dict[str, tuple[str, AlertState, float]] = {}
        self.weather = "fair"
        self.largest = 100
        self.rejected = 0
        self.restarted = False
        self.episodes: dict[tuple[str, float], str] = {}
        self.ended: dict[str, float] = {}
        self.boot()

    @property
    def now(self) -> float:
        return self.mono + self.shift

    def boot(self) -> None:
        acks = [(identity, *kept) for identity, kept in self.acked.items()]
        self.alert_snapshots = AlertSnapshots(monotonic=lambda: self.mono)
        restored = restored_acks([Delivery(*ack) for ack in acks], now=self.now, mono=self.mono)
        self.outbox = Outbox(SETTINGS, LIMITS, random=self.chance.random, acks=restored)

    def restart(self, down: float) -> None:
        self.mono += down
        self.restarted = True
        self.alerts = restore(LIMITS, self.alerts, at=self.now).alerts
        self.good_slot = self.now
        self.next_slot = self.mono + INTERVAL / 2
        self.boot()

    def slot(self) -> None:
        self.next_slot += INTERVAL
        if self.failing:
            step = hold(LIMITS, "cpu", self.alerts, at=self.now, since=self.good_slot, interval=INTERVAL)
        else:
            self.good_slot = self.now
            found = {fp(name): finding(name) for name in sorted(self.anomalous) if name != BAD or self.bad_alerts}
            step = evaluate(RULE, LIMITS, "cpu", self.alerts, EvaluatedSlot(self.now, found))
        self.alerts = step.alerts
        for one in step.alerts.values():
            if one.fired_at is not None:
                self.episodes[one.fingerprint, milliseconds(one.fired_at)] = one.episode
            if one.resolved_at is not None:
                self.ended[one.episode] = one.resolved_at
        for event in step.transitions:
            if event.event is AuditEvent.EXPIRED_SOURCE_DOWN:
                # It is not told: the Alertmanager lets it expire.
                self.ended[event.episode] = math.inf
        self.alert_snapshots.publish("cpu", step.alerts, interval=INTERVAL)

    def run(self, seconds: float) -> None:
        end = self.mono + seconds
        while self.mono < end:
            if self.mono >= self.next_slot:
                self.slot()
            theirs = None if self.theirs is None else self.mono + self.theirs
            batch = self.outbox.next(self.alert_snapshots.read(), now=self.now, mono=self.mono, theirs=theirs)
            self.rejected += len(self.outbox.take_rejected())
            if batch is None:
                wake = self.outbox.wake_at(self.mono)
                assert wake > self.mono, "it would not let the processor rest"
                self.mono = min(wake, self.next_slot, end)
            else:
                self.send(batch)

    def send(self, batch: AlertBatch) -> None:
        assert 0 < len(batch.alerts) <= SETTINGS.batch_size
        weather = self.weather if self.weather != "mixed" else self.chance.choice(WEATHERS)
        later = DeliveryOutcome(ResponseKind.LATER, Reason.TIMEOUT)
        if weather in ("fair", "narrow"):
            if weather == "narrow" and len(batch.alerts) > 1:
                outcome = DeliveryOutcome(ResponseKind.TOO_LARGE, Reason.TOO_LARGE)
            elif self.peer.hear(batch.body, self.now, take=True):
                outcome = DeliveryOutcome(ResponseKind.REJECTED, Reason.REJECTED, "bad")
            else:
                outcome = DeliveryOutcome(ResponseKind.ACCEPTED)
            self.mono += 0.01
        elif weather == "response lost":
            self.peer.hear(batch.body, self.now, take=True)
            self.mono += 10.0
            outcome = later
        elif weather == "black hole":
            self.peer.hear(batch.body, self.now, take=False)
            self.mono += 10.0
            outcome = later
        elif weather == "busy":
            self.peer.hear(batch.body, self.now, take=False)
            outcome = DeliveryOutcome(ResponseKind.LATER, Reason.RATE_LIMITED, wait=20.0)
        else:
            self.peer.hear(batch.body, self.now, take=False)
            outcome = DeliveryOutcome(ResponseKind.FAULT, Reason.UNAUTHORIZED)
        settled = self.outbox.settle(batch, outcome, mono=self.mono)
        for identity, episode, state in settled.acked:
            self.acked[identity] = (episode, state, self.now)

    def check(self) -> None:
        """It has been fair for long enough: the Alertmanager knows what is so."""
        known = {one.fingerprint: one for one in self.alerts.values() if one.fingerprint != fp(BAD)}
        firing = {key for key, one in known.items() if one.state is AlertState.FIRING}
        fresh = {key for key in firing if self.now - known[key].fired_at < PROMPT}
        # An alert that was given up because its source is down may still be there, until it expires.
        gone = self.peer.firing(self.now) - firing
        assert firing - fresh <= self.peer.firing(self.now)
        for identity in gone:
            one = known.get(identity)
            ended = one is not None and one.state is AlertState.RESOLVED
            assert not (ended and self.now - one.resolved_at > PROMPT)
        if not self.restarted:
            # An end is said, also that of an episode whose place another one has taken meanwhile.
            firing_said = {(identity, start) for _, identity, start, over in self.peer.taken if not over}
            ended_said = {(identity, start) for _, identity, start, over in self.peer.taken if over}
            for identity, start in firing_said - ended_said:
                one = known.get(identity)
                if one is not None and one.episode != self.episodes[identity, start]:
                    # Long after its end nobody is told any more: it has expired by itself.
                    age = self.now - self.ended[self.episodes[identity, start]]
                    assert age < PROMPT or age > LIMITS.resolved_retention


WEATHERS = ["fair", "narrow", "response lost", "black hole", "busy", "unauthorized"]
PHASE = st.tuples(
    st.sampled_from([*WEATHERS, "fair", "mixed"]),
    st.frozensets(st.sampled_from(SERIES)),
    st.sampled_from([10.0, 50.0, 100.0, 400.0, 1000.0]),
    st.sampled_from(["", "", "", "failing", "restart", "crash loop"]),
)


@pytest.mark.parametrize("bad_alerts", [False, True], ids=["well-formed", "with-an-alert-that-is-refused"])
@given(script=st.lists(PHASE, min_size=1, max_size=10), seed=st.integers(0, 1000))
@settings(max_examples=80)
def test_in_fair_weather_everything_is_known_and_in_any_weather_nothing_is_out_of_order(
    script: list, seed: int, bad_alerts: bool
) -> None:
    world = World(seed)
    world.bad_alerts = bad_alerts
    for weather, anomalous, seconds, event in script:
        world.weather, world.anomalous, world.failing = weather, anomalous, event == "failing"
        if event in ("restart", "crash loop"):
            for _ in range(1 if event == "restart" else 3):
                world.restart(down=7.0)
                world.run(1.0)
        world.run(seconds)
    # The peer is back: 45 s are enough, and with the last slot's news a little more.
    world.weather = "fair"
    world.run(INTERVAL + PROMPT)
    world.check()
    gaps(world)
    assert world.rejected <= 100


def gaps(world: World) -> None:
    world.failing = False
    world.anomalous = frozenset(SERIES)
    world.run(600.0)
    before = len(world.peer.taken)
    world.run(1200.0)
    # I5: in fair weather a firing alert is sent often enough.
    for name in SERIES:
        if name != BAD:
            times = [at for at, identity, _, over in world.peer.taken[before:] if identity == fp(name) and not over]
            assert len(times) >= 10
            assert max(b - a for a, b in itertools.pairwise(times)) < 240.0
    assert fp("a") in world.peer.firing(world.now)


@given(steps=st.lists(st.sampled_from([-86400.0, -3600.0, -1.0, 1.0, 3600.0, 86400.0]), min_size=1, max_size=6))
def test_a_firing_alert_stays_alive_whatever_becomes_of_our_clock(steps: list[float]) -> None:
    # The Alertmanager keeps the right time. Slots go by our clock, so while it is behind they change nothing.
    world = World(1)
    world.anomalous = frozenset({"a"})
    world.run(200.0)
    right = world.theirs = world.shift
    ends: dict[str, float] = {}
    hear = world.peer.hear

    def listen(body: bytes, now: float, *, take: bool) -> bool:
        for posted in json.loads(body):
            ends["a"] = datetime.fromisoformat(posted["endsAt"]).timestamp()
        return False

    world.peer.hear = listen
    assert hear is not listen
    for step in steps:
        world.shift += step
        for _ in range(60):
            world.run(10.0)
            assert ends.get("a", world.mono + right + 1) > world.mono + right
    assert world.alerts[fp("a")].state is AlertState.FIRING
