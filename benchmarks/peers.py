"""What is found of siblings that differ, and what is not: made fleets, by kind of noise and size.

``python -m benchmarks.peers`` prints a table: recall of a canary that is 15 % slower within three samples of five
minutes, and false alerts in 1,000 weeks of a replica. ``--cost`` times an instant of 100,000 series.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time

import numpy as np
import numpy.typing as npt

from exporter.engine.peers.samples import PeerSamples, PeerVerdicts
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.peers.state import PeerState
from exporter.engine.series import SeriesTable

__all__ = ["NOISES", "Fleet", "fleet", "main"]

FloatArray = npt.NDArray[np.float64]

START, STEP, WEEK = 1_760_313_600.0, 300.0, 2016
NOISES = ("normal", "log-normal", "t4", "wandering")
"""Kinds of noise, each with a standard deviation of 3 %; the last lasts for hours."""


class Fleet:
    """Siblings of one query and what was learned of them."""

    def __init__(self, count: int, groups: int = 1, min_size: int = 5) -> None:
        self.table = SeriesTable(1_000_000)
        self.state = PeerState(PeerSettings(by=("job",) if groups > 1 else (), min_size=min_size))
        self.groups, self.at, self.capacity = groups, START, 0
        self.seconds = 0.0
        self.names = [f"r{index}" for index in range(count)]

    def run(self, values: FloatArray, names: list[str] | None = None, step: float = STEP) -> PeerVerdicts:
        """Judge samples of shape (t, n)."""
        names = names or self.names
        keys = [b'{"pod":"%s","job":"%d"}' % (name.encode(), i % self.groups) for i, name in enumerate(names)]
        rows, _ = self.table.find(keys)
        if self.table.size > self.capacity:
            self.capacity = self.table.size
            self.state.grow(self.capacity)
        samples = np.full((len(values), self.table.size), np.nan)
        samples[:, rows] = values
        times = self.at + step * np.arange(1, len(values) + 1, dtype=np.float64)
        self.at = float(times[-1])
        here = np.isfinite(samples)
        batch = PeerSamples(times, samples, here, here, step, STEP, np.ones(len(times), np.bool_), 0.0, 0.0, 86400.0)
        began = time.perf_counter()
        with np.errstate(all="ignore"):
            verdicts = self.state.judge(batch, self.table)
        self.seconds = time.perf_counter() - began
        return PeerVerdicts(*(getattr(verdicts, name)[:, rows] for name in PeerVerdicts.__slots__))


def noise_of(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Return factors around 1 with a standard deviation of 3 %."""
    if kind == "normal":
        return np.asarray(1.0 + 0.03 * rng.standard_normal(shape), np.float64)
    if kind == "log-normal":
        return np.asarray(np.exp(0.03 * rng.standard_normal(shape)), np.float64)
    if kind == "t4":
        return np.asarray(np.exp(0.03 / np.sqrt(2.0) * rng.standard_t(4, shape)), np.float64)
    steps = rng.standard_normal(shape) * np.sqrt(1.0 - 0.8**2)
    wandering: FloatArray = np.empty(shape)
    wandering[0] = rng.standard_normal(shape[1])
    for index in range(1, len(steps)):
        wandering[index] = 0.8 * wandering[index - 1] + steps[index]
    return np.asarray(np.exp(0.03 * wandering), np.float64)


def fleet(kind: str, size: int, weeks: float, seed: int) -> FloatArray:
    """Return latencies of `size` replicas that share season and load; shape (t, size)."""
    rng = np.random.default_rng(seed)
    count = int(weeks * WEEK)
    t = START + STEP * np.arange(1, count + 1)
    season = 1.0 + 0.5 * np.sin(2 * np.pi * t / 86400.0)
    load = np.exp(np.cumsum(0.01 * rng.standard_normal(count)) * 0.2)
    surges = 1.0 + 2.0 * (rng.random(count // 288 + 1) < 0.2)[np.arange(count) // 288] * (np.arange(count) % 288 < 24)
    places = np.exp(0.05 * np.random.default_rng(size).standard_normal(size))
    places[0] *= 1.3
    return np.asarray(0.120 * (season * load * surges)[:, None] * places * noise_of(kind, rng, (count, size)))


def episodes(anomalous: npt.NDArray[np.bool_]) -> int:
    """Return how many runs of anomalous samples there are, where those less than an hour apart are one."""
    count = 0
    for series in anomalous.T:
        where = np.flatnonzero(series)
        count += int(np.count_nonzero(np.diff(where) > 12)) + bool(len(where))
    return count


def measure(kind: str, size: int, groups: int, training: float, weeks: float) -> tuple[float, float, int, float]:
    """Return recall of canaries within 3 and 12 samples, false alerts, and the weeks of a replica that were watched."""
    fleets = [fleet(kind, size, training + weeks, seed) for seed in range(groups)]
    # Series of a group are `groups` apart.
    values = np.stack(fleets, axis=2).reshape(len(fleets[0]), size * groups)
    here, begin = Fleet(size * groups, groups), int(training * WEEK)
    for first in range(0, begin, WEEK):
        here.run(values[first : min(first + WEEK, begin)])
    trained = copy.deepcopy(here)
    false = 0
    for first in range(begin, len(values), WEEK):
        verdicts = here.run(values[first : first + WEEK])
        false += episodes(np.fmax(verdicts.above, verdicts.below) >= 1.0)
    rng = np.random.default_rng(1)
    hits, soon, trials = 0, 0, 0
    for _ in range(max(1, 200 // groups)):
        canary = copy.deepcopy(trained)
        # Some hours later, so that each trial has other noise.
        first = begin + int(rng.integers(0, 200))
        canary.at = START + STEP * first
        which = rng.integers(0, size, groups) * groups + np.arange(groups)
        window = values[first : first + 12].copy()
        window[:, which] *= 1.15
        verdicts = canary.run(window)
        alerts = verdicts.above[:, which] >= 1.0
        hits, soon = hits + int(alerts.any(axis=0).sum()), soon + int(alerts[:3].any(axis=0).sum())
        trials += groups
    return soon / trials, hits / trials, false, size * groups * weeks


def cost(count: int) -> None:
    """Print the time of an instant of `count` series, by the size of their groups."""
    for groups in (1, count // 20, count // 200):
        here = Fleet(count, groups)
        values = fleet("normal", count, 40 / WEEK, 1)
        here.run(values[:30])
        times = []
        for row in values[30:38]:
            here.run(row[None])
            times.append(here.seconds)
        state = sum(array.nbytes for array in here.state.arrays().values()) / here.capacity
        sys.stdout.write(
            f"{count:,} series in {groups:,} groups: {1e3 * min(times):.0f} ms, {state:.0f} bytes a series\n"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the weeks")
    parser.add_argument("--noise", action="append", choices=NOISES)
    parser.add_argument("--size", action="append", type=int)
    args = parser.parse_args()
    if args.cost:
        cost(100_000)
        return
    sys.stdout.write("noise       size  within 3  within 12  false alerts  replica-weeks\n")
    for kind in args.noise or NOISES:
        for size in args.size or (5, 20, 200):
            groups = max(1, (100 if args.quick else 1000) // size)
            soon, later, false, watched = measure(kind, size, groups, 4.0, 1.0)
            sys.stdout.write(f"{kind:11} {size:4}  {soon:8.2f}  {later:9.2f}  {false:12}  {watched:13.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
