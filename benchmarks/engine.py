"""What the engine costs by itself: bytes a series, seconds an instant, instants a second of one series.

Samples are learned in blocks of twelve, so one instant in twelve is slower; both are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from zoneinfo import ZoneInfo

import numpy as np

from exporter.cli.allocator import keep_freed_memory
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

__all__ = ["main", "step_seconds"]

MONDAY = 1_760_313_600.0
MINUTE = 60.0


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    flags.add_argument("--series", type=int, default=100_000)
    flags.add_argument("--instants", type=int, default=120, help="instants that are counted, after 72 that are not")
    flags.add_argument("--alone", type=int, default=5_000, help="instants of one series; 0: not at all")
    args = flags.parse_args()
    keep_freed_memory()  # As the daemon does.
    _many(args.series, args.instants)
    if args.alone:
        _alone(args.alone)
    return 0


def _engine(count: int) -> tuple[Engine, list[bytes]]:
    settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), max_series=count)
    return Engine(settings), [b'{"series":"%d"}' % i for i in range(count)]


def _many(count: int, instants: int) -> None:
    engine, spent = _steps(count, instants + 72)
    counted = np.array(spent[72:])
    print(f"{count} series: {engine.bytes_per_series:.0f} bytes a series")
    print(
        f"seconds an instant: mean {counted.mean():.3f}, median {np.median(counted):.3f}, worst {counted.max():.3f}, "
        f"worst of the first 72 {max(spent[:72]):.3f}"
    )


def step_seconds(count: int, *, instants: int, before: int) -> tuple[float, float]:
    """Return the mean and the worst of some instants, after others that are not counted, in seconds."""
    spent = _steps(count, instants + before)[1][before:]
    return sum(spent) / len(spent), max(spent)


def _steps(count: int, instants: int) -> tuple[Engine, list[float]]:
    rng = np.random.default_rng(1)
    engine, keys = _engine(count)
    level = rng.uniform(1.0, 10.0, count)
    engine.align(keys, level, MONDAY)
    spent = []
    for index in range(instants):
        samples = level * (10.0 + np.sin(index / 50.0)) + rng.standard_normal(count)
        begin = time.perf_counter()
        engine.step(MONDAY + MINUTE * index, samples, MINUTE)
        spent.append(time.perf_counter() - begin)
    return engine, spent


def _alone(instants: int) -> None:
    rng = np.random.default_rng(1)
    for name, pieces in (("together", 1), ("one by one", instants)):
        engine, keys = _engine(1)
        times = MONDAY + 300.0 * np.arange(instants)
        samples = engine.align(keys, rng.standard_normal((instants, 1)), MONDAY).samples
        begin = time.perf_counter()
        for piece in np.array_split(np.arange(instants), pieces):
            engine.run(times[piece], samples[piece], 300.0)
        print(f"one series, {name}: {instants / (time.perf_counter() - begin):.0f} instants a second")


if __name__ == "__main__":
    sys.exit(main())
