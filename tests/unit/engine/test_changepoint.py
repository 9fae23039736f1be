from __future__ import annotations

import numpy as np
import pytest

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


def stepped(by: float, hours: int, missing: float = 0.0) -> np.ndarray:
    """Return four weeks of exact noise, at the end of which the level is `by` standard deviations higher."""
    at = np.arange(28 * 24)
    values = np.where((at + at // 168) % 2 == 0, 1.0, -1.0)
    values[len(values) - hours :] += 1.4826 * by
    values[np.random.default_rng(0).random(len(values)) < missing] = np.nan
    return values


@pytest.mark.parametrize(
    ("by", "hours", "found"),
    [
        (3.2, 48, None),  # Less than three standard deviations, after the medians of the hours were taken off.
        (3.4, 48, 624),
        (6.0, 6, None),  # Shorter than four points of three hours.
        (6.0, 9, 660),
        (4.0, 12, 660),
        (3.4, 12, None),  # It does not pay for a changepoint.
        (3.4, 15, 657),
    ],
)
def test_a_level_is_three_deviations_off_and_lasts_for_half_a_day(by: float, hours: int, found: int | None) -> None:
    assert changepoint(stepped(by, hours)) == found


@pytest.mark.parametrize(("missing", "found"), [(0.2, 624), (0.3, None)])
def test_three_quarters_of_the_hours_must_be_there(missing: float, found: int | None) -> None:
    assert changepoint(stepped(6.0, 48, missing)) == found
