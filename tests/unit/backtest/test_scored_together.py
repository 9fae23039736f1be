"""Slots that are scored together are those that are scored one by one, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

from exporter.backtest.scored_ahead import score_slots
from exporter.backtest.scored_together import AheadSlot, score_together
from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.contract import START, STEP, keys, seasonal
from exporter.engine.engine import Engine
from exporter.engine.verdict import Verdict
from exporter.prometheus import Frame
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

DAYS, SLOTS = 4, 330


def plan_of(interval: str, **alert: object) -> QueryPlan:
    query = {"name": "load", "expr": "load", "interval": interval, "alert": alert}
    return Config.model_validate({"queries": [query], "baseline": {"series_ttl": "5h"}}).plans()[0]


def learned(plan: QueryPlan) -> tuple[Engine, np.ndarray, list[Frame]]:
    """Return an engine with history, slots after it, and the answers of them."""
    one, past = Engine(engine_settings(plan)), seasonal(DAYS)
    past[:, 2] = 5.0
    times = START + STEP * np.arange(len(past))
    one.run(times, one.align(keys(3), past, START).samples, STEP)
    slots = times[-1] + plan.interval * (1 + np.arange(SLOTS))
    rng = np.random.default_rng(5)
    values = np.interp(slots, times + DAYS * 86400.0, seasonal(DAYS, seed=8)[:, 0])[:, None] * [1.0, 1.0, 0.0, 1.0]
    values[:, [0, 1, 3]] *= 1 + 0.03 * rng.standard_normal((SLOTS, 3))
    values[:, 2] = 5.0
    values[95:120, 0] *= 3.0
    values[220:, 2] = np.where(np.arange(SLOTS - 220) % 7 < 3, -1.0, 6.0)  # What never moved, and never was negative.
    values[:150, 3] = np.nan  # Comes,
    values[200:, 1] = np.nan  # goes,
    values[40:44, 0] = np.nan  # and is missing for a while.
    frames = []
    for at, row in zip(slots.tolist(), values, strict=True):
        here = np.flatnonzero(~np.isnan(row))
        warnings = ("partial response",) if at == slots[310] else ()
        labels = [keys(4)[index] for index in here]
        frames.append(Frame(at, labels, row[here], np.full(len(here), at), warnings=warnings))
    return one, slots, frames


def plain(scored: Sequence[AheadSlot]) -> list[object]:
    """Return all that is read of scored slots, in a form that is equal where all bits are."""
    answer: list[object] = []
    for each in scored:
        slot, verdict = each.scored, each.scored.verdict
        columns = [getattr(verdict, field.name) for field in fields(Verdict)]
        answer.append([column.tobytes() if isinstance(column, np.ndarray) else column for column in columns])
        answer.append((list(each.expired), each.capacity, each.row_bytes, slot.first_at, repr(slot.first_score_at)))
        answer.append((slot.aligned.samples.tobytes(), slot.aligned.admitted, each.table.items()))
        rows = np.flatnonzero(verdict.anomalous)
        if len(rows):
            details = slot.details(rows)
            summary = [column.tobytes() for column in vars_of(details.summary)]
            columns = (details.shift, details.deviations, details.values, details.hours, details.level)
            answer.append((details.week, summary, [column.tobytes() for column in columns]))
    return answer


def vars_of(summary: object) -> list[np.ndarray]:
    return [np.asarray(getattr(summary, name)) for name in summary.__slots__]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("interval", "alert"),
    [("10s", {}), ("1m", {"budget": "2/week"}), ("5m", {})],
    ids=["10s", "1m with a budget", "5m"],
)
def test_slots_scored_together_are_those_scored_one_by_one(interval: str, alert: dict[str, object]) -> None:
    plan, masks = plan_of(interval, **alert), SampleMasks(ActiveEvents(), {})
    one, slots, frames = learned(plan)
    other, singly = copy.deepcopy(one), []
    for slot, frame in zip(slots.tolist(), frames, strict=True):
        other, scored = score_slots(other, plan, masks, [slot], [frame])
        singly += scored
    one, together = score_slots(one, plan, masks, slots.tolist(), frames)
    assert plain(together) == plain(singly)
    assert any(each.expired for each in together) == (interval == "5m")
    mine, theirs = one.checkpoint().parts, other.checkpoint().parts
    assert {name: part.tobytes() for name, part in mine.items()} == {
        name: part.tobytes() for name, part in theirs.items()
    }


def test_slots_after_a_gap_or_before_the_newest_are_not_scored_together() -> None:
    plan = plan_of("10s")
    one, slots, _ = learned(plan)
    samples = np.array([[100.0, 100.0, 5.0]])
    assert one.steady(slots[:1], samples, plan.interval)
    assert not one.steady(slots[1:2], samples, plan.interval)
    one.run(slots[:1], samples, plan.interval)
    assert not one.steady(slots[:1], samples, plan.interval)
    assert one.steady(slots[1:2], samples, plan.interval)


def test_slots_that_are_not_learned_are_scored_in_one_call() -> None:
    plan, masks = plan_of("10s"), SampleMasks(ActiveEvents(), {})
    one, slots, frames = learned(plan)
    lengths, place = [], 0
    while place < 90:
        rest = slice(place, None)
        scored = score_together(one, plan, masks, slots[rest].tolist(), frames[rest], one.table)
        if not scored:
            _, scored = score_slots(one, plan, masks, [slots[place]], [frames[place]])
        lengths.append(len(scored))
        place += len(scored)
    assert max(lengths) == 29
    assert len(lengths) < 90 / 8
