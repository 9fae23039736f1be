"""Feedback that teaches: it is learned once, in the cycle's own thread, and a crash does not lose it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.alerting.episode import Feedback
from exporter.store.errors import StoreError, StoreReason
from tests.faults.cycling import START, Source, World, calm, plan_of

FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED


class Campaign(Source):
    """Series ``a`` has five times its usual value from the second minute after `START` on, until told otherwise."""

    until = np.inf
    factor = 5.0

    def value(self, name: str, at: float) -> float:
        on = name == "a" and START + 120.0 <= at < self.until
        return calm(name, at) * (self.factor if on else 1.0)


@pytest.fixture
def source() -> Campaign:
    return Campaign("a", "b")


@pytest.fixture
def world(tmp_path: Path, source: Campaign):
    world = World(tmp_path / "state", source)
    assert world.prepare()
    world.slot(5)
    assert world.shown() == {"a": FIRING}
    yield world
    world.store.close()


def say(world: World, verdict: Feedback) -> str:
    (episode,) = [one for one in world.store.episodes.page().episodes if one.labels["instance"] == "a"]
    assert world.store.episodes.give_feedback(episode.id, verdict, at=world.now, who="ann", comment="").changed
    return episode.id


def crash(world: World) -> None:
    """End without a last word: what is not on disk is gone."""
    world.store.close()
    world.begin()
    assert world.prepare()


def accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of every level that is accepted from now on."""
    engine, calls = world.cycle.learner.engine, []
    accept = engine.accept

    def counted(rows: np.ndarray, at: float) -> None:
        calls.append(rows.tolist())
        accept(rows, at)

    monkeypatch.setattr(engine, "accept", counted)
    return calls


def test_a_new_normal_ends_the_alert_at_once_and_for_good(world: World) -> None:
    say(world, Feedback.NEW_NORMAL)
    world.slot(2)
    assert world.shown() == {"a": RESOLVED}
    assert world.feedback.pending("load") == world.store.episodes.pending_feedback() == []
    world.slot(30)
    assert world.shown().get("a") in (RESOLVED, None)
    world.restart()
    assert world.prepare()
    world.slot(3)
    assert world.shown().get("a") in (RESOLVED, None)


def test_a_crash_between_the_answer_and_the_slot_loses_nothing(world: World) -> None:
    say(world, Feedback.NEW_NORMAL)
    crash(world)
    world.slot(2)
    assert world.shown() == {"a": RESOLVED}
    assert world.store.episodes.pending_feedback() == []


def test_a_crash_after_the_lesson_finds_it_on_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    say(world, Feedback.NEW_NORMAL)
    world.slot()
    crash(world)
    calls = accepted(world, monkeypatch)
    world.slot(2)
    assert world.shown() == {"a": RESOLVED}
    assert calls == []


def test_while_the_disk_is_full_a_lesson_is_learned_once_and_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError(StoreReason.FULL, "no room")

    calls = accepted(world, monkeypatch)
    say(world, Feedback.NEW_NORMAL)
    with monkeypatch.context() as broken:
        broken.setattr(world.store.learned_arrays, "save", full)
        world.slot(3)
        assert len(world.store.episodes.pending_feedback()) == 1
    world.slot()
    assert world.store.episodes.pending_feedback() == []
    assert len(calls) == 1


def test_a_newer_word_before_the_slot_is_the_one_that_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = accepted(world, monkeypatch)
    say(world, Feedback.NEW_NORMAL)
    say(world, Feedback.FALSE_ALARM)
    world.slot(2)
    assert calls == []
    assert world.shown() == {"a": FIRING}


@pytest.mark.parametrize("verdict", [one for one in Feedback if not one.changes_baseline])
def test_other_words_teach_nothing(world: World, monkeypatch: pytest.MonkeyPatch, verdict: Feedback) -> None:
    calls = accepted(world, monkeypatch)
    say(world, verdict)
    world.slot(2)
    assert calls == world.store.episodes.pending_feedback() == []
    assert world.shown() == {"a": FIRING}


def test_a_level_that_was_accepted_is_counted(world: World) -> None:
    say(world, Feedback.NEW_NORMAL)
    world.slot()
    assert world.sample("level_shifts_total") == 1


def test_feedback_on_a_series_that_is_gone_teaches_nothing(world: World, source: Campaign) -> None:
    world.restart(downtime=8 * 86400.0)
    source.series = ["b"]
    assert world.prepare()
    world.slot(2)
    say(world, Feedback.NEW_NORMAL)
    world.slot()
    assert world.store.episodes.pending_feedback() == []


@pytest.mark.parametrize(("factor", "learned"), [(50.0, False), (4.9, True)], ids=["worse", "as it was"])
def test_what_became_worse_while_nobody_looked_is_not_accepted(
    world: World, source: Campaign, monkeypatch: pytest.MonkeyPatch, factor: float, learned: bool
) -> None:
    episode = say(world, Feedback.NEW_NORMAL)
    source.factor = factor
    world.restart(downtime=1800.0)
    assert world.prepare()
    calls = accepted(world, monkeypatch)
    world.slot()
    assert bool(calls) is learned
    assert world.store.episodes.pending_feedback() == []
    declined = [one.why for one in world.store.audit.page().entries if one.event == "feedback_declined"]
    assert declined == ([] if learned else ["the anomaly became worse after that was said"])
    (after,) = [one for one in world.store.episodes.page().episodes if one.id == episode]
    assert after.feedback is Feedback.NEW_NORMAL


def test_another_anomaly_of_the_series_is_not_accepted(
    world: World, source: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = world.store.episodes.page().episodes
    source.until = world.now
    world.slot(3)
    assert world.shown() == {"a": RESOLVED}
    source.loud = {"a"}
    world.slot(3)
    assert world.shown() == {"a": FIRING}
    calls = accepted(world, monkeypatch)
    world.store.episodes.give_feedback(first.id, Feedback.NEW_NORMAL, at=world.now, who="ann", comment="")
    world.slot(2)
    assert calls == []
    assert world.store.episodes.pending_feedback() == []
    assert world.shown() == {"a": FIRING}


def test_the_new_normal_of_a_storm_is_that_of_all_its_members(tmp_path: Path) -> None:
    names = [f"host{n}" for n in range(12)]
    source = Source(*names, "quiet")
    world = World(tmp_path / "state", source, plan=plan_of(alert={"storm": {"members": 10}}))
    assert world.prepare()
    world.slot(3)
    source.loud = set(names)
    world.slot(3)
    (storm,) = world.alert_snapshots.read().by_query["load"].alerts.values()
    world.store.episodes.give_feedback(storm.episode, Feedback.NEW_NORMAL, at=world.now, who="ann", comment="")
    world.slot(3)
    assert world.sample("level_shifts_total") == 12
    assert world.store.episodes.pending_feedback() == []
    (storm,) = world.alert_snapshots.read().by_query["load"].alerts.values()
    assert storm.state is RESOLVED
    world.store.close()
