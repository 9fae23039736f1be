"""What several benchmarks need: a Prometheus with so many series, with history, and meters."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from demo.servers import Process, Stopped, ask, find, free_port, prometheus, target
from exporter.alerting.settings import AlertingSettings
from exporter.config.model import LimitsSettings
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots
from exporter.evaluation.admission import Admission
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.exposition import Exposition, SelfMetrics
from exporter.multivariate.groups import Groups
from exporter.prometheus import PrometheusApi
from exporter.store import Store
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["NAME", "cpu", "cpu_seconds", "memory", "scraped", "served", "evaluation_context", "with_history"]

NAME = "bench_load"


def scraped(running: ExitStack, home: Path, count: int) -> Process:
    """Start a Prometheus that has scraped `count` series and goes on scraping them."""
    rows = [f'{NAME}{{path="/api/v1/item/{i}",pod="web-{i % 997}",zone="z{i % 3}"}} ' for i in range(count)]
    # Fractions of all lengths, as rates have them; the same ones at every scrape, so that the source costs nothing.
    values = np.random.default_rng(0).lognormal(3.0, 2.0, count).tolist()
    lines = "".join(f"{row}{value!r}\n" for row, value in zip(rows, values, strict=True))
    page = f"# TYPE {NAME} gauge\n{lines}"
    scrape = {"job_name": "bench", "static_configs": [{"targets": [served(running, lambda: page)]}]}
    # Many take some seconds; a few need not be waited for.
    seconds = 15 if count > 10_000 else 2
    every = {"scrape_interval": f"{seconds}s", "scrape_timeout": f"{seconds}s"}
    config = {"global": every, "scrape_configs": [scrape]}
    server = _started(running, prometheus(home, home / "prometheus", config, free_port()))
    _wait(server, f"count({NAME})", count)
    return server


def served(running: ExitStack, page: Callable[[], str]) -> str:
    """Serve a page of metrics, and return the address."""
    port = free_port()
    server = target(page, port)
    running.callback(server.server_close)
    running.callback(server.shutdown)
    return f"127.0.0.1:{port}"


def with_history(
    running: ExitStack,
    home: Path,
    count: int,
    *,
    days: float,
    step: float,
    names: Sequence[str] = (NAME,),
    labels: str = "",
    config: Mapping[str, object] | None = None,
) -> Process:
    """Start a Prometheus that has `days` of `count` series of each name up to now, one sample every `step` seconds.

    Parameters
    ----------
    labels : str
        Labels that all of them have, as they are written: ``,job="bench"``.
    config : mapping, optional
        What its configuration says beside the scrape interval.
    """
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
                row = f'{name}{{item="{i}"{labels}}}'
                out.writelines(f"{row} {v!r} {t}\n" for v, t in zip(values, times, strict=True))
        out.write("# EOF\n")
    subprocess.run(
        [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=1500h",
         str(text), str(data)], check=True, capture_output=True,
    )  # fmt: skip
    text.unlink()
    whole = {"global": {"scrape_interval": "15s"}, **(config or {})}
    server = _started(running, prometheus(home, data, whole, free_port()))
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


def evaluation_context(
    running: ExitStack, home: Path, count: int, url: str, connect: Callable[[], PrometheusApi]
) -> EvaluationContext:
    """Return what a cycle of `count` series needs: a store on disk and a page, and no checkpoint by itself."""
    metrics = SelfMetrics(CollectorRegistry())
    api = connect()
    running.callback(api.close)
    admission = Admission(lambda: (), metrics)
    admission.configure(LimitsSettings(max_series=count))
    settings = EvaluationSettings(
        alerting=AlertingSettings(),
        external_labels={},
        source_url=url,
        query_offset=0.0,
        checkpoint_interval=1e9,
        external_url="",
    )
    ports = Ports(
        api=api,
        connect=connect,
        clock=time.time,
        store=running.enter_context(Store.open(home / "state", clock=time.time)),
        exposition=Exposition(metrics.registry),
        alert_snapshots=AlertSnapshots(),
        metrics=metrics,
        admission=admission,
        masks=SampleMasks(ActiveEvents(), {}),
        feedback=None,
        groups=Groups(lambda _: 1.0),
        on_verdict=lambda *_: None,
        co_occurrence=CoOccurrence(),
        root_causes=RootCauses(),
    )
    return EvaluationContext(ports, settings)


@contextmanager
def cpu(pid: int | None = None) -> Iterator[list[float]]:
    """Measure the CPU seconds of this process, or of another one."""
    begin = cpu_seconds(pid)
    spent: list[float] = []
    yield spent
    spent.append(cpu_seconds(pid) - begin)


def cpu_seconds(pid: int | None = None) -> float:
    """Return the CPU seconds that this process, or another one, has spent so far."""
    # The clock of all threads of another process; /proc counts hundredths of a second. See clock_getcpuclockid(3).
    return time.process_time() if pid is None else time.clock_gettime(~pid << 3 | 2)


def memory(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
