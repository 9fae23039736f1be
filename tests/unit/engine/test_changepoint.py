from __future__ import annotations

import numpy as np

from exporter.engine.drift import changepoint


def hourly(seed: int = 1, correlated: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(28 * 24)
    for at in range(1, len(noise)):
        noise[at] = correlated * noise[at - 1] + np.sqrt(1 - correlated**2) * noise[at]
    hours = np.arange(len(noise))
    return 100.0 + 30.0 * np.sin(hours * np.pi / 12) + np.where(hours // 24 % 7 >= 5, -20.0, 0.0) + 4.0 * noise


def test_the_newest_level_is_found() -> None:
    for at in (600, 630, 655):
        values = hourly()
        values[at:] += 40.0
        found = changepoint(values)
        assert found is not None
        assert abs(found - at) <= 4


def test_seasons_noise_and_gaps_are_no_change() -> None:
    for seed in range(6):
        values = hourly(seed, correlated=0.7)
        values[np.random.default_rng(seed).random(len(values)) < 0.1] = np.nan
        assert changepoint(values) is None
    assert changepoint(np.full(28 * 24, 5.0)) is None
    assert changepoint(np.full(28 * 24, np.nan)) is None
    assert changepoint(hourly()[:200]) is None
