"""More or fewer shards while alerts fire: what moves to another process is not told as over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState
from exporter.prometheus.shard import Shard
from tests.faults.cycling import Source, World, plan_of

NAMES = tuple("abcdefghijkl")


def world_of(directory: Path, shard: Shard) -> World:
    plan = plan_of(alert={"storm": {"enabled": False}})
    world = World(directory, Source(*NAMES), plan=replace(plan, shard=shard, identity=f"{shard.index}/{shard.count}"))
    assert world.prepare()
    return world


@pytest.mark.parametrize(("before", "after"), [((0, 1), (0, 3)), ((1, 2), (1, 3))], ids=str)
def test_alerts_of_series_that_move_are_dropped_unsent(
    before: tuple[int, int], after: tuple[int, int], tmp_path: Path
) -> None:
    world = world_of(tmp_path / "state", Shard(*before))
    world.source.loud = set(NAMES)
    world.slot(3)
    own = set(world.states())
    assert own
    assert set(world.states().values()) == {AlertState.FIRING}
    shard = Shard(*after)
    world.plan = replace(world.plan, shard=shard, identity="other")
    world.restart()
    assert world.prepare()
    world.slot(6)
    keys = shard.frame(world.source.instant("", 0.0, timeout=1)).keys
    kept = {name for name in NAMES if world.source.key(name) in keys}
    assert set(world.states()) == kept
    assert set(world.shown().values()) == {AlertState.FIRING}
    gone = [entry for entry in world.store.audit.page(limit=1000).entries if entry.why == "other_shard"]
    assert len(gone) == len(own - kept) > 0
    assert {str(entry.event) for entry in gone} == {"expired"}
    world.end()


def test_what_has_ended_is_not_sent_as_over_for_another_shard(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state", Shard(0, 1))
    world.source.loud = set(NAMES)
    world.slot(3)
    world.source.loud = set()
    world.slot(1)
    assert set(world.shown().values()) == {AlertState.RESOLVED}
    world.plan = replace(world.plan, shard=Shard(0, 3), identity="other")
    world.restart()
    assert world.prepare()
    world.slot(2)
    assert 0 < len(world.shown()) < len(NAMES)
    world.end()


def test_a_series_that_is_gone_ends_as_before(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state", Shard(0, 1))
    world.source.loud = {"a"}
    world.slot(3)
    world.source.gone = {"a"}
    world.slot(6)
    assert world.states()["a"] is AlertState.RESOLVED
    world.end()
