"""What is found of siblings that differ, and what is not: made fleets, by kind of noise and size.

``python -m benchmarks.peers`` prints a table: recall of a canary that is 15 % slower within three samples of five
minutes, and false alerts in 1,000 weeks of a replica. ``--cost`` times an instant of 100,000 series.
"""

from __future__ import annotations

import argparse
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
        times = self.at + step * np.arange(1, len(values) + 1)
        self.at = float(times[-1])
        here = np.isfinite(samples)
        batch = PeerSamples(times, samples, here, here, step, STEP, False, 0.0, 0.0, 86400.0)
        began = time.perf_counter()
        with np.errstate(all="ignore"):
            verdicts = self.state.judge(batch, self.table)
        self.seconds = time.perf_counter() - began
        return PeerVerdicts(*(getattr(verdicts, name)[:, rows] for name in PeerVerdicts.__slots__))


def noise_of(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Return factors around 1 with a standard deviation of 3 %."""
    if kind == "normal":
        return 1.0 + 0.03 * rng.standard_normal(shape)
    if kind == "log-normal":
        return np.exp(0.03 * rng.standard_normal(shape))
    if kind == "t4":
        return np.exp(0.03 / np.sqrt(2.0) * rng.standard_t(4, shape))
    steps = rng.standard_normal(shape) * np.sqrt(1.0 - 0.8**2)
    wandering = np.empty(shape)
    wandering[0] = rng.standard_normal(shape[1])
    for index in range(1, len(steps)):
        wandering[index] = 0.8 * wandering[index - 1] + steps[index]
    return np.exp(0.03 * wandering)


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
    return 0.120 * (season * load * surges)[:, None] * places * noise_of(kind, rng, (count, size))


def episodes(anomalous: npt.NDArray[np.bool_]) -> int:
    """Return how many runs of anomalous samples there are, where those less than an hour apart are one."""
    count = 0
    for series in anomalous.T:
        where = np.flatnonzero(series)
        count += int(np.count_nonzero(np.diff(where) > 12)) + bool(len(where))
    return count


def measure(kind: str, size: int, seed: int, training: float, weeks: float, trials: int) -> tuple[float, float, float]:
    """Return recall within three samples, false alerts and replica-weeks watched."""
    values = fleet(kind, size, training + weeks, seed)
    here = Fleet(size)
    begin = int(training * WEEK)
    here.run(values[:begin])
    verdicts = here.run(values[begin:])
    false = episodes(np.fmax(verdicts.above, verdicts.below) >= 1.0)
    rng = np.random.default_rng(seed + 1)
    hits = 0
    kept = {name: array.copy() for name, array in here.state.arrays().items()}
    at = here.at
    more = fleet(kind, size, 24 * trials / WEEK + 0.1, seed + 2)  # The same places, other noise.
    for trial in range(trials):
        which = int(rng.integers(size))
        window = more[24 * trial : 24 * trial + 3].copy()
        window[:, which] *= 1.15
        answer = here.run(window)
        hits += bool((answer.above[:, which] >= 1.0).any())
        here.at = at
        for name, array in here.state.arrays().items():
            array[...] = kept[name]
    return hits / trials, false, size * weeks


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
    args = parser.parse_args()
    if args.cost:
        cost(100_000)
        return
    sys.stdout.write("noise       size  recall  false alerts  replica-weeks\n")
    for kind in NOISES:
        for size in (5, 20, 200):
            weeks = (0.1 if args.quick else 1.0) * 400 / size if size < 200 else 2.0
            weeks = min(weeks, 20.0)
            recall, false, watched = measure(kind, size, 3, 4.0, weeks, 100)
            sys.stdout.write(f"{kind:11} {size:4}  {recall:6.2f}  {false:12.0f}  {watched:13.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
