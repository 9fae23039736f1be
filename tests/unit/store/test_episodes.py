from __future__ import annotations

import gzip
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState, AlertTransition, AuditEvent, Observation, Step
from exporter.alerting.episode import Feedback, Status
from exporter.store import EpisodeFilter, Store
from tests.store_values import a_step, a_transition, an_alert, append, open_store

READING = Observation(60.0, observed=9.0, expected=1.5, upper=2.0, score=0.75, z=4.5, votes=3.0)
LABELS = {"labels": '{"alertname": "A", "instance": "f1"}'}


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "state") as store:
        yield store


def opened(name: str = "f1", at: float = 1.5, **changes: object) -> AlertTransition:
    return a_transition(name, AuditEvent.OPEN, at, details={"labels": f'{{"instance": "{name}"}}'}, **changes)


def statuses(store: Store, **wanted: object) -> dict[str, str]:
    return {one.id: str(one.status) for one in store.episodes.page(EpisodeFilter(**wanted)).episodes}


def test_an_episode_is_written_with_the_step_that_it_begins_in(store: Store) -> None:
    alert = an_alert(worst=READING)
    firing = a_transition(event=AuditEvent.FIRING, at=30.25)
    store.alerts.commit("q", 60.0, a_step(alert, transitions=(a_transition(details=LABELS), firing)))
    (episode,) = store.episodes.page().episodes
    assert (episode.id, episode.query, episode.fingerprint, episode.status) == ("f1-1", "q", "f1", Status.OPEN)
    assert episode.labels == {"alertname": "A", "instance": "f1"}
    assert (episode.opened_at, episode.fired_at, episode.resolved_at) == (1.5, 30.25, None)
    assert (episode.worst, episode.summary) == (READING, "é ☃")
    # And comes back with the alert, so that a restart goes on with the worst.
    assert store.alerts.load()["q"]["f1"] == alert


def test_the_worst_reading_stays(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert(worst=READING), transitions=(opened(),)))
    worse = replace(READING, at=120.0, score=0.9)
    store.alerts.commit("q", 120.0, a_step(an_alert(worst=worse, annotations={"summary": "worse"})))
    store.alerts.commit("q", 180.0, a_step(an_alert(worst=worse, annotations={"summary": "not as bad"})))
    (episode,) = store.episodes.page().episodes
    assert (episode.worst, episode.summary) == (worse, "worse")


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (AuditEvent.RESOLVED, "normal"),
        (AuditEvent.DROPPED, "normal"),
        (AuditEvent.EXPIRED, "outage_tolerance"),
        (AuditEvent.EXPIRED_SOURCE_DOWN, "source_down"),
    ],
)
def test_an_episode_ends_once_and_never_before_it_began(store: Store, event: AuditEvent, why: str) -> None:
    append(store, [opened(at=100.0), a_transition(event=event, at=90.0, why=why)])
    append(store, [a_transition(event=event, at=500.0, why=why)])
    (episode,) = store.episodes.page().episodes
    assert (episode.status, episode.resolved_at, episode.resolved_why) == (Status.RESOLVED, 100.0, why)


def test_transitions_that_the_store_could_not_take_at_once_come_to_the_same(store: Store) -> None:
    # Opened and ended while the disk was full: no alert is left of it.
    store.alerts.commit("q", 60.0, Step({}, (opened(), a_transition(event=AuditEvent.RESOLVED, at=50.0))))
    assert statuses(store) == {"f1-1": "resolved"}
    # A slot that is applied again after a crash.
    store.alerts.record("q", Step({}, (opened(), a_transition(event=AuditEvent.RESOLVED, at=50.0))))
    assert statuses(store) == {"f1-1": "resolved"}
    assert len(store.audit.page().entries) == 2


