"""Tasks in other processes: results in order, a death is repaired, and a task that kills workers is given up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import UsageError, WorkersClosedError, WorkersError
from exporter.worker_pool import WorkerPool, open_pool


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def dies_once(file: str) -> str:
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fails() -> None:
    raise ValueError("of the task")


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with open_pool("2") as pool:
        yield pool


def test_results_come_in_order_from_other_processes(pool: WorkerPool) -> None:
    results = list(pool.map(square, iter(range(20))))
    assert [value for value, _ in results] == [number * number for number in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


def test_a_task_whose_worker_dies_is_run_again(
    pool: WorkerPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert pool.run(dies_once, str(tmp_path / "died")) == "done"
    assert [record.message.split(",")[0] for record in caplog.records] == ["a worker died"]


def test_a_mistake_of_a_task_is_its_own(pool: WorkerPool) -> None:
    with pytest.raises(ValueError, match="of the task"):
        pool.run(fails)


def test_a_task_that_kills_workers_is_given_up() -> None:
    with open_pool("2") as pool, pytest.raises(WorkersError, match="again and again: is there enough memory"):
        pool.run(dies)


def test_a_pool_that_is_closed_runs_nothing() -> None:
    pool = open_pool("2")
    pool.close()
    with pytest.raises(WorkersClosedError):
        pool.run(square, 1)
    pool.sleep(3600.0)


def test_one_worker_is_this_process() -> None:
    with open_pool("1") as pool:
        assert pool.run(square, 3) == (9, os.getpid())
        assert list(pool.map(square, [1])) == [(1, os.getpid())]


def test_small_work_stays_here_unless_workers_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    default = open_pool(None)
    assert (default.count, default.for_work(small=False).count, default.for_work(small=True).count) == (3, 3, 1)
    assert open_pool("2").for_work(small=True).count == 2


@pytest.mark.parametrize("value", ["0", "-1", "two", "1025", "http://host:1", "scheduler:8786", ""])
def test_what_is_no_number_and_no_address_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="is neither a number of processes nor an address"):
        open_pool(value)


def test_a_scheduler_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.worker_pool._CONNECT_SECONDS", 0.2)
    with pytest.raises(WorkersError, match=r"--workers=tcp://127.0.0.1:9: no scheduler answers"):
        open_pool("tcp://127.0.0.1:9")
