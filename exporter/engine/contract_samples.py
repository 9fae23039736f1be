"""Samples and runs of a whole engine with one detector, for the contract checks and for tests."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Detector
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Checkpoint, Verdict

__all__ = [
    "DAY",
    "SETTLED_SAMPLES",
    "START",
    "STEP",
    "FloatArray",
    "copied",
    "engine_of",
    "equal",
    "keys",
    "run",
    "scores",
    "seasonal",
    "settled",
    "state_of",
    "step",
]

FloatArray = npt.NDArray[np.float64]

START = 1_760_313_600.0  # a Monday, 00:00 UTC
STEP = 900.0
DAY = int(86400 / STEP)
SETTLED_SAMPLES = 3 * DAY  # samples after which every detector has something to say


def engine_of(detector: Detector) -> Engine:
    """Return an engine with one detector that decides alone."""
    detection = DetectionSettings.model_construct(detectors=(detector,), quorum=1)  # type: ignore[arg-type]
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def keys(count: int) -> list[bytes]:
    """Return the label sets of `count` series."""
    return [b'{"series":"%d"}' % i for i in range(count)]


def settled(detector: Detector) -> int:
    """Return after how many samples, without gaps of more than a tenth, the detector has something to say."""
    return SETTLED_SAMPLES + int(1.5 * detector.warm_up / STEP)


def seasonal(days: float, count: int = 3, seed: int = 7) -> FloatArray:
    """Daily shape, weekends at two thirds, 5 % noise; shape (t, count)."""
    rng = np.random.default_rng(seed)
    t = START + STEP * np.arange(int(days * DAY))
    hour, weekday = t % 86400 / 3600, (t // 86400 + 3) % 7
    shape = (100 + 40 * np.sin((hour - 8) / 24 * 2 * np.pi)) * np.where(weekday >= 5, 0.67, 1.0)
    return shape[:, None] * (1 + 0.05 * rng.standard_normal((len(t), count)))


def run(engine: Engine, samples: FloatArray, first: int = 0) -> list[Verdict]:
    """Run samples, shape (t, n), in one call; the first one is the instant number `first`.

    It takes a quarter of the time of `step`, and `any_pieces` checks that it gives the same.
    """
    times = START + STEP * np.arange(first, first + len(samples), dtype=np.float64)
    verdicts = engine.run(times, engine.align(keys(samples.shape[1]), samples, times[0]).samples, STEP)
    return [verdicts[index] for index in range(len(samples))]


def step(engine: Engine, samples: FloatArray, first: int = 0) -> list[Verdict]:
    """Run samples, shape (t, n), one instant at a time; the first one is the instant number `first`."""
    verdicts = []
    for index, row in enumerate(samples, start=first):
        at = START + STEP * index
        verdicts.append(engine.step(at, engine.align(keys(len(row)), row, at).samples, STEP))
    return verdicts


def scores(verdicts: list[Verdict]) -> FloatArray:
    """Return the scores, shape (t, n)."""
    return np.array([verdict.score for verdict in verdicts])


def equal(a: list[Verdict], b: list[Verdict]) -> bool:
    """Return whether two lists of verdicts have the same bits."""
    return all(
        np.array_equal(getattr(x, name), getattr(y, name), equal_nan=True)
        for x, y in zip(a, b, strict=True)
        for name in ("score", "expected", "lower", "upper", "votes", "z", "each")
    )


def state_of(engine: Engine) -> dict[str, npt.NDArray[np.generic]]:
    """Everything that was learned, because nothing of it was saved so far."""
    return copied(engine.checkpoint())


def copied(checkpoint: Checkpoint) -> dict[str, npt.NDArray[np.generic]]:
    """Return copies of the arrays of a checkpoint."""
    return {name: part.copy() for name, part in checkpoint.parts.items()}
