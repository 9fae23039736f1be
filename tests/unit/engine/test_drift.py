from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.drift import Drift, stability_index
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings


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


def days_and_nights(count: int) -> np.ndarray:
    """Half a sine by day and zero by night, with noise; shape (count,)."""
    phase = 2.0 * np.pi * np.arange(count) / DAY
    noise = 5.0 * np.random.default_rng(4).standard_normal(count)
    # Higher than what was there before: the level is on both sides of it every day, so it is no shift.
    return np.maximum(np.sin(phase - 0.5 * np.pi), 0.0) * (150.0 + noise)


def still_then_days(noise: float) -> np.ndarray:
    """Four weeks of 100, ten days of days and nights."""
    still = 100.0 + noise * np.random.default_rng(3).standard_normal(28 * DAY)
    return np.concatenate([still, days_and_nights(10 * DAY)])[:, None]


def default_engine(samples: np.ndarray, drifting: float | None = 0.05) -> tuple[Engine, np.ndarray]:
    """Return an engine with the detectors of users that has learned `samples`, and when it found them anomalous."""
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), drifting=drifting))
    times = START + STEP * np.arange(len(samples))
    aligned = one.align(keys(samples.shape[1]), samples, times[0]).samples
    return one, one.run(times, aligned, STEP).score >= 0.5


@pytest.mark.parametrize("noise", [0.0, 2.0], ids=["constant", "noisy"])
def test_what_stood_still_and_has_days_and_nights_now_is_learned_anew(noise: float) -> None:
    samples = still_then_days(noise)
    outage = slice(36 * DAY + DAY // 2 - 8, 36 * DAY + DAY // 2 + 8)
    samples[outage] = 300.0
    one, anomalous = default_engine(samples)
    assert anomalous[28 * DAY : 29 * DAY].mean() > 0.4
    assert not anomalous[32 * DAY : outage.start].any()
    assert anomalous[outage].mean() > 0.5
    # Twice where it was learned on a night alone at first.
    assert 1 <= len(one.relearned) <= 2


def test_without_relearning_it_alerts_every_day() -> None:
    one, anomalous = default_engine(still_then_days(noise=0.0), drifting=None)
    assert anomalous[31 * DAY :].mean() > 0.3
    assert one.relearned == []


def test_what_is_shorter_than_a_day_or_less_than_a_twentieth_of_it_is_not_learned_anew() -> None:
    samples = seasonal(42, count=4)
    samples[30 * DAY : 30 * DAY + DAY * 5 // 6, 0] *= 4.0
    every_day = (np.arange(len(samples)) % DAY < DAY // 24) & (np.arange(len(samples)) >= 30 * DAY)
    samples[every_day, 1] *= 4.0
    samples[30 * DAY :, 2] += 400.0
    one, anomalous = default_engine(samples)
    assert anomalous[30 * DAY :, 0].sum() >= DAY // 3
    assert anomalous[30 * DAY :, 2].sum() >= DAY // 3
    assert one.relearned == []
    # A level that lasts moves, and keeps its shape.
    assert [shift.row for shift in one.shifts] == [2]
    assert not one.shifts[0].anew


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


def test_when_it_is_learned_anew_does_not_depend_on_pieces() -> None:
    samples = np.concatenate([np.full(28 * DAY, 100.0), days_and_nights(4 * DAY)])[:, None]
    whole, parts = learned(samples), learned(samples, pieces=41)
    assert parts.relearned == whole.relearned == [0]
    first, second = whole.checkpoint().parts, parts.checkpoint().parts
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


@pytest.mark.parametrize("samples", [1, 5, 11, 12, 13])
def test_it_can_be_measured_from_the_first_sample_on(samples: int) -> None:
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    for at in START + STEP * np.arange(samples):
        one.step(at, one.align(keys(3), np.ones(3), at).samples, STEP)
        assert np.isnan(one.drift.index)
        assert (one.seasons == 0).all()


def test_a_histogram_of_a_hundred_samples_can_be_compared() -> None:
    few, many = np.full(4, 24.0), np.full(4, 26.0)
    assert np.isnan(stability_index(few, many))
    assert stability_index(many, many) == 0.0


def test_the_profile_is_pinned_after_a_week_for_twelve_weeks() -> None:
    drift, every = Drift(), np.array([[1.0], [2.0], [0.0], [0.0], [0.0]], np.float32)
    drift.grow(1)
    pinned = []
    for day in range(100):
        every[4] = 86400.0 * day
        drift.begin_day(START + 86400.0 * day)
        drift.count(drift.learn(slice(0, 1), np.ones(1), every if not 89 < day < 95 else 0.0 * every))
        pinned.append(bool(np.isfinite(drift.measure(every).moved[0])))
    # Pinned anew at once, unless the series is too young by then.
    assert [day for day in range(1, 100) if pinned[day] != pinned[day - 1]] == [7, 92, 95]


def test_the_buckets_are_emptied_two_weeks_after_they_began_at_the_earliest() -> None:
    drift, on = Drift(0.05), np.ones((1, 1), np.bool_)
    drift.grow(1)
    rows, due = slice(0, 1), []
    for day in range(40):
        drift.update(rows, on, on, on, 86400.0)
        if len(drift.due(rows, 86400.0)):
            due.append(day)
            drift.restart(np.array([0]))
            assert drift.restarted(rows).all()
    assert due == [14, 30]
