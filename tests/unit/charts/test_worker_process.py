from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.charts.worker_process import WorkerProcess
from exporter.web.pages.models import DisplayError
from tests.integration.process import eventually


@pytest.fixture
def apart():
    one = WorkerProcess()
    yield one
    one.close()


def test_work_is_done_in_another_process_that_yields_to_this_one(apart):
    assert apart.run(os.getpid) != os.getpid()
    assert apart.run(os.getpriority, os.PRIO_PROCESS, 0) == os.getpriority(os.PRIO_PROCESS, 0) + 5
    np.testing.assert_array_equal(apart.run(np.add, np.arange(3.0), 1.0), [1.0, 2.0, 3.0])


def test_it_is_the_same_process_from_work_to_work(apart):
    assert apart.run(os.getpid) == apart.run(os.getpid)


def test_what_the_work_raises_is_raised_here(apart):
    with pytest.raises(ValueError, match="negative dimensions"):
        apart.run(np.zeros, -1)
    assert apart.run(abs, -2) == 2


def test_a_process_that_was_killed_is_started_again(apart):
    first = apart.run(os.getpid)
    os.kill(first, signal.SIGKILL)
    assert apart.run(os.getpid) != first


def test_work_that_kills_its_process_is_given_up(apart):
    with pytest.raises(DisplayError, match="ended"):
        apart.run(os._exit, 3)
    assert apart.run(abs, -2) == 2


def test_it_ends_with_the_program_however_that_ends():
    work = "one = WorkerProcess(); print(one.run(os.getpid), flush=True); time.sleep(99)"
    code = f"import os, time; from exporter.charts.worker_process import WorkerProcess; {work}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        other = int(program.stdout.readline())
        program.kill()
    eventually(lambda: not _runs(other), 20.0, what="its end")


def test_closing_ends_it_and_work_under_way(apart):
    other = apart.run(os.getpid)
    apart.close()
    eventually(lambda: not _runs(other), 20.0, what="its end")
    with pytest.raises(DisplayError, match="stopping"):
        apart.run(abs, -2)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
