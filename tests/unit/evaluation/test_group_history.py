"""The past of a query that has learned it, read once more for a group: what the group gets, and what stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from tests.faults.cycling import Source, World, plan_of, refused


class Groups(SimpleNamespace):
    """Groups that wait for the past of every query."""

    def __init__(self) -> None:
        self.slots: list[float] = []
        self.table: SeriesTable | None = None
        self.due, self.ended = False, 0
        super().__init__(add=lambda *_: None, add_history=lambda *_: None, loads=lambda *_: None, wants=lambda _: True)

    def past_due(self, query: str) -> bool:
        return self.due

    def begin_past(self, query: str) -> None:
        self.slots.clear()

    def past_goes_on(self, query: str, progress: float) -> None:
        assert 0.0 <= progress <= 1.0

    def add_past(self, plan: object, verdict: Verdict) -> None:
        self.slots.append(verdict.at)
        assert len(verdict.score) == 2

    def end_past(self, plan: object, table: SeriesTable | None) -> None:
        self.table, self.due, self.ended = table, False, self.ended + 1


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path / "state", Source("a", "b"), plan=plan_of(), ports={"groups": Groups()})
    assert world.prepare()
    world.slot(3)
    yield world
    world.store.close()


def groups_of(world: World) -> Groups:
    groups = world.cycle.context.ports.groups
    assert isinstance(groups, Groups)
    return groups


def test_a_group_gets_every_slot_of_the_past_and_the_query_stays_as_it_is(world: World) -> None:
    groups, engine = groups_of(world), world.cycle.learner.engine
    assert not world.cycle.history_due
    before = {name: array.copy() for name, array in engine.checkpoint().parts.items()}
    groups.due = True
    assert world.cycle.history_due
    assert world.prepare()
    assert groups.slots == list(np.arange(world.now - 60.0 * (len(groups.slots) - 1), world.now + 1.0, 60.0))
    assert len(groups.slots) >= 1440
    assert groups.table is not None
    assert groups.table is not engine.table
    assert world.cycle.learner.engine is engine
    for name, array in engine.checkpoint().parts.items():
        np.testing.assert_array_equal(array, before[name])
    assert not world.cycle.history_due
    world.slot(2)
    assert world.scores() == 2


def test_a_server_that_does_not_answer_is_asked_later_and_slots_go_on(world: World) -> None:
    groups = groups_of(world)
    groups.due = True
    world.source.down = refused()
    assert world.prepare()
    assert (groups.ended, groups.slots) == (0, [])
    assert not world.cycle.history_due, "there is a pause"
    world.source.down = None
    world.slot(2)
    assert world.scores() == 2


def test_without_room_for_another_of_each_series_the_group_learns_from_now_on(world: World) -> None:
    groups = groups_of(world)
    groups.due = True
    world.limit(2)
    assert world.prepare()
    assert (groups.ended, groups.table, groups.slots) == (1, None, [])
