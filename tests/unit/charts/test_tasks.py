from __future__ import annotations

import functools

import numpy as np
import pytest

from exporter.charts.tasks import DAY, WEEK, decompose


def traffic(count: int) -> np.ndarray:
    """Hourly means with a day, a weekend and some noise."""
    hours = np.arange(count)
    noise = np.random.default_rng(3).normal(0.0, 0.2, count)
    return 10.0 + 3.0 * np.sin(2.0 * np.pi * hours / DAY) - 2.0 * (hours // DAY % 7 >= 5) + noise


@functools.cache
def parts_of_traffic() -> tuple[np.ndarray, ...]:
    return tuple(decompose(traffic(4 * WEEK)))


@pytest.mark.parametrize("count", [2 * WEEK + 1, 500, 4 * WEEK])
def test_the_parts_add_up_and_have_the_length_of_the_series(count):
    series = traffic(count)
    parts = decompose(series)
    assert [part.shape for part in parts] == [(count,)] * 4
    np.testing.assert_allclose(sum(parts), series, atol=1e-9)


@pytest.mark.parametrize(("begin", "end"), [(300, 301), (300, 340), (2, 5), (668, 672)])
@pytest.mark.parametrize("size", [-10.0, 100.0])
def test_an_outage_stays_in_the_residual(begin, end, size):
    series = traffic(4 * WEEK)
    before = parts_of_traffic()
    series[begin:end] += size
    after = decompose(series)
    np.testing.assert_allclose(after[3][begin:end], size, atol=1.5)
    for part in range(3):
        assert np.abs(after[part] - before[part]).max() < 1.0


def test_a_step_moves_the_trend_and_not_the_seasons():
    series = traffic(4 * WEEK)
    series[400:] += 5.0
    trend, daily, _, _ = decompose(series)
    assert trend[-DAY] - trend[DAY] == pytest.approx(5.0, abs=0.5)
    assert np.ptp(daily) == pytest.approx(6.0, abs=1.0)


@pytest.mark.parametrize("series", [np.zeros(4 * WEEK), np.full(4 * WEEK, 1e12)], ids=["zero", "constant"])
def test_a_constant_has_no_seasons(series):
    trend, daily, weekly, residual = decompose(series)
    np.testing.assert_allclose(trend, series)
    for part in (daily, weekly, residual):
        np.testing.assert_allclose(part, 0.0, atol=1e-13 * series[0])
