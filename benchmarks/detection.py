"""What each detector finds, alone, in pairs that must agree, and in the default set.

``python -m benchmarks.detection``. Every kind of anomaly is made in series of their own: five weeks of 15-minute
samples with a daily and a weekly shape, a dip every Sunday evening, and 5 % noise; the anomaly comes in the fifth
week. An alert is a run of anomalous samples; runs less than an hour apart are one. Alerts of the last two weeks count:
one that begins while the anomaly goes on has found it, one that begins at another time is false, unless it is in the
day after. Of coordinated load, where every metric of a thing is half as much again, no detector of single series
knows that it is none; what tells it apart is the group, so its row says how often that is needed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import AnyDetector, Collective, Iqr, IsolationForest, Novelty, Stl, ZScore
from exporter.engine.engine import Engine
from exporter.engine.multivariate.inputs import GroupMatrix, input_of
from exporter.engine.multivariate.load import load_of
from exporter.engine.settings import BaselineSettings, DetectionSettings, EngineSettings

__all__ = ["main"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MONDAY = 1_760_313_600.0
STEP = 900.0
HOUR = int(3600 / STEP)
DAY = 24 * HOUR
WEEK = 7 * DAY
WEEKS = 5
NOISE = 0.05
"""Standard deviation of the noise, as part of the level."""
COUNTED = 3 * WEEK
"""From here on alerts are counted."""
TOGETHER = 4
"""Metrics of one thing, for coordinated load."""

Change = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
"""Samples (k,), part of the anomaly that has passed (k,), random numbers: the samples as they are changed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of anomaly: how long, when, and what."""

    name: str
    hours: float
    change: Change
    what: str
    hour: float | None = None
    """When it begins, in hours after the Monday of the fifth week; None: at any time of Tuesday to Friday."""


def _level(samples: FloatArray) -> float:
    return float(samples.mean())


KINDS = (
    Kind("point", 0.25, lambda x, _, rng: x + rng.choice([-1, 1]) * 8 * NOISE * x, "one sample, 8 deviations off"),
    Kind("contextual", 2.0, lambda x, *_: 0.4 * x, "the dip of Sunday evenings, on a Wednesday", hour=2 * 24 + 21),
    Kind("collective", 8.0, lambda x, _, rng: x * (1 + rng.choice([-1, 1]) * 2 * NOISE), "8 h off by 2 deviations"),
    Kind("level shift", 20.0, lambda x, _, rng: x * (1 + rng.choice([-1, 1]) * 6 * NOISE), "20 h off by 6 deviations"),
    Kind(
        "drift",
        48.0,
        lambda x, part, rng: x + rng.choice([-1, 1]) * 8 * NOISE * part * _level(x),
        "to 8 deviations in 48 h",
    ),
    Kind("variance", 6.0, lambda x, _, rng: x * (1 + 4 * NOISE * rng.standard_normal(len(x))), "6 h of noise times 4"),
    Kind("missing", 3.0, lambda x, *_: np.full(len(x), np.nan), "3 h without samples"),
    Kind("coordinated", 3.0, lambda x, *_: 1.5 * x, "3 h of 1.5 times the load"),
)


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    flags.add_argument("--series", type=int, default=24, help="series of each kind")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--only", default="", help="only sets whose name contains this")
    args = flags.parse_args()

    samples, begin = _cases(args.series, args.seed)
    clean = _clean(args.series, args.seed)
    print("precision / recall / median delay; coordinated: alerts a series\n")
    names = [kind.name for kind in KINDS]
    print("| set |", " | ".join(names), "| clean, % | us |")
    print("| --- " * (len(names) + 3) + "|")
    for name, detection in _sets():
        if args.only not in name:
            continue
        anomalous = _run(samples, detection)
        cells = []
        for index, kind in enumerate(KINDS):
            rows = slice(index * args.series, (index + 1) * args.series)
            cells.append(_cell(anomalous[:, rows], begin[rows], kind))
        quiet = 100.0 * _run(clean, detection)[WEEK:].mean()
        print(f"| {name} |", " | ".join(cells), f"| {quiet:.3f} | {_cost(samples, detection):.1f} |", flush=True)
    print("\n" + "; ".join(f"{kind.name}: {kind.what}" for kind in KINDS))
    share = _load_share(samples[:, -args.series :], begin[-args.series :])
    print(f"coordinated load that the group recognises: {100.0 * share:.0f} % of its instants")
    return 0


def _sets() -> list[tuple[str, DetectionSettings]]:
    default = DetectionSettings()
    every: tuple[AnyDetector, ...] = (ZScore(), Iqr(multiplier=2.5), Stl(), Novelty(), Collective(), IsolationForest())
    sets = [("**default**", default)]
    sets += [(detector.kind, DetectionSettings(detectors=(detector,), quorum=1)) for detector in every]
    for pair in itertools.combinations(every, 2):
        sets.append((" and ".join(detector.kind for detector in pair), DetectionSettings(detectors=pair, quorum=2)))
    return sets


def _shape(count: int, rng: np.random.Generator, weeks: int = WEEKS) -> FloatArray:
    """Return levels of `count` series, shape (t, count); four of them with the same shape are one thing."""
    times = STEP * np.arange(weeks * WEEK)
    hour, weekday = times % 86400 / 3600, times // 86400 % 7
    phase = np.repeat(rng.uniform(6, 10, -(-count // TOGETHER)), TOGETHER)[:count]
    shape = 100 + 40 * np.sin((hour[:, None] - phase) / 24 * 2 * np.pi)
    shape *= np.where(weekday >= 5, 0.67, 1.0)[:, None]
    shape[(weekday == 6) & (hour >= 21) & (hour < 23)] *= 0.4
    return shape


def _cases(count: int, seed: int) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return series of every kind, shape (t, kinds * count), and where their anomalies begin."""
    rng = np.random.default_rng(seed)
    samples = _shape(len(KINDS) * count, rng)
    samples *= 1 + NOISE * rng.standard_normal(samples.shape)
    begin = np.zeros(samples.shape[1], np.intp)
    for index, kind in enumerate(KINDS):
        length = int(kind.hours * HOUR)
        for column in range(index * count, (index + 1) * count):
            entity = np.random.default_rng([seed, column // TOGETHER])
            hour = 24 + entity.uniform(0, 96 - min(kind.hours, 48)) if kind.hour is None else kind.hour
            begin[column] = (WEEKS - 1) * WEEK + int(hour * HOUR)
            when = slice(begin[column], begin[column] + length)
            samples[when, column] = kind.change(samples[when, column], np.linspace(0, 1, length), rng)
    return samples, begin


def _clean(count: int, seed: int) -> FloatArray:
    rng = np.random.default_rng([seed, 1])
    samples = _shape(count, rng, weeks=8)
    return samples * (1 + NOISE * rng.standard_normal(samples.shape))


def _engine(count: int, detection: DetectionSettings) -> tuple[Engine, list[bytes]]:
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    return engine, [b'{"series":"%d"}' % index for index in range(count)]


def _run(samples: FloatArray, detection: DetectionSettings) -> BoolArray:
    engine, keys = _engine(samples.shape[1], detection)
    times = MONDAY + STEP * np.arange(len(samples))
    return engine.run(times, engine.align(keys, samples, MONDAY).samples, STEP).score >= 0.5


def _cell(anomalous: BoolArray, begin: npt.NDArray[np.intp], kind: Kind) -> str:
    """Return what was found of one kind, as text."""
    hits, false, delays = 0, 0, []
    for series, first in zip(anomalous.T, begin.tolist(), strict=True):
        last = first + int(kind.hours * HOUR)
        at = np.flatnonzero(series[COUNTED:]) + COUNTED
        alerts = at[np.diff(at, prepend=-DAY) > HOUR]
        # The first alert of a shift may have begun before; what counts is a sample of the anomaly.
        inside = at[(at >= first) & (at < last)]
        hits += bool(len(inside))
        delays += [(int(inside[0]) - first) * STEP / 60] if len(inside) else []
        false += int(((alerts < first) | (alerts >= last + DAY)).sum())
    if kind.name == "coordinated":
        return f"{hits / len(begin):.2f}"
    precision = f"{hits / (hits + false):.2f}" if hits + false else "-"
    delay = f"{np.median(delays):.0f} min" if delays else "-"
    return f"{precision} / {hits / len(begin):.2f} / {delay}"


def _cost(samples: FloatArray, detection: DetectionSettings) -> float:
    """Return the processor's microseconds a series and cycle, one instant at a time, of 2,048 series."""
    many = np.tile(samples, 2048 // samples.shape[1] + 1)[: 2 * DAY, :2048]
    engine, keys = _engine(many.shape[1], detection)
    aligned = engine.align(keys, many, MONDAY).samples
    times = MONDAY + STEP * np.arange(len(many))
    engine.run(times[:DAY], aligned[:DAY], STEP)
    began = time.process_time()
    for index in range(DAY, 2 * DAY):
        engine.step(float(times[index]), aligned[index], STEP)
    return 1e6 * (time.process_time() - began) / (DAY * many.shape[1])


def _load_share(samples: FloatArray, begin: npt.NDArray[np.intp]) -> float:
    """Return the share of the instants of coordinated load that are recognised when four metrics are a group."""
    engine, keys = _engine(samples.shape[1], DetectionSettings())
    times = MONDAY + STEP * np.arange(len(samples))
    verdicts = engine.run(times, engine.align(keys, samples, MONDAY).samples, STEP)
    named = []
    for entity in range(0, samples.shape[1] - TOGETHER + 1, TOGETHER):
        for index in range(begin[entity], begin[entity] + 3 * HOUR):
            inputs = input_of(verdicts[index])
            layers = (inputs.z, inputs.growth, inputs.noise, inputs.observed, inputs.expected, inputs.least)
            metrics = (values[entity : entity + TOGETHER][None] for values in layers)
            named.append(bool(np.isfinite(load_of(GroupMatrix(*metrics)))[0]))
    return float(np.mean(named))


if __name__ == "__main__":
    sys.exit(main())
