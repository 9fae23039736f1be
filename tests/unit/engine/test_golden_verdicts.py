"""The verdicts of the engine on a month of series in all kinds of situations, against a golden file.

Whatever tuned number of the engine changes, some of these verdicts change with it. A behaviour that is worth a name
has a test of its own beside this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.contract_samples import DAY, START, STEP
from exporter.engine.detectors import IsolationForest, Stl
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.sample_mask import SampleMask
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdicts

FloatArray = npt.NDArray[np.float64]

DAYS = 32
WEEK = 7 * DAY
EVENT = 23 * DAY + 30
MESSAGE = (
    "the engine's verdicts changed. If that is meant, run `make golden`, look at the difference, and at the four "
    "scorers of benchmarks/: are they better or worse?"
)
ALL = DetectionSettings(detectors=(*DetectionSettings().detectors, Stl(), IsolationForest()), quorum=3)


def usual(rng: np.random.Generator, noise: float = 0.05) -> FloatArray:
    """A day of 60 to 140, weekends at two thirds; shape (t,)."""
    t = START + STEP * np.arange(DAYS * DAY)
    shape = (100 + 40 * np.sin((t % 86400 / 3600 - 8) / 24 * 2 * np.pi)) * np.where((t // 86400 + 3) % 7 >= 5, 0.67, 1)
    return shape * (1 + noise * rng.standard_normal(len(t)))


def situations() -> dict[str, FloatArray]:
    """Return the samples of each series, by what happens to it."""
    rng = np.random.default_rng(11)
    index = np.arange(DAYS * DAY)
    after, hour = index >= EVENT, index % DAY // 4
    block = index // 12

    def but(where: npt.ArrayLike, change: Callable[[FloatArray], npt.ArrayLike]) -> FloatArray:
        samples = usual(rng)
        samples[where] = change(samples[where])
        return samples

    def between(first: float, last: float) -> npt.NDArray[np.bool_]:
        """Days after the event."""
        return (index >= EVENT + first * DAY) & (index < EVENT + last * DAY)

    def outside(parts: int, of: int = 12) -> npt.NDArray[np.bool_]:
        return after & (index % 12 < parts) if of == 12 else after & (block % of < parts)

    noise = rng.standard_normal((8, len(index)))
    walk = np.cumsum(noise[0])
    smooth = np.convolve(noise[1], 0.9 ** np.arange(60), "same")
    series = {
        "calm": usual(rng),
        "noisy": usual(rng, 0.4),
        "heavy tails": usual(rng) + 6 * rng.standard_t(2, len(index)),
        "only noise": 50 + noise[2],
        "correlated noise": 50 + smooth,
        "random walk": walk,
        "every day alike": 100 + 30 * np.sin(index / DAY * 2 * np.pi) + 2 * noise[3],
        "one hour a week": np.where(index % WEEK // 4 == 160, 40, 100) + 2 * noise[4],
        "weekends a little lower": 100 - 3 * (index // DAY % 7 >= 5) + 4 * noise[5],
        "counts, mostly zero": rng.poisson(0.05, len(index)).astype(float),
        "small counts": rng.poisson(3.0, len(index)).astype(float),
        "constant": np.full(len(index), 5.0),
        "constant with a jump": np.where(between(0, 0.2), 6.0, 5.0),
        "constant that begins to vary": 5.0 + np.where(after, 0.01 * noise[6], 0.0),
        "zero at night": np.where(hour < 6, 0.0, usual(rng)),
        "still, then days and nights": np.where(after, np.maximum(150 * np.sin(index / DAY * 2 * np.pi), 0), 100.0),
        "small movement on a large level": np.round(usual(rng)) + 2.0**40,
        "huge": usual(rng) * 1e297,
        "tiny": but(between(0, 0.1), lambda x: 3 * x) * 1e-300,
        "beyond the largest number": np.full(len(index), 1e303),
        "small movement after a large one": np.where(index < 3, index, 1e7 + 2 * noise[3] + 13 * between(0, 0.02)),
        "spike": but(between(0, 0.02), lambda x: 4 * x),
        "dip": but(between(0, 0.05), lambda x: 0.6 * x),
        "a little beyond the band": but(between(0, 0.3), lambda x: 1.3 * x),
        "the same spike every day": but(index % DAY == 50, lambda x: x + 150),
        "spikes now and then": but(rng.random(len(index)) < 0.01, lambda x: x * rng.uniform(1.5, 3.0, len(x))),
        "a larger spike each day": but(index % DAY == 70, lambda x: x * 1.4 ** np.arange(len(x))),
        "larger each day": but(after & (index % DAY == 70), lambda x: x * np.linspace(1.5, 4.0, len(x))),
        "night at noon": but(between(0, 0.25), lambda x: 0.5 * x),
        "a day turned over": but(between(0, 1), lambda x: x[::-1]),
        "three hours late": but(after, lambda x: np.roll(x, 12)),
        "wider": but(between(0, 2), lambda x: x + 15 * noise[7][: len(x)]),
        "narrower": np.where(between(0, 2), 50.0 + 0.2 * noise[7], 50 + 2 * noise[6]),
        "two values": np.where(between(0, 2), 50 + 2 * np.sign(noise[7]), 50 + 2 * noise[5]),
        "leak": but(between(0, 4), lambda x: x + np.linspace(0, 30, len(x))),
        "slow leak": but(after, lambda x: x + np.linspace(0, 25, len(x))),
        "higher": but(after, lambda x: x + 100),
        "lower": but(after, lambda x: x - 50),
        "doubled": but(after, lambda x: 2 * x),
        "ten-thousandfold": but(after, lambda x: 1e4 * x),
        "flat and far": but(after, lambda x: 500 + 5 * noise[7][: len(x)]),
        "higher, ten of twelve samples": but(outside(10), lambda x: x + 100),
        "higher, eight of twelve samples": but(outside(8), lambda x: x + 100),
        "higher for twenty hours": but(between(0, 0.85), lambda x: x + 100),
        "above and below": but(after, lambda x: x + np.where(np.arange(len(x)) % DAY < 48, 200, -200)),
        "half a day high, each day": but(after & (index % DAY < 40), lambda x: x * 3),
        "an incident in the first week": but((index > 2 * DAY) & (index < 2 * DAY + 30), lambda x: 5 * x),
        "an incident in the second week": but((index > 9 * DAY) & (index < 9 * DAY + 30), lambda x: 1.8 * x),
        "away": but(between(0, 1.5), lambda x: np.nan * x),
        "away for ten minutes": but(between(0, 0.015), lambda x: np.nan * x),
        "away on the third day": but((index > 2.4 * DAY) & (index < 2.6 * DAY), lambda x: np.nan * x),
        "away on the fourth day": but((index > 3.4 * DAY) & (index < 3.6 * DAY), lambda x: np.nan * x),
        "away every Sunday at ten": but((index // DAY % 7 == 6) & (hour >= 10) & (hour < 13), lambda x: np.nan * x),
        "away every second day": but((index % (2 * DAY) < 20) & after, lambda x: np.nan * x),
        "away one day in ten": but(index % (10 * DAY) > 9 * DAY, lambda x: np.nan * x),
        "every third sample": but(index % 3 > 0, lambda x: np.nan * x),
        "from the tenth day on": but(index < 10 * DAY, lambda x: np.nan * x),
        "from yesterday on": but(index < 31 * DAY, lambda x: np.nan * x),
        "zero": but(between(0, 0.2), lambda x: 0 * x),
        "zero every third day": but(after & (index % (3 * DAY) < 8), lambda x: 0 * x),
        "far below zero": but(between(0, 0.1), lambda x: x - 5000),
        "infinite": but(between(0, 0.02), lambda x: np.inf * x),
        "accepted after an hour": but(after, lambda x: x + 80),
        "accepted after eight hours": but(after, lambda x: 2 * x + 10),
        "masked": but(between(0.1, 0.6), lambda x: 4 * x),
        "expected to be threefold": but(between(0, 0.6), lambda x: 3 * x),
    }
    # Pods: one is gone when another comes, or long after, and one is simply gone.
    born = {"web-7d9f8b6c5-x2x7k": 0.0, "web-7d9f8b6c5-9qzt4": 18.5, "db-0": 0.0, "db-1": 13.0, "api": 0.0}
    for pod, first in born.items():
        gone = (index >= EVENT) & (first == 0.0)
        series[pod] = but((index < first * DAY) | gone, lambda x: np.nan * x)
    return series


def key(name: str) -> bytes:
    """Return the label set of a series."""
    return b'{"pod":"%s"}' % name.encode()


def month() -> tuple[list[str], Engine, Verdicts]:
    """Return the names of the series, the engine after a month of them, and its verdicts."""
    series = situations()
    names, samples = list(series), np.array(list(series.values())).T
    engine = Engine(
        EngineSettings(
            ZoneInfo("Europe/Berlin"),
            BaselineSettings(),
            ALL,
            valid_range=(-1000.0, np.inf),
        )
    )
    times = START + STEP * np.arange(len(samples))
    aligned = engine.align([key(name) for name in names], samples, START).samples
    mask = np.ones(len(names), np.bool_)
    mask[names.index("masked")] = False
    factor = np.ones(len(names))
    factor[names.index("expected to be threefold")] = 3.0
    verdicts = []
    stops = {
        EVENT: None,
        EVENT + 4: "accepted after an hour",
        EVENT + 32: "accepted after eight hours",
        len(times): None,
    }
    begin = 0
    for stop, accepted in stops.items():
        treated = SampleMask(mask, factor) if begin == EVENT + 4 else None
        verdicts.append(engine.run(times[begin:stop], aligned[begin:stop], STEP, treated))
        if accepted is not None:
            engine.accept(np.array([names.index(accepted)]), float(times[stop - 1]))
        begin = stop
    return names, engine, verdicts


PERIODS = {"1st week": (0, 7), "2nd week": (7, 14), "3rd week": (14, 23), "event": (23, 25), "after": (25, DAYS)}


def row(title: str, numbers: Iterable[float]) -> str:
    """Return a line of a table; five digits are more than rounding can touch."""
    return f"{title:55}" + "".join(f" {number:11.5g}" for number in numbers)


def table(names: list[str], verdicts: list[Verdicts]) -> list[str]:
    """Return what was said of each series in each period."""
    flags_and_sizes = "score votes z each ready absent zero missing_since expected lower upper"
    score, votes, z, each, ready, absent, zero, since, *edges = (
        np.concatenate([getattr(piece, name) for piece in verdicts]) for name in flags_and_sizes.split()
    )
    heads = ["anomalous", "ready", "votes", "away", "absent", "zero", "score", "z", "expected", "lower", "upper"]
    heads += [detector.kind[:9] for detector in ALL.detectors]
    lines = [f"{'':55}" + "".join(f" {head:>11}" for head in heads)]
    for column, name in enumerate(names):
        for period, (first, last) in PERIODS.items():
            here = slice(first * DAY, last * DAY), column
            flags = [score[here] >= 0.5, ready[here], votes[here], ~np.isnan(since[here]), absent[here], zero[here]]
            sizes = [score[here], np.clip(z[here], -50, 50), *(edge[here] for edge in edges)]
            sizes += [np.minimum(severity, 20.0) for severity in each[here[0], :, column].T]
            means = [np.mean(size[~np.isnan(size)]) if not np.isnan(size).all() else np.nan for size in sizes]
            lines.append(row(f"{name}, {period}", [*map(np.nansum, flags), *means]))
    return lines


def lines() -> list[str]:
    """Return the golden file."""
    names, engine, verdicts = month()
    lines = table(names, verdicts)
    shifts = [(names[shift.row], shift) for shift in engine.shifts]
    lines += ["", "level shifts: before, after, seconds, learned anew"]
    lines += [row(name, (shift.before, shift.after, shift.seconds, shift.anew)) for name, shift in shifts]
    lines += ["", "learned anew: " + ", ".join(names[row] for row in engine.relearned), ""]
    lines += ["state: season, often anomalous, moved; summary of the hour: mean, std, q1, q3, scope, visits"]
    drift, summary = engine.drift, engine.bucket_summary(np.arange(len(names)), START + DAYS * 86400.0)
    columns = (engine.seasons, drift.often, drift.moved, summary.mean, summary.std, summary.q1, summary.q3)
    lines += map(row, names, zip(*columns, summary.scope, summary.visits, strict=True))
    return [*lines, row("stability index", [drift.index]), ""]


def test_the_verdicts_are_those_of_the_golden_file(golden_numbers: Callable[[str, str], None]) -> None:
    # The kernels of NumPy for wider registers differ in the last digit of a logarithm, and a bin of a histogram with
    # it; all machines have those of the baseline.
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
    written = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    try:
        golden_numbers("engine_verdicts.txt", written.stdout.removesuffix("\n"))
    except AssertionError as differs:
        raise AssertionError(f"{MESSAGE}\n{differs}") from None


if __name__ == "__main__":
    print("\n".join(lines()))
