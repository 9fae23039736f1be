"""How cost grows with the number of series, and what a hundred million of them would take, from the slopes.

A real Prometheus and the cycle of the daemon, as `benchmarks.cycle`; a million series by the engine alone. The plan is
arithmetic: fixed cost and slope are fitted to what was measured here, and what is assumed is printed with it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cycle import CycleCost, measure
from benchmarks.engine import step_seconds
from demo.servers import Stopped
from exporter.cli.allocator import keep_freed_memory

__all__ = ["main"]

MINUTE = 60.0
BESIDE = 3072
"""Bytes of a series beside its learned arrays, as the daemon counts: labels, verdict, page, its part of an answer."""
SHARD = 500_000
"""Series of a shard in the plan."""
GAUGES = 6
"""Rows of a series on /metrics."""
SCRAPED = 1.1e-6
"""Seconds of CPU that Prometheus takes for a scraped sample: `benchmarks.rules`, where it asks for nothing else."""


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[10, 100, 1_000, 10_000, 100_000])
    flags.add_argument("--cycles", type=int, default=12)
    flags.add_argument("--engine", type=int, default=1_000_000, metavar="N", help="series of the engine alone; 0: none")
    args = flags.parse_args()
    keep_freed_memory()  # As the daemon does.
    costs = []
    for count in args.series:
        with tempfile.TemporaryDirectory() as home, ExitStack() as running:
            try:
                costs.append(measure(running, Path(home), count, args.cycles))
            except Stopped as fault:
                print(fault)
                return 1
    console = Console(width=120)
    console.print(_growth(costs))
    if args.engine:
        mean, worst = step_seconds(args.engine, instants=12, before=12)
        each = 1e6 * mean / args.engine
        alone = f"{args.engine:,} series, the engine alone: {mean:.2f} s an instant, {each:.2f} us a series"
        console.print(f"{alone}, worst {worst:.2f} s", soft_wrap=True)
    _plan(console, costs)
    return 0


def _growth(costs: list[CycleCost]) -> Table:
    table = Table(title="one cycle, mean", title_justify="left")
    for name in ("series", "ours, CPU ms", "us a series", "worst / mean", "Prometheus, CPU ms", "ours / Prometheus'",
                 "answer B a series", "page B a series", "learned B a series"):  # fmt: skip
        table.add_column(name, justify="right")
    for cost in costs:
        table.add_row(
            f"{cost.series:,}",
            f"{1e3 * cost.ours:.2f}",
            f"{1e6 * cost.ours / cost.series:.2f}",
            f"{cost.worst / cost.ours:.1f}",
            f"{1e3 * cost.theirs:.2f}",
            f"{cost.ours / cost.theirs:.2f}",
            f"{cost.answer / cost.series:.0f}",
            f"{cost.page / cost.series:.0f}",
            f"{cost.row_bytes:.0f}",
        )
    return table


def slope(counts: list[int], values: list[float]) -> tuple[float, float]:
    """Return fixed cost and cost a series, by least squares of relative errors.

    >>> fixed, each = slope([10, 1000, 100000], [1.01, 2.0, 101.0])
    >>> round(fixed, 3), round(each, 5)
    (1.0, 0.001)
    """
    weights = 1.0 / np.array(values)
    matrix = np.stack([np.ones(len(counts)), np.array(counts, float)], axis=1) * weights[:, None]
    (fixed, each), *_ = np.linalg.lstsq(matrix, np.ones(len(counts)), rcond=None)
    return float(fixed), float(each)


def _plan(console: Console, costs: list[CycleCost]) -> None:
    counts, largest = [cost.series for cost in costs], costs[-1]
    fixed, ours = slope(counts, [cost.ours for cost in costs])
    _, theirs = slope(counts, [cost.theirs for cost in costs])
    memory = largest.row_bytes + BESIDE
    answer, page = largest.answer / largest.series, largest.page / largest.series
    cycle = f"a cycle is {1e3 * fixed:.1f} ms and {1e6 * ours:.2f} us a series; Prometheus' query {1e6 * theirs:.2f} us"
    sizes = f"{memory / 1e3:.1f} kB of memory, {answer:.0f} bytes of an answer and {page:.0f} of a scrape (gzip)"
    console.print(f"\n{cycle}; a series takes {sizes}", soft_wrap=True)
    table = Table(title=f"every minute, shards of {SHARD:,} series, each query in one of them", title_justify="left")
    for name in ("series", "shards", "our cores", "memory, GB", "Prometheus: cores for queries", "for scrapes",
                 "head series", "network, MB/s"):  # fmt: skip
        table.add_column(name, justify="right")
    for series in (100_000, 1_000_000, 10_000_000, 100_000_000):
        shards = math.ceil(series / SHARD)
        table.add_row(
            f"{series:,}",
            f"{shards:,}",
            f"{(fixed * shards + ours * series) / MINUTE:.2f}",
            f"{memory * series / 1e9:,.0f}" if series >= 1e6 else f"{memory * series / 1e9:.1f}",
            f"{theirs * series / MINUTE:.2f}",
            f"{GAUGES * SCRAPED * series / MINUTE:.2f}",
            f"{GAUGES * series:,}",
            f"{(answer + page) * series / MINUTE / 1e6:,.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
