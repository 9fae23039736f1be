"""How much sooner a backtest ends with more processes; the reports are compared, too."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import yaml

from benchmarks.sources import NAME, with_history

__all__ = ["main"]


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    flags.add_argument("--queries", type=int, default=4)
    flags.add_argument("--series", type=int, default=100)
    flags.add_argument("--days", type=int, default=2, help="that are judged, after a week of history")
    flags.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = flags.parse_args()
    with tempfile.TemporaryDirectory() as home, ExitStack() as running:
        server = with_history(running, Path(home), args.series, days=7 + args.days, step=300.0)
        queries = [{"name": f"q{at}", "expr": f"{NAME} + {at}", "alert": {}} for at in range(args.queries)]
        content = {
            "prometheus": {"url": server.url},
            "global": {"interval": "5m"},
            "baseline": {"window": "7d"},
            "queries": queries,
        }
        config = Path(home) / "config.yaml"
        config.write_text(yaml.safe_dump(content))
        end = time.time() // 300.0 * 300.0 - 600.0
        reports = {_run(config, end - args.days * 86400.0, end, args, workers) for workers in args.workers}
    print("the reports are equal" if len(reports) == 1 else "the reports differ")
    return int(len(reports) != 1)


def _run(config: Path, start: float, end: float, args: argparse.Namespace, workers: int) -> str:
    command = [sys.executable, "-m", "exporter", "backtest", f"--config.file={config}", f"--from={start}"]
    command += [f"--to={end}", "--format=json", f"--workers={workers}"]
    before, begin = os.times(), time.perf_counter()
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after, took = os.times(), time.perf_counter() - begin
    used = after.children_user + after.children_system - before.children_user - before.children_system
    slots = args.queries * args.days * 288
    print(
        f"{args.queries} queries of {args.series} series, {slots:,} slots after a week of history, {workers} workers: "
        f"{took:.1f} s, CPU {used:.1f} s"
    )
    return report


if __name__ == "__main__":
    sys.exit(main())
