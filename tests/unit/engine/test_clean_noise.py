"""Clean noise through the whole default engine: a detector that alerts on it wakes people for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.life_cycle import plan_of
from benchmarks.noise import KINDS, MONDAY
from exporter.config.engine_settings import engine_settings
from exporter.engine.engine import Engine
from exporter.engine.seconds import WEEK

STEP, SERIES = 300.0, 20
SLOTS = int(WEEK / STEP)
WEEKS, COUNTED = 5, 3
"""The first weeks do not count."""
TOGETHER = 12
"""Slots in which what begins again is the same alert."""
MOST = {"normal": 0.1, "counts": 0.1, "lognormal": 0.15, "student": 0.25, "bursty": 0.35}
"""Alerts a series and week of each kind of noise: somewhat more than the default has."""


@pytest.fixture(scope="module")
def alerts() -> dict[str, float]:
    """Alerts a series and week, by the kind of noise."""
    times = MONDAY + STEP * np.arange(WEEKS * SLOTS, dtype=np.float64)
    samples = np.hstack([KINDS[kind](times, SERIES, np.random.default_rng(5)) for kind in MOST])
    engine = Engine(engine_settings(plan_of({}, STEP)))
    keys = [b'{"series":"%d"}' % index for index in range(samples.shape[1])]
    verdicts = engine.run(times, engine.align(keys, samples, MONDAY).samples, STEP)
    anomalous = verdicts.ready & (verdicts.score >= 0.5)
    lately, begins = np.full(samples.shape[1], TOGETHER), np.zeros(samples.shape[1])
    for index, row in enumerate(anomalous):
        begins += row & (lately >= TOGETHER) & (index >= (WEEKS - COUNTED) * SLOTS)
        lately = np.where(row, 0, lately + 1)
    rates = begins.reshape(len(MOST), SERIES).sum(axis=1) / (SERIES * COUNTED)
    return dict(zip(MOST, rates.tolist(), strict=True))


@pytest.mark.parametrize("kind", MOST)
def test_clean_noise_hardly_alerts(alerts: dict[str, float], kind: str) -> None:
    assert alerts[kind] <= MOST[kind]
