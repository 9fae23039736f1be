"""What climbs during an event with `action: expect`, or under a load of its group, is quiet; a jump is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.alerting.saved_context import SavedContext, decode_context, encode_context
from exporter.calendar import CalendarEntry
from exporter.correlation.loads import RowLoads
from exporter.engine.shape import climbs
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks
from tests.faults.cycling import START, Source, World, calm, plan_of

FIRING = AlertState.FIRING
QUIET = [0.05, -0.1, 0.15, 0.0, -0.05, 0.1, -0.15, 0.05, 0.0, 0.1, -0.1, 0.05]


class Rising(Source):
    """Series whose values are multiples of calm ones, by a function of the slots since the start."""

    def __init__(self, **multiples: Callable[[float], float]) -> None:
        super().__init__(*multiples)
        self.multiples = multiples

    def value(self, name: str, at: float) -> float:
        slots = (at - START) / 60.0
        return calm(name, at) * (self.multiples[name](slots) if slots > 0 else 1.0)


def slow_then_flat(slots: float) -> float:
    return min(1.0 + 0.15 * slots, 5.0)


def jump(slots: float) -> float:
    return 5.0 if slots >= 35 else 1.0


def events(action: str = "expect") -> ActiveEvents:
    rule = {"name": "sale", "starts_at": "2026-09-21T14:14:01Z", "ends_at": "2040-01-01T00:00:00Z"}
    if action == "expect":
        rule |= {"multiplier": 3}
    active = ActiveEvents()
    active.configure([CalendarEntry.model_validate({**rule, "action": action, "match": ['query="load"']})], "UTC")
    return active


def world_of(directory: Path, source: Source, **ports: object) -> World:
    world = World(directory / "state", source, plan=plan_of(alert={"for": "2m"}), ports=ports)
    assert world.prepare()
    return world


def test_what_climbs_beyond_the_multiple_of_an_event_is_quiet_and_what_jumps_is_not(tmp_path: Path) -> None:
    source = Rising(slow=slow_then_flat, sudden=jump)
    world = world_of(tmp_path, source, masks=SampleMasks(events(), {}))
    world.slot(45)
    assert world.scores() == 2
    assert world.states() == {"sudden": FIRING}
    assert suppressed(world) == [("slow", "event")]
    assert {alert.annotations["shape"] for alert in world.cycle.alerts.alerts.values()} == {"jump"}
    # It has been flat for longer than samples are kept; a new process goes on as this one.
    world.restart()
    assert world.prepare()
    world.slot(5)
    assert world.states() == {"sudden": FIRING}
    # A jump from there alerts.
    source.multiples["slow"] = lambda _: 8.5
    world.slot(6)
    assert world.states() == {"sudden": FIRING, "slow": FIRING}
    world.store.close()


def test_a_climb_alerts_without_an_event_and_beyond_the_multiple_of_the_multiple(tmp_path: Path) -> None:
    world = world_of(tmp_path, Rising(slow=slow_then_flat))
    world.slot(40)
    assert world.states() == {"slow": FIRING}
    world.store.close()
    far = Rising(slow=lambda slots: 1.0 + 0.3 * slots)
    world = world_of(tmp_path / "far", far, masks=SampleMasks(events(), {}))
    world.slot(15)
    assert world.states() == {}
    world.slot(40)
    assert world.states() == {"slow": FIRING}
    world.store.close()


@pytest.mark.parametrize(("multiple", "fires"), [(slow_then_flat, 0), (jump, 1)])
def test_a_shadow_is_quiet_where_its_query_is(tmp_path: Path, multiple: Callable[[float], float], fires: int) -> None:
    plan = plan_of(alert={"for": "2m"}, shadow={"alert": {"for": "3m"}})
    source = Rising(a=multiple)
    world = World(tmp_path / "state", source, plan=plan, ports={"masks": SampleMasks(events(), {})})
    assert world.prepare()
    world.slot(45)
    status = world.cycle.shadow.status
    assert (status.alerts, status.shadow_alerts) == (fires, fires)
    world.store.close()


def suppressed(world: World) -> list[tuple[str, str]]:
    """Return instance and reason of what is suppressed by the page."""
    lines = [line for line in world.page().splitlines() if line.startswith("anomaly_suppressed{")]
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]
    return [(each["instance"], each["reason"]) for each in labels]


@pytest.mark.parametrize(("multiple", "fires"), [(slow_then_flat, False), (jump, True)])
def test_what_climbs_under_a_load_of_its_group_is_quiet(
    tmp_path: Path, multiple: Callable[[float], float], fires: bool
) -> None:
    world = world_of(tmp_path, Rising(a=multiple))
    none = np.zeros(1, np.bool_)

    def loads(query: str, at: float, size: int) -> RowLoads:
        return RowLoads(none[:size], none[:size], np.full(size, at), 60.0, np.full(size, 2.5))

    world.cycle.context.ports.groups.loads = loads  # type: ignore[method-assign]
    world.slot(40)
    assert world.states() == ({"a": FIRING} if fires else {})
    assert suppressed(world) == ([] if fires else [("a", "load")])
    world.store.close()


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([0.3, 0.5, 0.8, 1.1], "climb"),
        ([0.3, 0.5, np.nan, 0.8, 1.1], "climb"),
        ([2.0], "jump"),
        ([2.0, 2.1, 2.0], "jump"),
        ([0.3, 0.5, 0.8, 1.1, 5.0], "jump"),
        ([1.6, 1.7, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0], "jump"),
        ([-1.4, 1.3, -1.5, 1.6], ""),
        ([0.1], ""),
    ],
)
def test_a_climb_is_many_steps_and_a_jump_a_single_one(last: list[float], expected: str) -> None:
    samples = np.array((QUIET + last)[-16:])[:, None]
    slowly, suddenly = climbs(np.hstack([samples, np.full_like(samples, np.nan)]))
    assert (slowly[0], suddenly[0] and expected != "") == (expected == "climb", expected == "jump")
    assert not slowly[1]
    assert not suddenly[1]


def test_series_that_climbed_are_stored() -> None:
    hashes = np.array([2**63, 5], np.uint64)
    decoded = decode_context(encode_context(SavedContext(climbed=hashes)))
    assert decoded.climbed.tolist() == hashes.tolist()
    assert encode_context(SavedContext()) == b""
