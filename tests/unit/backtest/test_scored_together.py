"""Slots that are scored together are those that are scored one by one, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from exporter.backtest import scored_ahead
from exporter.backtest.past_answers import PastAnswers
from exporter.backtest.scored_ahead import score_slots
from exporter.backtest.scored_span import ScoredSpan
from exporter.backtest.scored_together import score_together, span_of
from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.contract_samples import START, STEP, keys, seasonal
from exporter.engine.engine import Engine
from exporter.engine.verdict import Verdict
from exporter.prometheus import HistoryChunk
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

DAYS, SLOTS, WARNED = 4, 330, 310


def plan_of(interval: str, **alert: object) -> QueryPlan:
    query = {"name": "load", "expr": "load", "interval": interval, "alert": alert}
    return Config.model_validate({"queries": [query], "baseline": {"series_ttl": "5h"}}).plans()[0]


def learned(plan: QueryPlan) -> tuple[Engine, PastAnswers]:
    """Return an engine with history, and the answers of slots after it."""
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
    return one, PastAnswers(slots, HistoryChunk(slots, keys(4), values), 0.0)


def in_parts(answers: PastAnswers, *, each: bool = False) -> list[PastAnswers]:
    """Return the answers as they are read: of one slot the server warns. Or those of each slot."""
    ends = [0, *range(1, len(answers))] if each else [0, WARNED, WARNED + 1]
    parts = [answers.part(begin, end) for begin, end in zip(ends, [*ends[1:], len(answers)], strict=True)]
    return [
        replace(part, chunk=replace(part.chunk, warnings=("partial response",)))
        if part.slots[0] == answers.slots[WARNED]
        else part
        for part in parts
    ]


def scored(engine: Engine, plan: QueryPlan, parts: Sequence[PastAnswers]) -> tuple[Engine, list[ScoredSpan]]:
    """Score all slots as workers do, and give their spans the answers."""
    masks, spans = SampleMasks(ActiveEvents(), {}), list[ScoredSpan]()
    for part in parts:
        engine, done = score_slots(engine, plan, masks, part)
        begin = 0
        for span in done:
            span.answers = part.part(begin, begin := begin + len(span))
        spans += done
    return engine, spans


def plain(spans: Sequence[ScoredSpan]) -> list[object]:
    """Return all that is read of scored slots, in a form that is equal where all bits are."""
    answer: list[object] = []
    for span, number in ((each, number) for each in spans for number in range(len(each))):
        slot, last = span.slot(number), number == len(span) - 1
        verdict, frame = slot.verdict, slot.frame
        columns = [getattr(verdict, field.name) for field in fields(Verdict)]
        answer.append([column.tobytes() if isinstance(column, np.ndarray) else column for column in columns])
        answer.append((list(span.expired if last else ()), span.capacity, span.row_bytes, slot.first_at))
        answer.append((repr(slot.first_score_at), slot.calibration, slot.aligned.repeated))
        answer.append((slot.aligned.samples.tobytes(), slot.aligned.admitted, slot.table.items()))
        answer.append((frame.at, frame.keys, frame.values.tobytes(), frame.warnings))
        rows = np.flatnonzero(verdict.anomalous)
        assert not (span.quiet[number] and len(rows))
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
def test_slots_scored_together_are_those_scored_one_by_one(
    interval: str, alert: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(interval, **alert)
    one, answers = learned(plan)
    with monkeypatch.context() as patch:
        patch.setattr(scored_ahead, "score_together", lambda *_: None)
        other, singly = scored(copy.deepcopy(one), plan, in_parts(answers, each=True))
    one, together = scored(one, plan, in_parts(answers))
    assert plain(together) == plain(singly)
    assert any(span.expired for span in together) == (interval == "5m")
    assert sum(sum(span.quiet) for span in together) > 50
    mine, theirs = one.checkpoint().parts, other.checkpoint().parts
    assert {name: part.tobytes() for name, part in mine.items()} == {
        name: part.tobytes() for name, part in theirs.items()
    }


def test_slots_after_a_gap_or_before_the_newest_are_not_scored_together() -> None:
    plan = plan_of("10s")
    one, answers = learned(plan)
    slots = answers.slots
    samples = np.array([[100.0, 100.0, 5.0]])
    assert one.steady(slots[:1], samples, plan.interval)
    assert not one.steady(slots[1:2], samples, plan.interval)
    one.run(slots[:1], samples, plan.interval)
    assert not one.steady(slots[:1], samples, plan.interval)
    assert one.steady(slots[1:2], samples, plan.interval)


def test_slots_are_scored_in_one_call_whether_they_are_learned_or_not() -> None:
    plan, masks = plan_of("10s"), SampleMasks(ActiveEvents(), {})
    one, answers = learned(plan)
    lengths, place = [], 0
    while place < len(answers.slots):
        part = answers.part(place, place + span_of(one, plan, answers.slots[place:]))
        span = score_together(one, plan, masks, part, one.table)
        if span is None:
            _, (span,) = score_slots(one, plan, masks, part.part(0, 1))
        lengths.append(len(span))
        place += len(span)
    assert max(lengths) > 2 * 30, lengths


def test_of_a_label_set_that_comes_twice_the_first_that_is_there_counts() -> None:
    plan, masks = plan_of("10s"), SampleMasks(ActiveEvents(), {})
    one, answers = learned(plan)
    part = answers.part(0, span_of(one, plan, answers.slots))
    half = len(part) // 2
    values = np.concatenate([part.chunk.values, part.chunk.values[:, :1] + 50.0], axis=1)
    values[half:, 0] = np.nan
    part = PastAnswers(part.slots, HistoryChunk(part.slots, [*keys(4), keys(1)[0]], values), 0.0)
    span = score_together(one, plan, masks, part, one.table)
    assert span is not None
    numbers = range(len(part))
    assert half > 2
    assert [span.slot(number).aligned.repeated for number in numbers] == [int(number < half) for number in numbers]
    observed = [span.slot(number).verdict.observed[0] for number in numbers]
    assert observed == [values[number, 0 if number < half else 4] for number in numbers]
