"""What people do at one exporter reaches another, which may have been down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertTransition, AuditEvent, Step
from exporter.alerting.episode import Feedback, Status
from exporter.calendar.events import AnnouncedEvent, event_id
from exporter.feedback.replicas import EventChanges, Replicas
from exporter.silences.messages import Message, message_in, silence_of
from exporter.silences.posting import Posting
from exporter.silences.settings import SilenceSettings
from exporter.store import Store
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.announced_events import AnnouncedEvents

T0 = 1_800_000_000.0
SALE = AnnouncedEvent(
    event_id("sale"), "sale", "api", "ignore", 1.0, ("query=cpu",), T0, T0 + 3600.0, "tv", "ann", T0, T0 + 5.0
)


class Alertmanager:
    """What is listed: messages go through the form that they have there."""

    def __init__(self) -> None:
        self.silences: list[Mapping[str, object]] = []

    def messages(self) -> list[Message]:
        read = [message_in(str(each["createdBy"]), str(each["comment"])) for each in self.silences]
        return [message for message in read if message is not None]


class Replica:
    def __init__(self, folder: Path, alertmanager: Alertmanager, shard: tuple[int, int] = (0, 1)) -> None:
        self.now = T0 + 60.0
        self.store = Store.open(folder, clock=lambda: self.now)
        self.alertmanager, self.shard = alertmanager, shard
        self.settings = SilenceSettings()
        self.firing: dict[str, float] = {}
        self.posting = Posting()
        self.start()

    def start(self) -> None:
        self.events = AnnouncedEvents(self.store.events, ActiveEvents(), clock=lambda: self.now)
        self.events.load()
        changes = EventChanges(self.events.all, self.events.removed, self.events.take, self.events.take_removal)
        self.replicas = Replicas(
            self.store,
            shard=self.shard,
            settings=lambda: self.settings,
            events=changes,
            firing_since=lambda identity: self.firing.get(identity),
        )

    def open(self, host: str, at: float = T0) -> None:
        opened = AlertTransition(host, "cpu", f"{host}-{id(self)}", AuditEvent.OPEN, at, "", details={"labels": "{}"})
        self.store.alerts.commit("cpu", at, Step({}, (opened,)))

    def round(self) -> None:
        self.replicas.take(self.alertmanager.messages(), self.now)
        listed = {"am": self.alertmanager.messages()}
        for message in self.posting.missing(self.replicas.pending(self.now), listed, self.now):
            body = silence_of(message, at=self.now)
            assert body is not None
            self.alertmanager.silences.append(body)

    def episode(self, host: str):
        (episode,) = (one for one in self.store.episodes.page().episodes if one.fingerprint == host)
        return episode

    def say(self, host: str, verdict: Feedback, who: str = "ann", at: float | None = None) -> None:
        self.store.episodes.give_feedback(
            self.episode(host).id, verdict, at=self.now if at is None else at, who=who, comment="why"
        )


@pytest.fixture
def alertmanager() -> Alertmanager:
    return Alertmanager()


@pytest.fixture
def pair(tmp_path: Path, alertmanager: Alertmanager) -> Iterator[tuple[Replica, Replica]]:
    with ExitStack() as stack:
        both = Replica(tmp_path / "a", alertmanager), Replica(tmp_path / "b", alertmanager)
        for one in both:
            stack.callback(lambda one=one: one.store.close())
        yield both


def rounds(*replicas: Replica, count: int = 2) -> None:
    for _ in range(count):
        for one in replicas:
            one.round()


def test_feedback_and_acknowledgements_reach_the_other_once(
    pair: tuple[Replica, Replica], alertmanager: Alertmanager
) -> None:
    a, b = pair
    for one in pair:
        one.open("x")
    a.say("x", Feedback.NEW_NORMAL)
    a.store.episodes.acknowledge(a.episode("x").id, at=a.now, who="bob", why="on it")
    rounds(a, b, count=4)
    episode = b.episode("x")
    assert (episode.feedback, episode.feedback_by, episode.feedback_comment) == (Feedback.NEW_NORMAL, "ann", "why")
    assert (episode.status, episode.acknowledged_by) == (Status.ACKNOWLEDGED, "bob")
    assert [one.verdict for one in b.store.episodes.pending_feedback()] == [Feedback.NEW_NORMAL]
    # What was taken is not passed on again: two that are here, and what two people said.
    assert sorted(each.kind for each in alertmanager.messages()) == ["acknowledgement", "feedback", "here", "here"]
    b.store.episodes.discard_feedback(b.store.episodes.pending_feedback())
    b.start()
    rounds(a, b)
    assert b.store.episodes.pending_feedback() == []


def test_the_newest_word_holds_at_both(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for one in pair:
        one.open("x")
    a.say("x", Feedback.FALSE_ALARM, at=T0 + 30.0)
    b.say("x", Feedback.CONFIRMED, who="bob", at=T0 + 40.0)
    rounds(a, b, count=3)
    assert [one.episode("x").feedback for one in pair] == [Feedback.CONFIRMED] * 2


def test_what_is_taken_back_at_one_is_taken_back_at_the_other(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for one in pair:
        one.open("x")
    a.say("x", Feedback.NEW_NORMAL)
    a.store.episodes.acknowledge(a.episode("x").id, at=a.now, who="ann", why="")
    rounds(a, b)
    assert (b.episode("x").feedback, b.episode("x").status) == (Feedback.NEW_NORMAL, Status.ACKNOWLEDGED)
    for event in (AuditEvent.UNACKNOWLEDGED, AuditEvent.FEEDBACK_WITHDRAWN):
        a.store.episodes.take_back(a.episode("x").id, event, at=a.now + 5.0, who="ann")
    a.now += 10.0
    rounds(a, b)
    assert (b.episode("x").feedback, b.episode("x").status) == (None, Status.OPEN)
    assert b.store.episodes.pending_feedback() == []
    # Nothing comes back by what is still listed, and what is newer here stays.
    b.say("x", Feedback.CONFIRMED, who="bob", at=a.now)
    b.start()
    rounds(a, b)
    assert (b.episode("x").feedback, b.episode("x").status) == (Feedback.CONFIRMED, Status.OPEN)
    assert a.episode("x").feedback is Feedback.CONFIRMED


@pytest.mark.parametrize(
    ("opened", "taken"),
    [([T0 - 5.0, T0 + 90.0], T0 - 5.0), ([T0 + 90.0], T0 + 90.0), ([T0 + 900.0], None), ([T0 - 600.0], None)],
    ids=["the-first-of-two", "began-later-there", "another-one", "one-before"],
)
def test_it_is_about_what_was_open_then(
    pair: tuple[Replica, Replica], opened: list[float], taken: float | None
) -> None:
    a, b = pair
    a.open("x")
    for at in opened:
        ended = AlertTransition("x", "cpu", f"x-{at}", AuditEvent.RESOLVED, at + 80.0, "normal")
        opening = AlertTransition("x", "cpu", f"x-{at}", AuditEvent.OPEN, at, "", details={"labels": "{}"})
        b.store.alerts.commit("cpu", at, Step({}, (opening, ended)))
    # Also when it is over for long.
    a.say("x", Feedback.FALSE_ALARM, at=T0 + 990.0)
    a.now = b.now = T0 + 1000.0
    rounds(a, b)
    assert [one.opened_at for one in b.store.episodes.page().episodes if one.feedback] == (
        [] if taken is None else [taken]
    )


def test_a_crash_before_it_is_passed_on_loses_nothing(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for one in pair:
        one.open("x")
    a.say("x", Feedback.EXPECTED)
    a.start()
    rounds(a, b)
    assert b.episode("x").feedback is Feedback.EXPECTED


@pytest.mark.parametrize(
    ("down_since", "firing", "adopted"),
    [
        pytest.param(T0 + 10.0, None, True, id="was-down"),
        pytest.param(T0 + 10.0, T0 + 5.0, True, id="the-other-one-still-fires"),
        pytest.param(T0 + 10.0, T0 + 100.0, False, id="another-anomaly-since"),
        pytest.param(T0 + 90.0, None, False, id="was-running-and-saw-nothing"),
    ],
)
def test_a_level_that_was_accepted_while_one_was_down_is_learned_there(
    pair: tuple[Replica, Replica], down_since: float, firing: float | None, adopted: bool
) -> None:
    a, b = pair
    a.open("x")
    b.store.alerts.commit("cpu", down_since, Step({}))
    b.start()
    b.firing = {} if firing is None else {"x": firing}
    a.say("x", Feedback.NEW_NORMAL)
    b.now = T0 + 6 * 3600.0
    rounds(a, b)
    pending = b.store.episodes.pending_feedback()
    assert [(one.query, one.fingerprint, one.adopted, one.at) for one in pending] == (
        [("cpu", "x", True, T0 + 60.0)] if adopted else []
    )
    # It is learned once, whatever is still listed at the next start.
    b.store.episodes.discard_feedback(pending)
    b.store.alerts.commit("cpu", b.now, Step({}))
    b.start()
    rounds(a, b)
    assert b.store.episodes.pending_feedback() == []


def test_where_silences_teach_nothing_neither_do_messages(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    b.settings = SilenceSettings(feedback=False)
    for one in pair:
        one.open("x")
    a.say("x", Feedback.NEW_NORMAL)
    rounds(a, b)
    assert b.episode("x").feedback is None


def test_events_are_announced_changed_and_removed_at_both(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.events.put(SALE, at=a.now)
    rounds(a, b)
    assert b.events.all() == [SALE]
    b.now += 60.0
    b.events.remove("sale", who="bob")
    rounds(b, a, count=3)
    assert a.events.all() == b.events.all() == []
    # What was announced before does not come back, though it is still listed; also after a restart.
    for one in pair:
        one.start()
    rounds(a, b)
    assert a.events.all() == b.events.all() == []


@pytest.mark.parametrize(("shard", "paired"), [((0, 1), True), ((0, 2), False)])
def test_a_pair_knows_of_itself(
    pair: tuple[Replica, Replica], tmp_path: Path, alertmanager: Alertmanager, shard: tuple[int, int], paired: bool
) -> None:
    one = pair[0]
    # Nothing is known before the first answer.
    assert one.replicas.paired()
    other = Replica(tmp_path / "c", alertmanager, shard)
    one.round()
    assert not one.replicas.paired()
    rounds(other, one)
    # Starting again is no news.
    posted = len(alertmanager.silences)
    other.start()
    other.round()
    assert len(alertmanager.silences) == posted
    assert one.replicas.paired() is paired
    assert other.replicas.paired() is paired
    # Nobody has heard of the other one for more than a day.
    listed, alertmanager.silences = alertmanager.silences, []
    one.round()
    assert one.replicas.paired() is paired
    alertmanager.silences += listed
    one.settings = SilenceSettings(share=False)
    assert not one.replicas.paired()
    one.settings = SilenceSettings()
    one.now += 27 * 3600.0
    one.round()
    assert not one.replicas.paired()
    other.store.close()


@pytest.mark.parametrize(
    "comment",
    [
        "From one anomaly-exporter to the others; it silences nothing. {}",
        'From one anomaly-exporter to the others; it silences nothing. {"kind":"x","id":"a","at":1}',
        "From one anomaly-exporter to the others; it silences nothing. [" * 3,
        "hello",
    ],
)
def test_what_is_no_message_is_none(comment: str) -> None:
    assert message_in("anomaly-exporter (message)", comment) is None


def test_messages_that_make_no_sense_change_nothing(pair: tuple[Replica, Replica]) -> None:
    a, _ = pair
    a.open("x")
    wrong = [
        Message("feedback", "f1", T0 + 30.0, {"query": "cpu", "fingerprint": "x", "verdict": "burn it"}),
        Message("feedback", "f2", T0 + 30.0, {"query": 1}),
        Message("event", "e1", T0 + 30.0, {"name": "sale"}),
        Message("removed_event", "r1", T0 + 30.0, {}),
        Message("here", "h1", T0 + 30.0, {"exporter": []}),
    ]
    a.replicas.take(wrong, a.now)
    assert a.episode("x").feedback is None
    assert a.events.all() == []