def test_the_first_acknowledgement_counts(store: Store) -> None:
    append(store, [opened()])
    change = store.episodes.acknowledge("f1-1", at=70.0, who="ann", why="on it")
    assert change.changed
    assert change.episode is not None
    again = store.episodes.acknowledge("f1-1", at=80.0, who="bob", why="me too")
    assert not again.changed
    assert again.episode == change.episode
    (episode,) = store.episodes.page().episodes
    assert (episode.status, episode.acknowledged_at, episode.acknowledged_by, episode.acknowledged_why) == (
        Status.ACKNOWLEDGED,
        70.0,
        "ann",
        "on it",
    )
    append(store, [a_transition(event=AuditEvent.RESOLVED, at=90.0)])
    found = store.episodes.get("f1-1")
    assert found is not None
    assert found[0].status is Status.RESOLVED
    assert found[0].acknowledged_by == "ann"
    assert [(one.event, one.who, one.why) for one in found[1]] == [
        ("open", "exporter", "too high"),
        ("acknowledged", "ann", "on it"),
        ("resolved", "exporter", "too high"),
    ]


def test_what_is_over_or_unknown_cannot_be_acknowledged(store: Store) -> None:
    append(store, [opened(), a_transition(event=AuditEvent.RESOLVED, at=90.0)])
    change = store.episodes.acknowledge("f1-1", at=100.0, who="ann", why="")
    assert not change.changed
    assert change.episode is not None
    assert change.episode.acknowledged_at is None
    assert store.episodes.acknowledge("nobody", at=100.0, who="ann", why="").episode is None
    assert store.episodes.get("nobody") is None


def test_the_newest_feedback_holds_and_the_audit_keeps_all(store: Store) -> None:
    append(store, [opened()])
    for at, verdict, who in ((1.0, "new normal", "ann"), (2.0, "false alarm", "bob"), (3.0, "expected", "ann")):
        assert store.episodes.give_feedback("f1-1", Feedback(verdict), at=at, who=who, comment="c").changed
        # An answer that was lost on its way: the same request again says nothing new.
        assert not store.episodes.give_feedback("f1-1", Feedback(verdict), at=at + 0.5, who=who, comment="c").changed
    (episode,) = store.episodes.page().episodes
    assert (episode.feedback, episode.feedback_at, episode.feedback_by) == (Feedback.EXPECTED, 3.0, "ann")
    said = [
        (one.number, one.who, one.details["verdict"]) for one in store.audit.page().entries if one.event == "feedback"
    ]
    assert said == [(2, "ann", "expected"), (1, "bob", "false alarm"), (0, "ann", "new normal")]
    assert store.episodes.count_feedback() == {("q", "f1"): {Feedback.EXPECTED: 1}}
    assert store.episodes.give_feedback("nobody", Feedback.CONFIRMED, at=1.0, who="ann", comment="").episode is None


