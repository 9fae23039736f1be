"""What the history of many small queries costs: learned by each alone, and in passes that they share."""

from __future__ import annotations

import argparse
import sys
import time
from zoneinfo import ZoneInfo

import numpy as np

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.together import EngineRun, run_together

__all__ = ["main"]

MONDAY, STEP, CHUNK = 1_760_313_600.0, 300.0, 480


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.together", description=__doc__)
    flags.add_argument("--queries", type=int, default=45)
    flags.add_argument("--series", type=int, default=6, help="series of each")
    flags.add_argument("--days", type=int, default=10)
    args = flags.parse_args()
    instants = args.days * 288 // CHUNK * CHUNK
    alone = _learn(1, args.series, instants)
    together = _learn(args.queries, args.series, instants)
    month = 30 * 288 / instants
    print(
        f"{args.queries} queries of {args.series} series, 30 days at 5 minutes, CPU: "
        f"{month * args.queries * alone:.0f} s one after the other ({month * alone:.1f} s each), "
        f"{month * together:.1f} s together"
    )
    return 0


def _learn(queries: int, series: int, instants: int) -> float:
    """Return the processor time for so many instants."""
    rng = np.random.default_rng(1)
    times = MONDAY + STEP * np.arange(instants)
    daily = 10.0 + np.sin(times[:, None] / 86400.0 * 2 * np.pi)
    runs = []
    for number in range(queries):
        settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), min_deviation=0.01 * number)
        engine = Engine(settings)
        samples = daily + 0.3 * rng.standard_normal((instants, series))
        engine.align([b'{"a":"%d-%d"}' % (number, index) for index in range(series)], samples[0], MONDAY)
        runs.append((engine, samples))
    begin = time.process_time()
    for first in range(0, instants, CHUNK):
        part = slice(first, first + CHUNK)
        run_together([EngineRun(engine, times[part], samples[part], STEP) for engine, samples in runs])
    return time.process_time() - begin


if __name__ == "__main__":
    sys.exit(main())
