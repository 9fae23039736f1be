"""What bands by recording rules cost Prometheus, beside what it costs to ask for the series and judge them here.

The rules do, in our own words, what Grafana's adaptive rules do: a mean and a standard deviation of the last
hour, smoothed over a day, a band around them, a band around the same time yesterday, and the wider of the two.
Nine series are recorded for each one: five every minute, four every five minutes. To be done in a bearable time,
fifteen seconds stand for a minute, for the rules and for the exporter.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.sources import NAME, cpu, with_history
from demo.servers import Process, exporter, free_port

__all__ = ["main"]

MINUTE = 15
MINUTES = 5
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
    flags.add_argument("--series", type=int, nargs="+", default=[500, 2_000])
    args = flags.parse_args()
    for count in args.series:
        idle = _prometheus(count, rules=None)[0]
        ruled = _prometheus(count, rules=_rules())[0] - idle
        asked, judged = _prometheus(count, rules=None, ask=True)
        asked = max(0.0, asked - idle)
        print(
            f"{count:,} series, CPU ms a minute: recording rules {1000 * ruled:.1f} "
            f"({1000 * ruled / count:.3f} a series); "
            f"asked for {1000 * asked:.1f} + judged by the exporter {1000 * judged:.1f} "
            f"({1000 * (asked + judged) / count:.4f} a series); ratio 1/{ruled / (asked + judged):.0f}"
        )
    return 0


def _rules() -> dict[str, object]:
    def group(name: str, interval: int, rules: dict[str, str]) -> dict[str, object]:
        return {
            "name": name,
            "interval": f"{interval}s",
            "rules": [{"record": record, "expr": expr} for record, expr in rules.items()],
        }

    return {"groups": [group("minute", MINUTE, EVERY_MINUTE), group("five", 5 * MINUTE, EVERY_FIVE)]}


def _prometheus(count: int, *, rules: dict[str, object] | None, ask: bool = False) -> tuple[float, float]:
    """Return the CPU seconds a minute of Prometheus and of the exporter."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as name:
        home = Path(name)
        names = (NAME, MEAN, SPREAD)
        server = with_history(running, home, count, days=26 / 24, step=60.0, names=names, rules=rules)
        daemon = _exporter(running, home, server) if ask else None
        time.sleep(5 * MINUTE)  # The first evaluations fill caches.
        with cpu(server.pid) as theirs, cpu(server.pid if daemon is None else daemon.pid) as ours:
            time.sleep(MINUTES * MINUTE)
        return theirs[0] / MINUTES, 0.0 if daemon is None else ours[0] / MINUTES


def _exporter(running: ExitStack, home: Path, server: Process) -> Process:
    config = home / "config.yaml"
    # History stands still, as it does for the rules: the newest sample is found for an hour.
    query = {"name": "bench", "expr": f"last_over_time({NAME}[1h])", "interval": f"{MINUTE}s"}
    baseline = {"window": "1d", "min_history": "1h"}
    config.write_text(json.dumps({"prometheus": {"url": server.url}, "baseline": baseline, "queries": [query]}))
    daemon = exporter(home, config, free_port())
    running.callback(daemon.stop)
    daemon.wait()
    return daemon


if __name__ == "__main__":
    sys.exit(main())
