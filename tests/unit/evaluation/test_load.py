"""Alerts of a query whose series are under a load that a group recognises: held, ended, or waiting for what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.correlation.loads import RowLoads
from tests.faults.cycling import Source, World, plan_of

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED


class LoadedWorld(World):
    """Two series, `a` and `b`, of which a group says what a test says."""

    def __init__(self, directory: Path, for_: str) -> None:
        self.held: set[str] = set()
        self.suspected: set[str] = set()
        self.judges = True
        super().__init__(directory, Source("a", "b"), plan=plan_of(alert={"for": for_}))
        assert self.prepare()

    def loads(self, query: str, at: float, size: int) -> RowLoads:
        table = self.cycle.learner.engine.table
        names = {row: dict(labels)["instance"] for row, labels in table.items()}
        held, suspected = (
            np.array([names.get(row) in some for row in range(size)], np.bool_) for some in (self.held, self.suspected)
        )
        judged = np.full(size, at - self.plan.interval if self.judges else -np.inf)
        return RowLoads(held, suspected, judged, self.plan.interval)

    def context(self):
        context = super().context()
        feed = context.ports.groups
        assert isinstance(feed, SimpleNamespace)
        feed.loads = self.loads
        return context


@pytest.fixture(params=["0s", "3m"])
def world(request: pytest.FixtureRequest, tmp_path: Path):
    world = LoadedWorld(tmp_path / "state", request.param)
    yield world
    world.store.close()


def test_a_load_holds_alerts_and_what_is_no_part_of_it_fires(world: LoadedWorld) -> None:
    world.source.loud, world.held = {"a", "b"}, {"a"}
    world.slot(8)
    assert world.states() == {"b": FIRING}
    assert world.scores() == 2
    assert ("a", "open") not in world.audit()


def test_a_load_that_is_recognised_late_ends_what_fires(world: LoadedWorld) -> None:
    world.source.loud = {"a"}
    world.slot(8)
    assert world.shown() == {"a": FIRING}
    world.held = {"a"}
    world.slot()
    assert world.shown() == {"a": RESOLVED}
    assert world.store.audit.page(limit=1).entries[0].why == "load"
    # The load is over, and the anomaly is not.
    world.held = set()
    world.slot(8)
    assert world.shown() == {"a": FIRING}


def test_what_may_be_a_load_does_not_begin_to_fire_and_what_fires_goes_on(world: LoadedWorld) -> None:
    world.source.loud, world.suspected = {"a"}, {"a"}
    world.slot(8)
    assert FIRING not in world.states().values()
    world.suspected = set()
    world.slot(5)
    assert world.states() == {"a": FIRING}
    world.suspected = {"a"}
    world.slot(3)
    assert world.states() == {"a": FIRING}


def test_without_for_an_alert_waits_until_its_group_has_judged(tmp_path: Path) -> None:
    world = LoadedWorld(tmp_path / "state", "0s")
    world.source.loud = {"a"}
    world.slot()
    assert world.states() == {}
    world.slot()
    assert world.states() == {"a": FIRING}
    world.judges = False
    world.source.loud = {"a", "b"}
    world.slot(3)
    assert world.states() == {"a": FIRING}
    world.store.close()


def test_with_for_an_alert_loses_no_time(tmp_path: Path) -> None:
    world = LoadedWorld(tmp_path / "state", "1m")
    world.source.loud = {"a"}
    world.slot()
    assert world.states() == {"a": PENDING}
    world.slot()
    assert world.states() == {"a": FIRING}
    world.store.close()
