"""What a user expects of the default configuration, each on a series made for it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.detectors import Collective, Iqr, Novelty, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings, Direction

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 300.0
HOUR = int(3600 / STEP)
DAY = 24 * HOUR
WEEK = 7 * DAY
DEFAULT = DetectionSettings()


def weeks(count: float, series: int = 3, seed: int = 11) -> FloatArray:
    """Daily shape, weekends at two thirds, 5 % noise; shape (t, series)."""
    rng = np.random.default_rng(seed)
    times = MONDAY + STEP * np.arange(int(count * WEEK))
    hour, weekday = times % 86400 / 3600, (times - MONDAY) // 86400 % 7
    shape = (100 + 40 * np.sin((hour - 8) / 24 * 2 * np.pi)) * np.where(weekday >= 5, 0.67, 1.0)
    return shape[:, None] * (1 + 0.05 * rng.standard_normal((len(times), series)))


def anomalous(
    samples: FloatArray, detection: DetectionSettings = DEFAULT, direction: Direction = "both"
) -> npt.NDArray[np.bool_]:
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, direction))
    keys = [b'{"series":"%d"}' % i for i in range(samples.shape[1])]
    times = MONDAY + STEP * np.arange(len(samples))
    return engine.run(times, engine.align(keys, samples, times[0]).samples, STEP).score >= 0.5


def at(week: int, day: int, hour: float) -> int:
    return week * WEEK + day * DAY + int(hour * HOUR)


def test_the_default_is_novelty_and_one_that_agrees_or_a_drift() -> None:
    assert DEFAULT.detectors == (ZScore(), Iqr(multiplier=2.5), Novelty(votes=2), Collective(votes=3))
    assert DEFAULT.quorum == 3


def test_a_spike_among_five_hundred_samples_is_found() -> None:
    rng = np.random.default_rng(2)
    samples = 100 + 5 * rng.standard_normal((500, 4))
    samples[480:486] += 50.0
    found = anomalous(samples)
    assert found[480].all()
    assert found[60:480].mean() < 0.01  # The series is two days old.


@pytest.mark.parametrize("toward", [1.0, -1.0], ids=["up", "down"])
def test_a_slow_leak_is_caught_in_its_first_half(toward: float) -> None:
    samples = weeks(5)
    begin, end = at(4, 0, 6), at(4, 4, 6)
    samples[begin:end] += toward * np.linspace(0.0, 40.0, end - begin)[:, None]
    found = anomalous(samples)
    assert found[begin : (begin + end) // 2].any(axis=0).all()
    assert found[WEEK:begin].mean() <= 0.001


def test_a_dip_of_every_sunday_is_quiet_and_the_same_dip_on_a_wednesday_is_found() -> None:
    samples = weeks(7)
    for week in range(6):
        samples[at(week, 6, 21) : at(week, 6, 23)] *= 0.4
    wednesday = slice(at(6, 2, 21), at(6, 2, 23))
    samples[wednesday] *= 0.4
    found = anomalous(samples)
    for week in range(1, 6):
        assert not found[at(week, 6, 20) : at(week, 6, 24)].any()
    # Each sample by itself is known from Sundays, so it takes some of them.
    assert found[wednesday][: HOUR // 2].any(axis=0).all()
    assert found[wednesday].mean() > 0.9


def test_an_anomaly_ends_with_its_last_sample() -> None:
    samples = weeks(4)
    spike = slice(at(3, 2, 12), at(3, 2, 12) + 6)
    samples[spike] *= 3.0
    found = anomalous(samples)
    assert found[spike].all()
    # What came before is what novelty still sees, so a later sample outside the band may count again.
    assert found[spike.stop : spike.stop + DAY].mean() < 0.01


def test_an_outage_is_anomalous_as_long_as_it_lasts() -> None:
    samples = weeks(4)
    outage = slice(at(3, 2, 12), at(3, 2, 15))
    samples[outage] *= 0.1
    assert anomalous(samples)[outage].all()


def test_a_drop_to_exactly_zero_is_found_at_once() -> None:
    samples = weeks(3)
    samples[at(2, 3, 10) : at(2, 3, 11)] = 0.0
    assert anomalous(samples)[at(2, 3, 10)].all()


def test_a_jump_from_a_constant_is_found() -> None:
    samples = np.full((2 * WEEK, 2), 7.0)
    samples[-1, 0] = 8.0
    found = anomalous(samples)
    assert found[-1].tolist() == [True, False]
    assert not found[:-1].any()


def test_the_spike_of_yesterday_does_not_mask_the_anomaly_of_today() -> None:
    samples = weeks(4)
    samples[at(3, 2, 12)] *= 20.0
    samples[at(3, 3, 12)] *= 3.0
    assert anomalous(samples)[at(3, 3, 12)].all()


def test_a_spike_that_recurs_stops_alerting() -> None:
    samples = weeks(4)
    rng = np.random.default_rng(5)
    for day in range(28):
        samples[at(0, day, 12 + 3 * rng.random())] *= 3.0
    assert anomalous(samples)[2 * WEEK :].mean() < 0.0005


@pytest.mark.parametrize(("direction", "found"), [("above", [True, False]), ("below", [False, True])])
def test_what_is_novel_on_the_side_that_does_not_count_is_no_anomaly(direction: Direction, found: list[bool]) -> None:
    samples = weeks(3, series=2)
    samples[at(2, 3, 10), 0] *= 4.0
    samples[at(2, 3, 10), 1] *= 0.05
    assert anomalous(samples, direction=direction)[at(2, 3, 10)].tolist() == found


def test_eight_clean_weeks_are_quiet() -> None:
    found = anomalous(weeks(8, series=12))
    assert found[WEEK:].mean() <= 0.001
