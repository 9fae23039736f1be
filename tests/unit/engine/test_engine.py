from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np

from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, Stl, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

DETECTORS = (ZScore(), Iqr(), Stl())


def engine(*detectors, quorum: int = 2, **more) -> Engine:
    detection = DetectionSettings(detectors=detectors or (ZScore(), Iqr()), quorum=quorum)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, **more))


def run(one: Engine, times: np.ndarray, samples: np.ndarray):
    return one.run(times, one.align(keys(samples.shape[1]), samples, times[0]).samples, STEP)


def test_a_detector_that_cannot_say_so_far_does_not_widen_the_band() -> None:
    samples = seasonal(2, count=3)
    samples[DAY + 5 :: 11] *= 2.0
    times = START + STEP * np.arange(len(samples))
    two, three = run(engine(), times, samples), run(engine(*DETECTORS), times, samples)
    outside = (three.observed > three.upper) | (three.observed < three.lower)
    assert np.array_equal(outside, three.score >= 0.5)
    assert np.array_equal(two.upper, three.upper, equal_nan=True)


def test_the_same_hour_of_another_week_is_another_moment() -> None:
    samples = seasonal(21, count=1)
    times = START + STEP * np.arange(len(samples))
    gap = np.r_[0 : 7 * DAY + 2, 14 * DAY + 2 : 21 * DAY]  # a week is missing, and the hour goes on
    together = run(engine(*DETECTORS), times[gap], samples[gap])
    apart = engine(*DETECTORS)
    scores = [run(apart, times[[i]], samples[[i]]).score[0] for i in gap]
    assert np.array_equal(together.score, np.array(scores), equal_nan=True)


def test_direction_shows_in_score_and_band() -> None:
    samples = seasonal(16, count=1)
    samples[15 * DAY + 10], samples[15 * DAY + 20] = samples[15 * DAY + 10] * 3, samples[15 * DAY + 20] / 3
    times = START + STEP * np.arange(len(samples))
    found = {d: run(engine(direction=d), times, samples) for d in ("above", "below", "both")}
    high, low = 15 * DAY + 10, 15 * DAY + 20
    assert [found[d].score[high, 0] >= 0.5 for d in found] == [True, False, True]
    assert [found[d].score[low, 0] >= 0.5 for d in found] == [False, True, True]
    assert np.isnan(found["above"].lower).all()
    assert np.isnan(found["below"].upper).all()
    assert np.array_equal(found["above"].expected, found["both"].expected, equal_nan=True)


def test_small_deviations_do_not_count() -> None:
    samples = seasonal(16, count=1)
    where = 15 * DAY + 10
    samples[where] += 60.0
    times = START + STEP * np.arange(len(samples))
    for more, found in (
        ({"min_deviation": 50.0}, True),
        ({"min_deviation": 90.0}, False),
        ({"min_relative_deviation": 0.3}, True),
        ({"min_relative_deviation": 5.0}, False),
    ):
        verdicts = run(engine(**more), times, samples)
        assert (verdicts.score[where, 0] >= 0.5) == found, more
        assert (verdicts.observed[where, 0] > verdicts.upper[where, 0]) == found, more


def test_impossible_values_are_anomalous_and_not_learned() -> None:
    samples = seasonal(16, count=1)
    times = START + STEP * np.arange(len(samples))
    clean = run(engine(valid_range=(0.0, 1000.0)), times, samples)
    broken = samples.copy()
    broken[::50] = -5.0
    found = run(engine(valid_range=(0.0, 1000.0)), times, broken)
    assert (found.score[::50] > 0.9).all()
    assert np.nanmin(found.lower) >= 0.0
    np.testing.assert_allclose(found.expected[-1], clean.expected[-1], rtol=0.05)


def test_young_series_are_scored_and_not_ready() -> None:
    samples = seasonal(9, count=2)
    samples[: 4 * DAY, 1] = np.nan
    times = START + STEP * np.arange(len(samples))
    verdicts = run(engine(), times, samples)
    assert not np.isnan(verdicts.score[DAY, 0])
    assert not verdicts.ready[7 * DAY - 1, 0]
    assert verdicts.ready[7 * DAY, 0]
    assert not verdicts.ready[-1, 1]


