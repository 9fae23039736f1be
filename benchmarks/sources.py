"""What several benchmarks need: a Prometheus with so many series, with history, and meters."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from demo.servers import Process, Stopped, ask, find, free_port, prometheus, target
from exporter.alerting.settings import AlertingSettings
from exporter.alertmanager import AlertBoard
from exporter.cycle import Surroundings
from exporter.exposition import Exposition, SelfMetrics
from exporter.prometheus import PrometheusApi
from exporter.store import Store

__all__ = ["NAME", "cpu", "memory", "scraped", "surroundings", "with_history"]

NAME = "bench_load"
_TICK = os.sysconf("SC_CLK_TCK")


def scraped(running: ExitStack, home: Path, count: int) -> Process:
    """Start a Prometheus that has scraped `count` series and goes on scraping them."""
    rows = [f'{NAME}{{path="/api/v1/item/{i}",pod="web-{i % 997}",zone="z{i % 3}"}} ' for i in range(count)]
    # Fractions of all lengths, as rates have them; the same ones at every scrape, so that the source costs nothing.
    values = np.random.default_rng(0).lognormal(3.0, 2.0, count).tolist()
    lines = "".join(f"{row}{value!r}\n" for row, value in zip(rows, values, strict=True))
    page = f"# TYPE {NAME} gauge\n{lines}"
    port = free_port()
    running.callback(target(lambda: page, port).shutdown)
    scrape = {"job_name": "bench", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = {"global": {"scrape_interval": "15s", "scrape_timeout": "14s"}, "scrape_configs": [scrape]}
    server = _started(running, prometheus(home, home / "prometheus", config, free_port()))
    _wait(server, f"count({NAME})", count)
    return server


def with_history(
    running: ExitStack,
    home: Path,
    count: int,
    *,
    days: float,
    step: float,
    names: Sequence[str] = (NAME,),
    rules: dict[str, object] | None = None,
) -> Process:
    """Start a Prometheus that has `days` of `count` series of each name up to now, one sample every `step` seconds."""
    text, data = home / "history.txt", home / "prometheus"
    end = time.time() // step * step
    at = np.arange(end - days * 86400.0, end + 1.0, step)
    rng = np.random.default_rng(0)
    with text.open("w") as out:
        times = at.tolist()
        for name in names:
            out.write(f"# TYPE {name} gauge\n")
            for i in range(count):
                values = (50.0 + 20.0 * np.sin(at / 86400.0 * 2 * np.pi) + 2.0 * rng.standard_normal(len(at))).tolist()
                out.writelines(f'{name}{{item="{i}"}} {v!r} {t}\n' for v, t in zip(values, times, strict=True))
        out.write("# EOF\n")
    subprocess.run(
        [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=1500h",
         str(text), str(data)], check=True, capture_output=True,
    )  # fmt: skip
    text.unlink()
    config: dict[str, object] = {"global": {"scrape_interval": "15s"}}
    if rules is not None:
        (home / "rules.yml").write_text(json.dumps(rules))
        config["rule_files"] = [str(home / "rules.yml")]
    server = _started(running, prometheus(home, data, config, free_port()))
    _wait(server, f"count({NAME} offset 10m)", count)
    return server


def _started(running: ExitStack, server: Process) -> Process:
    running.callback(server.stop)
    server.wait()
    return server


def _wait(server: Process, expr: str, count: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        result = ask(f"{server.url}/api/v1/query?query={expr.replace(' ', '+')}")["data"]["result"]
        if result and int(result[0]["value"][1]) == count:
            return
        time.sleep(0.5)
    raise Stopped(f"Prometheus does not have {count} series within two minutes")


def surroundings(
    running: ExitStack, home: Path, count: int, url: str, connect: Callable[[], PrometheusApi]
) -> Surroundings:
    """Return what a cycle of `count` series needs: a store on disk and a page, and no checkpoint by itself."""
    metrics = SelfMetrics(CollectorRegistry())
    api = connect()
    running.callback(api.close)
    return Surroundings(
        api=api,
        connect=connect,
        clock=time.time,
        store=running.enter_context(Store.open(home / "state", clock=time.time)),
        exposition=Exposition(metrics.registry),
        board=AlertBoard(),
        metrics=metrics,
        alerting=AlertingSettings(),
        external_labels={},
        utf8_labels=False,
        source_url=url,
        query_offset=0.0,
        checkpoint_interval=1e9,
        room=lambda: count,
    )


@contextmanager
def cpu(pid: int | None = None) -> Iterator[list[float]]:
    """Measure the CPU seconds of this process, or of another one."""
    begin = _seconds(pid)
    spent: list[float] = []
    yield spent
    spent.append(_seconds(pid) - begin)


def _seconds(pid: int | None) -> float:
    if pid is None:
        return time.process_time()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
