from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.drift import stability_index
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from tests.contract.checks import DAY, START, STEP, keys, seasonal


def engine() -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def learned(samples: np.ndarray, pieces: int = 1) -> Engine:
    one = engine()
    for index in np.array_split(np.arange(len(samples)), pieces):
        times = START + STEP * index
        one.run(times, one.align(keys(samples.shape[1]), samples[index], times[0]).samples, STEP)
    return one


def test_what_stays_as_it_was_has_not_drifted() -> None:
    drift = learned(seasonal(50, count=8)).drift
    assert drift.index < 0.05
    assert np.abs(drift.moved).max() < 0.3
    assert drift.often.max() < 0.05


def test_a_drift_that_is_too_slow_for_any_sample_is_seen() -> None:
    """All series grow by one part in a thousand a day, for two months."""
    samples = seasonal(75, count=8)
    slow = samples * (1.0 + 0.01 * np.arange(len(samples)) / DAY)[:, None]
    drift = learned(slow).drift
    assert drift.index > 0.2
    assert (drift.moved > 1.0).all()
    assert drift.often.max() < 0.3


def test_a_level_that_was_accepted_is_not_a_drift() -> None:
    samples = seasonal(60, count=4)
    samples[30 * DAY :] += 300.0
    one = learned(samples)
    assert len(one.shifts) == 4
    assert one.drift.index < 0.1


def test_what_is_often_anomalous_is_counted() -> None:
    samples = seasonal(35, count=2)
    rng = np.random.default_rng(1)
    odd = rng.random(DAY) < 0.2
    samples[-DAY:, 0] *= np.where(odd, 3.0, 1.0)
    often = learned(samples).drift.often
    assert often[0] == pytest.approx(odd.mean() * (1 - np.exp(-1)), abs=0.06)
    assert often[1] < 0.03


def test_nothing_is_said_before_two_weeks_can_be_compared() -> None:
    assert np.isnan(learned(seasonal(19, count=2)).drift.index)
    assert np.isnan(stability_index(np.zeros(5), np.full(5, 100.0)))


def test_it_is_kept_and_comes_in_any_pieces() -> None:
    samples = seasonal(30, count=3)
    whole, parts = learned(samples), learned(samples, pieces=37)
    other = engine()
    saved = whole.checkpoint()
    assert other.restore(saved.at, saved.parts, saved.series)
    for one in (parts, other):
        assert one.drift.index == whole.drift.index
        assert np.array_equal(one.drift.often, whole.drift.often)
        assert np.array_equal(one.drift.moved, whole.drift.moved)


@pytest.mark.parametrize("samples", [1, 5, 11, 12, 13])
def test_it_can_be_measured_from_the_first_sample_on(samples: int) -> None:
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    for at in START + STEP * np.arange(samples):
        one.step(at, one.align(keys(3), np.ones(3), at).samples, STEP)
        assert np.isnan(one.drift.index)
        assert (one.seasons == 0).all()
