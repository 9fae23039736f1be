"""What `tune` is worth: a generated fleet with incidents, and with much that looks like one and is none.

Four kinds of queries with six series each, four weeks at five minutes. Settings are chosen on the older part of the
time in which series can alert; what is printed comes from the rest, which the search has not seen. Harmless events are
those that people complain of: a dip at each deploy, a batch job, a cold cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from exporter.backtest.incidents import Incident
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.tune import Goal, Tuned, as_text, evidence_of, tune

FloatArray = npt.NDArray[np.float64]

END, STEP = 1_796_000_400.0, 300.0
SERIES = 6
DAY = 86400.0


def fleet(days: int, rng: np.random.Generator) -> Iterator[tuple[QueryPlan, FloatArray, list[Incident]]]:
    """Yield plan, samples and incidents of each query."""
    times = END - STEP * np.arange(days * 288 - 1.0, -1.0, -1.0)
    shape = (1.0 + 0.4 * np.sin(2.0 * np.pi * times / DAY))[:, None] * rng.uniform(50.0, 500.0, SERIES)
    noise = rng.standard_normal((4, len(times), SERIES))
    kinds = {
        "requests": (shape * (1.0 + 0.03 * noise[0]), 0.88, 0.4),
        "latency": (0.2 * np.exp(0.08 * noise[1]) * np.ones(SERIES), 1.6, 4.0),
        "errors": (rng.poisson(6.0, noise[2].shape).astype(float), 2.5, 12.0),
        "queue": (30.0 + 3.0 * np.abs(noise[3]) + 0.02 * shape, 1.5, 5.0),
    }
    for name, (values, harmless, harmful) in kinds.items():
        incidents = []
        for series in range(SERIES):
            for _ in range(days // 2):
                _change(values, rng, series, harmless, rng.integers(2, 5))
            for _ in range(days // 7):
                begin, length = _change(values, rng, series, harmful, rng.integers(8, 20))
                start = float(times[begin])
                incidents.append(Incident(start, start + length * STEP, "", name, {"service": f"s{series}"}))
        query = {"name": name, "expr": name, "alert": {"for": "5m"}}
        (plan,) = Config.model_validate({"queries": [query]}).plans()
        yield plan, values, incidents


def _change(values: FloatArray, rng: np.random.Generator, series: int, factor: float, length: int) -> tuple[int, int]:
    """Multiply some samples of a series; return where, and how many."""
    begin = int(rng.integers(0, len(values) - length))
    values[begin : begin + length, series] *= factor * np.exp(0.1 * rng.standard_normal())
    return begin, length


def main() -> int:
    """Print what was proposed and what it is worth; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    results: list[Tuned] = []
    for plan, values, incidents in fleet(args.days, np.random.default_rng(args.seed)):
        labels = [{"service": f"s{series}"} for series in range(SERIES)]
        evidence = evidence_of(plan, labels, values.astype(np.float32), end=END, step=STEP)
        result = None if evidence is None else tune(evidence, Goal(incidents))
        if result is not None:
            results.append(result)
    print(as_text(results))
    before, after = (
        [sum(of(result.unseen[side]) for result in results) for of in (lambda o: o.alerts, lambda o: len(o.leads))]
        for side in (0, 1)
    )
    incidents_in = sum(result.unseen[0].incidents for result in results)
    print(f"alerts: {before[0]} -> {after[0]}, {after[0] / max(before[0], 1):.2f} times as many")
    print(f"incidents: {before[1]} -> {after[1]} of {incidents_in}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
