"""Shadows: what they are fed with, what they count, what they cost their query, restarts and promotion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.evaluation.shadow import promote_stored, shadow_job
from tests.faults.cycling import Source, World, plan_of, refused

FIRING = AlertState.FIRING
OTHER: dict[str, Any] = {"detection": {"detectors": ["iqr"], "quorum": 1}}
"""Another detector: other state, so that its promotion cannot go on with that of the query."""
BLIND: dict[str, Any] = {"min_deviation": 1e6}
SLOW: dict[str, Any] = {"alert": {"for": "3m"}}


def shadowed(shadow: dict[str, Any] | None, **query: Any) -> QueryPlan:
    return plan_of(**query) if shadow is None else plan_of(shadow=shadow, **query)


@pytest.fixture
def source() -> Source:
    return Source("a", "b", "c", "d")


def begin(path: Path, source: Source, shadow: dict[str, Any] | None) -> World:
    world = World(path / "state", source, plan=shadowed(shadow))
    assert world.prepare()
    return world


@pytest.fixture
def start(tmp_path: Path, source: Source):
    worlds: list[World] = []

    def run(shadow: dict[str, Any] | None) -> World:
        worlds.append(begin(tmp_path / str(len(worlds)), source, shadow))
        return worlds[-1]

    yield run
    for world in worlds:
        world.store.close()


def test_slots_and_first_history_are_asked_for_once(start, source: Source) -> None:
    start(None)
    alone = len(source.instants), len(source.ranges)
    source.instants.clear()
    source.ranges.clear()
    world = start(OTHER)
    world.slot(3)
    assert (len(source.instants), len(source.ranges)) == (alone[0] + 3, alone[1])
    status = world.cycle.shadow.status
    assert (status.trouble, status.series, status.disagreement, status.at) == ("", 4, 0.0, world.now)
    # The same as the engine of a query of its own would have learned.
    own = World(world.directory.parent / "own", source, plan=plan_of(**OTHER))
    own.now = world.now - 3 * 60
    own.prepare()
    own.slot(3)
    ours, theirs = world.cycle.shadow.learner.engine.checkpoint(), own.cycle.learner.engine.checkpoint()
    assert ours.parts.keys() == theirs.parts.keys()
    for name in theirs.parts.keys() - {"saved_at"}:  # When each was written.
        part = theirs.parts[name]
        np.testing.assert_array_equal(ours.parts[name], part, err_msg=name)
    own.store.close()


def test_what_only_the_query_calls_anomalous_is_counted_and_the_shadow_is_silent(start, source: Source) -> None:
    world = start(BLIND)
    world.slot(2)
    source.loud = {"a"}
    world.slot(2)
    assert world.shown() == {"a": FIRING}
    status = world.cycle.shadow.status
    assert (status.only_query, status.only_shadow, status.disagreement) == (1, 0, 0.25)
    assert (status.firing, status.alerts, status.shadow_firing, status.shadow_alerts) == (1, 1, 0, 0)
    assert world.sample("shadow_disagreement_ratio") == 0.25
    assert world.sample("shadow_disagreements_total", anomalous_to="query") == 2
    assert world.sample("shadow_disagreements_total", anomalous_to="shadow") == 0
    assert world.sample("shadow_alerts_total") == 0


def test_what_would_have_alerted_is_counted_and_neither_sent_nor_written(start, source: Source) -> None:
    world = start({"min_deviation": 1.0, "alert": {"labels": {"severity": "page"}}})
    world.reload(shadowed({"alert": {"for": "2m", "labels": {"team": "x"}}}, min_deviation=1e6))
    world.slot(2)
    source.loud = {"a", "b"}
    world.slot()
    assert world.sample("shadow_alerts_total") == 0
    world.reload(shadowed({"min_deviation": 0.0, "alert": {"for": "2m"}}, min_deviation=1e6))
    world.slot(4)
    assert world.shown() == {}
    assert world.audit() == []
    assert world.sample("shadow_alerts_total") == 2
    assert world.sample("shadow_alerts_firing") == 2
    status = world.cycle.shadow.status
    assert (status.only_shadow, status.shadow_alerts, status.alerts) == (2, 2, 0)
    source.loud = set()
    world.slot()
    assert (world.sample("shadow_alerts_firing"), world.sample("shadow_alerts_total")) == (0, 2)


@pytest.mark.parts_fail
def test_a_failing_shadow_costs_the_query_nothing(start, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    world = start(OTHER)
    broken, step = world.cycle.shadow.learner.engine, Engine.step

    def fail(self: Engine, *args: Any, **options: Any) -> Any:
        if self is broken:
            raise RuntimeError("a detector of the shadow fails")
        return step(self, *args, **options)

    monkeypatch.setattr(Engine, "step", fail)
    source.loud = {"a"}
    world.slot()
    assert world.shown() == {"a": FIRING}
    assert world.sample("cycles_failed_total") == 0
    assert "internal error" in world.cycle.shadow.status.trouble
    assert (
        world.metrics.registry.get_sample_value("anomaly_exporter_shadow_disagreement_ratio", {"query": "load"}) is None
    )
    # It begins anew from what is stored, and reads what it missed beside the slots.
    world.cycle.shadow._pauses._until = 0.0
    assert world.cycle.history_due
    world.prepare()
    world.slot()
    assert world.cycle.shadow.status.trouble == ""
    assert world.scores() == 4


def test_a_shadow_that_a_reload_adds_reads_history_beside_the_slots(start, source: Source) -> None:
    world = start(None)
    world.slot()
    world.reload(shadowed(OTHER))
    world.slot()
    assert world.cycle.shadow.status.trouble == "history is to be read"
    assert world.cycle.history_due
    world.prepare()
    assert not world.cycle.history_due
    world.slot()
    assert (world.cycle.shadow.status.trouble, world.cycle.shadow.status.series) == ("", 4)


def test_after_an_outage_both_learn_the_gap_from_the_same_answer(start, source: Source) -> None:
    world = start(OTHER)
    world.slot()
    source.down = refused()
    world.slot(20)
    assert world.cycle.shadow.status.trouble == "the query has no answer"
    source.down = None
    source.ranges.clear()
    world.slot(2)
    assert len(source.ranges) == 1
    assert world.cycle.shadow.status.trouble == ""


def test_a_restart_goes_on(start, source: Source) -> None:
    world = start(SLOW)
    source.loud = {"a"}
    world.slot(5)
    before = world.cycle.shadow.status
    assert (before.alerts, before.shadow_alerts, before.shadow_firing) == (1, 1, 1)
    source.ranges.clear()
    world.restart()
    world.prepare()
    world.slot()
    after = world.cycle.shadow.status
    assert source.ranges == []
    assert after == replace(before, at=world.now)
    # The alert that would fire already is not another one.
    assert world.sample("shadow_alerts_total") == 0


@pytest.mark.parametrize("restart", [False, True])
def test_a_promoted_shadow_learns_nothing_anew_and_no_alert_ends(restart: bool, start, source: Source) -> None:
    world = start(OTHER)
    source.loud = {"a"}
    world.slot(3)
    (alert,) = world.cycle.alerts.alerts.values()
    learned = world.cycle.shadow.learner.engine.at
    source.ranges.clear()
    plan = plan_of(**OTHER)
    assert plan.identity != world.plan.identity
    if restart:
        world.end()
        world.plan = plan
        world.begin()
        promote_stored(world.store.learned_arrays, [plan])
        world.cycle.learner.restore(world.now)
        world.prepare()
    else:
        world.reload(plan)
    assert world.cycle.learner.engine.at == learned
    assert world.store.learned_arrays.queries() == ["load"]
    world.slot()
    assert source.ranges == []
    (after,) = world.cycle.alerts.alerts.values()
    assert (after.episode, after.fired_at, after.state) == (alert.episode, alert.fired_at, FIRING)
    assert [event for _, event in world.audit()] == ["open", "firing"]
    assert world.scores() == 4
    assert world.cycle.shadow.status is None
    # What is on disk is whole.
    world.slot(20)
    engine = world.cycle.learner.engine
    world.restart()
    world.prepare()
    assert source.ranges == []
    rows, at = np.arange(4), engine.at
    restored, before = world.cycle.learner.engine.bucket_summary(rows, at), engine.bucket_summary(rows, at)
    np.testing.assert_array_equal(restored.mean, before.mean)
    assert np.isfinite(before.mean).all()


def test_promotion_takes_what_is_whole_of_a_damaged_state(start, source: Source) -> None:
    world = start(OTHER)
    world.slot()
    world.cycle.shadow.close()
    arrays = world.store.learned_arrays
    job = shadow_job("load")

    def damage(con: Any) -> None:
        con.execute("UPDATE pieces SET crc=crc+1 WHERE query=? AND part='saved_at'", (job,))

    arrays.database.write(damage)
    arrays.rename(job, "load")
    state = arrays.load("load", plan_of(**OTHER).identity)
    assert state is not None
    assert state.damaged == ("saved_at",)
    assert len(state.series) == 4
    assert arrays.queries() == ["load"]
