"""Judging by several processes, and by a Dask cluster: byte for byte what one process says, also where workers die."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from distributed import Client

from tests.integration.process import free_port
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

DAY, STEP = 86400.0, 300.0
START = 1_772_323_200.0
"""2026-03-01, after six days of history; a day is judged."""
RNG = np.random.default_rng(5)


def load(number: int, times: np.ndarray) -> np.ndarray:
    daily = 100.0 + 30.0 * np.sin(2 * np.pi * (times / DAY + 0.1 * number))
    return daily + 3.0 * RNG.standard_normal(len(times))


def series() -> Iterator[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    times = np.arange(START - 6 * DAY, START + DAY + 1.0, STEP)
    inside = np.flatnonzero(times >= START)
    for number in range(8):
        labels = {"instance": f"host{number}", "job": "shop"}
        cpu, errors = load(number, times), np.abs(load(number, times) - 100.0)
        if number == 1:
            cpu[inside[60:80]] += 300.0
            errors[inside[64:80]] += 900.0
        # A storm, a series that leaves, one that comes, and one with a new level.
        cpu[inside[170:180]] *= 4.0
        here = np.ones(len(times), np.bool_)
        here[inside[220:]] = number != 2
        here[: inside[150]] &= number != 3
        cpu[inside[190:]] += 120.0 * (number == 4)
        yield {"__name__": "cpu", **labels}, times[here], cpu[here]
        yield {"__name__": "errors", **labels}, times[here], errors[here]
    for version in ("1", "2"):
        latency = 0.2 * np.exp(0.03 * RNG.standard_normal(len(times)))
        latency[inside[60:]] *= 1.5 if version == "2" else 1.0
        yield {"__name__": "latency", "version": version}, times, latency


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("past"), out_of_order_time_window="3650d") as server:
        server.push(series())
        yield server


@pytest.fixture(scope="module")
def config(past: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    content: dict[str, Any] = {
        "prometheus": {"url": past.url},
        "global": {"interval": "5m", "timeout": "30s"},
        "baseline": {"window": "6d", "min_history": "1d"},
        "alerting": {"storm": {"members": 5}},
        "queries": [
            {"name": "cpu", "expr": "cpu", "alert": {"for": "10m"}},
            {"name": "errors", "expr": "errors", "direction": "above", "alert": {}},
            # These two have instants of their own: all together would be learned in one pass, by no worker.
            {"name": "latency", "expr": "latency", "interval": "10m", "canary": {"label": "version", "alert": {}}},
            {
                "name": "load",
                "expr": "sum(cpu)",
                "baseline": {"window": "4d"},
                "detection": {"quorum": 2, "detectors": ["zscore", "iqr", "stl"]},
            },
        ],
        "groups": [{"name": "hosts", "queries": ["cpu", "errors"], "by": ["instance"], "alert": {}}],
        "dependencies": [{"caller": {"query": "errors"}, "callee": {"query": "cpu"}}],
        "calendar": [
            {
                "name": "release",
                "match": ['instance="host5"'],
                "action": "ignore",
                "starts_at": "2026-03-01T02:00:00Z",
                "ends_at": "2026-03-01T03:00:00Z",
            }
        ],
    }
    file.write_text(yaml.safe_dump(content))
    return file


class Run:
    """A backtest under way."""

    def __init__(self, config: Path, folder: Path, *flags: str) -> None:
        folder.mkdir()
        self.scores = folder / "scores.om"
        command = [sys.executable, "-m", "exporter", "backtest", f"--config.file={config}", f"--from={START}"]
        command += [f"--to={START + DAY}", "--format=json", f"--output.openmetrics={self.scores}", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self) -> tuple[str, bytes]:
        out, err = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, err
        return out, self.scores.read_bytes()

    def wait_for_scores(self) -> None:
        """Wait until slots are judged."""
        while self.process.poll() is None and not (self.scores.exists() and self.scores.stat().st_size):
            time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """What one process says."""
    result = Run(config, tmp_path_factory.mktemp("alone") / "out", "--workers=1").result()
    assert re.search('"query": "cpu"', result[0])
    assert "CanaryDiffers" in result[0]
    assert len(result[1]) > 100_000
    return result


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append((int(folder.name), (folder / "cmdline").read_bytes()))
    return [number for number, command in found if b"spawn_main" in command]


def test_four_processes_of_which_one_is_killed_say_what_one_says(
    config: Path, alone: tuple[str, bytes], tmp_path: Path
) -> None:
    run = Run(config, tmp_path / "out", "--workers=4")
    # The first parts are scored, and workers have the next ones.
    run.wait_for_scores()
    os.kill(children(run.process.pid)[0], signal.SIGKILL)
    assert run.result() == alone


@contextlib.contextmanager
def cluster(workers: int, **environment: str) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Start a scheduler and workers, each a process, as on several machines."""
    address = f"tcp://127.0.0.1:{free_port()}"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--no-show"]
    work = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    work += ["--nthreads=1", "--death-timeout=60", "--memory-limit=0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    processes = [subprocess.Popen([*start, f"--host={address}"], **quiet)]
    try:
        processes += [
            subprocess.Popen(work, **quiet, env={**os.environ, **environment}, cwd="/") for _ in range(workers)
        ]
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def test_a_cluster_of_which_a_worker_is_killed_says_what_one_process_says(
    config: Path, alone: tuple[str, bytes], tmp_path: Path
) -> None:
    with cluster(2) as (address, workers):
        run = Run(config, tmp_path / "out", f"--workers={address}")
        run.wait_for_scores()
        workers[0].kill()
        assert run.result() == alone


def test_a_worker_of_another_version_is_refused(config: Path, tmp_path: Path) -> None:
    (tmp_path / "exporter").mkdir()
    (tmp_path / "exporter" / "__init__.py").write_text('__version__ = "9.9"')
    with cluster(1, PYTHONPATH=str(tmp_path)) as (address, _):
        run = Run(config, tmp_path / "out", f"--workers={address}")
        _, err = run.process.communicate(timeout=60)
    assert run.process.returncode == 1
    assert re.search(r"the worker tcp://\S+ runs anomaly-exporter 9\.9; here is anomaly-exporter \d", err)


def test_ctrl_c_ends_a_backtest_and_its_processes(config: Path, tmp_path: Path) -> None:
    run = Run(config, tmp_path / "out", "--workers=2")
    while run.process.poll() is None and not children(run.process.pid):
        time.sleep(0.05)
    workers = children(run.process.pid)
    run.process.send_signal(signal.SIGINT)
    _, err = run.process.communicate(timeout=60)
    assert (run.process.returncode, err) == (130, "interrupted\n")
    deadline = time.monotonic() + 30.0
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
