"""History that a server refuses for good, or answers in part: slots go on without it, and it is read again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.alerting.episode import Feedback
from exporter.errors import PrometheusError, Reason
from exporter.prometheus import HistoryChunk
from tests.faults.cycling import Source, World, plan_of, refused

BAD_GATEWAY = PrometheusError("u", Reason.UNAVAILABLE, "HTTP 502: bad gateway", status=502)


class Server(Source):
    """Answers slots; `refusal` is what ranges get, `lacks` those of which its long-term store has nothing now."""

    refusal: PrometheusError | None = None
    lacks: frozenset[str] = frozenset()
    level: tuple[float, float] = (math.inf, 0.0)
    """From when on host1 has how much more."""

    def value(self, name: str, at: float) -> float:
        since, more = self.level
        return super().value(name, at) + (more if name == "host1" and at >= since else 0.0)

    def history(self, *args: Any, **options: Any) -> Iterator[HistoryChunk]:
        if self.refusal is not None:
            self.ranges.append(args[1:4])
            raise self.refusal
        for chunk in super().history(*args, **options):
            kept = [at for at, key in enumerate(chunk.keys) if not any(name.encode() in key for name in self.lacks)]
            warnings = ("store s1 did not answer",) if self.lacks else ()
            keys = [chunk.keys[at] for at in kept]
            yield HistoryChunk(chunk.times, keys, chunk.values[:, kept], warnings=warnings)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of evaluators, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr("exporter.evaluation.pauses.monotonic", lambda: now[0])
    return now


@pytest.fixture
def source() -> Server:
    return Server("host1", "host2")


@pytest.fixture
def world(tmp_path: Path, source: Server) -> Iterator[World]:
    world = World(tmp_path, source)
    yield world
    world.store.close()


def give_up(world: World, clock: list[float]) -> list[float]:
    """Let attempts fail until there is none soon; return the pauses."""
    pauses = []
    while not world.prepare():
        pauses.append(world.cycle.resting)
        assert len(pauses) < 20
        clock[0] += pauses[-1]
    return pauses


def test_slots_go_on_without_history_that_is_refused_for_good(world: World, source: Server, clock: list[float]) -> None:
    source.refusal = BAD_GATEWAY
    assert give_up(world, clock) == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    # It answers queries: that is not what is wrong.
    assert world.metrics.registry.get_sample_value("anomaly_exporter_source_up", {"source": "prometheus"}) == 1.0
    asked = len(source.ranges)
    world.slot(3)
    assert len(source.ranges) == asked
    # Judged, but too young to alert: the page says so, and the rules that follow from the ratio.
    assert world.sample("judged_ratio") == 0.0
    assert world.sample("history_incomplete") == 1.0
    assert "history cannot be read" in str(world.cycle.remark)
    assert world.cycle.trouble is None
    assert not world.cycle.history_due
    clock[0] += 300.0
    assert world.cycle.history_due
    assert world.prepare()
    assert len(source.ranges) == asked + 1
    world.slot()
    assert world.cycle.resting == 600.0


def test_history_is_taken_over_once_it_can_be_read(world: World, source: Server, clock: list[float]) -> None:
    source.refusal = BAD_GATEWAY
    give_up(world, clock)
    world.slot(3)
    source.refusal = None
    clock[0] += 300.0
    assert world.prepare()
    source.loud = {"host1"}
    world.slot()
    assert world.scores() == 2
    assert world.sample("judged_ratio") == 1.0
    assert world.sample("history_incomplete") == 0.0
    assert world.cycle.remark is None
    assert {name: str(state) for name, state in world.states().items()} == {"host1": "firing"}
    # And what is on disk is of the new reading alone.
    source.loud = set()
    world.restart()
    assert world.prepare()
    world.slot()
    assert world.scores() == 2
    assert len(source.ranges) < 15


def test_a_start_with_learned_state_goes_on_without_the_gap(world: World, source: Server, clock: list[float]) -> None:
    assert world.prepare()
    source.loud = {"host1"}
    world.slot(2)
    source.refusal = BAD_GATEWAY
    world.restart(downtime=1200.0)
    give_up(world, clock)
    source.loud = {"host1", "host2"}
    world.slot()
    assert world.sample("judged_ratio") == 1.0
    assert world.sample("history_incomplete") == 0.0
    assert {name: str(state) for name, state in world.states().items()} == {"host1": "firing", "host2": "firing"}


@pytest.mark.parametrize(
    ("change", "back"),
    [
        pytest.param({"min_deviation": 1.0}, True, id="the same learning"),
        pytest.param({"baseline": {"window": "2d", "min_history": "1h"}}, False, id="another window, never read"),
        pytest.param({"detection": {"detectors": ["zscore"], "quorum": 1}}, True, id="other detectors"),
    ],
)
def test_a_reload_in_a_gap_that_cannot_be_read_ends_no_alert(
    change: dict[str, Any], back: bool, world: World, source: Server, clock: list[float]
) -> None:
    assert world.prepare()
    source.loud = {"host1"}
    world.slot(2)
    (episode,) = (alert.episode for alert in world.cycle.alerts.alerts.values())
    source.down = source.refusal = BAD_GATEWAY
    world.slot(5)
    world.reload(plan_of(**change))
    world.prepare()
    world.slot(3)
    source.down = None
    give_up(world, clock)
    world.slot(2)
    if back:
        source.refusal = None
        clock[0] += 900.0
        assert world.prepare()
    world.slot(3)
    assert [(alert.episode, str(alert.state)) for alert in world.cycle.alerts.alerts.values()] == [(episode, "firing")]
    assert [event for _, event in world.audit()].count("resolved") == 0


def test_a_source_that_is_away_as_a_whole_is_waited_for(world: World, source: Server, clock: list[float]) -> None:
    source.down = refused()
    for _ in range(20):
        assert not world.prepare()
        clock[0] += 300.0
    source.down = None
    assert world.prepare()
    world.slot()
    assert world.sample("judged_ratio") == 1.0


def test_partial_history_is_read_again_until_it_is_whole(world: World, source: Server, clock: list[float]) -> None:
    source.lacks = frozenset({"host2"})
    assert world.prepare()
    world.slot()
    assert world.sample("history_incomplete") == 1.0
    assert "are incomplete: store s1 did not answer" in str(world.cycle.remark)
    assert "host1" in world.page()
    first = world.cycle.learner
    clock[0] += 300.0
    world.prepare()
    assert world.cycle.learner is first
    source.lacks = frozenset()
    clock[0] += 600.0
    world.prepare()
    assert world.cycle.learner is not first
    world.slot()
    assert world.sample("history_incomplete") == 0.0
    # Both are old enough to alert now.
    rows = world.cycle.learner.engine.table
    assert len(rows) == 2
    source.loud = {"host2"}
    world.slot()
    assert {name: str(state) for name, state in world.states().items()} == {"host2": "firing"}


def test_a_restart_remembers_that_history_is_incomplete(world: World, source: Server, clock: list[float]) -> None:
    source.lacks = frozenset({"host2"})
    assert world.prepare()
    world.slot(6)
    world.restart()
    assert world.prepare()
    assert world.sample("history_incomplete") == 1.0
    assert np.isfinite(world.cycle.learner.unread_points)
    source.lacks = frozenset()
    clock[0] += 300.0
    world.prepare()
    assert world.sample("history_incomplete") == 0.0


def test_what_was_called_normal_is_normal_after_another_reading(
    world: World, source: Server, clock: list[float]
) -> None:
    source.lacks = frozenset({"host2"})
    assert world.prepare()
    source.level = (world.now + 60.0, 300.0)
    world.slot(3)
    (episode,) = world.store.episodes.page().episodes
    world.store.episodes.give_feedback(episode.id, Feedback.NEW_NORMAL, at=world.now, who="ada", comment="")
    world.slot(3)
    assert [str(state) for state in world.states().values()] == ["resolved"]
    # Also where a restart lies between.
    world.restart()
    assert world.prepare()
    world.slot()
    source.lacks = frozenset()
    clock[0] += 300.0
    world.prepare()
    assert world.sample("history_incomplete") == 0.0
    world.slot(3)
    assert [str(state) for state in world.states().values()] == ["resolved"]
    source.level = (world.now + 60.0, 0.0)
    world.slot()
    assert "firing" in {str(state) for state in world.states().values()}


@pytest.mark.parametrize(("minutes", "again"), [(20, 0.0), (120, 1.0)])
def test_a_gap_that_was_answered_in_part_is_read_again_where_it_is_long(
    minutes: int, again: float, world: World, source: Server, clock: list[float]
) -> None:
    assert world.prepare()
    world.slot()
    source.lacks = frozenset({"host2"})
    world.restart(downtime=60.0 * minutes)
    assert world.prepare()
    assert world.sample("history_incomplete") == again
    source.lacks = frozenset()
    clock[0] += 300.0
    world.prepare()
    world.slot()
    assert world.sample("history_incomplete") == 0.0
    assert world.scores() == 2


class LimitedServer(Server):
    """Refuses ranges of more than two hours as too many requests."""

    def history(self, expr: str, start: float, end: float, step: float, **options: Any) -> Iterator[HistoryChunk]:
        points = options["sizes"].points(step, int((end - start) // step) + 1)
        if points * step > 7200.0:
            error = PrometheusError("u", Reason.RATE_LIMITED, "too many requests", status=429, retry_after=7.0)
            options["sizes"].refused(step, points, error)
            raise error
        return super().history(expr, start, end, step, **options)


def test_shorter_ranges_are_asked_for_when_the_server_says(tmp_path: Path, clock: list[float]) -> None:
    world = World(tmp_path, LimitedServer("host1"))
    assert give_up(world, clock) == [7.0] * 4
    world.slot()
    assert world.sample("history_incomplete") == 0.0
    assert world.sample("judged_ratio") == 1.0
    world.store.close()
