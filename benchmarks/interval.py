"""Live samples that come more often than the steps of history: false alarms, and what is found at once.

``python -m benchmarks.interval``. Every series has a daily and a weekly shape and noise of one of four kinds. Eight
weeks are learned in steps of five minutes; then live samples come every minute or every five seconds. First none of
them is anomalous. At the peak of the day all series change, each time in a copy of the engine: they fall to a half or
a third for five minutes, or a single sample has twice its value. "All are learned" is what an engine without a cadence
does, which takes every live sample for the next step of history.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine
from exporter.engine.settings import BaselineSettings, DetectionSettings, EngineSettings

__all__ = ["KINDS", "Alarms", "main", "measure"]

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 300.0
DAY = 86400.0
NOISE = 0.05
"""Standard deviation of the noise, as part of the level."""
PEAK = 14.0
"""Hour of the day at which values are highest, and things go wrong."""
LASTING = 300.0
"""Seconds that a drop lasts."""

Noise = Callable[[FloatArray, FloatArray, float, np.random.Generator], FloatArray]
"""Levels (t, n), what is left of the noise before (n,), seconds between samples, random numbers: the samples."""


def _gaussian(level: FloatArray, _: FloatArray, __: float, rng: np.random.Generator) -> FloatArray:
    return level * (1 + NOISE * rng.standard_normal(level.shape))


def _student(level: FloatArray, _: FloatArray, __: float, rng: np.random.Generator) -> FloatArray:
    return level * (1 + NOISE * np.sqrt(0.5) * rng.standard_t(4.0, level.shape))


def _poisson(level: FloatArray, _: FloatArray, __: float, rng: np.random.Generator) -> FloatArray:
    return rng.poisson(level).astype(np.float64)


def _correlated(level: FloatArray, state: FloatArray, seconds: float, rng: np.random.Generator) -> FloatArray:
    """Return samples with noise that is correlated by 0.9 over five minutes, whatever the step."""
    kept = 0.9 ** (seconds / STEP)
    samples = np.empty_like(level)
    for index, value in enumerate(level):
        state[:] = kept * state + np.sqrt(1.0 - kept * kept) * rng.standard_normal(len(state))
        samples[index] = value * (1 + NOISE * state)
    return samples


KINDS: dict[str, Noise] = {
    "gaussian": _gaussian,
    "correlated": _correlated,
    "Student t": _student,
    "Poisson": _poisson,
}


@dataclass(frozen=True, slots=True)
class Alarms:
    """What was said of live samples.

    Attributes
    ----------
    clean : float
        Share of usual samples with a score of at least 0.5.
    first, within : dict
        By anomaly: shares of the series that are anomalous at its first sample, and at any in five minutes.
    """

    clean: float
    first: dict[str, float]
    within: dict[str, float]


def measure(
    noise: Noise,
    interval: float,
    *,
    cadence: float | None,
    series: int,
    weeks: int = 8,
    live: float = DAY,
    seed: int = 1,
) -> Alarms:
    """Learn history, then judge live samples and anomalies among them.

    Parameters
    ----------
    noise : callable
    interval : float, seconds
        Between live samples.
    cadence : float, seconds, optional
        Of the engine.
    series, weeks : int
    live : float, seconds
        Of usual samples before the anomalies, up to the peak of a Tuesday.
    """
    rng = np.random.default_rng(seed)
    state = rng.standard_normal(series)
    settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), cadence=cadence)
    engine = Engine(settings)
    keys = [b'{"series":"%d"}' % index for index in range(series)]
    peak = MONDAY + weeks * 7 * DAY + DAY + PEAK * 3600
    past = np.arange(MONDAY, peak - live, STEP)
    samples = noise(_level(past, series), state, STEP, rng)
    engine.run(past, engine.align(keys, samples, MONDAY).samples, STEP)
    times = np.arange(past[-1] + interval, peak, interval)
    samples = noise(_level(times, series), state, interval, rng)
    clean = float(np.mean(engine.run(times, samples, interval).score >= 0.5))

    times = np.arange(times[-1] + interval, times[-1] + interval + LASTING, interval)
    first, within = {}, {}
    usual = noise(_level(times, series), state, interval, rng)
    for name, factor, length in (("half", 0.5, len(times)), ("third", 1 / 3, len(times)), ("spike", 2.0, 1)):
        changed = usual.copy()
        changed[:length] *= factor
        alarms = copy.deepcopy(engine).run(times, changed, interval).score >= 0.5
        first[name], within[name] = float(alarms[0].mean()), float(alarms[:length].any(axis=0).mean())
    return Alarms(clean, first, within)


def _level(times: FloatArray, series: int) -> FloatArray:
    """Return what is usual at some times, shape (t, series)."""
    hour, weekday = times % DAY / 3600, (times - MONDAY) // DAY % 7
    shape = (100 + 40 * np.cos((hour - PEAK) / 24 * 2 * np.pi)) * np.where(weekday >= 5, 0.67, 1.0)
    return np.repeat(shape[:, None], series, axis=1)


def main() -> int:
    """Measure and print; returns 1 where more than a thousandth of the usual samples is called anomalous."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.interval", description=__doc__)
    flags.add_argument("--series", type=int, default=24, help="series of each kind of noise")
    flags.add_argument("--seed", type=int, default=1)
    args = flags.parse_args()
    print("found at the first sample / within five minutes\n")
    print("| noise | live samples | learned | clean, % | half | third | spike of twice |")
    print("| --- " * 7 + "|")
    good = True
    for name, noise in KINDS.items():
        for interval, label, live in ((STEP, "5 min", 7 * DAY), (60.0, "1 min", 7 * DAY), (5.0, "5 s", DAY / 2)):
            for cadence, how in ((None, "all"), (STEP, "one in 5 min")):
                if interval == STEP and cadence is not None:
                    continue
                alarms = measure(noise, interval, cadence=cadence, series=args.series, live=live, seed=args.seed)
                cells = " | ".join(f"{alarms.first[kind]:.2f} / {alarms.within[kind]:.2f}" for kind in alarms.first)
                print(f"| {name} | {label} | {how} | {100 * alarms.clean:.3f} | {cells} |", flush=True)
                good &= cadence is None or alarms.clean <= 0.001
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
