"""A budget in the cycle: the threshold that follows from history, what is spent of it, and where it is shown."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from benchmarks.budget import measure
from exporter.alerting.alert import AlertTransition, AuditEvent
from exporter.alerting.episode import Feedback
from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.calibration import Calibration
from exporter.evaluation.budget_usage import BudgetUsage
from exporter.evaluation.history import grouped_slots, missing_history
from exporter.exposition import SelfMetrics
from exporter.prometheus.shard import Shard
from tests.contexts import context_of
from tests.faults.cycling import Source, World, plan_of

HOUR = 3600.0
DAY = 24 * HOUR


def plan(**alert: str) -> QueryPlan:
    """A query of an hour that reads thirty days of history hour by hour."""
    baseline = {"window": "30d", "min_history": "1d", "backfill_step": "1h"}
    return plan_of(interval="1h", min_relative_deviation=0.0, baseline=baseline, alert=alert)


class Noisy(Source):
    """Twenty series of heavy-tailed noise that follows from their names and the time."""

    def __init__(self) -> None:
        super().__init__(*"abcdefghijklmnopqrst")

    def value(self, name: str, at: float) -> float:
        chance = random.Random(f"{name}{at:.0f}")  # noqa: S311 - noise.
        size = math.sqrt(sum(chance.gauss(0.0, 1.0) ** 2 for _ in range(3)) / 3)
        return 100.0 + 5.0 * chance.gauss(0.0, 1.0) / size


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path / "state", Noisy(), plan=plan(budget="14/week"))
    assert world.prepare()
    yield world
    world.store.close()


def shown(world: World) -> dict[str, float]:
    names = ("alerts", "calibrated", "expected", "left", "spent", "threshold")
    registry: CollectorRegistry = world.metrics.registry
    values = {
        name: registry.get_sample_value(f"anomaly_exporter_alert_budget_{name}", {"query": "load"}) for name in names
    }
    return {name: value for name, value in values.items() if value is not None}


def test_the_threshold_follows_from_history_and_is_shown(world: World) -> None:
    world.slot()
    found = shown(world)
    assert found["alerts"] == 14
    assert found["calibrated"] == 1
    assert found["expected"] == pytest.approx(14.0, rel=0.05)
    assert found["threshold"] == world.cycle.learner.engine.calibration.threshold != 1.0


def test_what_fires_is_spent_over_restarts_and_comes_back_with_time(world: World) -> None:
    world.slot()
    before = shown(world)["spent"]
    world.source.loud = {"a", "b"}
    world.slot()
    found = shown(world)
    assert found["spent"] >= before + 2
    assert found["left"] == 14 - found["spent"]
    world.source.loud = set()
    world.restart()
    assert world.prepare()
    threshold = world.cycle.learner.engine.calibration
    world.slot()
    assert shown(world)["spent"] >= found["spent"]
    assert shown(world)["threshold"] == threshold.threshold
    world.cycle._budget_usage.update(world.now + 8 * DAY, (), threshold)
    assert shown(world)["spent"] == 0
    assert shown(world)["left"] == 14


def test_confirmed_alerts_lower_the_rate_of_false_ones(world: World) -> None:
    """Whatever is confirmed is handed to the counts with the next slot, and the next calibration uses it."""
    world.slot()
    counts = world.cycle.learner.engine._state.alert_counts
    assert counts is not None
    counts.calibrate()
    before = counts.calibration
    world.feedback._of_query = {"load": Counter({Feedback.CONFIRMED: 20})}
    world.slot()
    counts.calibrate()
    assert counts.calibration.false.expected < 0.5 * before.false.expected
    assert counts.calibration.threshold == pytest.approx(before.threshold, rel=0.02)
    world.slot()
    shown_rate = world.metrics.registry.get_sample_value(
        "anomaly_exporter_expected_false_alerts_per_week", {"query": "load"}
    )
    assert shown_rate == pytest.approx(counts.calibration.false.expected * 7 * DAY)


def test_without_enough_history_the_default_threshold_stays(tmp_path: Path) -> None:
    young = plan_of(alert={"budget": "2/week"})
    world = World(tmp_path / "state", Noisy(), plan=young)
    assert world.prepare()
    world.slot()
    found = shown(world)
    assert (found["calibrated"], found["threshold"]) == (0, 1)
    assert "expected" not in found
    world.store.close()


class Audit:
    """An audit log of `count` alerts, the newest first, that fired one second apart up to the instant 1000."""

    def __init__(self, count: int) -> None:
        self.count = count

    def page(self, *, after: int | None = None, limit: int, **_: object) -> SimpleNamespace:
        begin = after or 0
        end = min(self.count, begin + limit)
        entries = [SimpleNamespace(at=1000.0 - number, event=AuditEvent.FIRING) for number in range(begin, end)]
        return SimpleNamespace(entries=entries, next=end if end < self.count else None)


def usage(budget: str, *, earlier: int = 0, shard: Shard | None = None) -> tuple[BudgetUsage, Callable[[], dict]]:
    """The usage of a budget, and what its gauges show."""
    metrics = SelfMetrics(CollectorRegistry())
    store = SimpleNamespace(audit=Audit(earlier))
    context = context_of(store=store, metrics=metrics)
    return (
        BudgetUsage(replace(plan(budget=budget), shard=shard), context),
        lambda: {name: gauge.labels(query="load")._value.get() for name, gauge in metrics.budgets.items()},
    )


def fired(at: float) -> AlertTransition:
    return AlertTransition("f", "load", "e", AuditEvent.FIRING, at, "anomalous")


def test_a_budget_that_is_exceeded_has_nothing_left() -> None:
    budget, gauges = usage("2/day", earlier=3)
    budget.update(1000.0, (), Calibration())
    assert (gauges()["spent"], gauges()["left"]) == (3, 0)


def test_the_audit_log_is_read_to_the_beginning_of_the_period() -> None:
    budget, gauges = usage("2/day", earlier=2500)
    budget.update(1000.0, (), Calibration())
    assert gauges()["spent"] == 2500


def test_of_more_alerts_than_are_counted_the_newest_are() -> None:
    budget, gauges = usage("2/day", earlier=15_000)
    budget.update(1000.0, (), Calibration())
    assert gauges()["spent"] == 10_000
    # Those of the last two thousand seconds are the newest two thousand of them.
    budget.update(1000.0 + DAY - 2000.0, (), Calibration())
    assert gauges()["spent"] == 2000


def test_an_alert_counts_for_one_period() -> None:
    budget, gauges = usage("2/day")
    budget.update(0.0, (), Calibration())
    budget.update(60.0, (fired(60.0), replace(fired(60.0), event=AuditEvent.RESOLVED)), Calibration())
    budget.update(60.0 + DAY - 1.0, (), Calibration())
    assert (gauges()["spent"], gauges()["left"]) == (1, 1)
    budget.update(60.0 + DAY, (), Calibration())
    assert (gauges()["spent"], gauges()["left"]) == (0, 2)


def test_what_is_no_longer_estimated_is_no_longer_shown() -> None:
    metrics = SelfMetrics(CollectorRegistry())
    budget = BudgetUsage(plan(budget="2/day"), context_of(store=SimpleNamespace(audit=Audit(0)), metrics=metrics))
    name, labels = "anomaly_exporter_alert_budget_expected", {"query": "load"}
    budget.update(0.0, (), Calibration(fitted=True, expected=2.0 / DAY, lower=0.0, upper=0.0))
    assert metrics.registry.get_sample_value(name, labels) == 2.0
    budget.update(60.0, (), Calibration())
    assert metrics.registry.get_sample_value(name, labels) is None


def test_a_shard_has_its_part_of_the_budget() -> None:
    budget, gauges = usage("2/day", shard=Shard(1, 4))
    budget.update(0.0, (), Calibration())
    assert (gauges()["alerts"], gauges()["left"]) == (0.5, 0.5)


def test_the_threshold_is_logged_when_it_changes_by_a_tenth(caplog: pytest.LogCaptureFixture) -> None:
    budget, _ = usage("2/day")
    thresholds = (2.0, 2.19, 2.21, 2.0)
    with caplog.at_level("INFO"):
        for number, threshold in enumerate(thresholds):
            budget.update(60.0 * number, (), Calibration(threshold, fitted=True, expected=0.0, lower=0.0, upper=0.0))
    assert [record.threshold for record in caplog.records] == [2.0, 2.21]


def test_a_reload_may_change_or_remove_the_budget(world: World) -> None:
    world.slot()
    loose = shown(world)["threshold"]
    for budget, check in (("1/week", lambda found: found["threshold"] > loose), (None, lambda found: found == {})):
        world.cycle.leave()
        assert world.cycle.join(10)
        rule = {} if budget is None else {"budget": budget}
        world.cycle = world.cycle.take_over(plan(**rule), world.context(), at=world.now)
        if budget is None:
            assert not world.cycle.ready  # Its history is read again, without counting.
        else:
            assert world.cycle.ready
            world.slot()
        assert check(shown(world)), budget


def test_a_budget_changes_what_is_learned_only_by_what_is_counted() -> None:
    plans = [plan(), plan(budget="2/week"), plan(budget="7/day"), plan(budget="2/week", **{"for": "2h"})]
    without, two, seven, longer = (one.identity for one in plans)
    assert two == seven
    assert len({without, two, longer}) == 3


def test_shards_share_the_budget() -> None:
    whole = plan(budget="2/week")
    part = replace(whole, shard=Shard(1, 4))
    budgets = [engine_settings(one).budget for one in (whole, part)]
    assert budgets[0] is not None
    assert budgets[1] == replace(budgets[0], rate=budgets[0].rate / 4)


def test_where_alerts_are_counted_the_last_days_are_read_slot_by_slot() -> None:
    now, ask = 100 * DAY, {"window": 30 * DAY, "interval": 60.0, "step": 300.0}
    coarse, fine = missing_history(-float("inf"), now, counted=True, **ask)
    assert (fine.start - coarse.end, fine.step, fine.end) == (60.0, 60.0, now)
    assert fine.points == 8 * 24 * 60
    assert coarse.start >= 70 * DAY
    assert len(missing_history(-float("inf"), now, counted=False, **ask)) == 1
    assert [one.step for one in missing_history(now - 10 * HOUR, now, counted=True, **ask)] == [60.0]


@pytest.mark.parametrize(("interval", "points"), [(60.0, [10_080]), (300.0, []), (900.0, [672]), (86400.0, [31])])
def test_what_a_group_learns_from_is_read_slot_by_slot(interval: float, points: list[int]) -> None:
    ask = {"window": 30 * DAY, "interval": interval, "step": 300.0}
    plans = missing_history(-float("inf"), 100 * DAY, grouped=grouped_slots(interval, 10), **ask)
    assert [one.points for one in plans if one.step == interval and interval != 300.0] == points
    assert plans[-1].end == 100 * DAY


@pytest.mark.parametrize("kind", ["student", "seasonal"])
def test_a_budget_is_met_on_data_without_anomalies(kind: str) -> None:
    # One query for four weeks; docs/budget.md has more for eight. What comes is the same in every run.
    [met] = measure(kind, [7], {}, seed=1, weeks=4)
    assert 7 / 1.6 <= met.alerts <= 7 * 1.6
    assert met.lower < 7 < met.upper
