"""When a limit is reached: of made series whose future is known by the rule that made their past."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.forecast.limit import probability_within, times_to_limit

HOURS = 14 * 24
QUARTERS = np.arange(HOURS * 4) / 4 - HOURS  # Hours, up to now.
DAYS = QUARTERS / 24


def times(past: np.ndarray, limit: float = 1.0, *, above: bool = True) -> np.ndarray:
    past = past if past.ndim == 2 else past[:, None]
    with np.errstate(all="ignore"):
        return times_to_limit(past.astype(np.float32), past[-1], limit, 900.0, above=above)


def noise(size: float, seed: int = 1, count: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, (len(QUARTERS), count))


def sawtooth(period: float, phase: float = 0.3) -> np.ndarray:
    """Return the share of a cycle that is over, for a period in days."""
    return (DAYS / period + phase) % 1.0


@pytest.mark.parametrize("days", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_a_line_with_the_pattern_of_a_day_is_gone_on_with(days: float, scale: float) -> None:
    def use(day: np.ndarray) -> np.ndarray:
        return 0.95 + 0.02 * np.sin(2 * np.pi * day) + 0.05 / days * day

    ahead = np.arange(0, 2 * days, 1 / 288)
    reached = 24 * ahead[np.argmax(use(ahead) >= 1.0)]
    low, middle, high = times(scale * (use(DAYS)[:, None] + noise(0.0005)), scale)[[0, 2, 4]]
    assert (np.abs(middle / reached - 1) < 0.2).all()
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_growth_by_night_only_is_not_taken_for_the_slope_of_an_hour() -> None:
    hour = QUARTERS % 24
    grown = np.cumsum(((hour >= 2) & (hour < 5)).astype(float))
    past = 0.9 + 0.1 * (grown - grown[-1]) / (12 * 4)  # Full after four more nights, and it is midnight.
    middle = times(past[:, None] + noise(0.0005))[2]
    assert (np.abs(middle - (3 * 24 + 5)) < 4).all()


def test_a_slope_that_changed_yesterday_is_seen() -> None:
    slow, fast = 0.002, 0.05
    past = 0.8 + np.where(DAYS < -1, slow * (DAYS + 1), fast * (DAYS + 1))
    middle = times(past[:, None] + noise(0.001))[2]
    assert (np.abs(middle / (0.15 / fast * 24) - 1) < 0.25).all()


def test_growth_that_doubles_is_faster_than_the_line() -> None:
    past = 0.5 * np.exp(np.log(2) / 4 * DAYS)  # Doubles every four days.
    middle = times(past[:, None] + noise(0.001))[2]
    assert (np.abs(middle / 96 - 1) < 0.1).all()


def test_growth_on_working_days_only_pauses_at_the_weekend() -> None:
    working = (np.floor(DAYS) % 7) < 5
    grown = np.cumsum(working) / 96
    past = 0.5 + 0.05 * (grown - grown[-1])
    then = np.flatnonzero(np.cumsum((np.floor(np.arange(96 * 20) / 96) % 7) < 5) / 96 >= 10)[0] / 4
    assert (np.abs(times(past[:, None] + noise(0.0005))[2] / then - 1) < 0.1).all()


@pytest.mark.parametrize("hours", [1, 3, 6, 12, 24, 48])
@pytest.mark.parametrize("before", [0.0, 0.1])
def test_a_level_that_has_moved_does_not_go_on(hours: int, before: float) -> None:
    past = 0.5 + 0.01 * np.sin(2 * np.pi * DAYS) + 0.2 * (-hours / 24 <= DAYS) + before * (DAYS >= -6)
    assert np.isinf(times(past[:, None] + noise(0.001))[2]).all()


def test_what_grew_for_hours_and_has_stopped_does_not_go_on() -> None:
    past = 0.5 + 0.2 * np.clip((DAYS + 0.5) / 0.25, 0, 1)
    assert np.isinf(times(past[:, None] + noise(0.001))[2]).all()


@pytest.mark.parametrize(("rate", "hours"), [(0.02, 3), (0.1, 3)])
def test_what_began_to_fill_three_hours_ago_is_seen(rate: float, hours: int) -> None:
    past = 0.5 + 0.01 * np.sin(2 * np.pi * DAYS) + rate * np.maximum(QUARTERS + hours, 0)
    left = (0.5 - rate * hours) / rate
    middle = times(past[:, None] + noise(0.001))[2]
    assert (middle < 2.0 * left).all()
    assert (middle > 0.5 * left).all()


@pytest.mark.parametrize("period", [0.25, 1.0, 3.0])
def test_what_is_cleaned_in_time_never_fills(period: float) -> None:
    past = 0.5 + 0.42 * sawtooth(period)
    assert np.isinf(times(past[:, None] + noise(0.003))).all()


@pytest.mark.parametrize("period", [0.5, 1.0, 2.0])
def test_a_rising_sawtooth_fills_when_a_peak_reaches_the_limit(period: float) -> None:
    ahead = np.arange(0, 30, 1 / 96)
    rising, size = 0.01, 0.3
    reached = ahead[np.flatnonzero(0.6 + rising * ahead + size * ((ahead / period + 0.3) % 1.0) >= 1.0)[0]] * 24
    middle = times((0.6 + rising * DAYS + size * sawtooth(period))[:, None] + noise(0.001))[2]
    assert (np.abs(middle - reached) <= 1.05 * period * 24).all()


def test_a_leak_with_restarts_is_not_extended_beyond_them() -> None:
    rng = np.random.default_rng(3)
    past = np.empty((len(DAYS), 8))
    for column in past.T:
        value, left = 0.0, 2.0
        for at in range(len(column)):
            value, left = value + 0.1 / 96, left - 1 / 96
            if left <= 0:
                value, left = 0.0, rng.uniform(1, 3)
            column[at] = 0.3 + value
    middle = times(past + noise(0.001, count=8))[2]
    assert np.isinf(middle).all()


def test_what_is_high_and_stays_there_never_fills() -> None:
    past = 0.9 + 0.01 * np.sin(2 * np.pi * DAYS)
    assert np.isinf(times(past[:, None] + noise(0.002))[2]).all()
    assert np.isinf(times(np.full(len(DAYS), 0.99))[2]).all()


def test_a_limit_below_is_the_mirror_image() -> None:
    past = (0.9 + 0.05 * DAYS)[:, None] + noise(0.001)
    assert times(-past, -1.0, above=False) == pytest.approx(times(past))


def test_gaps_and_short_histories() -> None:
    past = (0.9 + 0.05 * DAYS)[:, None] + noise(0.001)
    with_gaps = past.copy()
    with_gaps[200:300, 0] = with_gaps[::3, 1] = with_gaps[: -2 * 96, 2] = with_gaps[:-40, 3] = with_gaps[:, 4] = np.nan
    expected, result = times(past)[2], times(with_gaps)[2]
    assert result[[0, 1, 2, 5]] == pytest.approx(expected[[0, 1, 2, 5]], rel=0.2)
    assert np.isnan(result[[3, 4]]).all(), "less than a day says nothing"


def test_what_is_over_the_limit_is_full_now() -> None:
    past = np.full(len(DAYS), 0.5)
    past[-1] = 1.01
    assert (times(past) == 0.0).all()


def test_the_probability_within_a_time_follows_from_the_quantiles() -> None:
    quantiles = np.array([[24.0, 36.0, 48.0, 72.0, 96.0]] * 2).T
    quantiles[3:, 1] = np.inf
    assert probability_within(quantiles, 48.0) == pytest.approx(0.5)
    assert probability_within(quantiles, 96.0) == pytest.approx([0.9, 0.5])
    assert 0 < probability_within(quantiles, 12.0)[0] < 0.1
    assert 0.9 < probability_within(quantiles, 500.0)[0] < 1.0
    chances = [probability_within(quantiles, hours)[0] for hours in range(1, 200)]
    assert (np.diff(chances) >= 0).all()
    nothing = np.array([[np.inf], [np.inf], [np.inf], [np.inf], [np.inf]])
    assert probability_within(nothing, 720.0) == pytest.approx(0.0)
    assert np.isnan(probability_within(np.full((5, 1), np.nan), 1.0)).all()
    assert probability_within(np.zeros((5, 1)), 1.0)[0] > 0.99