def test_a_lesson_waits_until_it_is_learned_and_a_newer_word_replaces_it(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        append(store, [opened("f1"), opened("f2")])
        for name in ("f1-1", "f2-1"):
            store.episodes.give_feedback(name, Feedback.NEW_NORMAL, at=5.0, who="ann", comment="")
        store.episodes.give_feedback("f2-1", Feedback.FALSE_ALARM, at=6.0, who="ann", comment="")
        (old,) = store.episodes.pending_feedback()
        assert (old.query, old.fingerprint, old.episode, old.verdict) == ("q", "f1", "f1-1", Feedback.NEW_NORMAL)
        store.episodes.give_feedback("f1-1", Feedback.NEW_NORMAL, at=7.0, who="bob", comment="")
        # The one that was learned is not the one that waits now.
        store.episodes.discard_feedback([old])
    with open_store(tmp_path / "state") as store:
        (lesson,) = store.episodes.pending_feedback()
        assert (lesson.verdict, lesson.at) == (Feedback.NEW_NORMAL, 7.0)
        store.episodes.discard_feedback([lesson])
        assert store.episodes.pending_feedback() == []


def first_or_fifth(labels: dict[str, str]) -> bool:
    return labels["instance"] in ("f1", "f5")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["e5", "e4", "e3", "e2", "e1"]),
        ({"query": "q"}, ["e4", "e3", "e2", "e1"]),
        ({"status": Status.OPEN}, ["e5", "e2"]),
        ({"status": Status.ACKNOWLEDGED}, ["e3"]),
        ({"status": Status.RESOLVED}, ["e4", "e1"]),
        ({"status": Status.OPEN, "query": "q"}, ["e2"]),
        ({"fired": True}, ["e2"]),
        ({"fired": False}, ["e5", "e4", "e3", "e1"]),
        ({"since": 45.0}, ["e5", "e4", "e3", "e2"]),
        ({"until": 25.0}, ["e2", "e1"]),
        ({"since": 12.0, "until": 15.0}, ["e1"]),
        ({"least_score": 0.7}, ["e2"]),
        ({"feedback": Feedback.CONFIRMED}, ["e4"]),
        ({"labels": first_or_fifth}, ["e5", "e1"]),
        ({"fingerprint": "f3"}, ["e3"]),
        ({"query": "' OR 1 --"}, []),
    ],
    ids=lambda value: ",".join(value),
)
def test_filters_choose_episodes_newest_first(store: Store, wanted, expected: list[str]) -> None:
    append(
        store,
        [opened(f"f{n}", 10.0 * n, episode=f"e{n}", query="other" if n == 5 else "q") for n in range(1, 6)]
        + [
            a_transition("f1", AuditEvent.RESOLVED, 40.0, episode="e1"),
            a_transition("f4", AuditEvent.DROPPED, 50.0, episode="e4"),
        ],
    )
    firing = an_alert("f2", episode="e2", worst=READING)
    store.alerts.record("q", a_step(firing, transitions=(a_transition("f2", AuditEvent.FIRING, 25.0, episode="e2"),)))
    store.episodes.acknowledge("e3", at=60.0, who="ann", why="")
    store.episodes.give_feedback("e4", Feedback.CONFIRMED, at=60.0, who="ann", comment="")
    assert [one.id for one in store.episodes.page(EpisodeFilter(**wanted)).episodes] == expected


