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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate, AuditEvent, EvaluatedSlot, Step, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import AlertingSettings, AlertSettings
from exporter.alerting.state_machine import evaluate
from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config, QuerySettings
from exporter.config.plan import QueryPlan
from exporter.engine.budget import SETTLED, AlertCounts
from exporter.engine.calibration import Calibration
from exporter.engine.detectors.base import BLOCK
from exporter.engine.engine import Engine
from exporter.engine.seconds import WEEK
from exporter.evaluation.history import missing_history

__all__ = ["KINDS", "Met", "main", "measure", "meet", "severities"]

FloatArray = npt.NDArray[np.float64]
Samples = Callable[[FloatArray, int, np.random.Generator], FloatArray]

MONDAY = 1_760_313_600.0
STEP = 300.0
SERIES = 20
HISTORY, COUNTED = 4, 8
"""Weeks."""
BUDGETS = (1, 2, 7)
FACTOR = 1.5


def gaussian(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """White noise."""
    return 100.0 + 10.0 * rng.standard_normal((len(times), count))


def heavy_tailed(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Student's t with three degrees of freedom: far values are common."""
    return 100.0 + 10.0 * rng.standard_t(3.0, (len(times), count))


def seasonal(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Traffic by day and week, with noise that grows with it."""
    day, week = (np.sin(2.0 * np.pi * times / period)[:, None] for period in (86400.0, WEEK))
    return (100.0 + 40.0 * day + 15.0 * week) * np.exp(0.05 * rng.standard_normal((len(times), count)))


def bursty(times: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Correlated noise whose size changes by itself: hours of quiet, hours of storm."""
    out = np.empty((len(times), count))
    size, value = np.zeros(count), np.zeros(count)
    for row in out:
        size = 0.98 * size + 0.12 * rng.standard_normal(count)
        value = 0.5 * value + np.exp(size) * rng.standard_normal(count)
        row[:] = 100.0 + 5.0 * value
    return out


KINDS: dict[str, Samples] = {
    "Gaussian": gaussian, "heavy-tailed": heavy_tailed, "seasonal": seasonal, "bursty": bursty,
}  # fmt: skip


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
    samples = KINDS[kind](np.concatenate([*coarse, fine]), SERIES, np.random.default_rng([seed, len(kind)]))
    engine = Engine(engine_settings(_plan({}, step)))
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
    plan = _plan({**rule, "budget": f"{budget}/week"}, step)
    desired = engine_settings(plan).budget
    assert plan.alert is not None
    assert desired is not None
    counts = AlertCounts(desired, desired.fading(plan.baseline.window))
    counts.grow(severity.shape[1])
    stated, fired, after, limits = Calibration(), 0, Step(alerts={}), AlertingSettings()
    for begin in range(0, len(severity), BLOCK):
        block, threshold = severity[begin : begin + BLOCK], counts.calibration.threshold
        if begin <= judged.live:
            stated = counts.calibration
        for index, row in enumerate(block, begin):
            # Where nothing is anomalous and nothing is open, nothing follows.
            if index >= judged.live and (after.alerts or (row >= threshold).any()):
                candidates = _candidates(plan.alert, np.flatnonzero(row >= threshold).tolist())
                after = evaluate(plan.alert, limits, "q", after.alerts, EvaluatedSlot(step * index, candidates))
                fired += sum(event.event is AuditEvent.FIRING for event in after.transitions)
        counts.update(slice(0, severity.shape[1]), block if begin >= judged.settled else np.full_like(block, np.nan))
        counts.advance(len(block))
    weeks = (len(severity) - judged.live) * step / WEEK
    return Met(fired / weeks, stated.threshold, stated.lower * WEEK, stated.upper * WEEK)


def _plan(alert: dict[str, str], step: float) -> QueryPlan:
    query = {"name": "q", "expr": "q", "interval": f"{step:.0f}s", "alert": alert}
    return Config(queries=(QuerySettings.model_validate(query),)).plans()[0]


def _candidates(rule: AlertSettings, rows: list[int]) -> dict[str, AlertCandidate]:
    labels = ({"alertname": rule.alertname, "series": str(row)} for row in rows)
    return {fingerprint(own): AlertCandidate(own, Explanation({}), "") for own in labels}


def main() -> int:
    """Measure and print the table; returns 1 where a mean is off by more than a factor of 1.5."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.budget", description=__doc__)
    flags.add_argument("--queries", type=int, default=3, help="of each kind")
    flags.add_argument("--for", dest="wait", default="0s")
    flags.add_argument("--keep-firing-for", dest="keep", default="0s")
    flags.add_argument("--interval", choices=("1m", "5m"), default="5m", help="between slots")
    flags.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="alerts a week")
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
            for kind in KINDS
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
