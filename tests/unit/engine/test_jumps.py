"""Jumps of smooth series are found inside the band of their hour; sawtooths, steps and white noise have none."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 900.0
DAY = int(86400 / STEP)
DAYS = 16


def engine() -> Engine:
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))


def found(samples: FloatArray) -> npt.NDArray[np.bool_]:
    judge = engine()
    keys = [b'{"series":"%d"}' % index for index in range(samples.shape[1])]
    times = MONDAY + STEP * np.arange(len(samples), dtype=np.float64)
    found: npt.NDArray[np.bool_] = judge.run(times, judge.align(keys, samples, MONDAY).samples, STEP).score >= 0.5
    return found


def smooth(days: int = DAYS) -> FloatArray:
    """Three series around 100 whose noise of 10 lasts for a day, so samples hardly differ; shape (t, 3)."""
    steps = np.random.default_rng(3).standard_normal((days * DAY, 3)) * 10.0 * np.sqrt(1.0 - 0.99**2)
    noise = np.zeros((days * DAY, 3))
    for now, before, step in zip(noise[1:], noise[:-1], steps[1:], strict=True):
        now[:] = 0.99 * before + step
    return 100.0 + noise


def test_a_jump_that_stays_inside_the_band_is_found_and_reported_while_it_lasts() -> None:
    samples = smooth()
    begin = (len(samples) - 3 * DAY) + np.argmin(np.abs(samples[-3 * DAY : -DAY] - 100.0), axis=0)
    for series, first in enumerate(begin.tolist()):
        samples[first : first + 4, series] -= 30.0
    alerts = found(samples)
    for series, first in enumerate(begin.tolist()):
        assert alerts[first : first + 2, series].any()
        assert alerts[first + 2, series], "it is compared with the level before it"
        assert not alerts[first + 4 : first + 12, series].any(), "the way back is none"


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(lambda at: (at * 37.0) % 180.0, id="a sawtooth that is emptied every five days"),
        pytest.param(lambda at: 100.0 + 10.0 * np.floor(2.0 * np.sin(0.9 * at)), id="a held value that steps"),
        pytest.param(
            lambda at: np.random.default_rng(4).standard_normal(at.shape) + 50.0, id="noise that is not correlated"
        ),
    ],
)
def test_what_is_not_smooth_has_no_jumps(of: object) -> None:
    at = np.arange(DAYS * DAY, dtype=np.float64)[:, None] / DAY + np.array([0.0, 0.3, 0.7])
    assert callable(of)
    assert found(of(at))[7 * DAY :].mean() < 0.002


def test_a_state_without_jumps_goes_on() -> None:
    samples = smooth(days=5)
    keys = [b'{"series":"%d"}' % index for index in range(3)]
    times = MONDAY + STEP * np.arange(len(samples), dtype=np.float64)
    before, after = engine(), engine()
    before.run(times, before.align(keys, samples, MONDAY).samples, STEP)
    checkpoint = before.checkpoint()
    old = {name: part for name, part in checkpoint.parts.items() if "/jump." not in name}
    assert len(old) < len(checkpoint.parts)
    assert after.restore(checkpoint.at, old, checkpoint.series)
    for name in ("far/limit", "far/hours"):
        assert np.array_equal(after.checkpoint().parts[name], checkpoint.parts[name], equal_nan=True)
    assert "far/jump.limit" in after.checkpoint().parts
