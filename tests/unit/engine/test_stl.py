"""The `stl` detector, and its matrices against statsmodels."""

from __future__ import annotations

from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from statsmodels.tsa.seasonal import MSTL, STL

from exporter.engine import contract_samples
from exporter.engine.contract_samples import DAY, START, STEP
from exporter.engine.detectors import DetectorState
from exporter.engine.detectors.stl import BY_WEEK, WINDOW, Stl, _weighted
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.stl_map import Season, decomposition, loess
from exporter.engine.verdict import Verdicts

WEEK = 7 * DAY
BERLIN = ZoneInfo("Europe/Berlin")


def random(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal(count)


def trend_and_season(count: int) -> np.ndarray:
    t = np.arange(count)
    return 100 + 0.3 * t + 20 * np.sin(t / 24 * 2 * np.pi) + 5 * np.cos(t / 168 * 2 * np.pi) + random(count)


def level_shift(count: int) -> np.ndarray:
    return random(count) + 50.0 * (np.arange(count) > count // 2)


@pytest.mark.parametrize("values", [random, trend_and_season, level_shift], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    ("count", "season"),
    [
        pytest.param(672, Season(168, 7), id="four weeks by the week"),
        pytest.param(672, Season(24, 11, 0), id="four weeks by the day, locally constant"),
        pytest.param(672, Season(24, 15, 0, 73, 0), id="four weeks by the day, locally constant trend"),
        pytest.param(168, Season(24, 7, 0, 73), id="one week by the day"),
        pytest.param(49, Season(24, 7), id="two days and an hour"),
        pytest.param(30, Season(24, 3), id="little more than one period"),
        pytest.param(60, Season(7, 35, 0), id="season never changes"),
        pytest.param(25, Season(12, 7, 1, 13), id="short trend"),
    ],
)
def test_decomposition_equals_statsmodels(count, season, values):
    y = values(count)
    parts = decomposition(count, (season,))
    reference = STL(
        y,
        period=season.period,
        seasonal=season.window,
        trend=season.trend,
        seasonal_deg=season.degree,
        trend_deg=season.trend_degree,
    ).fit()
    assert np.abs(parts.seasonal[0] @ y - reference.seasonal).max() < 1e-9
    assert np.abs(parts.trend @ y - reference.trend).max() < 1e-9
    assert np.abs(parts.residual @ y - reference.resid).max() < 1e-9


@pytest.mark.parametrize("degree", [0, 1])
def test_two_seasons_equal_mstl_of_statsmodels(degree):
    y = trend_and_season(672)
    parts = decomposition(672, (Season(24, 11, degree), Season(168, 15, degree)))
    reference = MSTL(y, periods=(24, 168), windows=(11, 15), stl_kwargs={"seasonal_deg": degree}).fit()
    for season, expected in zip(parts.seasonal, reference.seasonal.T, strict=True):
        assert np.abs(season @ y - expected).max() < 1e-9
    assert np.abs(parts.trend @ y - reference.trend).max() < 1e-9
    assert np.abs(parts.residual @ y - reference.resid).max() < 1e-9


def test_parts_add_up_to_the_window():
    parts = decomposition(WINDOW, BY_WEEK)
    np.testing.assert_allclose(sum(parts.seasonal) + parts.trend + parts.residual, np.eye(WINDOW), atol=1e-12)


def test_window_shorter_than_a_period_is_refused():
    with pytest.raises(ValueError, match="20 samples"):
        decomposition(20, (Season(24, 7),))


@pytest.mark.parametrize("span", [3, 7, 51, 101])
def test_loess_keeps_what_its_polynomial_can_say(span):
    line = 3.0 + 0.5 * np.arange(1, 51)
    at = np.arange(52)
    np.testing.assert_allclose(loess(50, span, 1, at) @ line, 3.0 + 0.5 * at, atol=1e-12)
    np.testing.assert_allclose(loess(50, span, 0, at) @ np.ones(50), 1.0)


@pytest.mark.parametrize("step", [-30, 0, 1, 2, 24, 100])
def test_a_season_that_repeats_is_expected_again(step):
    hour = np.arange(2 * WINDOW)
    values = 7.0 + np.sin(hour / 24 * 2 * np.pi) + 2.0 * (hour % 168 // 24 == 6)
    expected = decomposition(WINDOW, BY_WEEK).ahead(step) @ values[:WINDOW]
    assert expected == pytest.approx(values[WINDOW + step - 1], abs=0.05)


def test_weighted_sum_is_the_matrix_product_and_the_same_bits_for_any_number_of_series():
    rng = np.random.default_rng(3)
    weights, hours = rng.standard_normal((3, WINDOW)), rng.standard_normal((WINDOW, 150)).astype(np.float32)
    many = _weighted(weights, hours, 100)
    np.testing.assert_allclose(many, weights @ np.roll(hours.astype(np.float64), -100, axis=0), atol=1e-11)
    for some in (slice(0, 1), slice(149, 150), slice(3, 70), slice(64, 129)):
        assert np.array_equal(_weighted(weights, hours[:, some], 100), many[:, some])
        assert np.array_equal(_weighted(weights, hours[:, some].copy(), 100), many[:, some])


# ---------------------------------------------------------------- the detector in an engine


def engine_of(zone: ZoneInfo | None = None) -> Engine:
    detection = DetectionSettings.model_construct(detectors=(Stl(),), quorum=1, missing_series=False)
    return Engine(EngineSettings(zone or ZoneInfo("UTC"), BaselineSettings(), detection))


def judge(engine: Engine, samples: np.ndarray, first: int = 0, start: float = START) -> Verdicts:
    times = start + STEP * np.arange(first, first + len(samples))
    return engine.run(times, engine.align(contract_samples.keys(samples.shape[1]), samples, times[0]).samples, STEP)


def same(a: Verdicts, b: list[Verdicts]) -> bool:
    return all(
        np.array_equal(getattr(a, name), np.concatenate([getattr(part, name) for part in b]), equal_nan=True)
        for name in ("score", "expected", "lower", "upper")
    )


def at(day: int, hour: float) -> int:
    """The sample at an hour of a day; day 0 is a Monday."""
    return int(day * DAY + hour * 3600 / STEP)


def steady(days: int, count: int = 2, seed: int = 11) -> np.ndarray:
    """Daily shape between 60 and 140, noise of 3."""
    rng = np.random.default_rng(seed)
    hour = np.arange(days * DAY) % DAY * STEP / 3600
    return 100 + 40 * np.sin((hour - 8) / 24 * 2 * np.pi)[:, None] + 3 * rng.standard_normal((len(hour), count))


SUNDAYS = range(6, 42, 7)
OUTLIER, WEEK_AFTER = slice(at(30, 12), at(30, 15)), slice(at(37, 12), at(37, 15))


def sundays(last: bool) -> np.ndarray:
    """Maintenance on Sundays from 21 to 23, the last of them or not; once on a Wednesday of the last week."""
    samples = steady(42)
    for sunday in SUNDAYS if last else SUNDAYS[:-1]:
        samples[at(sunday, 21) : at(sunday, 23)] *= 0.3
    samples[at(37, 21) : at(37, 23), 0] *= 0.3
    return samples


def scaled(part: slice, factor: float) -> np.ndarray:
    samples = steady(42)
    samples[part] *= factor
    return samples


def raised(samples: np.ndarray, *parts: slice, by: float) -> np.ndarray:
    for part in parts:
        samples[part] += by
    return samples


def job(hour: int) -> np.ndarray:
    return raised(steady(42), *(slice(at(day, hour), at(day, hour + 1)) for day in range(42)), by=200.0)


def ramp() -> np.ndarray:
    hour = np.arange(42 * DAY) % DAY * STEP / 3600
    return (np.clip(hour - 6, 0, 4) * 100 - np.clip(hour - 16, 0, 4) * 100)[:, None] + steady(42)


def gaps() -> np.ndarray:
    samples = steady(42)
    samples[at(20, 3) : at(22, 9)] = np.nan
    samples[at(30, 5) : at(30, 7), 0] = np.nan
    samples[::3, 1] = np.nan
    return samples


def few_hours() -> np.ndarray:
    samples = np.full((14 * DAY, 1), np.nan)
    samples[::DAY] = 5.0
    return samples


LEVELS = (0.0, 7.0, 1e9)


def lessons() -> dict[str, np.ndarray]:
    return {
        "young": steady(5),
        "every Sunday": sundays(last=True),
        "without the last Sunday": sundays(last=False),
        "clean": contract_samples.seasonal(56, count=10),
        "moved": raised(steady(60), slice(28 * DAY, None), by=30.0),
        "steady": steady(42),
        "outlier": scaled(OUTLIER, 50.0),
        "job at 2": job(2),
        "job at 14": job(14),
        "ramp": ramp(),
        "gaps": gaps(),
        "few hours": few_hours(),
        **{
            f"constant {level}": raised(np.full((20 * DAY, 1), level), slice(19 * DAY, None), by=1.0)
            for level in LEVELS
        },
    }


class Judged(NamedTuple):
    """Arrays of shape (t, n)."""

    samples: np.ndarray
    score: np.ndarray
    expected: np.ndarray


@pytest.fixture(scope="module")
def judged() -> dict[str, Judged]:
    """What is said of every lesson, in one run: no series affects another."""
    each = lessons()
    longest = max(map(len, each.values()))
    padded = [np.pad(s, ((0, longest - len(s)), (0, 0)), constant_values=np.nan) for s in each.values()]
    verdicts = judge(engine_of(), np.hstack(padded))
    ends = np.cumsum([samples.shape[1] for samples in each.values()])[:-1]
    split = zip(np.split(verdicts.score, ends, axis=1), np.split(verdicts.expected, ends, axis=1), strict=True)
    return {
        name: Judged(samples, score[: len(samples)], expected[: len(samples)])
        for (name, samples), (score, expected) in zip(each.items(), split, strict=True)
    }


def test_nothing_is_said_for_three_days_and_then_always(judged):
    score = judged["young"].score
    # In the first day no detector votes.
    assert np.isnan(score[DAY : 3 * DAY]).all()
    assert not np.isnan(score[3 * DAY :]).any()


def test_sunday_maintenance_is_quiet_once_learned_and_the_same_dip_on_wednesday_is_not(judged):
    score = judged["every Sunday"].score
    assert (score[at(37, 21) : at(37, 23), 0] >= 0.5).all()
    assert (score[at(37, 21) : at(37, 23), 1] < 0.5).all()
    for sunday in (20, 27, 34, 41):
        assert (score[at(sunday, 20) : at(sunday, 24)] < 0.5).mean() > 0.95
    # Once it belongs to Sundays, a Sunday without it is the anomaly.
    assert (judged["without the last Sunday"].score[at(41, 21.5) : at(41, 22.5)] >= 0.5).all()


def test_clean_days_are_quiet_after_the_first_week(judged):
    score = judged["clean"].score
    assert (score[WEEK : 2 * WEEK] >= 0.5).mean() < 0.01
    assert (score[2 * WEEK :] >= 0.5).mean() < 0.015


def test_a_moved_level_is_found_at_once_and_followed_without_swinging_back(judged):
    score = judged["moved"].score
    assert (score[28 * DAY : 29 * DAY] >= 0.5).mean() > 0.9
    assert (score[33 * DAY :] >= 0.5).mean() < 0.01


def test_an_outlier_hardly_moves_what_is_expected_a_week_later(judged):
    moved = judged["outlier"].expected[WEEK_AFTER] - judged["steady"].expected[WEEK_AFTER]
    assert np.abs(moved).max() < 0.5 * 9.0  # half of three standard deviations


@pytest.mark.parametrize("hour", [2, 14])
def test_a_job_that_starts_on_the_hour_is_quiet(judged, hour):
    assert (judged[f"job at {hour}"].score[28 * DAY :] >= 0.5).mean() < 0.01


def test_a_steep_ramp_is_quiet(judged):
    assert (judged["ramp"].score[28 * DAY :] >= 0.5).mean() < 0.01


def test_gaps_are_filled_and_the_season_survives_them(judged):
    samples, score, _ = judged["gaps"]
    here = ~np.isnan(samples)
    assert np.isnan(score[~here]).all()
    assert not np.isnan(score[3 * DAY :][here[3 * DAY :]]).any()
    assert (score[here][-20 * DAY :] >= 0.5).mean() < 0.01


@pytest.mark.parametrize("days", [2, 9, 40])
def test_a_pause_of_the_exporter_is_a_gap(days):
    engine, samples = engine_of(), steady(60 + days)
    judge(engine, samples[: 30 * DAY])
    score = judge(engine, samples[(30 + days) * DAY :], first=(30 + days) * DAY).score
    assert not np.isnan(score).any()
    assert (score >= 0.5).mean() < 0.01


def test_a_series_with_few_hours_of_samples_waits(judged):
    assert np.isnan(judged["few hours"].score).all()


@pytest.mark.parametrize("level", LEVELS)
def test_a_constant_is_quiet_and_its_end_is_not(judged, level):
    score = judged[f"constant {level}"].score
    assert (score[3 * DAY : 19 * DAY] < 0.5).all()
    assert (score[19 * DAY :] >= 0.5).all()


@pytest.mark.parametrize("turn", ["2025-10-26", "2026-03-29"])
def test_the_season_follows_the_local_clock_when_it_is_changed(turn):
    start = (np.datetime64(turn) - np.datetime64("1970-01-01")).astype(float) * 86400 - 28 * 86400
    times = start + STEP * np.arange(35 * DAY)
    before, after = (-1, 1) if turn.endswith("29") else (1, -1)
    local = times + 3600 * (1 + np.where(times < start + 28 * 86400 + 3600, before > 0, after > 0))
    rng = np.random.default_rng(2)
    busy = ((local % 86400 / 3600 >= 9) & (local % 86400 / 3600 < 17)) * 100.0
    samples = busy[:, None] + 3 * rng.standard_normal((len(times), 2))
    verdicts = judge(engine_of(BERLIN), samples, start=start)
    assert (verdicts.score[21 * DAY :] >= 0.5).mean() < 0.01
    engine = engine_of(BERLIN)
    assert same(verdicts, [judge(engine, samples[i : i + 7], i, start) for i in range(0, len(samples), 7)])


def test_same_bits_in_any_pieces_over_all_stages_of_learning():
    samples = contract_samples.seasonal(16)
    samples[at(9, 3) : at(10, 5), 1] = np.nan
    rng = np.random.default_rng(1)
    engine, pieces, first = engine_of(), [], 0
    while first < len(samples):
        size = int(rng.integers(1, 30))
        pieces.append(judge(engine, samples[first : first + size], first))
        first += size
    assert same(judge(engine_of(), samples), pieces)


def test_a_series_alone_has_the_bits_that_it_has_among_many():
    samples = contract_samples.seasonal(16, count=70)
    many = judge(engine_of(), samples)
    for row in (0, 63, 69):
        alone = judge(engine_of(), samples[:, row : row + 1])
        assert np.array_equal(alone.score[:, 0], many.score[:, row], equal_nan=True)
        assert np.array_equal(alone.expected[:, 0], many.expected[:, row], equal_nan=True)


@pytest.mark.parametrize("cut", [at(2, 5.25), at(6, 23.75), at(7, 0), at(13, 23.5), at(15, 4.25)])
def test_state_goes_through_a_restart(cut):
    samples = contract_samples.seasonal(17)
    first, second = engine_of(), engine_of()
    judge(first, samples[:cut])
    checkpoint = first.checkpoint()
    assert second.restore(first.at, contract_samples.copied(checkpoint), checkpoint.series)
    assert same(judge(first, samples[cut:], cut), [judge(second, samples[cut:], cut)])


def test_a_row_that_gets_another_series_begins_anew():
    state = DetectorState(Stl())
    state.grow(2)
    for array in state.arrays().values():
        array[...] = 1
    state.forget(np.array([1]))
    empty = DetectorState(Stl())
    empty.grow(1)
    for name, array in state.arrays().items():
        assert np.array_equal(array[..., 1:], empty.arrays()[name], equal_nan=True)


def test_memory_of_a_series_is_what_the_documentation_says():
    state = DetectorState(Stl())
    state.grow(1)
    assert sum(array.nbytes for array in state.arrays().values()) == 2750
