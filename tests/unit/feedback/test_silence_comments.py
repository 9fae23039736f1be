"""A silence says that somebody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.alerting.alert import Alert, AlertState, AlertTransition, AuditEvent, Step
from exporter.alerting.episode import Feedback, Status
from exporter.calendar import Occurrence, TimeWindow, parse_matcher
from exporter.delivery import AlertSnapshots
from exporter.feedback.silence_comments import Acknowledger, feedback_in
from exporter.silences import SilenceIndex
from exporter.silences.silence import AUTHOR, Silence, comment_of
from exporter.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", clock=lambda: 100.0) as store:
        yield store


def alert(host: str, state: AlertState = AlertState.FIRING) -> Alert:
    labels = {"query": "cpu", "host": host}
    return Alert(host, "cpu", labels, {}, "", state, f"episode-{host}", 10.0, 20.0, fired_at=10.0)


def silence(host: str, comment: str, author: str = "eve") -> Silence:
    return Silence("s" + host, (parse_matcher(f"host={host}"),), TimeWindow(0.0, 1e9), "", False, author, comment)


def follower(store: Store, *alerts: Alert) -> Acknowledger:
    alert_snapshots = AlertSnapshots()
    opened = tuple(
        AlertTransition(
            one.fingerprint, "cpu", one.episode, AuditEvent.OPEN, 10.0, "anomalous", details={"labels": "{}"}
        )
        for one in alerts
    )
    store.alerts.commit("cpu", 20.0, Step({one.fingerprint: one for one in alerts}, opened))
    alert_snapshots.publish("cpu", {one.fingerprint: one for one in alerts}, interval=60.0)
    return Acknowledger(alert_snapshots, store.episodes)


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
    follow(SilenceIndex([silence("a", "false alarm: a test")]), 40.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.acknowledged_why, episode.feedback) == ("looking", Feedback.FALSE_ALARM)


def test_a_silence_of_the_calendar_is_nobodys_feedback(store: Store) -> None:
    one = Occurrence("expected", "silence", 1.0, (parse_matcher("host=a"),), TimeWindow(0.0, 1e9), "")
    follower(store, alert("a")).follow(SilenceIndex([silence("a", comment_of(one), AUTHOR)]), 30.0)
    (episode,) = store.episodes.page().episodes
    assert (episode.acknowledged_by, episode.feedback) == (AUTHOR, None)


@pytest.mark.parametrize(
    ("comment", "verdict"),
    [
        ("false alarm", Feedback.FALSE_ALARM),
        ("  False-Alarm: test", Feedback.FALSE_ALARM),
        ("expected, the batch job", Feedback.EXPECTED),
        ("new normal since Monday", Feedback.NEW_NORMAL),
        ("new-normal", Feedback.NEW_NORMAL),
        ("unexpected", None),
        ("expectedly", None),
        ("not a false alarm", None),
        ("", None),
    ],
)
def test_the_first_words_of_a_comment(comment: str, verdict: Feedback | None) -> None:
    assert feedback_in(comment) is verdict
