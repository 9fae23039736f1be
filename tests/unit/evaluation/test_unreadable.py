"""Rows that cannot be read say nothing: what fires for their series goes on, and nobody takes them for gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState
from tests.faults.cycling import Source, World, plan_of

FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED


@pytest.mark.parametrize("no_data", ["hold", "resolve", "alert"])
@pytest.mark.parametrize("restart", [False, True], ids=["in one run", "after a restart"])
def test_what_fires_goes_on_and_ends_when_it_can_be_read_again(no_data: str, restart: bool, tmp_path: Path) -> None:
    world = World(tmp_path, Source("a", "b"), plan=plan_of(alert={"no_data": no_data}))
    assert world.prepare()
    world.source.loud = {"a"}
    world.slot(2)
    [alert] = world.cycle.alerts.alerts.values()
    world.source.unreadable = {"a"}
    if restart:
        world.restart()
        assert world.prepare()
    world.slot(20)
    [after] = world.cycle.alerts.alerts.values()
    assert (after.state, after.episode, after.fired_at) == (FIRING, alert.episode, alert.fired_at)
    assert world.sample("judged_ratio") == 0.5
    assert world.sample("series_rejected_total", reason="malformed") == 20
    assert world.sample("series_absent") == 0
    world.source.unreadable, world.source.loud = set(), set()
    world.slot()
    assert world.shown() == {"a": RESOLVED}
    world.store.close()


def test_one_alert_of_two_series_is_held_by_the_one_that_cannot_be_read(tmp_path: Path) -> None:
    source = Source("a", "b")
    source.extra = {name: {"instance": "", "pod": name} for name in ("a", "b")}
    world = World(tmp_path, source, plan=plan_of(alert={"labels": {"pod": ""}}))
    assert world.prepare()
    source.loud = {"a"}
    world.slot()
    source.unreadable = {"a"}
    world.slot(5)
    assert [alert.state for alert in world.cycle.alerts.alerts.values()] == [FIRING]
    source.unreadable, source.loud = set(), set()
    world.slot()
    assert [alert.state for alert in world.cycle.alerts.alerts.values()] == [RESOLVED]
    world.store.close()


def test_another_series_that_is_really_gone_is_missed_as_ever(tmp_path: Path) -> None:
    world = World(tmp_path, Source("a", "b", "c"), plan=plan_of(alert={"no_data": "resolve"}))
    assert world.prepare()
    world.source.loud = {"a", "b"}
    world.slot()
    world.source.unreadable, world.source.gone = {"a"}, {"b"}
    world.slot()
    assert world.shown() == {"a": FIRING, "b": RESOLVED}
    world.store.close()
