"""What a backtest costs whose samples come every ten seconds: history learned, slots judged, alerts that follow.

The past is generated in this process, with an incident a day, so that no server takes part.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.backtest.replay import replay
from exporter.backtest.replay_result import TimeSpan
from exporter.config.model import Config
from exporter.prometheus import Frame, HistoryChunk, PrometheusApi
from exporter.worker_pool import open_pool

__all__ = ["main"]

MONDAY = 1_760_313_600.0
HOUR, DAY, CHUNK = 3600.0, 86400.0, 8640


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.backtest", description=__doc__)
    flags.add_argument("--queries", type=int, default=10)
    flags.add_argument("--series", type=int, default=1, help="of each query")
    flags.add_argument("--days", type=float, default=7.0)
    flags.add_argument("--interval", type=float, default=10.0, help="seconds")
    flags.add_argument("--window", type=int, default=28, help="days of history")
    flags.add_argument("--workers", type=int, default=2)
    args = flags.parse_args()
    queries = [{"name": f"q{at}", "expr": f"{at}", "alert": {}} for at in range(args.queries)]
    config = Config.model_validate(
        {
            "global": {"interval": f"{args.interval:g}s"},
            "baseline": {"window": f"{args.window}d"},
            "queries": queries,
        }
    )
    within = TimeSpan(MONDAY, MONDAY + args.days * DAY)
    before, begin = os.times(), time.perf_counter()
    with open_pool(str(args.workers)) as pool:
        connect = functools.partial(_Past, series=args.series)
        result = replay(config, within, connect=connect, sleep=time.sleep, pool=pool)
    took = time.perf_counter() - begin
    for process in multiprocessing.active_children():
        process.join()
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    slots = sum(counts.slots for counts in result.record.scores.values())
    print(
        f"{args.queries} queries of {args.series} series, {args.days:g} days at {args.interval:g} s, {args.workers} "
        f"workers: {slots:,} slots in {took:.1f} s, CPU {used:.1f} s, {1e6 * used / slots:.0f} us a slot; "
        f"{len(result.record.alerts)} alerts"
    )
    return 0


class _Past(PrometheusApi):
    """Answers from what a series would have been: a day, noise, and an incident of half an hour at another hour."""

    def __init__(self, *args: Any, series: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self._series = series

    def instant(self, expr: str, at: float, **_: Any) -> Frame:
        keys, values = self._at(expr, np.array([at]))
        return Frame(at, keys, values[0], np.full(len(keys), at))

    def history(self, expr: str, start: float, end: float, step: float, **_: Any) -> Iterator[HistoryChunk]:
        times = start + step * np.arange(int((end - start) // step) + 1)
        for first in range(0, len(times), CHUNK):
            part = times[first : first + CHUNK]
            yield HistoryChunk(part, *self._at(expr, part))

    def _at(self, expr: str, times: npt.NDArray[np.float64]) -> tuple[list[bytes], npt.NDArray[np.float64]]:
        """Return the label sets, and the values at some instants, shape (t, n)."""
        hours = times // HOUR
        noise = np.empty((len(times), self._series))
        for hour in np.unique(hours).tolist():
            here = hours == hour
            noise[here] = _noise(int(expr), hour, self._series)[(times[here] % HOUR).astype(np.intp)]
        level = 100.0 + 20.0 * np.sin(times / DAY * 2.0 * np.pi)
        day = times // DAY
        since = times % DAY - HOUR * ((7.0 * day + int(expr)) % 24)
        level = level + 40.0 * ((since >= 0.0) & (since < 0.5 * HOUR) & (times >= MONDAY))
        keys = [b'{"pod":"%d"}' % index for index in range(self._series)]
        return keys, level[:, None] + 3.0 * noise


@functools.lru_cache(4096)
def _noise(query: int, hour: float, series: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng([query, int(hour)]).standard_normal((int(HOUR), series))


if __name__ == "__main__":
    sys.exit(main())
