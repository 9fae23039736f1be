"""Whether a budget of alerts is met: eight weeks without any anomaly, of four kinds of series.

Each query has 20 series at 5 minutes. Four weeks are history; then alerts are counted for eight weeks, by the engine
and the life cycle of the daemon, while the threshold is calibrated again and again. Nothing in the data is an
anomaly, so every alert is one too many, and the budget says how many of them somebody is willing to read.

What is learned does not depend on a budget, so the engine runs once for all budgets of a query.

With ``--interval 1m`` it is as in a daemon with the defaults: slots are a minute apart, and its history is read at five
minutes, but for the last eight days.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.life_cycle import LifeCycle, plan_of
from benchmarks.noise import KINDS, MONDAY
from exporter.config.engine_settings import engine_settings
from exporter.engine.budget import SETTLED, AlertCounts
from exporter.engine.calibration import Calibration
from exporter.engine.detectors.base import BLOCK
from exporter.engine.engine import Engine
from exporter.engine.seconds import WEEK
from exporter.evaluation.history import missing_history

__all__ = ["Met", "main", "measure", "meet", "severities"]

FloatArray = npt.NDArray[np.float64]

STEP = 300.0
SERIES = 20
HISTORY, COUNTED = 4, 8
"""Weeks."""
BUDGETS = (1, 2, 7)
FACTOR = 1.5
MEASURED = ("normal", "student", "seasonal", "bursty")
"""Kinds of series."""


@dataclass(frozen=True, slots=True)
class Met:
    """What came of one query: alerts a week, and what was stated after its history."""

    alerts: float
    threshold: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What the engine says of a query's samples.

    Attributes
    ----------
    severity : ndarray, shape (t, series)
        Slots only, those of the history too; NaN where no alert can come of it.
    step : float, seconds
        Between slots.
    settled, live : int
        The slots at which series begin to count, and at which the history ends.
    """

    severity: FloatArray
    step: float
    settled: int
    live: int


def measure(
    kind: str, budgets: Sequence[int], rule: dict[str, str], seed: int, weeks: int = COUNTED, step: float = STEP
) -> list[Met]:
    """Run one query; return what came of each budget."""
    judged = severities(kind, seed, weeks, step)
    return [meet(judged, budget, rule) for budget in budgets]


def severities(kind: str, seed: int, weeks: int = COUNTED, step: float = STEP) -> Judged:
    """Judge the samples of a query: its history as a daemon reads it, and then `weeks` slot by slot."""
    now = MONDAY + HISTORY * WEEK
    read = missing_history(-np.inf, now - step, window=HISTORY * WEEK - step, interval=step, step=STEP, counted=True)
    grids = [part.start + part.step * np.arange(part.points) for part in read]
    *coarse, fine = [*grids[:-1], np.concatenate([grids[-1], now + step * np.arange(int(weeks * WEEK / step))])]
    samples = KINDS[kind](
        np.concatenate([*coarse, fine]), SERIES, np.random.default_rng([seed, list(KINDS).index(kind)])
    )
    engine = Engine(engine_settings(plan_of({}, step)))
    keys = [b'{"series":"%d"}' % index for index in range(SERIES)]
    rows = engine.align(keys, samples, MONDAY).samples
    if coarse:
        engine.run(coarse[0], rows[: len(coarse[0])], STEP)
    verdicts = engine.run(fine, rows[-len(fine) :], step)
    severity: FloatArray = np.where(verdicts.ready, -np.log2(1.0 - verdicts.score), np.nan)
    first = coarse[0][0] if coarse else fine[0]
    settled, live = (int(np.searchsorted(fine, at - step / 2)) for at in (first + SETTLED, now))
    return Judged(severity, step, settled, live)


def meet(judged: Judged, budget: int, rule: dict[str, str]) -> Met:
    """Calibrate and alert, block by block, as the engine and the daemon do."""
    severity, step = judged.severity, judged.step
    plan = plan_of({**rule, "budget": f"{budget}/week"}, step)
    desired = engine_settings(plan).budget
    assert desired is not None
    counts = AlertCounts(desired, desired.fading(plan.baseline.window))
    counts.grow(severity.shape[1])
    stated, fired, alerts = Calibration(), 0, LifeCycle(plan)
    for begin in range(0, len(severity), BLOCK):
        block, threshold = severity[begin : begin + BLOCK], counts.calibration.threshold
        if begin <= judged.live:
            stated = counts.calibration
        for index, row in enumerate(block, begin):
            if index >= judged.live:
                fired += alerts.step(step * index, row >= threshold)
        counts.update(slice(0, severity.shape[1]), block if begin >= judged.settled else np.full_like(block, np.nan))
        counts.advance(len(block))
    weeks = (len(severity) - judged.live) * step / WEEK
    return Met(fired / weeks, stated.threshold, stated.lower * WEEK, stated.upper * WEEK)


def main() -> int:
    """Measure and print the table; returns 1 where a mean is off by more than a factor of 1.5."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.budget", description=__doc__)
    flags.add_argument("--queries", type=int, default=3, help="of each kind")
    flags.add_argument("--for", dest="wait", default="0s")
    flags.add_argument("--keep-firing-for", dest="keep", default="0s")
    flags.add_argument("--interval", choices=("1m", "5m"), default="5m", help="between slots")
    flags.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="alerts a week")
    flags.add_argument("--kinds", nargs="+", choices=KINDS, default=MEASURED)
    flags.add_argument("--jobs", type=int, default=2)
    args = flags.parse_args()
    rule, step = {"for": args.wait, "keep_firing_for": args.keep}, 60.0 if args.interval == "1m" else STEP
    begin, good = time.perf_counter(), True
    print(f"{args.queries} queries of {SERIES} series, {COUNTED} weeks of slots of {args.interval} each; {rule}")
    print("| series | budget a week | alerts a week | factor | of single queries | threshold | in the interval |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(args.jobs) as pool:
        runs = {
            kind: [pool.submit(measure, kind, args.budgets, rule, n, COUNTED, step) for n in range(args.queries)]
            for kind in args.kinds
        }
        for kind, futures in runs.items():
            for budget, met in zip(
                args.budgets, zip(*(future.result() for future in futures), strict=True), strict=True
            ):
                good &= _print(kind, budget, met)
    print(f"took {time.perf_counter() - begin:.0f} s")
    return 0 if good else 1


def _print(kind: str, budget: int, met: Sequence[Met]) -> bool:
    alerts = np.array([result.alerts for result in met])
    inside = sum(result.lower <= result.alerts <= result.upper for result in met)
    threshold = np.median([result.threshold for result in met])
    factor = alerts.mean() / budget
    print(
        f"| {kind} | {budget} | {alerts.mean():.2f} | {factor:.2f} | {alerts.min():.1f} to {alerts.max():.1f} "
        f"| {threshold:.2f} | {inside} of {len(met)} |",
        flush=True,
    )
    return bool(1.0 / FACTOR <= factor <= FACTOR)


if __name__ == "__main__":
    sys.exit(main())
