"""What to send to one Alertmanager, step by step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporter.alerting.alert import Alert, AlertState
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.outbox import AlertBatch, Outbox, Settlement
from exporter.delivery.resend_policy import Ack
from exporter.delivery.response import DeliveryOutcome, ResponseKind
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import Reason
from tests.alerts import T0, alert, fp, limits, table

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
TAKEN = DeliveryOutcome(ResponseKind.ACCEPTED)
LATER = DeliveryOutcome(ResponseKind.LATER, Reason.UNAVAILABLE)
FAULT = DeliveryOutcome(ResponseKind.FAULT, Reason.UNAUTHORIZED)
REFUSED = DeliveryOutcome(ResponseKind.REJECTED, Reason.REJECTED, "no")
TOO_LARGE = DeliveryOutcome(ResponseKind.TOO_LARGE, Reason.TOO_LARGE)


class Bench:
    """An outbox on snapshots, with the clocks in hand."""

    def __init__(self, *alerts: Alert, random: float = 0.5, acks: dict[str, Ack] | None = None, **settings: Any):
        self.mono = 1000.0
        self.now = T0 + 10
        self.alert_snapshots = AlertSnapshots(monotonic=lambda: self.mono)
        made = AlertmanagerSettings(url="http://am", **settings)
        self.outbox = Outbox(made, limits(), random=lambda: random, acks=acks)
        self.publish(*alerts)

    def publish(self, *alerts: Alert, query: str = "cpu") -> None:
        self.alert_snapshots.publish(query, table(alerts), interval=60.0)

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.now += seconds

    def next(self) -> AlertBatch | None:
        return self.outbox.next(self.alert_snapshots.read(), now=self.now, mono=self.mono)

    def names(self) -> list[str]:
        batch = self.next()
        return [] if batch is None else [one.labels["instance"] for one in batch.alerts]

    def settle(self, outcome: DeliveryOutcome, batch: AlertBatch | None = None) -> Settlement:
        batch = batch or self.next()
        assert batch is not None
        return self.outbox.settle(batch, outcome, mono=self.mono)


def several(count: int) -> list[Alert]:
    return [alert(f"s{number:04}", fired_at=T0 + number / 1000) for number in range(count)]


def test_nothing_is_sent_when_nothing_is_due() -> None:
    assert Bench().next() is None
    assert Bench(alert(state=PENDING)).next() is None


def test_new_firing_goes_before_resolved_before_repetitions_and_older_before_newer() -> None:
    bench = Bench(
        alert("again", evaluated_at=T0 + 120),
        alert("over2", RESOLVED, resolved_at=T0 + 3),
        alert("over1", RESOLVED, resolved_at=T0 + 2),
        alert("new2", fired_at=T0 + 2),
        alert("new1", fired_at=T0 + 1),
        acks={fp("again"): Ack("episode-again-1", FIRING, slot=T0, at=900.0)},
    )
    assert bench.names() == ["new1", "new2", "over1", "over2", "again"]


def test_batches_are_no_larger_than_configured() -> None:
    bench = Bench(*several(5), batch_size=2)
    assert bench.names() == ["s0000", "s0001"]
    bench.settle(TAKEN)
    assert bench.names() == ["s0002", "s0003"]
    bench.settle(TAKEN)
    assert bench.names() == ["s0004"]
    bench.settle(TAKEN)
    assert bench.next() is None
    assert bench.outbox.dirty == 0


def test_what_was_taken_is_acknowledged_as_it_was_sent() -> None:
    bench = Bench(alert())
    batch = bench.next()
    # It ends while the request is under way.
    bench.publish(alert(state=RESOLVED, resolved_at=T0 + 5))
    assert bench.settle(TAKEN, batch).acked == ((fp(), "episode-a-1", FIRING),)
    batch = bench.next()
    assert batch is not None
    assert [one.state for one in batch.alerts] == [RESOLVED]


def test_an_attempt_that_failed_is_made_again_from_what_is_true_by_then() -> None:
    bench = Bench(alert())
    bench.settle(LATER)
    bench.publish(alert(state=RESOLVED, resolved_at=T0 + 5))
    bench.advance(30)
    batch = bench.next()
    assert batch is not None
    assert [one.state for one in batch.alerts] == [RESOLVED]
    assert bench.settle(TAKEN, batch) == Settlement(((fp(), "episode-a-1", RESOLVED),), early=1)


def test_the_end_of_a_confirmed_episode_is_not_early() -> None:
    bench = Bench(alert())
    bench.settle(TAKEN)
    bench.publish(alert(state=RESOLVED))
    assert bench.settle(TAKEN).early == 0


def test_every_attempt_has_the_full_validity() -> None:
    bench = Bench(alert())
    ends = []
    for _ in range(2):
        batch = bench.next()
        assert batch is not None
        ends.append(json.loads(batch.body)[0]["endsAt"])
        bench.settle(LATER, batch)
        bench.advance(60)
    assert ends == ["2027-01-15T08:04:10.000Z", "2027-01-15T08:05:10.000Z"]


class TestRetry:
    @pytest.mark.parametrize(
        ("random", "waits"),
        [
            (0.999999, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
            (0.5, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]),
            (0.0, [0.05] * 8),
        ],
        ids=["longest", "mean", "shortest"],
    )
    def test_full_jitter_up_to_half_a_minute(self, random: float, waits: list[float]) -> None:
        bench = Bench(alert(), random=random)
        found = []
        for _ in waits:
            settled = bench.settle(LATER)
            assert bench.next() is None
            assert bench.outbox.wake_at(bench.mono) <= bench.mono + settled.wait
            bench.advance(settled.wait)
            found.append(settled.wait)
        assert found == pytest.approx(waits, rel=1e-4)

    def test_a_success_starts_the_waits_again(self) -> None:
        bench = Bench(*several(2), batch_size=1)
        for _ in range(5):
            bench.advance(bench.settle(LATER).wait)
        bench.settle(TAKEN)
        assert bench.settle(LATER).wait == 0.25

    def test_the_server_may_ask_for_more(self) -> None:
        bench = Bench(alert())
        assert bench.settle(DeliveryOutcome(ResponseKind.LATER, Reason.RATE_LIMITED, wait=42.0)).wait == 42.0
        bench.advance(41.9)
        assert bench.next() is None
        bench.advance(0.2)
        assert bench.names() == ["a"]

    def test_a_fault_of_the_configuration_waits_longest_at_once(self) -> None:
        assert Bench(alert()).settle(FAULT).wait == 30.0

    def test_news_do_not_shorten_the_wait(self) -> None:
        bench = Bench(alert())
        bench.settle(FAULT)
        bench.publish(alert(), alert("b"))
        assert bench.next() is None
        assert bench.outbox.dirty == 2

    def test_another_configuration_is_tried_at_once(self) -> None:
        bench = Bench(alert())
        bench.settle(FAULT)
        bench.outbox.configure(AlertmanagerSettings(url="http://am"), limits())
        assert bench.names() == ["a"]


class TestRefused:
    def find(self, bench: Bench, bad: set[str]) -> tuple[list[str], set[str], int]:
        """Answer as an Alertmanager would until nothing is due; return offenders, what was acked, requests."""
        rejected, acked, requests = [], set(), 0
        while (batch := bench.next()) is not None:
            requests += 1
            names = {one.labels["instance"] for one in batch.alerts}
            settled = bench.settle(REFUSED if names & bad else TAKEN, batch)
            acked |= names if settled.acked else set()
            bench.advance(settled.wait)
            rejected += [one.alert.labels["instance"] for one in bench.outbox.take_rejected()]
            assert requests < 1000
        return rejected, acked, requests

    @pytest.mark.parametrize("place", [0, 1, 31, 32, 62, 63])
    def test_one_of_64_is_found_with_7_more_requests(self, place: int) -> None:
        bench = Bench(*several(64), batch_size=64)
        rejected, acked, requests = self.find(bench, {f"s{place:04}"})
        assert rejected == [f"s{place:04}"]
        assert len(acked) == 63
        assert requests <= 8

    @pytest.mark.parametrize("places", [{0, 1}, {0, 63}, {5, 6, 40}, set(range(20)), set(range(64))])
    def test_several_are_found_and_all_others_are_taken(self, places: set[int]) -> None:
        bad = {f"s{place:04}" for place in places}
        rejected, acked, _ = self.find(Bench(*several(64), batch_size=64), bad)
        assert set(rejected) == bad
        assert len(acked) == 64 - len(bad)

    def test_an_offender_is_tried_again_after_a_quarter_of_an_hour(self) -> None:
        bench = Bench(alert())
        bench.settle(REFUSED)
        [offender] = bench.outbox.take_rejected()
        assert (offender.alert, offender.text) == (alert(), "no")
        assert bench.outbox.take_rejected() == []
        bench.advance(899)
        assert bench.next() is None
        bench.advance(7)
        assert bench.names() == ["a"]

    def test_a_search_that_is_interrupted_starts_again(self) -> None:
        bench = Bench(*several(4))
        bench.settle(REFUSED)
        assert len(bench.names()) == 2
        bench.settle(LATER)
        bench.advance(30)
        assert len(bench.names()) == 4

    def test_a_search_ends_when_its_suspects_are_gone(self) -> None:
        bench = Bench(*several(4))
        bench.settle(REFUSED)
        bench.publish(alert("other"))
        assert bench.names() == ["other"]

    def test_an_alertmanager_that_refuses_everything_is_left_in_peace_for_a_while(self) -> None:
        bench = Bench(*several(256))
        requests = 0
        while bench.settle(REFUSED).wait == 0.0:
            requests += 1
        assert requests <= 32
        assert len(bench.outbox.take_rejected()) <= 8
        bench.advance(30)
        # It is asked again with everything that is not set apart.
        assert len(bench.names()) >= 240
        bench.settle(TAKEN)

    @pytest.mark.parametrize("accepted", [False, True], ids=["all rejected", "one accepted in between"])
    def test_only_rejections_in_a_row_make_it_back_off(self, accepted: bool) -> None:
        bench = Bench(*several(64), batch_size=1)
        waits = [bench.settle(REFUSED).wait for _ in range(20)]
        if accepted:
            bench.settle(TAKEN)
        waits += [bench.settle(REFUSED).wait for _ in range(13)]
        assert waits[:32] == [0.0] * 32
        assert (waits[32] > 0.0) is not accepted

    def test_what_it_would_refuse_is_not_sent(self) -> None:
        bench = Bench(alert("good"), alert("bad", labels={"a": "\ud800"}), alert("early", fired_at=None))
        assert bench.names() == ["good"]
        texts = {one.text for one in bench.outbox.take_rejected()}
        assert texts == {"the value of label 'a' is not valid UTF-8", "start time missing"}

    @pytest.mark.parametrize(("utf8", "name"), [(True, "a-b"), (False, "a_b")])
    def test_utf8_names_are_sent_where_they_are_taken_and_else_rewritten(self, utf8: bool, name: str) -> None:
        bench = Bench(alert("x", labels={"a-b": "1", "instance": "x"}), utf8_labels=utf8)
        batch = bench.next()
        assert batch is not None
        assert json.loads(batch.body)[0]["labels"] == {name: "1", "instance": "x"}


class TestTooLarge:
    def test_batches_are_halved_until_they_fit(self) -> None:
        bench = Bench(*several(100), batch_size=64)
        sizes = []
        while (batch := bench.next()) is not None:
            sizes.append(len(batch.alerts))
            bench.settle(TOO_LARGE if len(batch.alerts) > 10 else TAKEN, batch)
        assert sizes[:4] == [64, 32, 16, 8]
        assert sum(size for size in sizes if size <= 10) == 100
        assert len([size for size in sizes if size > 10]) <= 6

    def test_they_grow_back(self) -> None:
        bench = Bench(*several(4000), batch_size=64)
        bench.settle(TOO_LARGE)
        sizes = []
        while (batch := bench.next()) is not None:
            sizes.append(len(batch.alerts))
            bench.settle(TAKEN, batch)
        assert sizes[0] == 32
        assert max(sizes) == 64

    def test_an_alert_that_is_too_large_alone_is_set_apart(self) -> None:
        bench = Bench(alert())
        assert bench.settle(TOO_LARGE).wait == 0.0
        assert len(bench.outbox.take_rejected()) == 1
        assert bench.next() is None


class TestEndAndRestart:
    def test_last_words_repeat_every_firing_alert_once(self) -> None:
        bench = Bench(alert("a"), alert("b", RESOLVED), alert("c", PENDING))
        bench.settle(TAKEN)
        assert bench.next() is None
        bench.advance(1)
        bench.outbox.flush(bench.mono, resend_firing=True)
        assert bench.names() == ["a"]
        bench.advance(0.1)
        bench.settle(TAKEN)
        assert bench.next() is None
        assert bench.outbox.dirty == 0

    def test_the_end_does_not_wait(self) -> None:
        bench = Bench(alert())
        bench.settle(FAULT)
        bench.outbox.flush(bench.mono, resend_firing=False)
        assert bench.names() == ["a"]
        bench.settle(TAKEN)
        assert bench.next() is None

    def test_what_was_confirmed_before_the_start_is_not_news(self) -> None:
        bench = Bench(alert("a"), alert("b"), acks={fp("a"): Ack("episode-a-1", FIRING, T0, 990.0, restored=True)})
        assert bench.names() == ["b"]

    def test_a_confirmation_waits_for_the_first_slot_of_its_query(self) -> None:
        bench = Bench(acks={fp("a"): Ack("episode-a-1", FIRING, T0, 990.0, restored=True)})
        assert bench.next() is None
        bench.publish(alert("a"))
        assert bench.next() is None


def test_the_end_of_an_episode_is_said_before_the_next_one() -> None:
    bench = Bench(alert())
    bench.settle(TAKEN)
    bench.publish(alert(state=RESOLVED, resolved_at=T0 + 5))
    bench.publish(alert(episode="episode-a-2", fired_at=T0 + 8))
    said = []
    while (batch := bench.next()) is not None:
        said += [(one.episode, one.state) for one in batch.alerts]
        bench.settle(TAKEN, batch)
    assert said == [("episode-a-1", RESOLVED), ("episode-a-2", FIRING)]


def test_after_for_was_raised_it_is_said_anew_at_once() -> None:
    bench = Bench(alert())
    bench.settle(TAKEN)
    bench.publish(alert(state=PENDING, fired_at=T0))
    assert bench.next() is None
    bench.publish(alert())
    assert bench.names() == ["a"]
    assert bench.settle(TAKEN).early == 0


def test_how_long_the_oldest_has_waited() -> None:
    bench = Bench(alert())
    bench.next()
    assert (bench.outbox.dirty, bench.outbox.oldest_dirty) == (1, 1000.0)
    bench.settle(LATER)
    bench.advance(10)
    bench.publish(alert(), alert("b"))
    bench.next()
    assert (bench.outbox.dirty, bench.outbox.oldest_dirty) == (2, 1000.0)
    bench.advance(30)
    bench.settle(TAKEN)
    assert (bench.outbox.dirty, bench.outbox.oldest_dirty) == (0, None)


def test_ten_thousand_alerts_are_batches_like_any_other() -> None:
    bench = Bench(*several(10_000))
    requests = 0
    while (batch := bench.next()) is not None:
        bench.settle(TAKEN, batch)
        requests += 1
    assert requests == 40


class TestPair:
    """Another exporter sends the same alerts."""

    @staticmethod
    def ended() -> Bench:
        bench = Bench(alert())
        bench.outbox.others.at_work = True
        bench.settle(TAKEN)
        bench.publish(alert(state=RESOLVED, resolved_at=T0 + 10, evaluated_at=T0 + 10))
        return bench

    @staticmethod
    def look(bench: Bench, updated: float | None) -> None:
        assert bench.next() is None
        assert bench.outbox.wants_listing
        bench.outbox.take_listing({} if updated is None else {fp(): updated}, skew=0.0, mono=bench.mono)

    def test_an_end_is_sent_once_it_is_seen_that_nobody_keeps_the_alert(self) -> None:
        bench = self.ended()
        bench.advance(20)
        assert bench.next() is None
        assert not bench.outbox.wants_listing
        assert bench.outbox.dirty == 0
        bench.advance(20)
        self.look(bench, None)
        assert bench.names() == ["a"]

    def test_what_the_other_one_keeps_is_left_until_that_one_ends_it(self) -> None:
        bench = self.ended()
        for _ in range(10):
            bench.advance(40)
            self.look(bench, bench.now - 20)
            assert bench.next() is None
        bench.advance(2.5)
        self.look(bench, None)
        assert bench.names() == ["a"]

    def test_an_episode_goes_over_into_the_next_one_where_its_end_is_not_sent(self) -> None:
        bench = self.ended()
        again = alert(episode="episode-a-2", fired_at=T0 + 70, active_at=T0 + 70, evaluated_at=T0 + 70)
        bench.advance(20)
        bench.publish(again)
        batch = bench.next()
        assert batch is not None
        assert [one.episode for one in batch.alerts] == ["episode-a-2"]
        bench.settle(TAKEN, batch)
        assert bench.next() is None


def test_an_end_is_sent_again_where_the_alertmanager_was_started_since() -> None:
    bench = Bench(alert(state=RESOLVED))
    bench.settle(TAKEN)
    assert bench.next() is None
    bench.advance(10)
    bench.outbox.note_start(bench.mono - 5)
    assert bench.names() == ["a"]
    bench.settle(TAKEN)
    assert bench.next() is None
