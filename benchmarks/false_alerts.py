"""Whether the false alerts that come are those that were stated: fleets of eight kinds of series, with their incidents.

Each query has four series at 5 minutes. Its engine judges week after week, and at the end of each it states how many
false alerts a week are to be expected. What fires in the weeks that follow is counted by the life cycle of alerts that
the daemon has; alerts of an incident that the generator made are no false ones. A quarter of the queries has incidents,
a quarter a shift half-way (level and noise grow), and a quarter both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.life_cycle import LifeCycle, plan_of
from benchmarks.noise import KINDS, MONDAY
from exporter.config.engine_settings import engine_settings
from exporter.engine.engine import Engine
from exporter.engine.false_alerts import FalseRate
from exporter.engine.seconds import DAY, WEEK
from exporter.engine.together import MOST_ROWS, EngineRun, run_together
from exporter.engine.verdict import Verdicts

__all__ = ["main"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

STEP = 300.0
SLOTS = int(WEEK / STEP)
SERIES = 4
FOLLOWING = 4
"""Weeks at most that a statement is compared with."""
INCIDENTS = 2.0
"""A week, where there are any."""
FACTOR, WORST = 1.5, 3.0
SHIFTED = (1.3, 1.5)
"""How level and noise grow half-way."""
SHIFT_LINGERS = int(2 * DAY / STEP)
"""Slots after a shift in which alerts are about it."""
LINGERS = 12
"""Slots after an incident whose alerts are still its own: the recovery."""


@dataclass(slots=True)
class Query:
    """A query of the fleet, and what came of it.

    Attributes
    ----------
    samples : ndarray, shape (t, series)
    real : ndarray of bool, shape (t,)
        Slots in which an alert is that of an incident.
    stated : list of FalseRate
        At the end of each week.
    false : list of int
        Alerts that fired in each week and were none of an incident.
    """

    kind: str
    alerts: LifeCycle
    engine: Engine
    samples: FloatArray
    real: BoolArray
    stated: list[FalseRate] = field(default_factory=list)
    false: list[int] = field(default_factory=list)

    def note(self, verdicts: Verdicts, first: int) -> None:
        """Raise the alerts of a week, whose first slot has the number `first`."""
        anomalous = verdicts.ready & (verdicts.score >= 0.5)
        fired = 0
        for index in range(len(anomalous)):
            firing = self.alerts.step(verdicts.times[index], anomalous[index]) > 0
            fired += firing and not self.real[first + index]
        self.false.append(fired)
        self.stated.append(self.engine.calibration.false)


def make(kind: str, number: int, weeks: int, rule: dict[str, str], seed: int) -> Query:
    """Make a query; its `number` says what happens in it."""
    rng = np.random.default_rng([seed, number, list(KINDS).index(kind)])
    times = MONDAY + STEP * np.arange(weeks * SLOTS)
    samples = KINDS[kind](times, SERIES, rng)
    spread = float(np.median(np.abs(samples - np.median(samples)))) * 1.5
    real = np.zeros(len(times), np.bool_)
    if number % 4 >= 2:
        half, (level, noise) = len(samples) // 2, SHIFTED
        middle = np.median(samples[:half])
        samples[half:] = level * middle + noise * (samples[half:] - middle)
        # Whoever is alerted of it is not alerted in vain.
        real[half : half + SHIFT_LINGERS] = True
    if number % 2:
        for begin in np.flatnonzero(rng.random(len(times)) < INCIDENTS / SLOTS).tolist():
            end = begin + int(rng.integers(2, 13))
            samples[begin:end, rng.integers(SERIES)] += spread * rng.uniform(4.0, 15.0) * rng.choice([1.0, 1.0, -1.0])
            real[begin : end + LINGERS] = True
    if kind == "counts":
        samples = np.maximum(np.round(samples), 0.0)
    plan = plan_of(rule, STEP)
    engine = Engine(engine_settings(plan))
    engine.align([b'{"series":"%d"}' % index for index in range(SERIES)], samples, MONDAY)
    return Query(kind, LifeCycle(plan), engine, samples, real)


def play(fleet: Sequence[Query], weeks: int) -> None:
    """Judge week after week."""
    times = MONDAY + STEP * np.arange(weeks * SLOTS)
    size = max(1, MOST_ROWS // SERIES)
    for first in range(0, len(times), SLOTS):
        part = slice(first, first + SLOTS)
        for begin in range(0, len(fleet), size):
            members = fleet[begin : begin + size]
            runs = [EngineRun(query.engine, times[part], query.samples[part], STEP) for query in members]
            for query, verdicts in zip(members, run_together(runs), strict=True):
                query.note(verdicts, first)


@dataclass(frozen=True, slots=True)
class Compared:
    """Statements and what followed them, an item each: false alerts stated and seen, and the ends of the interval."""

    stated: FloatArray
    seen: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, fleet: Sequence[Query]) -> Compared:
        """Compare each statement with the weeks that followed it."""
        rows = []
        for query in fleet:
            for week, stated in enumerate(query.stated[:-1]):
                following = query.false[week + 1 : week + 1 + FOLLOWING]
                if np.isfinite(stated.expected):
                    seconds = len(following) * WEEK
                    rates = (stated.expected, stated.lower, stated.upper)
                    rows.append((sum(following), *(rate * seconds for rate in rates)))
        seen, expected, lower, upper = np.array(rows, np.float64).reshape(-1, 4).T
        return cls(expected, seen, lower, upper)

    @property
    def factor(self) -> float:
        """Seen over stated."""
        return float(self.seen.sum() / max(self.stated.sum(), 1e-9)) if len(self.seen) else 1.0

    def tenths(self) -> FloatArray:
        """Return seen over stated of each tenth of the statements, from the lowest to the highest."""
        order = np.argsort(self.stated, kind="stable")
        parts = [part for part in np.array_split(order, 10) if len(part)]
        # Half an alert: none where a few tenths of one are expected is no contradiction.
        return np.array([(self.seen[part].sum() + 0.5) / (self.stated[part].sum() + 0.5) for part in parts])

    def within(self, factor: float) -> float:
        """Return the part of statements that agree within a factor and what chance does to a count."""
        return float(_holds(self.seen, self.stated / factor, self.stated * factor).mean()) if len(self.seen) else 1.0

    def covered(self) -> float:
        """Return the part of statements whose interval, and the chance of a count, holds what was seen."""
        return float(_holds(self.seen, self.lower, self.upper).mean()) if len(self.seen) else 1.0

    def agrees(self, factor: float) -> bool:
        """Return whether all statements together agree within a factor and what chance does to a count."""
        stated = self.stated.sum(keepdims=True)
        return bool(_holds(self.seen.sum(keepdims=True), stated / factor, stated * factor).all())


def _holds(seen: FloatArray, lower: FloatArray, upper: FloatArray) -> BoolArray:
    """Return whether counts are to be expected of rates from `lower` to `upper`, nine times out of ten."""
    from scipy.stats import poisson

    held: BoolArray = (seen >= poisson.ppf(0.05, lower)) & (seen <= poisson.ppf(0.95, upper))
    return held


def _line(name: str, compared: Compared, weeks: float) -> str:
    tenths = compared.tenths()
    worst = float(np.exp(np.abs(np.log(tenths)).max())) if len(tenths) else 1.0
    return (
        f"| {name} | {len(compared.seen)} | {compared.stated.sum() / max(weeks, 1e-9):.2f} "
        f"| {compared.seen.sum() / max(weeks, 1e-9):.2f} | {compared.factor:.2f} | {worst:.1f} "
        f"| {compared.within(FACTOR):.0%} | {compared.within(WORST):.0%} | {compared.covered():.0%} |"
    )


def _weeks(fleet: Sequence[Query]) -> float:
    """Return the weeks of all comparisons together."""
    count = 0
    for query in fleet:
        for week, stated in enumerate(query.stated[:-1]):
            count += len(query.false[week + 1 : week + 1 + FOLLOWING]) * bool(np.isfinite(stated.expected))
    return float(count)


def main() -> int:
    """Measure and print the table; returns 1 where the whole is off by more than a factor of 1.5 and chance."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.false_alerts", description=__doc__)
    flags.add_argument("--queries", type=int, default=4, help="of each kind")
    flags.add_argument("--weeks", type=int, default=8)
    flags.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    flags.add_argument("--for", dest="wait", default="0s")
    flags.add_argument("--keep-firing-for", dest="keep", default="0s")
    flags.add_argument("--seed", type=int, default=0)
    args = flags.parse_args()
    rule, begin = {"for": args.wait, "keep_firing_for": args.keep}, time.perf_counter()
    fleet = [make(kind, number, args.weeks, rule, args.seed) for kind in args.kinds for number in range(args.queries)]
    play(fleet, args.weeks)
    print("| series | statements | stated a week | seen a week | factor | worst tenth | in x1.5 | in x3 | covered |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in args.kinds:
        own = [query for query in fleet if query.kind == kind]
        print(_line(kind, Compared.of(own), _weeks(own)))
    whole = Compared.of(fleet)
    print(_line("all", whole, _weeks(fleet)))
    print(f"{len(fleet)} queries of {SERIES} series, {args.weeks} weeks, took {time.perf_counter() - begin:.0f} s")
    return 0 if whole.agrees(FACTOR) else 1


if __name__ == "__main__":
    sys.exit(main())
