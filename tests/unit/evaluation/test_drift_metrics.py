"""What a query says about its own drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState
from exporter.engine.series import labels_of
from exporter.errors import PrometheusError, Reason
from tests.faults.cycling import START, Source, World, calm, plan_of

DAY = 86400.0


class Stepping(Source):
    """Series `a` is on another level since six hours before the start."""

    def value(self, name: str, at: float) -> float:
        return calm(name, at) + (200.0 if name == "a" and at > START - DAY / 4 else 0.0)


def metric(world: World, name: str, **labels: str) -> float | None:
    return world.metrics.registry.get_sample_value(f"anomaly_exporter_drift_{name}", {"query": "load", **labels})


def test_changepoints_are_found_beside_the_slots(tmp_path: Path) -> None:
    plan = plan_of(drift={"changepoints": True}, baseline={"window": "10d", "min_history": "7d"})
    world = World(tmp_path, Stepping("a", "b", "c"), plan=plan)
    assert world.prepare()
    world.slot()
    world.cycle._drift.join(60.0)
    assert metric(world, "series", kind="changepoint") == 1.0
    assert metric(world, "examined_series") == 3.0
    unknown = {"query": "load", "season": "unknown"}
    assert world.metrics.registry.get_sample_value("anomaly_exporter_series_seasonality", unknown) == 3.0
    assert metric(world, "series", kind="anomalous") == 1.0
    assert 0.0 < (metric(world, "anomalous_ratio") or 0.0) < 0.3
    reads = len(world.source.ranges)
    world.slot(5)
    world.cycle._drift.join(60.0)
    assert len(world.source.ranges) == reads, "not more than once an hour"
    world.end()


def test_each_measure_has_its_switch(tmp_path: Path) -> None:
    plan = plan_of(drift={"anomalous_ratio": None, "stability_index": None})
    world = World(tmp_path, plan=plan)
    assert world.prepare()
    world.slot(2)
    assert metric(world, "anomalous_ratio") is None
    assert metric(world, "series", kind="moved") is None
    assert metric(world, "examined_series") is None
    world.end()


def test_a_search_that_fails_does_no_harm(tmp_path: Path) -> None:
    world = World(tmp_path, plan=plan_of(drift={"changepoints": True}))
    assert world.prepare()
    history = world.source.history

    def refuse(*_: object, **__: object) -> object:
        raise PrometheusError("http://prometheus", Reason.TIMEOUT, "too slow")

    world.source.history = refuse
    world.slot()
    world.cycle._drift.join(60.0)
    world.source.history = history
    world.slot()
    assert metric(world, "examined_series") is None
    assert metric(world, "anomalous_ratio") is not None
    world.end()


def test_a_level_shift_is_one_alert_that_says_how_far_and_is_then_accepted(tmp_path: Path) -> None:
    baseline = {"window": "16d", "min_history": "7d", "accept_level_shift_after": "90m"}
    world = World(tmp_path, Source("a", "b"), plan=plan_of(baseline=baseline))
    assert world.prepare()
    world.source.loud = {"a"}
    world.slot(70)
    (alert,) = world.cycle.alerts.alerts.values()
    assert alert.state is AlertState.FIRING
    assert alert.annotations["level_shift"].startswith("the level moved from ")
    assert " to 4" in alert.annotations["level_shift"]
    episode = alert.episode
    world.slot(40)
    (alert,) = world.cycle.alerts.alerts.values()
    assert (alert.state, alert.episode) == (AlertState.RESOLVED, episode)
    world.slot(20)
    assert world.states() == {}
    assert world.metrics.registry.get_sample_value("anomaly_exporter_level_shifts_total", {"query": "load"}) == 1.0
    world.end()


BAND = {"detectors": ["zscore", "iqr"], "quorum": 2}


class Blinking(Source):
    """After a calm history series `a` is five times as high in every other half hour."""

    def value(self, name: str, at: float) -> float:
        return calm(name, at) * (5.0 if name == "a" and at > START and at % 3600.0 < 1800.0 else 1.0)


def test_a_series_that_is_often_anomalous_is_learned_anew_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    baseline = {"window": "23d", "min_history": "7d", "accept_level_shift_after": "2h"}
    world = World(tmp_path, Blinking("a", "b"), plan=plan_of(baseline=baseline, detection=BAND))
    assert world.prepare()
    world.slot(60 * 8)
    assert metric(world, "relearned_total") == 1.0
    (said,) = [one for one in caplog.records if "learned anew" in one.message]
    assert (said.series, "instance=a" in said.such_as, "instance=b" in said.such_as) == (1, True, False)
    world.end()


def test_relearning_has_its_switch(tmp_path: Path) -> None:
    baseline = {"window": "16d", "min_history": "7d", "accept_level_shift_after": "2h"}
    plan = plan_of(baseline=baseline, detection=BAND, drift={"relearn": False})
    world = World(tmp_path, Blinking("a"), plan=plan)
    assert world.prepare()
    world.slot(60 * 8)
    assert metric(world, "relearned_total") == 0.0
    world.end()


class Changed(Source):
    """For five hours series `a` is high, and higher every other hour: no single level can be accepted."""

    def value(self, name: str, at: float) -> float:
        changed = name == "a" and at > START - 5 * 3600.0
        return calm(name, at) + (400.0 + 150.0 * (at // 3600.0 % 2) if changed else 0.0)


@pytest.mark.parametrize(("relearn", "expected"), [(True, 1.0), (False, 0.0)])
def test_a_changepoint_that_is_confirmed_starts_relearning(relearn: bool, expected: float, tmp_path: Path) -> None:
    baseline = {"window": "10d", "min_history": "7d", "accept_level_shift_after": "24h"}
    plan = plan_of(drift={"changepoints": True, "relearn": relearn}, baseline=baseline, detection=BAND)
    world = World(tmp_path, Changed("a", "b", "c"), plan=plan)
    assert world.prepare()
    world.slot()
    world.cycle._drift.join(60.0)
    # As a search would find them a day later; b fits, and that of c is young.
    ages = zip("abc", (25 * 3600.0, 25 * 3600.0, 5 * 3600.0), strict=True)
    world.cycle._drift._changes = (world.now, {labels_of(world.source.key(name)): age for name, age in ages})
    world.slot(3)
    assert (metric(world, "relearned_total") or 0.0) == expected
    world.end()


def test_a_changepoint_that_is_young_or_not_confirmed_changes_nothing(tmp_path: Path) -> None:
    baseline = {"window": "10d", "min_history": "7d", "accept_level_shift_after": "24h"}
    world = World(tmp_path, Stepping("a", "b", "c"), plan=plan_of(drift={"changepoints": True}, baseline=baseline))
    assert world.prepare()
    world.slot()
    world.cycle._drift.join(60.0)
    assert metric(world, "series", kind="changepoint") == 1.0
    world.slot(3)
    assert not metric(world, "relearned_total")
    world.end()