@pytest.mark.parametrize("labels", [None, lambda labels: int(labels["instance"]) % 3 == 0], ids=["all", "some"])
def test_pages_follow_each_other_without_a_gap_or_a_repeat(store: Store, labels) -> None:
    # Several episodes of one instant: the time alone would not say where a page ended.
    append(store, (opened(f"{n:04}", float(n // 10), episode=f"e{n:04}") for n in range(1200)))
    seen, after = [], None
    while True:
        page = store.episodes.page(EpisodeFilter(labels=labels), after=after, limit=70)
        seen += [one.id for one in page.episodes]
        after = page.next
        if after is None:
            break
    assert seen == [f"e{n:04}" for n in reversed(range(1200)) if labels is None or n % 3 == 0]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        store.episodes.page(limit=limit)


@pytest.mark.parametrize(
    "wanted",
    [{}, {"query": "q"}, {"status": Status.OPEN}, {"until": 50.0}, {"query": "q", "status": Status.OPEN}],
    ids=str,
)
@pytest.mark.parametrize("after", [None, (50.0, "e5")], ids=["first", "next"])
def test_every_listing_goes_by_an_index_and_never_sorts(store: Store, wanted, after) -> None:
    plans: list[str] = []

    def explain(con: sqlite3.Connection):
        class Explaining:
            def execute(self, text: str, values: tuple[object, ...]) -> sqlite3.Cursor:
                plans.extend(row[3] for row in con.execute(f"EXPLAIN QUERY PLAN {text}", values))
                return con.execute(text, values)

        return Explaining()

    database = store.alerts.database
    read = database.read
    database.read = lambda work: read(lambda con: work(explain(con)))
    store.episodes.page(EpisodeFilter(**wanted), after=after)
    assert plans
    assert all("USING INDEX episodes_by" in plan for plan in plans), plans


def test_retention_deletes_episodes_with_their_audit(store: Store) -> None:
    append(store, [opened("f1", 1.0), a_transition("f1", AuditEvent.RESOLVED, 2.0), opened("f2", 1.0)])
    append(store, [opened("f3", 1.0), a_transition("f3", AuditEvent.RESOLVED, 2.0)])
    store.alerts.record("q", a_step(an_alert("f2")))
    # Somebody had something to say of it not long ago.
    store.episodes.give_feedback("f3-1", Feedback.CONFIRMED, at=150.0, who="ann", comment="")
    assert store.retain(100.0) == 2
    assert statuses(store) == {"f2-1": "open", "f3-1": "resolved"}


def test_a_damaged_episode_is_made_of_the_audit_again(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        append(store, [opened("f1"), opened("f2")])
        store.episodes.acknowledge("f1-1", at=70.0, who="ann", why="on it")
    con = sqlite3.connect(tmp_path / "state" / "anomaly.db", isolation_level=None)
    con.execute("UPDATE episodes SET acknowledged_by = 'eve' WHERE id = 'f1-1'")
    con.execute("DELETE FROM episodes WHERE id = 'f2-1'")
    con.close()
    with open_store(tmp_path / "state") as store:
        assert {one.id: one.acknowledged_by for one in store.episodes.page().episodes} == {"f1-1": "ann", "f2-1": None}
        assert store.episodes.acknowledge("f2-1", at=80.0, who="bob", why="").changed


def test_a_database_of_version_1_is_taken_over_with_its_history(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    file = state / "anomaly.db"
    file.write_bytes(gzip.decompress((Path(__file__).parent / "version_1.db.gz").read_bytes()))
    file.chmod(0o600)
    con = sqlite3.connect(file)
    old = con.execute("SELECT id, at, fingerprint, episode, event, who, why, details FROM audit ORDER BY id").fetchall()
    con.close()
    with open_store(state) as store:
        assert store.recovered == ()
        assert store.damaged == ()
        (firing,) = [one for one in store.alerts.load()["cpu"].values() if one.state is AlertState.FIRING]
        assert firing.labels["instance"] == "é ☃"
        begun = 1_795_000_000.0
        assert [
            (one.labels["instance"], one.status, one.opened_at - begun, one.fired_at, one.resolved_at, one.resolved_why)
            for one in store.episodes.page().episodes
        ] == [
            ("é ☃", Status.OPEN, 300.0, begun + 420.0, None, None),
            ("short", Status.RESOLVED, 120.0, None, begun + 180.0, "normal"),
            ("b", Status.RESOLVED, 60.0, None, begun + 120.0, "normal"),
            ("a", Status.RESOLVED, 0.0, begun + 120.0, begun + 240.0, "normal"),
        ]
        entries = store.audit.page(limit=1000).entries
        assert all(one.intact for one in entries)
        assert [(one.id, one.at, one.fingerprint, one.episode, one.event) for one in reversed(entries)] == [
            row[:5] for row in old
        ]
        assert store.episodes.acknowledge(firing.episode, at=begun + 500.0, who="ann", why="").changed
        # Ids go on where they were.
        assert max(one.id for one in store.audit.page().entries) == len(old) + 1
    assert (state / "anomaly.db.bak-v1").exists()
    with open_store(state) as store:
        assert statuses(store, status=Status.ACKNOWLEDGED) == {firing.episode: "acknowledged"}


def test_what_reads_of_a_damaged_database_of_version_1_is_carried_over(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    file = state / "anomaly.db"
    file.write_bytes(gzip.decompress((Path(__file__).parent / "version_1.db.gz").read_bytes()))
    file.chmod(0o600)
    con = sqlite3.connect(file, isolation_level=None)
    con.execute("DROP TRIGGER audit_is_not_updated")
    con.close()
    with open_store(state) as store:
        assert len(store.recovered) == 1
        assert len(store.episodes.page().episodes) == 4
        assert all(one.intact for one in store.audit.page(limit=1000).entries)
        assert store.alerts.watermarks().get("cpu") is not None
