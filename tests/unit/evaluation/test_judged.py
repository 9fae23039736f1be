"""How much of an answer is judged, and what would not alert: seen on /metrics while it is so, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.calendar import CalendarEntry
from exporter.prometheus import Frame
from exporter.prometheus.unreadable import LeftOut
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks
from tests.faults.cycling import Source, World, plan_of, refused


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path, Source("a", "b", "c", "d"))
    assert world.prepare()
    world.slot()
    yield world
    world.store.close()


def suppressed(world: World) -> dict[str, str]:
    """The reason by instance."""
    lines = [line for line in world.page().splitlines() if line.startswith("anomaly_suppressed{")]
    parts = [line.replace(",", '"').split('"') for line in lines]
    assert all(line.endswith("} 1.0") for line in lines)
    return {part[part.index("instance=") + 1]: part[part.index("reason=") + 1] for part in parts}


def answer(world: World, change: Callable[[Frame], Frame]) -> None:
    """Change the answers of the source from now on."""
    plain = world.source.instant
    world.source.instant = lambda *args, **how: change(plain(*args, **how))  # type: ignore[method-assign]


def test_all_is_judged_and_nothing_is_suppressed(world: World) -> None:
    assert world.sample("judged_ratio") == 1.0
    assert world.cycle.remark is None
    assert suppressed(world) == {}


@pytest.mark.parametrize(
    ("changes", "ratio", "says"),
    [
        (
            {"unreadable": LeftOut((b'{"x":"1"}',) * 4, 4, 4)},
            0.5,
            "of 8 series 4 cannot be read (4 native histograms: ",
        ),
        ({"unreadable": LeftOut((), 4)}, 0.5, "may be missing: 4 rows that cannot be read"),
        ({"own": 2}, 4 / 6, "2 rows that this exporter wrote itself are left out"),
        ({"warnings": ("a store is down",)}, 1.0, ""),
    ],
    ids=["histograms", "rows of nobody knows what", "own output", "a partial answer that lacks nothing"],
)
def test_what_is_not_judged_is_said(world: World, changes: dict[str, Any], ratio: float, says: str) -> None:
    answer(world, lambda frame: replace(frame, **changes))
    world.slot()
    assert world.sample("judged_ratio") == ratio
    assert says in (world.cycle.remark or "")


def test_series_without_room_are_not_judged(world: World) -> None:
    world.limit(4)
    world.source.series += ["e", "f", "g", "h"]
    world.slot()
    assert world.sample("judged_ratio") == 0.5
    assert world.cycle.remark == "of 8 series 4 are over a limit"


def test_what_a_partial_answer_lacks_is_not_judged(world: World) -> None:
    world.source.gone = {"a", "b", "c"}
    answer(world, lambda frame: replace(frame, warnings=("a store is down",)))
    world.slot()
    assert world.sample("judged_ratio") == 0.25


def test_series_with_the_labels_of_others_are_not_judged(world: World) -> None:
    world.source.extra = {"e": {"x.y": "1"}, "f": {"instance": "e", "x_y": "1"}}
    world.source.series += ["e", "f"]
    world.slot()
    assert world.sample("judged_ratio") == pytest.approx(5 / 6)


def test_nothing_is_judged_while_the_query_fails_or_its_answer_is_empty(world: World) -> None:
    world.source.down = refused()
    world.slot()
    assert world.sample("judged_ratio") == 0.0
    world.source.down = None
    world.slot()
    assert world.sample("judged_ratio") == 1.0
    world.source.gone = {"a", "b", "c", "d"}
    world.slot()
    assert world.sample("judged_ratio") == 0.0
    assert world.cycle.remark == "the answer has no series"


def test_an_expression_that_filters_may_have_no_series(tmp_path: Path) -> None:
    world = World(tmp_path, Source("a"), plan=plan_of(expr="load > 1"))
    assert world.prepare()
    world.source.gone = {"a"}
    world.slot()
    assert world.sample("judged_ratio") == 1.0
    world.store.close()


def test_a_query_that_never_had_a_series_judges_nothing(tmp_path: Path) -> None:
    source = Source("a")
    source.gone = {"a"}
    world = World(tmp_path, source)
    assert world.prepare()
    world.slot()
    assert world.sample("judged_ratio") == 0.0
    world.store.close()


def test_a_young_series_is_suppressed_until_it_is_old_enough(world: World) -> None:
    world.source.series.append("new")
    world.slot(15)
    assert suppressed(world) == {"new": "warming_up"}
    assert world.sample("judged_ratio") == 1.0
    world.slot(290)
    assert suppressed(world) == {}


@pytest.mark.parametrize(("action", "reason"), [("ignore", "event"), ("silence", "masked"), ("expect", None)])
def test_a_known_event_suppresses_its_series_while_it_lasts(world: World, action: str, reason: str | None) -> None:
    entry = {"name": "x", "match": ["instance=a"], "action": action}
    begin, end = (np.datetime64(int(world.now + offset), "s").item().isoformat() + "Z" for offset in (0, 90))
    more = {"multiplier": 2.0} if action == "expect" else {}
    events = ActiveEvents()
    events.configure([CalendarEntry.model_validate({**entry, **more, "starts_at": begin, "ends_at": end})], "UTC")
    ports = replace(world.cycle.context.ports, masks=SampleMasks(events, {}))
    world.cycle.leave()
    assert world.cycle.join(10)
    context = replace(world.cycle.context, ports=ports)
    world.cycle = world.cycle.take_over(plan_of(), context, at=world.now)
    world.slot()
    assert suppressed(world) == ({} if reason is None else {"a": reason})
    world.slot(2)
    assert suppressed(world) == {}
