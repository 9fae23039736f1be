"""What a cycle costs, beside what Prometheus needs to answer its query. `make bench`.

A real Prometheus scrapes a page of so many series; then the cycle of the daemon (not a copy of it) runs slot
after slot, with its store on disk and its page rendered, and the CPU seconds of both processes are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from demo.servers import Process, Stopped, ask, free_port, prometheus, target
from exporter.alerting.alert import Step
from exporter.alerting.settings import AlertingSettings
from exporter.alertmanager import AlertBoard
from exporter.config.model import Config
from exporter.cycle import Cycle, Surroundings
from exporter.exposition import Exposition, SelfMetrics
from exporter.prometheus import PrometheusApi
from exporter.prometheus.decode import LabelCheck, read_envelope, read_vector
from exporter.prometheus.settings import PrometheusSettings
from exporter.store import Store

__all__ = ["main"]

PHASES = ("fetch", "score", "judge", "commit", "publish", "checkpoint")
TICK = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.cycle", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000])
    flags.add_argument("--cycles", type=int, default=5, help="cycles that are counted, after two that are not")
    args = flags.parse_args()
    console = Console(width=120)
    for count in args.series:
        with ExitStack() as running, tempfile.TemporaryDirectory() as home:
            try:
                console.print(_measure(running, Path(home), count, args.cycles))
            except Stopped as fault:
                console.print(f"[red]{fault}")
                return 1
    return 0


def _measure(running: ExitStack, home: Path, count: int, cycles: int) -> Table:
    server = _start(running, home, count)
    metrics = SelfMetrics(CollectorRegistry())
    exposition = Exposition(metrics.registry)
    store = running.enter_context(Store.open(home / "state", clock=time.time))
    connect = partial(PrometheusApi, PrometheusSettings(url=server.url), user_agent="benchmark")
    api = connect()
    running.callback(api.close)
    around = Surroundings(
        api=api,
        connect=connect,
        clock=time.time,
        store=store,
        exposition=exposition,
        board=AlertBoard(),
        metrics=metrics,
        alerting=AlertingSettings(),
        external_labels={},
        utf8_labels=False,
        source_url=server.url,
        query_offset=0.0,
        checkpoint_interval=1.0,
        room=lambda: count,
    )
    query = {"name": "bench", "expr": "bench_load", "interval": "15s", "alert": {}}
    config = Config.model_validate({"queries": [query], "limits": {"max_series_per_query": 2 * count}})
    cycle = Cycle(config.plans()[0], around, Step(alerts={}), started=time.time())
    decode = _decode_seconds(server)
    # Without history: what is measured is a slot. The last scrape answers for some minutes to come.
    cycle.ready = True
    first = float(int(time.time()) + 1)
    cycle.learning.engine.at = first - 15.0

    spent: dict[str, list[float]] = {phase: [] for phase in PHASES}
    ours, theirs, scrapes = [], [], []
    for number in range(cycles + 2):
        before = _phases(metrics)
        with _cpu() as us:
            cycle.run(first + 15.0 * number)
        after = _phases(metrics)
        begin = time.perf_counter()
        assert exposition.page().fragments, "nothing was scored"
        sum(len(piece) for piece in exposition.scrape("", "gzip").body)
        scrape = time.perf_counter() - begin
        with _cpu(server.pid) as them:
            for _ in range(3):
                ask(f"{server.url}/api/v1/query?query=bench_load")
        if number >= 2:
            ours.append(us[0])
            theirs.append(them[0] / 3)
            scrapes.append(scrape)
            for phase in PHASES:
                spent[phase].append(after.get(phase, 0.0) - before.get(phase, 0.0))

    table = Table("", "ms", title=f"{count:,} series, one cycle (median of {cycles})", title_justify="left")
    table.columns[1].justify = "right"
    for phase in PHASES:
        table.add_row(f"{phase} (wall)", f"{1000 * statistics.median(spent[phase]):.1f}")
        if phase == "fetch":
            table.add_row("  of that decode", f"{1000 * decode:.1f}")
    table.add_row("our CPU, all phases", f"{1000 * statistics.median(ours):.1f}")
    table.add_row("Prometheus' CPU for the query", f"{1000 * statistics.median(theirs):.1f}")
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True) if b)
    table.add_row("ours / Prometheus'", f"{ratio:.2f}")
    table.add_row("scrape of /metrics, gzip (wall)", f"{1000 * statistics.median(scrapes):.1f}")
    table.add_row("state on disk, bytes a series", f"{store.size_bytes() / count:.0f}")
    table.add_row("learned arrays in memory, bytes a series", f"{cycle.learning.engine.bytes_per_series:.0f}")
    return table


def _start(running: ExitStack, home: Path, count: int) -> Process:
    """Start a Prometheus that has scraped `count` series."""
    rows = [f'bench_load{{path="/api/v1/item/{i}",pod="web-{i % 997}",zone="z{i % 3}"}} ' for i in range(count)]
    # Fractions of all lengths, as rates have them; the same ones at every scrape, so that the source costs nothing.
    values = np.random.default_rng(0).lognormal(3.0, 2.0, count).tolist()
    lines = "".join(f"{row}{value!r}\n" for row, value in zip(rows, values, strict=True))
    page = f"# TYPE bench_load gauge\n{lines}"
    port, own = free_port(), free_port()
    running.callback(target(lambda: page, port).shutdown)
    scrape = {"job_name": "bench", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = {"global": {"scrape_interval": "15s", "scrape_timeout": "14s"}, "scrape_configs": [scrape]}
    server = prometheus(home, home / "prometheus", config, own)
    running.callback(server.stop)
    server.wait()
    end = time.monotonic() + 120
    while time.monotonic() < end:
        result = ask(f"{server.url}/api/v1/query?query=count(bench_load)")["data"]["result"]
        if result and int(result[0]["value"][1]) == count:
            return server
        time.sleep(0.5)
    raise Stopped("Prometheus did not scrape all series within two minutes")


def _decode_seconds(server: Process) -> float:
    """Return how long it takes to decode one answer, the best of three."""
    with urllib.request.urlopen(f"{server.url}/api/v1/query?query=bench_load", timeout=30) as answer:
        body = answer.read()
    labels, spent = LabelCheck(), []
    for _ in range(3):
        begin = time.perf_counter()
        read_vector(read_envelope(body).data, labels)
        spent.append(time.perf_counter() - begin)
    return min(spent)


def _phases(metrics: SelfMetrics) -> dict[str, float]:
    return {
        sample.labels["phase"]: sample.value
        for family in metrics.cycle_duration_seconds.collect()
        for sample in family.samples
        if sample.name.endswith("_sum")
    }


@contextmanager
def _cpu(pid: int | None = None) -> Iterator[list[float]]:
    """Measure the CPU seconds of this process, or of another one."""

    def now() -> float:
        if pid is None:
            return time.process_time()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    begin = now()
    spent: list[float] = []
    yield spent
    spent.append(now() - begin)


if __name__ == "__main__":
    sys.exit(main())
