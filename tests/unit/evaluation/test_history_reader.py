"""Histories of several queries, read and learned in passes that they share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.together import EngineRun, Steps, alone
from exporter.engine.verdict import Verdicts
from exporter.evaluation import history_reader
from exporter.evaluation.history import HistoryRange, learn, missing_history
from exporter.evaluation.history_reader import HistoryReader, learn_together
from exporter.evaluation.learner import Abandoned
from exporter.prometheus import HistoryChunk

NOW, STEP = 1_760_313_600.0, 300.0


class Query:
    """A query whose history is made up: `since` steps of some series."""

    def __init__(self, number: int, since: int, series: int = 2) -> None:
        self.number, self.since, self.series = number, since, series
        settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), min_deviation=0.1 * number)
        self.engine = Engine(settings)
        self.points = 0
        self.outcome = ""

    def read(self, start: float, end: float, step: float) -> Any:
        times = start + step * np.arange(round((end - start) / step) + 1)
        place = np.rint(times / step).astype(np.int64)
        values = 10.0 + np.sin(place[:, None] / 40.0) + 0.1 * np.sin(place[:, None] * (7.0 + np.arange(self.series)))
        values[times < NOW - self.since * step] = np.nan
        yield HistoryChunk(times, [b'{"a":"%d","b":"%d"}' % (self.number, i) for i in range(self.series)], values)

    def learning(self, begun: Callable[[], None] = lambda: None) -> Steps[bool]:
        def learned(points: int) -> None:
            self.points += points

        begun()
        try:
            yield from learn(self.engine, HistoryRange(NOW - 720 * STEP, NOW, STEP), self.read, on_progress=learned)
        except Abandoned:
            self.outcome = "abandoned"
            return False
        except ArithmeticError:
            self.outcome = "failed"
            return False
        self.outcome = "learned"
        return True


def some() -> list[Query]:
    return [Query(0, 720), Query(1, 200), Query(2, 720), Query(3, 30, series=1)]


def assert_learned_alike(queries: list[Query]) -> None:
    for query, expected in zip(queries, some(), strict=True):
        assert alone(expected.learning())
        assert query.points == expected.points == 721
        ones, others = (each.engine.checkpoint().parts for each in (query, expected))
        for name, array in others.items():
            assert np.array_equal(ones[name], array, equal_nan=array.dtype.kind == "f"), (query.number, name)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many queries each pass had."""
    sizes: list[int] = []
    run = history_reader.run_together

    def counting(runs: list[EngineRun]) -> list[Verdicts]:
        sizes.append(len(runs))
        return run(runs)

    monkeypatch.setattr(history_reader, "run_together", counting)
    return sizes


def test_work_in_one_thread_is_done_in_few_passes(passes: list[int]) -> None:
    queries = some()
    assert learn_together([query.learning() for query in queries]) == [True] * 4
    assert_learned_alike(queries)
    # Chunks end at multiples of 480 steps; younger queries join with the chunk of their first sample.
    assert sorted(set(passes)) == [2, 3, 4]


def test_a_reader_learns_in_few_passes(passes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_reader, "_PATIENCE", 60.0)
    reader, queries = HistoryReader(), some()
    ended = threading.Barrier(len(queries) + 1)

    def work(query: Query) -> Steps[bool]:
        result = yield from query.learning()
        threading.Thread(target=ended.wait, daemon=True).start()
        return result

    for query in queries:
        reader.submit("default", work(query), lambda: False)
    ended.wait(60.0)
    reader.stop()
    assert_learned_alike(queries)
    assert max(passes) >= 2


def test_what_has_left_is_broken_off_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, gone, stays = HistoryReader(), Query(0, 1440), Query(1, 1440)
    ended = {query.number: threading.Event() for query in (gone, stays)}

    def work(query: Query) -> Steps[bool]:
        try:
            return (yield from query.learning())
        finally:
            ended[query.number].set()

    reader.submit("default", work(gone), lambda: True)
    reader.submit("default", work(stays), lambda: False)
    assert all(event.wait(60.0) for event in ended.values())
    reader.stop()
    assert (gone.outcome, stays.outcome) == ("abandoned", "learned")
    with pytest.raises(RuntimeError):
        reader.submit("default", work(stays), lambda: False)


def test_a_server_that_hangs_holds_up_no_history_of_another() -> None:
    reader, released, ended = HistoryReader(), threading.Event(), threading.Event()
    hanging, other = [Query(number, 100) for number in range(3)], Query(9, 100)
    for query in hanging:
        reader.submit("hangs", query.learning(lambda: released.wait(60.0) and None), lambda: False)

    def work() -> Steps[bool]:
        result = yield from other.learning()
        ended.set()
        return result

    reader.submit("answers", work(), lambda: False)
    assert ended.wait(60.0)
    assert other.outcome == "learned"
    released.set()
    reader.stop()


def test_each_query_hears_of_a_pass_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: list[EngineRun]) -> list[Verdicts]:
        raise ZeroDivisionError

    monkeypatch.setattr(history_reader, "run_together", fails)
    reader, ended = HistoryReader(), threading.Event()
    query = Query(0, 100)

    def work() -> Steps[bool]:
        result = yield from query.learning()
        ended.set()
        return result

    reader.submit("default", work(), lambda: False)
    assert ended.wait(60.0)
    assert query.outcome == "failed"


@pytest.mark.parametrize(
    ("interval", "offset"), [(60.0, 17.3), (300.0, 17.3), (300.0, 250.0), (300.0, 0.0), (5.0, 1.0)]
)
def test_history_is_read_on_a_grid_that_queries_share(interval: float, offset: float) -> None:
    now = NOW + offset
    coarse, *fine = missing_history(-np.inf, now, window=30 * 86400.0, interval=interval, step=STEP)
    assert coarse.start % (48 * STEP) == coarse.end % STEP == 0.0
    assert 0.0 <= now - 30 * 86400.0 - coarse.start < 48 * STEP
    ends = [part.end for part in (coarse, *fine)]
    assert ends[-1] == now
    if fine:
        assert fine[0].step == interval
        least = 0.5 * STEP if interval == STEP else 0.0
        assert least < fine[0].start - coarse.end <= max(interval, 1.5 * STEP if interval == STEP else 0.0)
    # What is broken off in between is gone on with, and ends at the slot.
    rest = missing_history(coarse.end, now, window=30 * 86400.0, interval=interval, step=STEP)
    assert [replace(part, start=0.0) for part in rest] == [replace(part, start=0.0) for part in fine]
