"""An engine whose rows are judged in slices learns and says, to the last bit, what it does in one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from exporter.engine.engine import Engine
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.sample_mask import SampleMask
from exporter.engine.slices import SliceTask, can_be_sliced, judge_slice, run_sliced
from exporter.engine.verdict import Verdicts
from exporter.engine.within_hour import WithinHour
from exporter.evaluation import engine_task
from exporter.worker_pool import open_pool
from tests.unit.engine.test_together import CHUNK, DAY, START, STEP, history, settings

KINDS = 24
ARRAYS = (
    *("observed", "score", "expected", "lower", "upper", "votes", "z", "each", "ready", "masked", "absent", "zero"),
    *("first_day", "missing_since", "complete", "times"),
)


def samples() -> np.ndarray:
    """Return the situations of engines side by side, and series that come late."""
    columns = [history(kind, np.random.default_rng(kind)) for kind in range(KINDS)]
    columns[3][: 6 * DAY + 7] = np.nan
    return np.concatenate(columns, axis=1)


def elsewhere(tasks: Sequence[SliceTask]) -> Iterator[tuple[object, Verdicts]]:
    """Judge slices as other processes do: on copies."""
    for task in tasks:
        yield judge_slice(copy.deepcopy(task))


def new_engine(values: np.ndarray, **more: object) -> Engine:
    engine = Engine(settings(0, budget=None, max_series=500, **more))
    engine.align([b'{"pod":"%d"}' % pod for pod in range(values.shape[1])], values[0], START)
    return engine


def assert_equal(whole: Engine, sliced: Engine, verdicts: Verdicts, others: Verdicts) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(verdicts, name), getattr(others, name), err_msg=name)
    for name, column in whole.state.columns().items():
        if name != "within/slot":
            np.testing.assert_array_equal(column, sliced.state.columns()[name], err_msg=name)
    np.testing.assert_array_equal(whole.state.drift.state(), sliced.state.drift.state())
    assert (whole.shifts, whole.relearned) == (sliced.shifts, sliced.relearned)
    assert (whole.state.place, whole.state.instants) == (sliced.state.place, sliced.state.instants)


@pytest.mark.parametrize(("days", "given"), [(8, {}), (2, {"forecast": ForecastSettings(), "cadence": 3600.0})])
def test_slices_are_as_good_as_the_whole(days: int, given: dict[str, object]) -> None:
    values = samples()[: days * DAY]
    whole, sliced = new_engine(values, **given), new_engine(values, **given)
    passes = 0
    for begin in range(0, len(values), CHUNK):
        part, times = values[begin : begin + CHUNK], START + STEP * np.arange(begin, min(begin + CHUNK, len(values)))
        mask = None
        if begin == CHUNK:
            learn = np.ones(part.shape, np.bool_)
            learn[10:30, 5] = False
            mask = SampleMask(learn, np.ones(part.shape))
        verdicts = whole.run(times, part, STEP, mask)
        if can_be_sliced(sliced):
            passes += 1
            others = run_sliced(sliced, 3, elsewhere, times, part, STEP, mask)
        else:
            others = sliced.run(times, part, STEP, mask)
        assert_equal(whole, sliced, verdicts, others)
    assert passes == len(values) // CHUNK - 1
    assert given or (verdicts.score >= 0.5).any()
    assert whole.relearned or given
    for name, part in whole.checkpoint().parts.items():
        if "within" not in name:
            np.testing.assert_array_equal(part, sliced.checkpoint().parts[name], err_msg=name)


def test_where_patterns_have_too_little_room_the_whole_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WithinHour, "_most", property(lambda _: 2))
    values = np.concatenate([history(7, np.random.default_rng(seed)) for seed in range(5)], axis=1)
    whole, sliced = new_engine(values), new_engine(values)
    used = 0
    for begin in range(0, 4 * CHUNK, CHUNK):
        part, times = values[begin : begin + CHUNK], START + STEP * np.arange(begin, begin + CHUNK)
        verdicts = whole.run(times, part, STEP)
        if can_be_sliced(sliced):
            others = run_sliced(sliced, 2, elsewhere, times, part, STEP)
            assert_equal(whole, sliced, verdicts, others)
        else:
            sliced.run(times, part, STEP)
        used = max(used, int(np.count_nonzero(whole.state.columns()["within/slot"] >= 0)))
    assert used == 2


def test_a_large_engine_is_judged_by_all_processes_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([history(kind, np.random.default_rng(kind)) for kind in (0, 5, 11)], axis=1)
    whole, sliced, asked = new_engine(values), new_engine(values), []
    monkeypatch.setattr(engine_task, "_ROWS", 2)
    with open_pool("2") as pool:
        monkeypatch.setattr(pool, "map", lambda *given, real=pool.map: (asked.append(given), real(*given))[1])
        for begin in range(0, 2 * CHUNK, CHUNK):
            part, times = values[begin : begin + CHUNK], START + STEP * np.arange(begin, begin + CHUNK)
            verdicts = whole.run(times, part, STEP)
            others = engine_task.run_in(pool, sliced, times, part, STEP, None, complete=None)
            assert_equal(whole, sliced, verdicts, others)
    # Each day is two passes; the first day goes to one process.
    assert len(asked) == 2
