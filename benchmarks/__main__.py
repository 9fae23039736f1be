"""Run what docs/performance.md says, and write it: `python -m benchmarks`. An hour on a machine that is idle.

`python -m benchmarks NAME ...` runs only these and keeps the rest of the page.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

__all__ = ["main"]

PAGE = Path("docs/performance.md")
PLOT = Path("docs/performance.svg")
RUNS = (
    ("A cycle", "cycle", ["--plot", str(PLOT)],
     "Fetch, decode, score, learn, judge, commit and render, beside the CPU that Prometheus needs for the query."),
    ("From ten series to a hundred million", "capacity", ["--engine", "0", "--series", "10", "100", "1000", "10000"],
     "One cycle at every size, and what more would take, from the slopes: [the plan in words](scaling.md#how-many)."),
    ("Recording rules", "rules", [],
     "Bands by recording rules, as Grafana's adaptive rules make them, beside asking, judging and being scraped."),
    ("Tools that fit each series", "per_series", [], "Prophet and statsmodels, as one would call them in a loop."),
    ("STL of all series", "stl", [], "The decomposition as one map, beside statsmodels' own loop."),
    ("The engine alone", "engine", [], "The default detectors, without Prometheus, page and store."),
    ("A million series", "engine", ["--series", "1000000", "--instants", "24", "--alone", "0"],
     "The same for a million series: the mean is a cycle, the worst one ends a block."),
    ("History", "backfill", [], "Learning from history, beside downloading the same answers and dropping them."),
    ("Backtests by several processes", "workers", [],
     "The same backtest by one process and by two, on two cores: [workers](workers.md)."),
    ("Backtests of fine slots", "backtest", ["--days", "1"],
     "Ten queries at ten seconds, after four weeks of history; seven days are seven times the slots."),
    ("Small queries", "together", [], "The first start of many small queries: each alone, and in passes they share."),
    ("Likely causes", "causes", [], "Faults in 41 services that call each other: how often the one at fault is first."),
    ("Drill-down", "drill_down", [], "Label values that carry a change, in cubes of 80,000 leaves."),
    ("False alerts, stated and seen", "false_alerts", [],
     "What queries state of the weeks to come, and what comes: [budgets](budget.md#how-many-false-alerts-to-expect)."),
    ("Forecasts", "forecast", [], "What forecasts cost, and disks that fill beside the rule that most people have."),
    ("Scrapes", "scrape", [], "`/metrics`, beside prometheus-client's own rendering."),
    ("Restart", "restart", [], "The daemon with its state, ended and started again."),
)  # fmt: skip


def main() -> int:
    """Run them and write the page; returns the exit code."""
    chosen = sys.argv[1:]
    before, failed = _blocks(), False
    text = [
        "# Performance",
        "",
        "Written by `python -m benchmarks`; every block is what the command above it printed. Ratios are measured side",
        "by side in one run; seconds are those of the machine.",
        "",
        f"{_processor()}, Python {platform.python_version()}, NumPy {np.__version__}.",
        "",
        f"![How the cost of a cycle grows with the number of series]({PLOT.name})",
    ]
    for title, module, flags, about in RUNS:
        command = " ".join(["python -m", f"benchmarks.{module}", *flags])
        output = before.get(command, "")
        if not chosen or module in chosen:
            print(command, flush=True)
            run = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{module}", *flags], capture_output=True, text=True, check=False
            )
            if run.returncode:
                # The others are worth having; what it said before stays.
                print(run.stdout + run.stderr)
                failed = True
            else:
                output = run.stdout.strip()
        if output:
            text += ["", f"## {title}", "", about, "", "```console", f"$ {command}", output, "```"]
    PAGE.write_text("\n".join([*text, ""]))
    return int(failed)


def _blocks() -> dict[str, str]:
    """Return what the page has, by command."""
    blocks = PAGE.read_text().split("```console\n$ ")[1:] if PAGE.exists() else []
    parts = [block.partition("\n```")[0].partition("\n") for block in blocks]
    return {command: output for command, _, output in parts}


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} cores ({names[0].partition(': ')[2]})" if names else f"{platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
