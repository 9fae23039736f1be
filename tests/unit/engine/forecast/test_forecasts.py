from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import keys
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.forecast.settings import ForecastSettings, LimitSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

HOUR, DAY = 3600.0, 86400.0
MONDAY = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
HORIZONS = ("1h", "1d", "3d")


def forecasts(
    count: int, *, step: float = 300.0, zone: str = "UTC", low: float = -np.inf, high: float = np.inf, **limit: float
) -> Forecasts:
    settings = ForecastSettings(horizons=HORIZONS, limit=LimitSettings(**limit) if limit else None)
    made = Forecasts(settings, ZoneInfo(zone), step, (low, high))
    made.grow(count)
    return made


def traffic(days: float, step: float = 300.0, count: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return times and samples of working days with a level that wanders, shapes (t,) and (t, n)."""
    rng = np.random.default_rng(seed)
    times = MONDAY + np.arange(round(days * DAY / step)) * step
    day = (times - MONDAY) / DAY
    shape = 3 + np.sin(2 * np.pi * (day - 0.4)) - 0.8 * (day % 7 >= 5)
    level = np.ones((len(times), count))
    for at in range(1, len(times)):
        level[at] = 1 + 0.99 * (level[at - 1] - 1) + 0.01 * rng.normal(0, 1, count)
    return times, 100 * shape[:, None] * level * np.exp(rng.normal(0, 0.02, level.shape))


def quietly(made: Forecasts, times: np.ndarray, samples: np.ndarray) -> Forecasts:
    with np.errstate(all="ignore"):
        made.note(times, samples)
    return made


@pytest.mark.parametrize("step", [300.0, 3600.0])
def test_forecasts_are_nearer_than_the_day_before_and_the_band_holds_four_of_five(step: float) -> None:
    times, samples = traffic(35, step, count=12)
    errors, naive, inside = [], [], []
    day = round(DAY / step)
    for end in range(len(times) - 7 * day, len(times) - 4 * day, day // 2 + 1):
        made = quietly(forecasts(12, step=step), times[:end], samples[:end])
        with np.errstate(all="ignore"):
            made.make(12)
        ahead = np.arange(1, 3 * day + 1)
        lower, value, upper = np.stack([made.curve(row, ahead * step) for row in range(12)], axis=-1)
        truth = samples[end - 1 + ahead]
        errors.append(np.abs(value - truth).mean())
        days = -(-ahead // day)
        naive.append(np.abs(samples[end - 1 + ahead - days * day] - truth).mean())
        inside.append(((lower <= truth) & (truth <= upper)).mean())
    assert np.mean(errors) < 0.6 * np.mean(naive)
    assert 0.65 < np.mean(inside) < 0.92


def test_it_does_not_matter_in_how_many_calls_samples_come() -> None:
    times, samples = traffic(16)
    samples[1000:1100, 0] = np.nan
    whole = quietly(forecasts(4), times, samples)
    parts = forecasts(4)
    cuts = [0, 1, 2, 5, 700, 701, 2000, 2001, len(times) - 2, len(times) - 1, len(times)]
    for begin, end in pairwise(cuts):
        quietly(parts, times[begin:end], samples[begin:end])
    with np.errstate(all="ignore"):
        assert parts.make(4).value == pytest.approx(whole.make(4).value, rel=1e-4)


def test_what_follows_slot_by_slot_is_near_to_what_is_fitted_anew() -> None:
    times, samples = traffic(18)
    begun = len(times) - 40
    live = quietly(forecasts(4), times[:begun], samples[:begun])
    with np.errstate(all="ignore"):
        live.make(4)
        for at in range(begun, len(times)):
            quietly(live, times[at : at + 1], samples[at : at + 1])
            result = live.make(4).value
        anew = quietly(forecasts(4), times, samples).make(4).value
    assert result == pytest.approx(anew, rel=0.05)


def test_the_clock_of_the_wall_counts() -> None:
    # Clocks went on in Berlin on 2026-03-29: what happens at nine goes on happening at nine.
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 10, tzinfo=zone).timestamp()
    times = start + np.arange(round(22.5 * 288)) * 300.0
    hours = np.array([datetime.fromtimestamp(at, zone).hour for at in times.tolist()])
    made = quietly(forecasts(1, zone="Europe/Berlin"), times, np.where(hours == 9, 50.0, 10.0)[:, None])
    with np.errstate(all="ignore"):
        made.make(1)
    ahead = np.arange(1, 24 * 12) * 300.0
    value = made.curve(0, ahead)[1]
    then = np.array([datetime.fromtimestamp(times[-1] + after, zone) for after in ahead.tolist()])
    middle = np.array([each.minute in (20, 25, 30, 35) for each in then.tolist()])
    busy = np.array([each.hour == 9 for each in then.tolist()])
    assert value[busy & middle] == pytest.approx(50, rel=0.1)
    assert value[~busy & middle] == pytest.approx(10, rel=0.1)


def test_a_forecast_is_possible() -> None:
    times, samples = traffic(15)
    samples = np.abs(samples - 300) / 300
    with np.errstate(all="ignore"):
        made = quietly(forecasts(4, high=0.5), times, samples).make(4)
    assert (made.lower >= 0).all(), "never below zero where the series never was"
    assert (made.upper <= 0.5).all(), "never beyond the valid range"


def test_what_cannot_be_is_no_sample() -> None:
    times, samples = traffic(9, HOUR)
    spoilt = samples.copy()
    spoilt[::7, 0], spoilt[-1, 1], spoilt[-2, 2] = np.inf, -np.inf, 1e9
    gaps = np.where(spoilt == samples, samples, np.nan)
    results = []
    for given in (spoilt, gaps):
        made = quietly(forecasts(4, step=HOUR, low=0.0, high=1e6), times, given)
        with np.errstate(all="ignore"):
            results.append(made.make(4).value)
    assert np.isfinite(results[0]).all()
    assert results[0] == pytest.approx(results[1])


def test_series_that_are_odd_have_forecasts_without_warnings() -> None:
    times, _ = traffic(15)
    t = np.arange(len(times))
    columns = [
        np.full(len(t), 7.0),
        np.full(len(t), np.nan),
        np.where(t > len(t) - 100, 1.0, np.nan),
        np.where(t % 7 == 0, 1e300, 0.0),
        -5.0 + np.sin(t / 50),
        np.where(t == 5, 1.0, 0.0),
    ]
    made = quietly(forecasts(len(columns), above=10.0), times, np.stack(columns, axis=1))
    with np.errstate(all="ignore"):
        result = made.make(len(columns))
    assert result.value[:, 0] == pytest.approx(7.0)
    assert result.lower[:, 0] == pytest.approx(7.0)
    assert np.isnan(result.value[:, 1:3]).all()
    assert np.isfinite(result.value[:, 3:]).all()
    assert result.value[:, 4] == pytest.approx(-5.0, abs=1.3)


def test_a_shorter_history_has_nearer_horizons_only() -> None:
    times, samples = traffic(4)
    with np.errstate(all="ignore"):
        result = quietly(forecasts(4), times, samples).make(4)
    assert np.isfinite(result.value[0]).all()
    assert np.isnan(result.value[2]).all(), "nothing is known of errors three days ahead"


# ---------------------------------------------------------------- in the engine


def engine(count: int, *, limit: LimitSettings | None = None) -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    settings = EngineSettings(
        ZoneInfo("UTC"),
        BaselineSettings(),
        detection,
        forecast=ForecastSettings(horizons=HORIZONS, limit=limit),
        forecast_step=HOUR,
    )
    made = Engine(settings)
    made.align(keys(count), np.full(count, np.nan), MONDAY)
    return made


def test_a_verdict_of_a_slot_has_forecasts_and_a_restart_goes_on_with_them() -> None:
    times, samples = traffic(9, HOUR)
    before = engine(4)
    before.run(times[:-2], samples[:-2], HOUR)
    first = before.step(times[-2], samples[-2], HOUR)
    assert first.forecast is not None
    assert np.isfinite(first.forecast.value).all()
    checkpoint = before.checkpoint()
    stored = {name: part.copy() for name, part in checkpoint.parts.items()}
    before.saved(checkpoint)

    after = Engine(before.settings)
    assert after.restore(checkpoint.at, stored, checkpoint.series)
    again = [each.step(times[-1], samples[-1], HOUR).forecast for each in (before, after)]
    assert again[0] is not None
    assert again[1] is not None
    assert again[1].value == pytest.approx(again[0].value)

    # The next checkpoint has a few of the slots only, and both together are all.
    second = before.checkpoint()
    assert sum("far/0" in name for name in second.parts) <= 2
    third = Engine(before.settings)
    assert third.restore(second.at, stored | second.parts, checkpoint.series)
    forecast = third.forecast()
    assert forecast is not None
    assert forecast.value == pytest.approx(again[0].value)


def test_a_row_that_went_to_another_series_has_nothing_of_the_one_before() -> None:
    times, samples = traffic(9, HOUR)
    made = engine(4)
    made.run(times, samples, HOUR)
    made.forecast()
    made.expire(times[-1] + 30 * DAY)
    made.align([b'{"new":"series"}'], np.array([1.0]), times[-1] + HOUR)
    forecast = made.forecast()
    assert forecast is not None
    assert np.isnan(forecast.value[:, 0]).all()


def test_a_series_that_will_soon_be_full_is_anomalous_and_stays_so_while_it_is_about_as_probable() -> None:
    times = MONDAY + np.arange(9 * 24) * HOUR
    rng = np.random.default_rng(1)
    growing = 0.8 + 0.03 * (times - times[-1]) / DAY
    samples = np.stack([growing, np.full(len(times), 0.8)], axis=1) + rng.normal(0, 0.0005, (len(times), 2))
    made = engine(2, limit=LimitSettings(above=0.95, within="7d"))
    made.run(times, samples, HOUR)
    verdict = made.step(times[-1] + HOUR, samples[-1], HOUR)
    assert verdict.forecast is not None
    assert verdict.forecast.times is not None
    assert verdict.forecast.times[2, 0] == pytest.approx(5 * DAY, rel=0.15)
    assert np.isinf(verdict.forecast.times[2, 1])
    assert verdict.near_limit is not None
    assert verdict.near_limit.tolist() == [True, False]
    assert verdict.anomalous.tolist() == [True, False]
    gone = made.step(times[-1] + 2 * HOUR, np.array([np.nan, samples[-1, 1]]), HOUR)
    assert not gone.anomalous.any(), "of a series without a sample nothing is said"
