"""What a cycle costs, beside what Prometheus needs to answer its query. `make bench`.

A real Prometheus scrapes a page of so many series; then the cycle of the daemon (not a copy of it) runs slot
after slot, with its store on disk and its page rendered, and the CPU seconds of both processes are compared.
Slots follow each other at once, so the values are moved a little from one to the next.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sources import NAME, cpu, evaluation_context, scraped
from demo.servers import Process, Stopped
from exporter.alerting.alert import Step
from exporter.cli.allocator import keep_freed_memory
from exporter.config.model import Config
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.exposition import SelfMetrics
from exporter.prometheus import Frame, PrometheusApi
from exporter.prometheus.decode import LabelCheck, decode_response, decode_vector
from exporter.prometheus.repeated_answer import answer_ends, repeated_samples
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["CycleCost", "main", "measure"]

PHASES = ("fetch", "score", "judge", "commit", "publish")
INTERVAL = 15.0
"""Seconds between cycles; a scrape answers for five minutes."""
PER_CHECKPOINT = 15
"""Cycles between two checkpoints with the default settings: every 15 minutes, once a minute."""


@dataclass(frozen=True, slots=True)
class CycleCost:
    """What one cycle costs, with its part of a checkpoint.

    Attributes
    ----------
    ours, worst, theirs : float, seconds of CPU
        Of the exporter, in the mean and in the worst cycle, and of Prometheus for the query.
    answer, page : int
        Bytes of an answer and of a scrape, compressed.
    row_bytes : float
        Bytes of learned arrays a series.
    table : Table
        All of it in phases.
    """

    series: int
    ours: float
    worst: float
    theirs: float
    answer: int
    page: int
    row_bytes: float
    table: Table


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.cycle", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    flags.add_argument(
        "--cycles", type=int, default=12, help="cycles that are counted, after two that are not; 12 are a block"
    )
    flags.add_argument("--plot", type=Path, metavar="FILE", help="draw how it grows with the number of series, as SVG")
    args = flags.parse_args()
    keep_freed_memory()  # As the daemon does.
    console = Console(width=120)
    costs: list[tuple[int, float, float]] = []
    for count in args.series:
        with tempfile.TemporaryDirectory() as home, ExitStack() as running:
            try:
                cost = measure(running, Path(home), count, args.cycles)
                console.print(cost.table)
                costs.append((count, cost.ours, cost.theirs))
            except Stopped as fault:
                console.print(f"[red]{fault}")
                return 1
    if args.plot is not None:
        _plot(costs, args.plot)
    return 0


class _Moving(PrometheusApi):
    """Answers that are other ones in every slot, as they would be after a scrape."""

    _rng = np.random.default_rng(0)

    def instant(self, expr: str, at: float, *, timeout: float, **more: Any) -> Frame:
        frame = super().instant(expr, at, timeout=timeout, **more)
        return replace(frame, values=frame.values * self._rng.normal(1.0, 0.05, len(frame.values)))


def _plot(costs: list[tuple[int, float, float]], file: Path) -> None:
    from matplotlib.figure import Figure

    counts, ours, theirs = zip(*costs, strict=True)
    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.loglog(counts, [1000 * seconds for seconds in theirs], "o--", label="Prometheus, for the query")
    axes.loglog(counts, [1000 * seconds for seconds in ours], "o-", label="anomaly-exporter, everything")
    axes.set_xlabel("series")
    axes.set_ylabel("CPU, ms a cycle")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})


def measure(running: ExitStack, home: Path, count: int, cycles: int) -> CycleCost:
    """Run cycles over so many series of a Prometheus of its own."""
    server = scraped(running, home, count)
    connect = partial(_Moving, PrometheusSettings(url=server.url), user_agent="benchmark")
    first = float(int(time.time()) + 1)
    # Nobody waits for a slot to come: the clock is as late as the slot.
    late = [first]
    context = evaluation_context(running, home, count, server.url, connect)
    context = replace(context, ports=replace(context.ports, clock=lambda: late[0]))
    query = {"name": "bench", "expr": NAME, "interval": "15s", "alert": {}}
    config = Config.model_validate({"queries": [query], "limits": {"max_series_per_query": 2 * count}})
    cycle = QueryEvaluator(config.plans()[0], context, Step(alerts={}), started=time.time())
    decode = _decode_seconds(server)
    # Without history: what is measured is a slot. The last scrape answers for some minutes to come.
    cycle.ready = True
    cycle.learner.engine.at = first - INTERVAL

    spent: dict[str, list[float]] = {phase: [] for phase in PHASES}
    ours, theirs, scrapes = [], [], []
    checkpoint = 0.0
    for number in range(cycles + 2):
        before = _phases(context.ports.metrics)
        late[0] = first + INTERVAL * number
        with cpu() as us:
            cycle.run(late[0])
        after = _phases(context.ports.metrics)
        begin = time.perf_counter()
        assert context.ports.exposition.page().fragments, "nothing was scored"
        sum(len(piece) for piece in context.ports.exposition.scrape("", "gzip").body)
        scrape = time.perf_counter() - begin
        with cpu(server.pid) as them:
            for _ in range(3):
                with urllib.request.urlopen(f"{server.url}/api/v1/query?query={NAME}", timeout=60) as answer:
                    answer.read()
        if number >= 2:
            ours.append(us[0])
            theirs.append(them[0] / 3)
            scrapes.append(scrape)
            for phase in PHASES:
                spent[phase].append(after.get(phase, 0.0) - before.get(phase, 0.0))
        if number in (0, cycles):
            # The first one writes all; the second one what changes in a block.
            with cpu() as written:
                cycle.learner.checkpoint()
            checkpoint = written[0]

    cost, reference = statistics.fmean(ours) + checkpoint / PER_CHECKPOINT, statistics.fmean(theirs)
    table = Table("", "ms", title=f"{count:,} series, one cycle (mean of {cycles})", title_justify="left")
    table.columns[1].justify = "right"
    for phase in PHASES:
        table.add_row(f"{phase} (wall)", f"{1000 * statistics.fmean(spent[phase]):.1f}")
        if phase == "fetch":
            table.add_row("  of that decode", f"{1000 * decode:.1f}")
    table.add_row("our CPU, all phases", f"{1000 * statistics.fmean(ours):.1f}")
    table.add_row("the same in the worst cycle", f"{1000 * max(ours):.1f}")
    table.add_row(f"a checkpoint (CPU), one in {PER_CHECKPOINT} cycles", f"{1000 * checkpoint:.1f}")
    table.add_row("Prometheus' CPU for the query", f"{1000 * reference:.1f}")
    table.add_row("ours with its part of a checkpoint / Prometheus'", f"{cost / reference:.2f}")
    table.add_row("scrape of /metrics, gzip (wall)", f"{1000 * statistics.median(scrapes):.1f}")
    table.add_row("state on disk, bytes a series", f"{context.ports.store.size_bytes() / count:.0f}")
    table.add_row("learned arrays in memory, bytes a series", f"{cycle.learner.engine.bytes_per_series:.0f}")
    page = sum(len(piece) for piece in context.ports.exposition.scrape("", "gzip").body)
    row_bytes = cycle.learner.engine.bytes_per_series
    return CycleCost(count, cost, max(ours), reference, _answer_bytes(server), page, row_bytes, table)


def _answer_bytes(server: Process) -> int:
    request = urllib.request.Request(f"{server.url}/api/v1/query?query={NAME}", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return len(answer.read())


def _decode_seconds(server: Process) -> float:
    """Return how long it takes to decode one answer that has the rows of another, the best of three."""
    with urllib.request.urlopen(f"{server.url}/api/v1/query?query={NAME}", timeout=30) as answer:
        body = answer.read()
    keys, spent = decode_vector(decode_response(body).data, LabelCheck()).keys, []
    ends = answer_ends(body, keys)
    assert ends is not None
    for _ in range(3):
        begin = time.perf_counter()
        assert repeated_samples(body, keys, ends) is not None
        spent.append(time.perf_counter() - begin)
    return min(spent)


def _phases(metrics: SelfMetrics) -> dict[str, float]:
    return {
        sample.labels["phase"]: sample.value
        for family in metrics.cycle_duration_seconds.collect()
        for sample in family.samples
        if sample.name.endswith("_sum")
    }


if __name__ == "__main__":
    sys.exit(main())
