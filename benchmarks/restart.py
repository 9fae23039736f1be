"""How long a restart takes: the daemon with so many learned series, ended by SIGTERM and by SIGKILL.

Series are judged at the next slot, up to 15 seconds after the state is there.
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
from datetime import datetime
from pathlib import Path

from benchmarks.sources import NAME, cpu, memory, scraped
from demo.servers import Process, Stopped, ask, exporter, free_port

__all__ = ["main"]

INTERVAL = 15
RESTORED = "learned state restored"


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    flags.add_argument("--series", type=int, default=100_000)
    args = flags.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        home = Path(name)
        source = scraped(running, home, args.series)
        config = home / "config.yaml"
        query = {"name": "bench", "expr": NAME, "interval": f"{INTERVAL}s", "max_series": 2 * args.series}
        config.write_text(
            json.dumps(
                {
                    "prometheus": {"url": source.url},
                    "baseline": {"window": "1d", "min_history": "1h"},
                    "queries": [query],
                }
            )
        )
        for how in ("the first start", "after SIGTERM", "after SIGKILL"):
            begin, started = time.monotonic(), time.time()
            daemon = exporter(home, config, free_port())
            running.callback(daemon.stop)
            with cpu(daemon.pid) as spent:
                daemon.wait(seconds=120.0)
                ready = time.monotonic() - begin
                _wait(daemon, args.series)
            judged = time.monotonic() - begin
            restored = [_instant(line) - started for line in daemon.log.read_text().splitlines() if RESTORED in line]
            print(
                f"{how}: ready after {ready:.1f} s, "
                + (f"state restored after {restored[0]:.1f} s, " if restored else "")
                + f"all {args.series:,} series judged after {judged:.1f} s, "
                f"CPU {spent[0]:.1f} s, resident {memory(daemon.pid) / 2**20:.0f} MiB "
                f"({memory(daemon.pid) / args.series:.0f} bytes a series)"
            )
            if how == "the first start":
                daemon.stop(60.0)
            else:
                os.kill(daemon.pid, signal.SIGKILL)
                daemon.stop()
    return 0


def _instant(line: str) -> float:
    return datetime.fromisoformat(line.partition("ts=")[2].partition(" ")[0]).timestamp()


def _wait(daemon: Process, count: int) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        page = ask(daemon.url + "/metrics")
        lines = [line for line in page.splitlines() if line.startswith("anomaly_exporter_series{")]
        if sum(float(line.rpartition(" ")[2]) for line in lines if "no_data" not in line) >= count:
            return
        time.sleep(0.2)
    raise Stopped("the series were not judged within three minutes")


if __name__ == "__main__":
    sys.exit(main())
