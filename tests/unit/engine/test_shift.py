from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.shift import LevelShift, Shift

SHIFT = 24 * DAY


def engine(**baseline: str) -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings.model_validate(baseline), detection))


def share_anomalous(one: Engine, samples: np.ndarray) -> np.ndarray:
    """Share of anomalous samples of the first series, by day."""
    times = START + STEP * np.arange(len(samples))
    found = one.run(times, one.align(keys(samples.shape[1]), samples, START).samples, STEP).score[:, 0] >= 0.5
    return found.reshape(-1, DAY).mean(axis=1)


@pytest.mark.parametrize(
    "shift",
    [lambda x: x + 100.0, lambda x: x - 60.0, lambda x: 2.0 * x, lambda x: 0.5 * x, lambda x: x * 1e4],
    ids=["up", "down", "doubled", "halved", "ten-thousandfold"],
)
def test_a_shift_alerts_for_a_day_and_is_then_the_new_normal(shift) -> None:
    samples = seasonal(34, count=1)
    samples[SHIFT:] = shift(samples[SHIFT:])
    one = engine()
    share = share_anomalous(one, samples)
    assert share[24] >= 0.98  # The band knows the noise of the hour: one sample may be inside.
    assert share[26:].mean() < 0.05
    assert [found.row for found in one.shifts] == [0]


def test_another_shape_is_learned_anew() -> None:
    """From a daily wave to a flat line with noise: no straight line leads there."""
    samples = seasonal(40, count=1)
    rng = np.random.default_rng(2)
    samples[SHIFT:] = 500.0 + 5.0 * rng.standard_normal(samples[SHIFT:].shape)
    one = engine()
    share = share_anomalous(one, samples)
    assert share[24] >= 0.98  # The band knows the noise of the hour: one sample may be inside.
    assert share[26:].mean() < 0.05
    assert [found.anew for found in one.shifts] == [True]


def test_a_constant_that_moves_is_accepted() -> None:
    samples = np.full((30 * DAY, 1), 5.0)
    samples[SHIFT:] = 6.0
    share = share_anomalous(engine(), samples)
    assert share[24] == 1.0
    assert share[26:].max() == 0.0


def test_what_ends_earlier_is_not_accepted() -> None:
    samples = seasonal(30, count=1)
    samples[SHIFT : SHIFT + DAY - 10] *= 3.0
    one = engine()
    assert share_anomalous(one, samples)[26:].mean() < 0.05
    assert one.shifts == []


def test_what_changes_sides_is_not_one_level() -> None:
    samples = seasonal(28, count=1)
    half = DAY // 2
    for begin in range(SHIFT, len(samples), DAY):
        samples[begin : begin + half] += 200.0
        samples[begin + half : begin + DAY] -= 200.0
    one = engine()
    one.configure(replace(one.settings, drifting=None))
    share = share_anomalous(one, samples)
    assert one.shifts == []
    assert share[24:].min() > 0.9


def test_gaps_do_not_end_a_run_and_do_not_count() -> None:
    samples = seasonal(32, count=1)
    samples[SHIFT:] += 100.0
    samples[SHIFT + 20 : SHIFT + DAY] = np.nan
    share = share_anomalous(engine(), samples)
    assert share[25] > 0.5  # the day of the gap is made up for
    assert share[27:].mean() < 0.05


def test_the_time_is_configured() -> None:
    samples = seasonal(34, count=1)
    samples[SHIFT:] += 100.0
    share = share_anomalous(engine(accept_level_shift_after="4d"), samples)
    assert share[24:28].min() > 0.95
    assert share[29:].mean() < 0.05


def test_only_the_series_that_moved_moves() -> None:
    samples = seasonal(28, count=3)
    alone = engine()
    expected = alone.run(START + STEP * np.arange(len(samples)), alone.align(keys(3), samples, START).samples, STEP)
    samples[SHIFT:, 0] *= 2.0
    one = engine()
    found = one.run(START + STEP * np.arange(len(samples)), one.align(keys(3), samples, START).samples, STEP)
    assert np.array_equal(found.score[:, 1:], expected.score[:, 1:], equal_nan=True)
    assert [shift.row for shift in one.shifts] == [0]


# ---------------------------------------------------------------------- what a run has to be, sample by sample

ROWS = slice(0, 1)
HALF = 3.0
"""Half the width of the band around the expected value."""


def level_shift() -> LevelShift:
    shift = LevelShift()
    shift.grow(1)
    return shift


