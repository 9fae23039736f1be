from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.detectors import Collective, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 900.0
DAY = 96
WEEK = 7 * DAY


def found(samples: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which samples, shape (t, n), the detector calls anomalous, beside one that draws the band."""
    detection = DetectionSettings(detectors=(ZScore(), Collective()), quorum=2)
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    times = MONDAY + STEP * np.arange(len(samples))
    keys = [b'{"a":"%d"}' % number for number in range(samples.shape[1])]
    return engine.run(times, engine.align(keys, samples, MONDAY).samples, STEP).each[:, 1] >= 1.0


def weeks(count: float) -> FloatArray:
    """Weekends at half, noise of 2; shape (t, 1)."""
    days = np.arange(int(count * WEEK)) // DAY % 7
    noise = np.random.default_rng(8).standard_normal(len(days))
    return (100.0 * np.where(days >= 5, 0.5, 1.0) + 2.0 * noise)[:, None]


def test_the_first_weekends_are_no_drift() -> None:
    assert not found(weeks(5)).any()


@pytest.mark.parametrize("size", [20.0, 1000.0])
def test_one_spike_is_no_drift_toward_the_other_side(size: float) -> None:
    samples = weeks(5)
    begin = 4 * WEEK + DAY
    samples[begin : begin + 4] += size
    assert not found(samples).any()


def test_a_drift_is_found_and_ends_within_days() -> None:
    samples = weeks(6)
    begin, end = 4 * WEEK + DAY, 4 * WEEK + 4 * DAY
    samples[begin:end] += np.linspace(0.0, 12.0, end - begin)[:, None]
    anomalous = found(samples)
    assert anomalous[begin:end].any()
    assert not anomalous[:begin].any()
    # What was accepted of the drift has to be taken back, which looks like a drift the other way for days.
    assert not anomalous[end + 4 * DAY :].any()


def test_a_clock_that_is_changed_is_no_drift() -> None:
    hour = np.arange(6 * WEEK) * 24.0 / DAY
    hour[5 * WEEK - DAY :] += 1.0
    shape = 100.0 + 60.0 * np.sin(hour / 24.0 * 2.0 * np.pi)
    assert not found((shape + 2.0 * np.random.default_rng(8).standard_normal(len(hour)))[:, None]).any()


def test_a_leak_at_any_hour_of_a_steep_day_is_found_within_a_day_and_until_it_is_over() -> None:
    hour = np.arange(5 * WEEK + 3 * DAY) * 24.0 / DAY
    shape = 100.0 + 30.0 * np.sin(hour / 24.0 * 2.0 * np.pi)
    begins = np.repeat(5 * WEEK + np.arange(0, DAY, DAY // 4), 2)
    leak = 0.45 * np.maximum(hour[:, None] - hour[begins], 0.0) * np.tile([1.0, -1.0], 4)
    noise = np.random.default_rng(6).uniform(-0.03, 0.03, leak.shape)
    anomalous = found(shape[:, None] * (1.0 + noise) + leak)
    for begin, of_series in zip(begins.tolist(), anomalous.T, strict=True):
        assert not of_series[:begin].any()
        assert of_series[begin : begin + DAY].any()
        assert of_series[begin + DAY : begin + 3 * DAY // 2].all()
