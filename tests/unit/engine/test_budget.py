"""The threshold that a budget leads to: what is counted, what is fitted, and that it survives a restart."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.engine.budget import AlertCounts
from exporter.engine.calibration import GRID, LEAST, LEVELS, MOST, Budget, calibrate
from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.seconds import WEEK
from exporter.engine.settings import BaselineSettings, DetectionSettings

MONTH = 30 * 86400.0


def alerts(severity: np.ndarray, threshold: float, needed: int, kept: int) -> int:
    """Count the alerts of one series slot by slot, as the life of an alert has it."""
    begun = run = quiet = 0
    is_open = False
    for one in severity:
        if np.isnan(one):
            # Nothing is known: what waits goes on waiting, what is open stays open.
            run += run > 0
            quiet += quiet > 0
            continue
        run, quiet = (run + 1, 0) if one >= threshold else (0, quiet + 1)
        if is_open and quiet >= kept:
            is_open = False
        if not is_open and run >= needed:
            is_open, begun = True, begun + 1
    return begun


@pytest.mark.parametrize(("interval", "days"), [(15.0, 7.0), (60.0, 7.0), (180.0, 18.0), (300.0, 30.0), (3600.0, 30.0)])
def test_counts_fade_with_the_slots_but_in_no_less_than_a_week(interval: float, days: float) -> None:
    assert Budget(1.0 / WEEK, 1, 1, interval).fading(30 * 86400.0) == days * 86400.0


def counted(severity: np.ndarray, needed: int, kept: int) -> np.ndarray:
    """Return the alerts that begin at each level, with a block a sample so that none are joined."""
    counts = AlertCounts(Budget(1.0 / WEEK, needed, kept, 60.0), fading=math.inf)
    counts.grow(1)
    for value in severity:
        counts.update(slice(0, 1), np.array([[value]]))
        counts.advance(1)
        counts.end_block()
    return counts.state()[:LEVELS]


severities = st.lists(
    st.one_of(st.floats(0.0, 4.0), st.just(math.nan)).map(lambda x: float(np.float32(x))), max_size=30
)


@given(severities, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=60)
def test_every_threshold_is_counted_as_if_it_had_been_in_force(given: list[float], needed: int, kept: int) -> None:
    severity = np.array(given)
    found = counted(severity, needed, kept)
    for level in range(0, LEVELS, 73):
        # In the first days, what is near a threshold or above counts twice at most.
        most = math.inf if GRID[level] < 0.8 else 2
        assert found[level] == min(alerts(severity, float(GRID[level]), needed, kept), most), GRID[level]


def test_series_that_turn_together_are_one_alert() -> None:
    counts = AlertCounts(Budget(1.0 / WEEK, 1, 1, 60.0), fading=math.inf)
    counts.grow(50)
    severity = np.zeros((12, 50))
    severity[np.arange(12).repeat(4)[:48], np.arange(48)] = 5.0
    counts.update(slice(0, 50), severity)
    counts.advance(12)
    counts.end_block()
    assert counts.state()[0] == 1


@pytest.mark.parametrize(("interval", "alerts"), [(60.0, 1), (120.0, 2), (300.0, 6), (900.0, 12), (7000.0, 12)])
def test_together_is_a_matter_of_minutes_not_of_slots(interval: float, alerts: int) -> None:
    counts = AlertCounts(Budget(1.0 / WEEK, 1, 1, interval), fading=math.inf)
    counts.grow(12)
    counts.update(slice(0, 12), 5.0 * np.eye(12))
    counts.advance(12)
    counts.end_block()
    assert counts.state()[0] == alerts


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3], ids=["short", "exponential", "heavy"])
@pytest.mark.parametrize("per_week", [1.0, 7.0])
def test_the_fit_finds_the_threshold_of_a_known_tail(shape: float, per_week: float) -> None:
    weeks, each = 4.0, 400.0
    left = (GRID - GRID[0]) / 0.2
    curve = each * weeks * (np.exp(-left) if shape == 0 else np.maximum(1 + shape * left, 0.0) ** (-1 / shape))
    found = calibrate(curve, weeks * WEEK, weeks * WEEK, Budget(per_week / WEEK, 1, 1, 60.0))
    true = float(np.interp(-per_week * weeks, -curve, GRID))
    assert found.fitted
    assert found.threshold == pytest.approx(true, rel=0.03)
    assert found.expected * WEEK == pytest.approx(per_week, rel=0.02)
    assert found.lower * WEEK < per_week < found.upper * WEEK
    assert found.shape == pytest.approx(shape, abs=0.05)


def test_a_jump_of_the_curve_is_not_part_of_the_tail() -> None:
    # Thirty alerts end exactly at 1.0; fifteen go on.
    tail = 15.0 * np.exp(-(GRID - 1.0) / 0.5)
    curve = np.where(GRID < 1.0, 45.0 * (1.0 / GRID) ** 4, tail)
    calibration = calibrate(curve, 4 * WEEK, 4 * WEEK, Budget(1.0 / WEEK, 1, 1, 60.0))
    assert calibration.threshold == pytest.approx(1.0 + 0.5 * math.log(15.0 / 4.0), rel=0.03)
    assert calibration.shape == pytest.approx(0.0, abs=0.05)
    # Ten alerts a week are more than go on, so the threshold is below the jump.
    assert calibrate(curve, 4 * WEEK, 4 * WEEK, Budget(10.0 / WEEK, 1, 1, 60.0)).threshold <= 1.01


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(300):
        peaks = GRID[0] + 0.2 * rng.standard_exponential(rng.poisson(300))
        curve = (peaks[:, None] >= GRID).sum(axis=0).astype(float)
        found = calibrate(curve, 4 * WEEK, 4 * WEEK, Budget(2.0 / WEEK, 1, 1, 60.0))
        rate = 75.0 / WEEK * math.exp(-(found.threshold - float(GRID[0])) / 0.2)
        inside.append(found.lower <= rate <= found.upper)
    assert 0.82 <= np.mean(inside) <= 0.97


def test_alerts_that_come_in_clumps_are_known_less_well() -> None:
    curve = 400.0 * np.exp(-(GRID - GRID[0]) / 0.2)
    budget = Budget(2.0 / WEEK, 1, 1, 60.0)
    alone, clumped = (calibrate(curve, 4 * WEEK, 4 * WEEK, budget, clumps) for clumps in (1.0, 4.0))
    assert alone.threshold == clumped.threshold
    assert clumped.upper / clumped.expected == pytest.approx((alone.upper / alone.expected) ** 2)


@pytest.mark.parametrize(
    ("peaks", "history"), [(1000.0, 6 * 86400.0), (20.0, 4 * WEEK)], ids=["little-history", "few-alerts"]
)
def test_without_enough_to_go_by_the_threshold_stays(peaks: float, history: float) -> None:
    curve = peaks * np.exp(-(GRID - GRID[0]) / 0.2)
    found = calibrate(curve, history, history, Budget(2.0 / WEEK, 1, 1, 60.0))
    assert not found.fitted
    assert found.threshold == 1.0


@pytest.mark.parametrize("curve", [np.full(LEVELS, 100.0), np.where(GRID < 1.0, 100.0, 0.0), np.zeros(LEVELS)])
def test_odd_curves_give_a_threshold_or_none(curve: np.ndarray) -> None:
    found = calibrate(curve, 4 * WEEK, 4 * WEEK, Budget(2.0 / WEEK, 1, 1, 60.0))
    assert LEAST <= found.threshold <= MOST
    assert not found.fitted or found.expected > 0.0


def test_a_budget_that_no_threshold_meets_is_said_to_be_overspent() -> None:
    found = calibrate(np.full(LEVELS, 100.0), 4 * WEEK, 4 * WEEK, Budget(2.0 / WEEK, 1, 1, 60.0))
    assert found.threshold == MOST
    assert found.expected * WEEK == pytest.approx(25.0)
    assert 18.0 < found.lower * WEEK < 25.0 < found.upper * WEEK < 35.0


# ---------------------------------------------------------------------- with the engine

BUDGET = Budget(2.0 / WEEK, 1, 1, STEP)


def engine(budget: Budget | None = BUDGET, **more) -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr()), quorum=1)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, budget=budget, **more))


def noise(days: int, count: int) -> np.ndarray:
    samples = seasonal(days, count=count)
    return samples + np.random.default_rng(3).standard_t(3, samples.shape) * samples.std() / 5


def run(one: Engine, samples: np.ndarray, *, begin: int = 0, step: float = STEP):
    times = START + step * np.arange(begin, begin + len(samples))
    return one.run(times, one.align(keys(samples.shape[1]), samples, times[0]).samples, step)


@pytest.mark.parametrize("stored", [False, True])
def test_series_may_come_after_a_history_without_any(stored: bool) -> None:
    # Blocks of alert counts end also where there is no series; with many series a span ends with them.
    one = engine(Budget(None, 1, 1, 10.0), cadence=300.0)
    run(one, np.empty((1000, 0)), step=10.0)
    if stored:
        # Of an earlier version, which went on in one block.
        counts = AlertCounts(one.settings.budget, math.inf)
        counts._instants = 41
        assert one._state.alert_counts.restore(counts.state())
    samples = np.random.default_rng(1).normal(100.0, 1.0, (30, 2000))
    run(one, samples, begin=1000, step=10.0)
    assert one.at == START + 1029 * 10.0
    assert one._state.alert_counts.instants_left == 12 - (11 + 30 if stored else 1030) % 12


def test_the_score_means_anomalous_at_one_half_and_the_band_says_so() -> None:
    samples = noise(26, 6)
    with_budget, without = engine(Budget(20.0 / WEEK, 1, 1, STEP)), engine(None)
    calm, loud = run(with_budget, samples), run(without, samples)
    late = slice(24 * DAY, None)
    threshold = with_budget.calibration.threshold
    assert with_budget.calibration.fitted
    assert threshold > 1.1
    assert 0 < (calm.score[late] >= 0.5).sum() < (loud.score[late] >= 0.5).sum()
    outside = (calm.observed > calm.upper) | (calm.observed < calm.lower)
    assert np.array_equal(outside[late], calm.score[late] >= 0.5)
    widths = (calm.upper - calm.lower)[late] / (loud.upper - loud.lower)[late]
    assert (widths > 1.1).all()
    # Nothing else is learned because somebody wants fewer alerts.
    assert np.array_equal(calm.expected, loud.expected, equal_nan=True)
    assert np.array_equal(calm.z, loud.z, equal_nan=True)


def test_one_at_a_time_and_over_a_restart_it_is_the_same_to_the_last_bit() -> None:
    samples = noise(24, 3)
    together, apart = engine(), engine()
    whole = run(together, samples)
    half = 23 * DAY + 5
    run(apart, samples[:half])
    again = engine()
    checkpoint = apart.checkpoint()
    assert again.restore(checkpoint.at, checkpoint.parts, checkpoint.series)
    assert again.calibration == apart.calibration
    scores = [run(again, samples[[i]], begin=i).score[0] for i in range(half, len(samples))]
    assert np.array_equal(whole.score[half:], np.array(scores), equal_nan=True)
    assert together.calibration == again.calibration
    assert together.calibration.fitted
    assert all(
        np.array_equal(part, again.checkpoint().parts[name], equal_nan=True)
        for name, part in together.checkpoint().parts.items()
        if name.startswith("budget")
    )


def test_samples_of_another_grain_are_not_counted() -> None:
    one = engine(Budget(2.0 / WEEK, 1, 1, STEP / 5))
    run(one, noise(16, 2))
    assert one.calibration.history == 0.0
    assert one.calibration.threshold == 1.0


def test_another_budget_is_met_at_once_by_what_was_counted() -> None:
    one = engine()
    run(one, noise(23, 6))
    before = one.calibration
    one.configure(EngineSettings(**{**vars_of(one), "budget": Budget(20.0 / WEEK, 1, 1, STEP)}))
    assert one.calibration.threshold < before.threshold
    assert one.calibration.expected == pytest.approx(20.0 / WEEK, rel=0.01)


def vars_of(one: Engine) -> dict:
    return {name: getattr(one.settings, name) for name in EngineSettings.__dataclass_fields__}


def test_an_incident_does_not_mute_itself() -> None:
    samples = noise(24, 6)
    one = engine()
    run(one, samples[: 23 * DAY])
    before = one.calibration
    storm = samples[23 * DAY : 23 * DAY + DAY // 2] + 1e4
    said = run(one, storm, begin=23 * DAY)
    assert (said.score >= 0.5).all()
    assert one.calibration.threshold == before.threshold


# ---------------------------------------------------------------------- the rate without a budget

UNLIMITED = Budget(None, 1, 1, STEP)


def test_counts_that_do_not_fit_begin_anew_and_nothing_else_does() -> None:
    samples = noise(23, 3)
    first, again = engine(UNLIMITED), engine(Budget(None, 4, 1, STEP))
    run(first, samples)
    assert first.calibration.false.expected > 0.0
    checkpoint = first.checkpoint()
    assert again.restore(checkpoint.at, checkpoint.parts, checkpoint.series)
    assert math.isnan(again.calibration.false.expected)
    late = noise(24, 3)[23 * DAY :]
    scores = [run(each, late, begin=len(samples)).score for each in (first, again)]
    assert np.array_equal(*scores, equal_nan=True)


# ---------------------------------------------------------------------- where the numbers have their limits


def known(per_month: float, interval: float = 60.0) -> Budget:
    """Return a budget of so many alerts in the four weeks that the curves below stand for."""
    return Budget(per_month / (4 * WEEK), 1, 1, interval)


def calibrated(curve: np.ndarray, budget: Budget, history: float = 4 * WEEK, clumps: float = 1.0):
    return calibrate(curve, 4 * WEEK, history, budget, clumps)


EXPONENTIAL = np.exp(-(GRID - GRID[0]) / 0.2).astype(np.float64)
CLIFF = np.where(GRID < 0.6, 40.0, np.where(GRID < 1.0, 3.0, 0.0))


def test_thresholds_are_one_percent_apart_from_three_tenths_to_thirty() -> None:
    assert (GRID[0], GRID[-1]) == (pytest.approx(0.3), pytest.approx(30.0))
    assert GRID[1:] / GRID[:-1] == pytest.approx(1.009, abs=5e-3)


def test_alerts_that_just_reach_the_default_threshold_are_counted_there() -> None:
    """Most of `texture` and all that `novelty` holds are at 1.0, and no higher."""
    found = counted(np.array([0.0, 1.0, 0.0, 1.0, 0.0]), needed=1, kept=1)
    assert found[np.searchsorted(GRID, np.float32(1.0))] == 2
    assert found[np.searchsorted(GRID, np.float32(1.005))] == 0


def test_a_threshold_is_three_tenths_at_least_and_ten_at_most() -> None:
    assert calibrated(1e4 * EXPONENTIAL, known(1e6)).threshold == pytest.approx(0.3)
    assert calibrated(np.full(LEVELS, 100.0), known(2.0)).threshold == 10.0


@pytest.mark.parametrize(
    ("alerts", "days", "fitted"), [(31.0, 6.9, True), (29.0, 6.9, False), (31.0, 6.8, False)], ids=str
)
def test_a_threshold_needs_thirty_alerts_and_a_week(alerts: float, days: float, fitted: bool) -> None:
    assert calibrated(alerts * EXPONENTIAL, known(2.0), history=days * 86400.0).fitted == fitted


@pytest.mark.parametrize(
    ("per_month", "interval", "peaks"),
    [(2.0, 60.0, 30.0), (100.0, 60.0, 150.0), (500.0, 1800.0, 0.2 * 4 * 7 * 48)],
    ids=["thirty at least", "half as many again as are wanted", "in a fifth of the spans at most"],
)
def test_the_tail_begins_where_enough_alerts_are_left(per_month: float, interval: float, peaks: float) -> None:
    found = calibrated(1e4 * EXPONENTIAL, known(per_month, interval)).peaks
    assert found == pytest.approx(peaks, rel=0.08)


def test_the_shape_of_a_tail_stays_where_its_error_is_known() -> None:
    left = (GRID - GRID[0]) / 0.2
    assert calibrated(1e4 * np.maximum(1 - 0.8 * left, 0.0) ** 1.25, known(8.0)).shape == -0.45
    assert calibrated(np.maximum(400.0 * EXPONENTIAL, 12.0), known(8.0)).shape == 0.95


@pytest.mark.parametrize(("per_month", "expected"), [(15.0, 15.0), (25.0, 3.0)])
def test_twenty_alerts_are_known_without_a_fit(per_month: float, expected: float) -> None:
    """Where the curve falls from 40 to 3 at once, the fit finds a threshold between them."""
    assert calibrated(CLIFF, known(per_month)).expected * 4 * WEEK == pytest.approx(expected)


def test_the_interval_is_one_of_ninety_percent_and_no_wider_than_a_float_can_tell() -> None:
    flat = calibrated(np.full(LEVELS, 100.0), known(2.0))
    assert math.log(flat.upper / flat.expected) == pytest.approx(0.1645)
    widest = calibrated(np.full(LEVELS, 100.0), known(2.0), clumps=1e9)
    assert math.log(widest.upper / widest.expected) == pytest.approx(20.0)


def test_samples_within_one_percent_of_the_interval_are_slots() -> None:
    counts = AlertCounts(Budget(1.0 / WEEK, 1, 1, 60.0), fading=math.inf)
    assert [counts.fits(seconds) for seconds in (60.0, 60.5, 61.0, 300.0)] == [True, True, False, False]


@pytest.mark.parametrize(("needed", "pieces"), [(1, 1), (60, 60), (100, 50), (1000, 63)])
def test_a_long_window_is_kept_in_at_most_64_pieces(needed: int, pieces: int) -> None:
    counts = AlertCounts(Budget(1.0 / WEEK, needed, 1, 60.0), fading=math.inf)
    assert counts.arrays()["low"].shape[0] == pieces


def test_calibration_is_hourly_but_waits_up_to_a_day_for_an_alert_to_end() -> None:
    counts = AlertCounts(Budget(1.0 / WEEK, 1, 1, 300.0), fading=1e9)
    counts.grow(1)

    def play(days: float, severity: float) -> list[float]:
        """Return the hours after which there was another calibration."""
        hours, before = [], counts.calibration
        for hour in range(int(24 * days)):
            # Half of the hours have an alert of some size that ends.
            values = np.full((12, 1), severity)
            if not severity:
                values[6] = 0.3 + 0.01 * (hour % 40)
            counts.update(slice(0, 1), values)
            counts.advance(12)
            if counts.calibration is not before:
                hours, before = [*hours, hour + 1], counts.calibration
        return hours

    assert play(9, 0.0) == list(range(1, 9 * 24 + 1))
    assert counts.calibration.fitted
    assert play(1.5, 20.0) == [24]


def test_severities_count_after_nine_days() -> None:
    one = engine()
    run(one, noise(11, 1))
    assert one.calibration.history == pytest.approx(2 * 86400.0, abs=0.15 * 86400.0)


def test_what_a_day_raises_far_above_the_mean_is_one_event() -> None:
    """Whoever changes the level of a service has forty alerts that day, and none in the weeks that follow."""
    severity = np.zeros((35 * DAY, 1))
    severity[::DAY] = severity[10 * DAY : 11 * DAY : 6] = 3.0
    counts = AlertCounts(UNLIMITED, fading=1e9)
    counts.grow(1)
    for begin in range(0, len(severity), 12):
        counts.update(slice(0, 1), severity[begin : begin + 12])
        counts.advance(12)
    level = int(np.searchsorted(GRID, np.float32(1.0)))
    assert 36 < counts.state()[level] < 42 < 34 + 48


def test_the_state_from_before_false_alerts_were_estimated_is_read() -> None:
    one, again = engine(), engine()
    run(one, noise(22, 3))
    counts, fresh = one._state.alert_counts, again._state.alert_counts
    assert counts is not None
    assert fresh is not None
    assert fresh.restore(counts.state()[:-3])
    assert fresh.calibration.threshold == counts.calibration.threshold != 1.0
    assert math.isnan(fresh.calibration.false.expected)
    fresh.calibrate()
    assert fresh.calibration == counts.calibration or fresh.calibration.false.expected > 0.0


@pytest.mark.parametrize(("left", "peaks"), [(0.8, 31.0), (0.6, 0.6 * 31.0), (0.3, 31.0)])
def test_a_jump_is_where_a_third_ends_in_one_step_and_ten_go_on(left: float, peaks: float) -> None:
    tail = left * np.exp(-(GRID.astype(np.float64) - 0.6) / 0.2)
    assert calibrated(31.0 * np.where(GRID < 0.6, 1.0, tail), known(1.0)).peaks == pytest.approx(peaks, rel=0.05)