def run_of(shift: LevelShift, deviation: np.ndarray, expected: np.ndarray, after: float = 1e9) -> list[Shift]:
    """Note samples an hour apart, in blocks of twelve, each with its own expected value."""
    shifts = []
    for index, (d, e) in enumerate(zip(deviation, expected, strict=True), 1):
        level = np.array([e])
        shift.note(ROWS, np.array([[e + d]]), (level - HALF, level, level + HALF), 3600.0)
        if index % 12 == 0:
            shifts += shift.end_block(ROWS, after)
    return shifts


@pytest.mark.parametrize(("outside", "accepted"), [(12, True), (10, True), (9, False), (7, False)])
def test_a_run_needs_four_fifths_of_each_block_outside_the_band(outside: int, accepted: bool) -> None:
    deviation = np.tile(np.where(np.arange(12) < outside, 10.0, 0.0), 2)
    assert bool(run_of(level_shift(), deviation, np.zeros(24), after=86400.0)) == accepted


@pytest.mark.parametrize(("left", "gain"), [(0.0, 1.5), (0.5, 1.5), (0.7, 1.5), (0.9, 1.0)])
def test_a_factor_is_believed_where_it_explains_a_fifth_of_the_variance(left: float, gain: float) -> None:
    """The deviation grows with the expected value, beside noise that makes up the part `left` of its variance."""
    expected, noise = np.tile([1.0, 1.0, -1.0, -1.0], 6), np.tile([1.0, -1.0, 1.0, -1.0], 6)
    shift = level_shift()
    run_of(shift, 10.0 + 0.5 * expected + 0.5 * np.sqrt(left / (1.0 - left)) * noise, expected, after=86400.0)
    assert shift.gain[0] == pytest.approx(gain, rel=1e-4)


@pytest.mark.parametrize(("factor", "gain"), [(7e5, 7e5), (1.5e6, 1.0), (-1.0, 1.0)])
def test_a_factor_of_more_than_a_million_is_no_change_of_scale(factor: float, gain: float) -> None:
    expected = np.tile([1.0, -1.0], 12)
    shift = level_shift()
    run_of(shift, 1e7 + (factor - 1.0) * expected, expected, after=86400.0)
    assert shift.gain[0] == pytest.approx(gain, rel=0.01)


@pytest.mark.parametrize(("hours", "gain"), [(5, 1.0), (8, 1.5)])
def test_feedback_fits_the_daily_shape_after_six_hours(hours: int, gain: float) -> None:
    expected = np.tile([1.0, -1.0], 6)
    shift = level_shift()
    shift.follow(ROWS, np.array([[10.0]]), (np.array([-HALF]), np.zeros(1), np.array([HALF])))
    run_of(shift, np.where(np.arange(12) < hours, 10.0 + 0.5 * expected, np.nan), expected)
    shift.accept(np.array([0]), np.zeros(1))
    assert shift.gain[0] == pytest.approx(gain)


def test_the_present_level_is_a_mean_of_about_the_last_four_samples() -> None:
    shift = level_shift()
    shift.follow(ROWS, np.array([[10.0], [14.0]]), (np.array([-HALF]), np.zeros(1), np.array([HALF])))
    assert shift.recent[0] == pytest.approx(11.0)
    shift.follow(ROWS, np.array([[1.0]]), (np.array([-HALF]), np.zeros(1), np.array([HALF])))
    assert shift.recent[0] == pytest.approx(1.0)  # Back in the band: nothing is left of the other level.


def test_what_samples_are_judged_by_follows_whatever_is_learned() -> None:
    one = engine(accept_level_shift_after="2h")
    state, rows = one.state, slice(0, 2)
    samples = seasonal(6)[:, :2].copy()
    samples[-DAY:, 0] += 40.0  # Is accepted within the run.
    one.align(keys(2), samples[0], START)
    times = START + STEP * np.arange(len(samples))
    seen = []
    for part in np.array_split(np.arange(len(samples)), 53):
        one.run(times[part], samples[part], STEP)
        if part[-1] == len(samples) - 1:
            one.accept(np.array([1]), times[-1])
            one.relearn(np.array([0]))
        kept = state.judged_by(one.buckets_at(times[part][-1]), rows)
        state._judged_by.clear()
        anew = state.judged_by(one.buckets_at(times[part][-1]), rows)
        np.testing.assert_array_equal(kept.stats.mean, anew.stats.mean)
        np.testing.assert_array_equal(
            [kept.mean, kept.std, kept.single_visit], [anew.mean, anew.std, anew.single_visit]
        )
        seen.append(kept.version)
    assert one.shifts
    assert len(set(seen)) > 50