def test_forgotten_series_leave_nothing_behind() -> None:
    samples = seasonal(16, count=3)
    times = START + STEP * np.arange(len(samples))
    one = engine()
    run(one, times, samples)
    assert one.expire(times[-1] + 1.0) == []
    later = times + 30 * 86400.0
    assert one.expire(later[0]) == [0, 1, 2]
    fresh = engine()
    again = [b'{"new":"%d"}' % i for i in range(3)]
    old = one.run(later, one.align(again, samples * 7, later[0]).samples, STEP)
    new = fresh.run(later, fresh.align(again, samples * 7, later[0]).samples, STEP)
    assert np.array_equal(old.score, new.score, equal_nan=True)
    assert one.table.size == 3


def test_configure_changes_how_it_is_judged_and_not_what_is_known() -> None:
    samples = seasonal(16, count=1)
    times = START + STEP * np.arange(len(samples))
    one = engine()
    run(one, times[:-1], samples[:-1])
    before = {name: part.copy() for name, part in one.checkpoint().parts.items()}
    detection = DetectionSettings(detectors=(Iqr(), ZScore(threshold=0.001)), quorum=1)
    one.configure(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    after = one.checkpoint().parts
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)
    assert run(one, times[-1:], samples[-1:]).score[0, 0] >= 0.5


def test_what_begins_with_zeros_is_learned() -> None:
    nights = {"a night of six hours": 6, "a night of eight": 8, "three days": 3 * 24}
    samples = np.hstack([50.0 + 5.0 * np.random.default_rng(0).standard_normal((24 * DAY, 4)) for _ in nights])
    hour = np.arange(len(samples)) * 24 // DAY
    for index, zeros in enumerate(nights.values()):
        samples[(hour % 24 if zeros < 24 else hour) < zeros, 4 * index : 4 * index + 4] = 0.0
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    verdicts = run(one, START + STEP * np.arange(len(samples)), samples)
    afternoon = verdicts.expected[-DAY:][hour[-DAY:] % 24 == 14]
    for index, name in enumerate(nights):
        columns = slice(4 * index, 4 * index + 4)
        assert (np.abs(afternoon[:, columns] - 50.0) < 15.0).all(), name
        assert (verdicts.score[15 * DAY :, columns] >= 0.5).mean() < 0.005, name


def test_a_query_may_have_no_series_for_a_while() -> None:
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    times = START + STEP * np.arange(3 * DAY)
    run(one, times[:DAY], np.zeros((DAY, 0)))
    for at in times[DAY : DAY + 30]:
        one.step(at, one.align([], np.zeros(0), at).samples, STEP)
        assert np.isnan(one.drift.index)
        assert len(one.seasons) == 0
    saved = one.checkpoint()
    other = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    assert other.restore(saved.at, saved.parts, saved.series)
    verdicts = run(other, times[DAY + 30 :], seasonal(3, count=2)[DAY + 30 :])
    assert np.isfinite(verdicts.score[-DAY:]).all()


def test_nothing_is_expected_below_zero_of_what_never_was() -> None:
    rng = np.random.default_rng(3)
    samples = np.array([rng.poisson(2.0, 8 * DAY), np.zeros(8 * DAY), rng.poisson(2.0, 8 * DAY)], float).T
    samples[5 * DAY, 2] = -1.0
    times = START + STEP * np.arange(len(samples))
    found = run(engine(*DETECTORS), times, samples)
    low = np.nanmin(found.lower, axis=0)
    assert low[:2].tolist() == [0.0, 0.0]
    assert np.nanmin(found.lower[: 5 * DAY, 2]) == 0.0 > found.lower[5 * DAY, 2]
    # What is zero at the scale of the series is zero.
    assert set(found.upper[24:, 1].tolist()) == set(found.expected[24:, 1].tolist()) == {0.0}
    one_by_one = engine(*DETECTORS)
    lower = [run(one_by_one, times[[i]], samples[[i]]).lower[0] for i in range(len(times))]
    assert np.array_equal(found.lower, np.array(lower), equal_nan=True)
