"""A silence says that somebody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.alerting.alert import Alert, AlertState, AlertTransition, AuditEvent, Step
from exporter.alerting.episode import Feedback, Status
from exporter.calendar import Occurrence, TimeWindow, parse_matcher
from exporter.delivery import AlertSnapshots
from exporter.feedback.silence_comments import Acknowledger, feedback_in
from exporter.silences import SilenceIndex
from exporter.silences.settings import SilenceSettings
from exporter.silences.silence import AUTHOR, Silence, comment_of
from exporter.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", clock=lambda: 100.0) as store:
        yield store


def alert(host: str, state: AlertState = AlertState.FIRING, at: float = 10.0) -> Alert:
    labels = {"query": "cpu", "host": host}
    return Alert(host, "cpu", labels, {}, "", state, f"episode-{host}", at, at + 10.0, fired_at=at)


def silence(
    host: str, comment: str, author: str = "eve", *, made: float = 25.0, updated: float | None = None
) -> Silence:
    matchers = (parse_matcher(f"host=~{host}"),)
    return Silence("s" + host, matchers, TimeWindow(made, 1e9), "", False, author, comment, updated_at=updated or made)


def follower(store: Store, *alerts: Alert, settings: SilenceSettings | None = None, listed: int = 0) -> Acknowledger:
    alert_snapshots = AlertSnapshots()
    opened = tuple(
        AlertTransition(
            one.fingerprint,
            "cpu",
            one.episode,
            AuditEvent.OPEN,
            one.active_at,
            "anomalous",
            details={"labels": json.dumps(dict(one.labels))},
        )
        for one in alerts
    )
    store.alerts.commit("cpu", 1000.0, Step({one.fingerprint: one for one in alerts}, opened))
    alert_snapshots.publish("cpu", {one.fingerprint: one for one in alerts}, interval=60.0)
    return Acknowledger(alert_snapshots, store.episodes, lambda: settings or SilenceSettings(), lambda _: listed)


def taken(store: Store) -> dict[str, Feedback | None]:
    return {one.labels["host"]: one.feedback for one in store.episodes.page().episodes}


def declined(store: Store) -> list[tuple[str, str, str]]:
    """Who wrote what was not taken, why not, and its id."""
    entries = store.audit.page().entries
    return [(one.who, one.why, one.details["silence"]) for one in entries if one.event == "feedback_declined"]


def test_open_episodes_are_acknowledged_once_by_who_silenced_them(store: Store) -> None:
    follow = follower(store, alert("a"), alert("b", AlertState.PENDING), alert("c")).follow
    book = SilenceIndex([silence("a", "disk swap"), silence("b", "expected: sale")])
    follow(book, 30.0)
    follow(book, 40.0)
    found = {one.id: one for one in store.episodes.page().episodes}
    assert [found[f"episode-{host}"].status for host in "abc"] == [
        Status.ACKNOWLEDGED,
        Status.ACKNOWLEDGED,
        Status.OPEN,
    ]
    first = found["episode-a"]
    assert (first.acknowledged_by, first.acknowledged_why, first.acknowledged_at) == ("eve", "disk swap", 30.0)
    assert (first.feedback, found["episode-b"].feedback) == (None, Feedback.EXPECTED)
    assert len(store.audit.page().entries) == 3 + 2 + 1


def test_a_comment_that_is_changed_is_feedback_again(store: Store) -> None:
    follow = follower(store, alert("a")).follow
    follow(SilenceIndex([silence("a", "looking")]), 30.0)
    follow(SilenceIndex([silence("a", "false alarm: a test", updated=35.0)]), 40.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.acknowledged_why, episode.feedback) == ("looking", Feedback.FALSE_ALARM)


def test_a_silence_of_the_calendar_is_nobodys_feedback(store: Store) -> None:
    one = Occurrence("expected", "silence", 1.0, (parse_matcher("host=a"),), TimeWindow(0.0, 1e9), "")
    follower(store, alert("a")).follow(SilenceIndex([silence("a", comment_of(one), AUTHOR)]), 30.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.acknowledged_by, episode.feedback) == (AUTHOR, None)


@pytest.mark.parametrize("verdict", ["false alarm", "expected", "new normal"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in other shards"])
def test_a_broad_silence_acknowledges_and_teaches_nothing(store: Store, verdict: str, elsewhere: bool) -> None:
    hosts = "abc" if elsewhere else "abcdef"
    broad = silence(".+", verdict, "mallory")
    follow = follower(store, *map(alert, hosts), listed=6 if elsewhere else 0).follow
    follow(SilenceIndex([broad]), 30.0)
    assert {one.status for one in store.episodes.page().episodes} == {Status.ACKNOWLEDGED}
    assert taken(store) == dict.fromkeys(hosts)
    why = "the silence matches more than 5 anomalies (silences.feedback_limit)"
    assert declined(store) == [("mallory", why, "s.+")] * len(hosts)
    assert store.episodes.pending_feedback() == []


def test_a_broad_silence_teaches_nothing_of_the_few_that_are_left_either(store: Store) -> None:
    alerts = {host: alert(host) for host in "abcdef"}
    follower(store, *alerts.values())
    ended = tuple(
        AlertTransition(host, "cpu", f"episode-{host}", AuditEvent.RESOLVED, 40.0, "normal") for host in "bcdef"
    )
    store.alerts.record("cpu", Step(alerts, ended))
    # After a restart, which counts anew.
    snapshots = AlertSnapshots()
    snapshots.publish("cpu", {"a": alerts["a"]}, interval=60.0)
    Acknowledger(snapshots, store.episodes).follow(SilenceIndex([silence(".+", "new normal")]), 50.0)
    assert taken(store)["a"] is None
    assert store.episodes.pending_feedback() == []


def test_the_user_sets_how_much_a_silence_may_teach(store: Store) -> None:
    hosts = "abcdef"
    follower(store, *map(alert, hosts), settings=SilenceSettings(feedback_limit=6)).follow(
        SilenceIndex([silence(".+", "false alarm")]), 30.0
    )
    assert taken(store) == dict.fromkeys(hosts, Feedback.FALSE_ALARM)


def test_no_silence_teaches_where_that_is_switched_off(store: Store) -> None:
    follow = follower(store, alert("a"), settings=SilenceSettings(feedback=False)).follow
    follow(SilenceIndex([silence("a", "new normal")]), 30.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.status, episode.feedback) == (Status.ACKNOWLEDGED, None)


def test_what_began_after_a_silence_is_not_what_it_is_about(store: Store) -> None:
    follow = follower(store, alert("a"), alert("b", at=100.0)).follow
    # Extending a silence does not make it one of what began meanwhile.
    follow(SilenceIndex([silence("[ab]", "new normal", updated=200.0)]), 210.0)
    assert taken(store) == {"a": Feedback.NEW_NORMAL, "b": None}
    assert declined(store) == [("eve", "the anomaly began after the silence was made", "s[ab]")]


def test_a_later_verdict_of_a_person_holds_also_after_a_restart(store: Store) -> None:
    one = alert("a")
    silenced = SilenceIndex([silence("a", "new normal")])
    follower(store, one).follow(silenced, 30.0)
    store.episodes.give_feedback(one.episode, Feedback.CONFIRMED, at=40.0, who="ann", comment="it is real")
    snapshots = AlertSnapshots()
    snapshots.publish("cpu", {"a": one}, interval=60.0)
    Acknowledger(snapshots, store.episodes).follow(silenced, 50.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.feedback, episode.feedback_by) == (Feedback.CONFIRMED, "ann")
    assert store.episodes.pending_feedback() == []
    # A silence of before that verdict, which is read only now.
    older = silence("a.*", "false alarm", "bob", made=35.0)
    Acknowledger(snapshots, store.episodes).follow(SilenceIndex([older]), 60.0)
    assert taken(store) == {"a": Feedback.CONFIRMED}
    assert declined(store) == [("bob", "a later verdict holds", "sa.*")]
    # And one of after it.
    newer = silence("a+", "false alarm", "bob", made=65.0)
    Acknowledger(snapshots, store.episodes).follow(SilenceIndex([newer]), 70.0)
    assert taken(store) == {"a": Feedback.FALSE_ALARM}


@pytest.mark.parametrize(
    ("comment", "verdict"),
    [
        ("false alarm", Feedback.FALSE_ALARM),
        ("  False-Alarm: test", Feedback.FALSE_ALARM),
        ("expected, the batch job", Feedback.EXPECTED),
        ("new normal since Monday", Feedback.NEW_NORMAL),
        ("new-normal", Feedback.NEW_NORMAL),
        ("New normal.", Feedback.NEW_NORMAL),
        ("expected - the sale", Feedback.EXPECTED),
        ("expected because of the sale", Feedback.EXPECTED),
        ("Expected\nby marketing", Feedback.EXPECTED),
        ("false alarm!", Feedback.FALSE_ALARM),
        ("Expected to be back at noon", None),
        ("expected since noon, not here yet", None),
        ("expected?", None),
        ("expected-load test", None),
        ("new normal users cannot log in", None),
        ("False alarm rate is too high", None),
        ("false alarms", None),
        ("unexpected", None),
        ("expectedly", None),
        ("not a false alarm", None),
        ("", None),
    ],
)
def test_the_first_words_of_a_comment(comment: str, verdict: Feedback | None) -> None:
    assert feedback_in(comment) is verdict
