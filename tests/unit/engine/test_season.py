from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import DAY, START, STEP, keys
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.season import DAILY, NONE, SEASONS, UNKNOWN, WEEKLY
from exporter.engine.settings import BaselineSettings, DetectionSettings

WEEKS = 4


def learned(samples: np.ndarray, season: str = "auto") -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(season=season), detection))
    times = START + STEP * np.arange(len(samples))
    one.run(times, one.align(keys(samples.shape[1]), samples, START).samples, STEP)
    return one


def noise(days: int, count: int, correlated: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((days * DAY, count))
    for at in range(1, len(found)):
        found[at] = correlated * found[at - 1] + np.sqrt(1 - correlated**2) * found[at]
    return found


def hours(days: int) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(days * DAY)
    return t % DAY * 24.0 / DAY, t // DAY % 7


@pytest.mark.parametrize("correlated", [0.0, 0.9])
def test_seasons_are_found(correlated: float) -> None:
    days = 7 * WEEKS + 2
    hour, day = hours(days)
    shape = np.sin(hour / 24 * 2 * np.pi)[:, None]
    weekend = (day >= 5)[:, None]
    dip = ((day == 6) & (hour >= 21) & (hour < 23))[:, None]
    cases = {NONE: 0 * shape, DAILY: 2 * shape, WEEKLY: 2 * shape - 3 * weekend}
    groups = [100 + values + noise(days, 12, correlated) for values in cases.values()]
    one_dip = 100 + shape - 6 * dip + noise(days, 6, correlated)
    *found, dips = np.split(learned(np.hstack([*groups, one_dip])).seasons, (12, 24, 36))
    for season, seasons in zip(cases, found, strict=True):
        # Noise that lasts for hours looks like a season now and then.
        assert (seasons == season).mean() >= (0.75 if correlated else 0.9), SEASONS[season]
    assert (dips == WEEKLY).all(), "one dip a week is a season"


def test_nothing_is_said_in_the_first_fortnight_nor_of_a_constant() -> None:
    assert (learned(noise(11, 3, 0.0)).seasons == UNKNOWN).all()
    assert (learned(np.full((30 * DAY, 2), 7.0)).seasons == NONE).all()


def test_the_season_that_was_said_decides() -> None:
    """Weekends are low; who says that there is only a day finds them anomalous, and who says none pools all hours."""
    days = 30
    hour, day = hours(days)
    values = 100 + 10 * np.sin(hour / 24 * 2 * np.pi) + np.where(day >= 5, -30.0, 0.0)
    samples = values[:, None] + noise(days, 2, 0.0)
    at = START + STEP * (28 * DAY + 12 * DAY // 24)
    stats = {
        season: learned(samples, season).bucket_summary(np.arange(2), at) for season in ("weekly", "daily", "none")
    }
    assert [int(one.scope[0]) for one in stats.values()] == [0, 1, 2]
    assert stats["weekly"].std[0] < 2.0 < stats["daily"].std[0]


def test_values_that_are_held_for_a_day_have_no_season() -> None:
    """The hours of the week explain half of four weeks by chance, and nothing of the fifth."""
    held = np.repeat(np.random.default_rng(6).normal(100.0, 5.0, (44, 24)), DAY, axis=0)
    assert (learned(held).seasons != WEEKLY).mean() >= 0.8


def ramps(weeks: int, days: tuple[float, float], seed: int = 3) -> np.ndarray:
    """Disks that fill from 40 to 85 % within some days, and are emptied."""
    rng = np.random.default_rng(seed)
    found = np.empty((7 * weeks * DAY, 4))
    for values in found.T:
        at = 0
        while at < len(values):
            ramp = np.linspace(0.4, 0.85, int(rng.uniform(*days) * DAY))
            values[at : at + len(ramp)] = ramp[: len(values) - at]
            at += len(ramp)
    return found + 0.002 * rng.standard_normal(found.shape)


@pytest.mark.parametrize("days", [(3.0, 4.0), (4.5, 5.5), (2.0, 9.0)])
def test_what_goes_on_from_hour_to_hour_has_no_season_within_ten_days(days: tuple[float, float]) -> None:
    """Three weeks of a sawtooth look like a week by chance, above all with a period of half a week."""
    samples = ramps(WEEKS, days)
    for length in (10, 7 * WEEKS):
        assert (learned(samples[: length * DAY]).seasons == NONE).all()


def test_what_the_clock_says_does_not_wander() -> None:
    """Office hours and weekends last for many hours, and growth is on one side of all buckets for weeks."""
    hour, day = hours(7 * WEEKS)
    office = np.where((day < 5) & (hour >= 8) & (hour < 18), 10.0, 3.0)
    growth = 1.3 ** (np.arange(len(hour)) / DAY / 30.0) * (2.0 + np.sin(hour / 24 * 2 * np.pi))
    samples = np.column_stack([office, 100.0 + 30.0 * (day < 5), growth])
    assert learned(samples).seasons.tolist() == [WEEKLY, WEEKLY, DAILY]
    for length in range(5, 14, 2):
        assert (learned(samples[: length * DAY]).seasons == UNKNOWN).all()


def test_a_series_that_wandered_gets_its_season() -> None:
    hour, _ = hours(42)
    daily = 0.6 + 0.2 * np.sin(hour / 24 * 2 * np.pi)
    samples = np.vstack([ramps(2, (3.0, 4.0)), np.column_stack([daily] * 4)])
    assert (learned(samples).seasons == DAILY).all()


def test_a_disk_that_fills_and_is_emptied_is_quiet_and_its_incidents_are_found() -> None:
    """Whatever the hour; what it never did is news."""
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    samples, at = ramps(6, (3.0, 4.0)), 40 * DAY
    samples[at : at + 12] = 0.1, 1.0, 0.97, 0.4
    samples[at : at + 12, 3] = ramps(6, (3.0, 4.0))[at : at + 12, 3]
    times = START + STEP * np.arange(len(samples))
    score = one.run(times, one.align(keys(4), samples, START).samples, STEP).score >= 0.5
    assert score[7 * DAY : at].mean() < 5e-4
    assert score[at : at + 2, :3].any(axis=0).all()
    assert not score[at : at + 12, 3].any()
