"""A full table: series that are gone give way to those that live, the longest gone first."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.series import labels_of
from exporter.engine.settings import BaselineSettings, DetectionSettings

MINUTE = 60.0
START = 1_790_000_040.0


def engine(limit: int) -> Engine:
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), max_series=limit))


def keys_of(*names: str) -> list[bytes]:
    return [b'{"i":"%s"}' % name.encode() for name in names]


def names_in(one: Engine) -> set[str]:
    return {dict(labels)["i"] for _, labels in one.table.items()}


def slot(one: Engine, at: float, *names: str) -> int:
    """Run one slot with samples of some series; return how many were refused."""
    keys = keys_of(*names)
    one.give_way(keys)
    aligned = one.align(keys, np.full(len(keys), 5.0), at)
    one.step(at, aligned.samples, MINUTE, complete=True)
    return aligned.refused


def test_the_series_that_is_gone_for_longest_gives_way() -> None:
    one = engine(3)
    assert slot(one, START, "a", "b", "c") == 0
    assert slot(one, START + MINUTE, "b", "c") == 0
    assert slot(one, START + 2 * MINUTE, "c") == 0
    assert names_in(one) == {"a", "b", "c"}
    assert slot(one, START + 3 * MINUTE, "c", "d") == 0
    assert names_in(one) == {"b", "c", "d"}
    assert slot(one, START + 4 * MINUTE, "c", "d", "e") == 0
    assert names_in(one) == {"c", "d", "e"}


def test_no_living_series_gives_way() -> None:
    one = engine(2)
    slot(one, START, "a", "b")
    assert slot(one, START + MINUTE, "a", "b", "c") == 1
    # Of a whole answer that lacks one, and has others.
    assert slot(one, START + 2 * MINUTE, "c", "d", "a") == 1
    # The server lists the same labels in another way: it is the same series.
    assert one.give_way([b'{ "i": "a" }', b'{ "i": "c" }', b'{"i":"x"}']) == []
    assert names_in(one) == {"a", "c"}


def test_every_rollout_is_judged_whatever_the_number_of_those_before() -> None:
    one, at = engine(250), START
    for generation in range(12):
        pods = [f"g{generation}-{index}" for index in range(100)]
        for _ in range(2):
            at += MINUTE
            assert slot(one, at, *pods) == 0
    assert len(one.table) == 250


def test_what_a_row_held_before_is_forgotten() -> None:
    one = engine(1)
    for index in range(30):
        slot(one, START + index * MINUTE, "a")
    one.give_way(keys_of("b"))
    aligned = one.align(keys_of("b"), np.array([7000.0]), START + 30 * MINUTE)
    verdict = one.step(START + 30 * MINUTE, aligned.samples, MINUTE, complete=True)
    assert aligned.admitted == (0,)
    assert np.isnan(verdict.score[0])
    checkpoint = one.checkpoint()
    assert [(row, labels_of(key)) for row, key in checkpoint.series] == [(0, (("i", "b"),))]


def test_a_row_that_nobody_has_is_never_missing() -> None:
    """Its series was due for weeks, and gave way for the sake of another query."""
    one, step = engine(2), 1800.0
    times = START + step * np.arange(20 * 48)
    aligned = one.align(keys_of("a", "b"), np.full((len(times), 2), 5.0), START)
    one.run(times, aligned.samples, step)
    assert one.give_way(keys_of("a"), spare=1) == [1]
    for index in range(1, 8):
        verdict = one.step(times[-1] + index * step, np.array([5.0, np.nan]), step, complete=True)
    assert not verdict.absent.any()
    assert np.isnan(verdict.missing_since).all()


def test_a_missing_series_gives_way_after_one_that_left_for_good() -> None:
    one, step = engine(2), 1800.0
    times = START + step * np.arange(9 * 48)
    values = np.full((len(times), 2), 5.0)
    values[-4:, 0] = np.nan  # Away for two hours, and due.
    values[-3:, 1] = np.nan  # Not yet for so long, but it was there by habit for a day only.
    values[:-48, 1] = np.nan
    aligned = one.align(keys_of("missing", "left"), values, START)
    one.run(times, aligned.samples, step, complete=np.ones(len(times), np.bool_))
    one.give_way(keys_of("new"))
    assert names_in(one) == {"missing"}


@pytest.mark.parametrize("limit", [2, 3])
def test_of_a_long_answer_those_are_taken_on_that_live_at_its_end(limit: int) -> None:
    one = engine(limit)
    values = np.full((4, 5), np.nan)
    for column, until in enumerate((1, 4, 2, 4, 3)):
        values[:until, column] = 5.0
    aligned = one.align(keys_of("a", "b", "c", "d", "e"), values, START)
    assert names_in(one) == {"b", "d", *(("e",) if limit == 3 else ())}
    assert aligned.refused == 5 - limit
    row = one.table.row((("i", "b"),))
    np.testing.assert_array_equal(aligned.samples[:, row], values[:, 1])
