"""What bands by recording rules cost Prometheus, beside what it costs to ask for the series and judge them here.

The rules do, in our own words, what Grafana's adaptive rules do: a mean and a standard deviation of the last
hour, smoothed over a day, a band around them, a band around the same time yesterday, and the wider of the two.
Nine series are recorded for each one: five every minute, four every five minutes.

All in one Prometheus, one after the other: alone, with the exporter that asks for the series and is scraped, with
the rules instead. To be done in a bearable time ten seconds stand for a minute, for scrapes, rules and the exporter;
what the exporter does without any cycle is measured apart, and counted for a whole minute.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.sources import NAME, cpu, served, with_history
from demo.servers import Process, Stopped, ask, exporter, free_port

__all__ = ["main"]

MINUTE = 10
BLOCK = 12
"""Cycles until everything that a cycle may do has been done once."""
MEAN, SPREAD = f"{NAME}:avg_1h", f"{NAME}:stddev_1h"
EVERY_MINUTE = {
    MEAN: f"avg_over_time({NAME}[1h])",
    SPREAD: f"stddev_over_time({NAME}[1h]) > 0.01 * abs(avg_over_time({NAME}[1h]))",
    f"{NAME}:stddev_st": f"avg_over_time({SPREAD}[26h])",
    f"{NAME}:upper_st": f"{MEAN} + 2 * avg_over_time({SPREAD}[26h])",
    f"{NAME}:lower_st": f"{MEAN} - 2 * avg_over_time({SPREAD}[26h])",
}
EVERY_FIVE = {
    f"{NAME}:upper_lt": f"max_over_time({MEAN}[1h] offset 23h30m) + 2 * max_over_time({SPREAD}[1h] offset 23h30m)",
    f"{NAME}:lower_lt": f"min_over_time({MEAN}[1h] offset 23h30m) - 2 * max_over_time({SPREAD}[1h] offset 23h30m)",
    f"{NAME}:upper": f"{NAME}:upper_st > {NAME}:upper_lt or {NAME}:upper_lt",
    f"{NAME}:lower": f"{NAME}:lower_st < {NAME}:lower_lt or {NAME}:lower_lt",
}


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[1_000, 4_000])
    flags.add_argument("--minutes", type=int, default=BLOCK, help="minutes that are counted, after two that are not")
    args = flags.parse_args()
    for count in args.series:
        with tempfile.TemporaryDirectory() as home, ExitStack() as running:
            try:
                _measure(running, Path(home), count, args.minutes)
            except Stopped as fault:
                print(fault)
                return 1
    return 0


def _measure(running: ExitStack, home: Path, count: int, minutes: int) -> None:
    source, port = _source(running, count), free_port()
    jobs = [
        {"job_name": "bench", "static_configs": [{"targets": [source]}]},
        {"job_name": "scores", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
    ]
    file = home / "rules.yml"
    file.write_text("{}")
    config = {
        "global": {"scrape_interval": f"{MINUTE}s", "scrape_timeout": f"{MINUTE}s"},
        "scrape_configs": jobs,
        "rule_files": [str(file)],
    }
    server = with_history(
        running, home, count, days=26 / 24, step=60.0, names=(NAME, MEAN, SPREAD),
        labels=f',instance="{source}",job="bench"', config=config,
    )  # fmt: skip
    time.sleep(2 * MINUTE)
    idle, _ = _minute(server, None, minutes)

    # Where nobody scrapes it: a scrape is part of a minute as a cycle is.
    daemon = _exporter(running, home, server, free_port(), every=3600)
    time.sleep(2 * MINUTE)
    _, waiting = _minute(server, daemon, max(1, minutes // 2))
    daemon.stop(60.0)
    daemon = _exporter(running, home, server, port, every=MINUTE)
    _judged(daemon, count)
    asked, judged = _minute(server, daemon, minutes)
    daemon.stop(60.0)
    asked, judged = max(0.0, asked - idle), judged + waiting * (60 / MINUTE - 1)

    file.write_text(json.dumps(_rules()))
    os.kill(server.pid, signal.SIGHUP)
    time.sleep(5 * MINUTE)  # The first evaluations fill caches.
    ruled = _minute(server, None, max(1, minutes // 5 * 5))[0] - idle
    print(
        f"{count:,} series, CPU ms a minute: recording rules {1000 * ruled:.1f} ({1000 * ruled / count:.3f} a series); "
        f"Prometheus asked for them and scraping us {1000 * asked:.1f} + the exporter {1000 * judged:.1f}, of that "
        f"{1000 * waiting * 60 / MINUTE:.1f} without any cycle; ratio 1/{ruled / (asked + judged):.0f}"
    )


def _source(running: ExitStack, count: int) -> str:
    """Serve the series as they go on, and return the address."""
    rng = np.random.default_rng(1)

    def page() -> str:
        values = (50.0 + 2.0 * rng.standard_normal(count)).tolist()
        rows = "".join(f'{NAME}{{item="{i}"}} {value!r}\n' for i, value in enumerate(values))
        return f"# TYPE {NAME} gauge\n{rows}"

    return served(running, page)


def _minute(server: Process, daemon: Process | None, minutes: int) -> tuple[float, float]:
    """Return the CPU seconds a minute of Prometheus and of the exporter."""
    with cpu(server.pid) as theirs, cpu(server.pid if daemon is None else daemon.pid) as ours:
        time.sleep(minutes * MINUTE)
    return theirs[0] / minutes, ours[0] / minutes


def _exporter(running: ExitStack, home: Path, server: Process, port: int, *, every: int) -> Process:
    config = home / "config.yaml"
    query = {"name": "bench", "expr": NAME, "interval": f"{every}s"}
    whole = {
        "prometheus": {"url": server.url},
        "baseline": {"window": "1d", "min_history": "1h"},
        "storage": {"checkpoint_interval": f"{15 * MINUTE}s"},
        "queries": [query],
    }
    config.write_text(json.dumps(whole))
    daemon = exporter(home, config, port)
    running.callback(daemon.stop)
    daemon.wait()
    return daemon


def _judged(daemon: Process, count: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if ask(daemon.url + "/metrics").count("anomaly_score{") >= count:
            return
        time.sleep(1.0)
    raise Stopped("the series were not judged within two minutes")


def _rules() -> dict[str, object]:
    def group(name: str, interval: int, rules: dict[str, str]) -> dict[str, object]:
        return {
            "name": name,
            "interval": f"{interval}s",
            "rules": [{"record": record, "expr": expr} for record, expr in rules.items()],
        }

    return {"groups": [group("minute", MINUTE, EVERY_MINUTE), group("five", 5 * MINUTE, EVERY_FIVE)]}


if __name__ == "__main__":
    sys.exit(main())
