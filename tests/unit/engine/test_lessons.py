"""What a user expects of the default configuration, each on a series made for it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.detectors import Collective, Counts, Far, Iqr, Novelty, Texture, Window, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings, Direction

FloatArray = npt.NDArray[np.float64]
Found = dict[str, npt.NDArray[np.bool_]]

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


def noise_with_a_spike() -> FloatArray:
    samples = 100 + 5 * np.random.default_rng(2).standard_normal((500, 4))
    samples[480:486] += 50.0
    return samples


LEAK = slice(at(4, 0, 6), at(4, 4, 6))


def slow_leak(toward: float) -> FloatArray:
    samples = weeks(5)
    samples[LEAK] += toward * np.linspace(0.0, 40.0, LEAK.stop - LEAK.start)[:, None]
    return samples


WEDNESDAY = slice(at(6, 2, 21), at(6, 2, 23))


def dips_on_sundays_and_a_wednesday() -> FloatArray:
    samples = weeks(7)
    for week in range(6):
        samples[at(week, 6, 21) : at(week, 6, 23)] *= 0.4
    samples[WEDNESDAY] *= 0.4
    return samples


def scaled(count: float, *factors: tuple[slice, float]) -> FloatArray:
    samples = weeks(count)
    for part, factor in factors:
        samples[part] *= factor
    return samples


def jump_from_a_constant() -> FloatArray:
    samples = np.full((2 * WEEK, 2), 7.0)
    samples[-1, 0] = 8.0
    return samples


def instant(index: int) -> slice:
    return slice(index, index + 1)


def a_spike_a_day() -> FloatArray:
    rng = np.random.default_rng(5)
    return scaled(4, *((instant(at(0, day, 12.5 + rng.random())), 3.0) for day in range(28)))


ANYWHERE = [
    at(0, day, hour) for day, hour in zip(range(8, 28, 2), 24 * np.random.default_rng(5).random(10), strict=True)
]


def a_spike_anywhere() -> FloatArray:
    return scaled(4, *((instant(index), 5.0) for index in ANYWHERE))


SPIKE = slice(at(3, 2, 12), at(3, 2, 12) + 6)
OUTAGE = slice(at(3, 2, 12), at(3, 2, 15))


def lessons() -> dict[str, FloatArray]:
    return {
        "noise": noise_with_a_spike(),
        "leak up": slow_leak(1.0),
        "leak down": slow_leak(-1.0),
        "dips": dips_on_sundays_and_a_wednesday(),
        "spike": scaled(4, (SPIKE, 3.0)),
        "outage": scaled(4, (OUTAGE, 0.1)),
        "zero": scaled(3, (slice(at(2, 3, 10), at(2, 3, 11)), 0.0)),
        "jump": jump_from_a_constant(),
        "two spikes": scaled(4, (instant(at(3, 2, 12)), 20.0), (instant(at(3, 3, 12)), 3.0)),
        "a spike a day": a_spike_a_day(),
        "a spike anywhere": a_spike_anywhere(),
        "clean": weeks(8, series=12),
    }


@pytest.fixture(scope="module")
def found() -> Found:
    """The anomalous samples of every lesson, judged in one run: no series affects another."""
    each = lessons()
    longest = max(map(len, each.values()))
    padded = [np.pad(s, ((0, longest - len(s)), (0, 0)), constant_values=np.nan) for s in each.values()]
    begin = np.cumsum([0, *(samples.shape[1] for samples in each.values())])
    whole = anomalous(np.hstack(padded))
    return {
        name: whole[: len(samples), first : first + samples.shape[1]]
        for (name, samples), first in zip(each.items(), begin.tolist(), strict=False)
    }


def test_the_default_is_novelty_and_one_that_agrees_or_one_of_five_alone() -> None:
    alone = (Far(votes=3), Counts(votes=3), Window(votes=3), Texture(votes=3), Collective(votes=3))
    assert DEFAULT.detectors == (ZScore(), Iqr(multiplier=2.5), Novelty(votes=2), *alone)
    assert DEFAULT.quorum == 3


def test_a_spike_among_five_hundred_samples_is_found(found: Found) -> None:
    assert found["noise"][480].all()
    assert found["noise"][60:480].mean() < 0.01  # The series is two days old.


@pytest.mark.parametrize("toward", ["up", "down"])
def test_a_slow_leak_is_caught_in_its_first_half(found: Found, toward: str) -> None:
    leak = found[f"leak {toward}"]
    assert leak[LEAK.start : (LEAK.start + LEAK.stop) // 2].any(axis=0).all()
    assert leak[WEEK : LEAK.start].mean() <= 0.001


def test_a_dip_of_every_sunday_is_quiet_and_the_same_dip_on_a_wednesday_is_found(found: Found) -> None:
    dips = found["dips"]
    for week in range(1, 6):
        assert not dips[at(week, 6, 20) : at(week, 6, 24)].any()
    # Not to its end: against the last hour it is no news after an hour and a half, and novelty knows it from Sundays.
    assert dips[WEDNESDAY][: 3 * HOUR // 2].all()


def test_an_anomaly_ends_with_its_last_sample(found: Found) -> None:
    assert found["spike"][SPIKE].all()
    # What came before is what novelty still sees, so a later sample outside the band may count again.
    assert found["spike"][SPIKE.stop : SPIKE.stop + DAY].mean() < 0.01


def test_an_outage_is_anomalous_as_long_as_it_lasts(found: Found) -> None:
    assert found["outage"][OUTAGE].all()


def test_a_drop_to_exactly_zero_is_found_at_once(found: Found) -> None:
    assert found["zero"][at(2, 3, 10)].all()


def test_a_jump_from_a_constant_is_found(found: Found) -> None:
    assert found["jump"][-1].tolist() == [True, False]
    assert not found["jump"][:-1].any()


def test_the_spike_of_yesterday_does_not_mask_the_anomaly_of_today(found: Found) -> None:
    assert found["two spikes"][at(3, 3, 12)].all()


def test_a_spike_at_about_the_same_hour_of_every_day_stops_alerting(found: Found) -> None:
    # At weekends it is smaller, so some on Tuesdays are no habit: a fifth of the spikes.
    assert found["a spike a day"][2 * WEEK :].mean() < 0.001


def test_a_spike_at_any_hour_alerts_however_often_it_came(found: Found) -> None:
    assert found["a spike anywhere"][ANYWHERE].all()


@pytest.mark.parametrize(("direction", "sides"), [("above", [True, False]), ("below", [False, True])])
def test_what_is_novel_on_the_side_that_does_not_count_is_no_anomaly(direction: Direction, sides: list[bool]) -> None:
    samples = weeks(3, series=2)
    samples[at(2, 3, 10), 0] *= 4.0
    samples[at(2, 3, 10), 1] *= 0.05
    assert anomalous(samples, direction=direction)[at(2, 3, 10)].tolist() == sides


def test_eight_clean_weeks_are_quiet(found: Found) -> None:
    assert found["clean"][WEEK:].mean() <= 0.001
