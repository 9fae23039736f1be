"""`tune`, `suggest` and `detect` say the same with one, two and four processes, also where one of them is killed."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from exporter.backtest.incidents import Incident
from exporter.cli.tune import _tuned
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.detect.group_scoring import score_queries
from exporter.detect.recorded_series import RecordedSeries
from exporter.engine.seconds import DAY
from exporter.suggest import measure as suggest
from exporter.suggest.measure import STEP, History, measure
from exporter.tune import Goal, as_text
from exporter.worker_pool import WorkerPool, open_pool

END, DAYS, SERIES = 1_796_000_400.0, 3, 2
QUERIES = ("errors", "latency", "requests")


def config() -> Config:
    queries = [{"name": name, "expr": name, "alert": {"for": "5m"}} for name in QUERIES]
    return Config.model_validate({"baseline": {"min_history": "1d"}, "queries": queries})


def histories() -> list[History]:
    """Days with peaks, of which some are incidents, in every query at other times."""
    rng, result = np.random.default_rng(3), []
    for number, plan in enumerate(config().plans()):
        values = 100.0 + rng.standard_normal((DAYS * 288, SERIES))
        for begin in range(200 + 20 * number, len(values), 70):
            values[begin : begin + 4] += 30.0
        keys = [b'{"pod":"%d"}' % pod for pod in range(SERIES)]
        result.append(History(plan, SERIES, 0.0, values.astype(np.float32), keys=keys))
    return result


def tuned(pool: WorkerPool) -> object:
    incidents = [Incident(END - 0.5 * DAY, END - 0.4 * DAY), Incident(END - 1.5 * DAY, END - 1.4 * DAY)]
    results = list(pool.map(_tuned, [(history, Goal(incidents, 2.0), END) for history in histories()]))
    assert not any(isinstance(result, str) for result in results)
    return as_text(results)


def suggested(pool: WorkerPool) -> object:
    # The cost of an engine is measured, and is another each time.
    return [repr(dataclasses.replace(each, engine_seconds=0.0)) for each in measure(histories(), END, pool)]


def detected(pool: WorkerPool) -> object:
    times = END - STEP * np.arange(DAYS * 288 - 1.0, -1.0, -1.0)
    stamps = times.astype(np.bytes_)
    plans: dict[str, QueryPlan] = {plan.name: plan for plan in config().plans()}
    series = [
        RecordedSeries(
            {"query": history.plan.name, "pod": str(pod)}, stamps, times, history.values[:, pod].astype(np.float64)
        )
        for history in histories()
        for pod in range(SERIES)
    ]
    scored, _ = score_queries(series, plans, [], STEP, pool)
    assert any(each.anomalous.any() for each in scored)
    arrays = [(each.score, each.expected, each.lower, each.upper, each.severities, each.ready) for each in scored]
    return [array.tobytes() for arrays_of_series in arrays for array in arrays_of_series]


@contextlib.contextmanager
def one_killed() -> Iterator[None]:
    """Kill one of the processes of a pool, as soon as there is one."""
    killed: list[int | None] = []

    def kill() -> None:
        deadline = time.monotonic() + 60.0
        while not killed and time.monotonic() < deadline:
            for child in multiprocessing.active_children()[:1]:
                child.kill()
                killed.append(child.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    yield
    killer.join()
    assert killed


WORK = (tuned, suggested, detected)


@pytest.mark.timeout(240)
def test_results_are_equal_with_two_processes_of_which_one_dies_and_with_four(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every query is a task.
    monkeypatch.setattr(suggest, "_PART", 1)
    alone = [work(WorkerPool()) for work in WORK]
    with open_pool("2") as pool, one_killed():
        assert [work(pool) for work in WORK] == alone
    with open_pool("4") as pool:
        assert [work(pool) for work in WORK] == alone
