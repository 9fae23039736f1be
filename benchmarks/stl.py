"""What a seasonal-trend decomposition costs: one matrix product for all series, beside statsmodels' loop over them.

``python -m benchmarks.stl``. Both decompose the same windows in the same run, and must agree.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from statsmodels.tsa.seasonal import MSTL, STL

from exporter.engine.baseline import BucketStats
from exporter.engine.detectors import DetectorState, SampleBatch
from exporter.engine.detectors.stl import WINDOW, Stl
from exporter.engine.stl_map import Season, decomposition

__all__ = ["main"]

HOUR = 3600.0
ROWS = 2048  # as the engine works on them
WEEKLY = (Season(168, 7),)
BOTH = (Season(24, 15), Season(168, 15))


def main() -> int:
    """Measure and print; returns the exit code: 1 where the two do not agree."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.stl", description=__doc__)
    flags.add_argument("--series", type=int, default=2000, help="windows that the matrix decomposes")
    flags.add_argument("--reference", type=int, default=20, help="windows that statsmodels decomposes")
    flags.add_argument("--live", type=int, default=100_000, help="series of the detector")
    arguments = flags.parse_args()
    console = Console(width=120)

    rng = np.random.default_rng(1)
    hours = np.arange(WINDOW)[:, None]
    windows = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + 5 * rng.standard_normal((WINDOW, arguments.series))
    some = windows[:, : arguments.reference].T.copy()

    table = Table("residuals of 672 hours", "built once", "matrix", "statsmodels", "ratio", "largest difference")
    furthest = 0.0
    for name, seasons, slow in (
        ("STL, period 168", WEEKLY, lambda y: STL(y, period=168, seasonal=7).fit().resid),
        ("STL by day and week", BOTH, lambda y: MSTL(y, periods=(24, 168), windows=(15, 15)).fit().resid),
    ):
        decomposition.cache_clear()
        build = _seconds(lambda seasons=seasons: decomposition(WINDOW, seasons), 1)
        residual = decomposition(WINDOW, seasons).residual
        # The better of the runs on both sides; what the machine does besides should not decide.
        fast = _seconds(lambda residual=residual: residual @ windows, 5) / arguments.series
        slowly = min(_seconds(lambda y=y, slow=slow: slow(y), 1) for y in some)
        different = max(float(np.abs(slow(y) - residual @ y).max()) for y in some)
        furthest = max(furthest, different)
        table.add_row(
            name,
            f"{build:.2f} s",
            f"{1e6 * fast:.1f} us a series",
            f"{1e3 * slowly:.1f} ms a series",
            f"{slowly / fast:,.0f}x",
            f"{different:.1e}",
        )
    console.print(table)
    console.print(_live(arguments.live))
    return 0 if furthest < 1e-9 else 1


def _live(series: int) -> Table:
    """Measure the detector itself, hour by hour, then minute by minute."""
    rng = np.random.default_rng(2)
    state = DetectorState(Stl())
    state.grow(series)
    bytes_each = sum(array.nbytes for array in state.arrays().values()) / series
    for hour in range(14 * 24):
        _step(state, HOUR * hour, rng.standard_normal(series))
    change, same = [], []
    for hour in range(14 * 24, 14 * 24 + 3):
        for minute in range(4):
            sample = rng.standard_normal(series)
            seconds = _seconds(lambda at=HOUR * hour + 60 * minute, sample=sample: _step(state, at, sample), 1)
            (same if minute else change).append(seconds)
    table = Table("detector, one sample a series", "a step", "a step at the change of an hour", "memory a series")
    table.add_row(
        f"{series:,} series", f"{1e3 * min(same):.0f} ms", f"{1e3 * min(change):.0f} ms", f"{bytes_each:.0f} B"
    )
    return table


def _step(state: DetectorState, at: float, samples: np.ndarray) -> None:
    for first in range(0, len(samples), ROWS):
        rows = slice(first, min(first + ROWS, len(samples)))
        sample = samples[None, rows]
        unit = np.ones(sample.shape[1])
        stats = BucketStats(unit, unit, unit, unit, unit)
        state.score(SampleBatch(np.array([at]), 0, 0, sample, sample < np.inf, stats, 1e-9 * unit), rows)


def _seconds(work: Callable[[], object], times: int) -> float:
    """Return the shortest of some runs."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


if __name__ == "__main__":
    sys.exit(main())
