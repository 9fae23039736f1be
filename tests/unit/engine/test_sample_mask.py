from __future__ import annotations

import copy
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engine.contract_samples import DAY, START, STEP, equal, keys, seasonal, state_of
from exporter.engine.detectors import Collective, Iqr, Novelty, Stl, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.sample_mask import SampleMask, forgive, widen
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdict

DETECTORS = (ZScore(), Iqr(multiplier=2.5), Novelty(votes=2), Stl(), Collective(votes=3))
MONDAY = 21 * DAY


def engine() -> Engine:
    detection = DetectionSettings(detectors=DETECTORS, quorum=3)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def run(one: Engine, samples: np.ndarray, treatment: SampleMask | None = None, first: int = 0) -> list[Verdict]:
    """Run all samples at once."""
    times = START + STEP * np.arange(first, first + len(samples))
    aligned = one.align(keys(samples.shape[1]), samples, times[0])
    verdicts = one.run(times, aligned.samples, STEP, treatment)
    return [verdicts[index] for index in range(len(verdicts))]


@pytest.fixture(scope="module")
def three_weeks() -> Engine:
    """An engine that has learned `seasonal` until MONDAY; `learned` is a copy for one test."""
    one = engine()
    run(one, seasonal(21))
    return one


@pytest.fixture
def learned(three_weeks: Engine) -> Engine:
    return copy.deepcopy(three_weeks)


def treated(samples: np.ndarray, masked: slice = slice(0), factor: float = 1.0) -> SampleMask:
    learn = np.ones(samples.shape, np.bool_)
    learn[masked] = False
    return SampleMask(learn, np.full(samples.shape, factor))


def test_what_is_masked_is_judged_and_for_the_rest_it_is_as_if_it_had_been_missing(three_weeks: Engine) -> None:
    samples, masked = seasonal(25)[MONDAY:], slice(30, 50)
    samples[masked, 0] *= 3.0
    missing = samples.copy()
    missing[masked] = np.nan
    one, other = copy.deepcopy(three_weeks), copy.deepcopy(three_weeks)
    found = run(one, samples, treated(samples, masked), MONDAY)
    without = run(other, missing, first=MONDAY)
    assert all(verdict.score[0] >= 0.5 and verdict.masked.all() for verdict in found[masked])
    assert all(verdict.score[1] < 0.5 for verdict in found[masked])
    assert not any(verdict.masked.any() for verdict in found[masked.stop :])
    assert equal(found[masked.stop :], without[masked.stop :])
    state, expected = state_of(one), state_of(other)
    differing = {name for name in state if not np.array_equal(state[name], expected[name], equal_nan=True)}
    assert not differing


def test_masks_that_come_one_by_one_leave_the_same_bits() -> None:
    samples = seasonal(9)
    rng = np.random.default_rng(3)
    treatment = SampleMask(rng.random(samples.shape) > 0.2, rng.choice([0.5, 1.0, 3.0], samples.shape))
    one, other = engine(), engine()
    together = run(one, samples, treatment)
    for index, row in enumerate(samples):
        at = START + STEP * index
        part = SampleMask(treatment.learn[index], treatment.factor[index])
        assert equal([other.step(at, other.align(keys(3), row, at).samples, STEP, part)], [together[index]])
    state, expected = state_of(one), state_of(other)
    assert all(np.array_equal(state[name], expected[name], equal_nan=True) for name in state)


def test_a_treatment_that_changes_nothing_changes_nothing() -> None:
    samples = seasonal(9)
    assert equal(run(engine(), samples, treated(samples)), run(engine(), samples))


def test_a_series_that_was_only_seen_masked_is_not_known() -> None:
    samples = seasonal(9, count=1)
    found = run(engine(), samples, treated(samples, slice(0, 8 * DAY)))
    assert not any(verdict.ready.any() for verdict in found)
    assert all(np.isnan(verdict.score).all() for verdict in found[: 8 * DAY])


def test_an_expected_campaign_is_quiet_and_an_outage_within_it_is_not(learned: Engine) -> None:
    samples = seasonal(25)
    campaign = slice(MONDAY + 20, MONDAY + 60)
    samples[campaign, 0] *= 3.0
    samples[campaign, 1] *= 2.0
    samples[MONDAY + 40, 0] = 1.0
    samples[MONDAY + 41, 1] *= 5.0
    found = run(learned, samples[MONDAY : campaign.stop], treated(samples[MONDAY : campaign.stop], factor=3.0), MONDAY)
    scores = np.array([verdict.score for verdict in found])
    assert scores[40, 0] >= 0.5
    assert scores[41, 1] >= 0.5
    quiet = np.delete(scores, (40, 41), axis=0)[20:]
    assert np.mean(quiet[:, :2] >= 0.5) == 0.0


def test_the_band_of_a_campaign_says_what_is_quiet(three_weeks: Engine) -> None:
    samples = seasonal(22)
    usual, wide = copy.deepcopy(three_weeks), copy.deepcopy(three_weeks)
    next_one = samples[MONDAY : MONDAY + 1]
    (before,), (after,) = run(usual, next_one, first=MONDAY), run(wide, next_one, treated(next_one, factor=3.0), MONDAY)
    np.testing.assert_allclose(after.upper, 3.0 * before.upper)
    np.testing.assert_array_equal(after.lower, before.lower)
    np.testing.assert_array_equal(after.expected, before.expected)


finite = st.floats(-1e6, 1e6)


@given(value=finite, usual=finite, factor=st.floats(0.01, 100.0), edge=finite)
def test_the_edge_is_where_the_judgement_changes(value: float, usual: float, factor: float, edge: float) -> None:
    judged = float(forgive(np.array([[value]]), np.array([usual]), np.array([factor]))[0, 0])
    assert abs(judged - usual) <= abs(value - usual)
    assert (judged - usual) * (value - usual) >= 0
    wide = float(widen(np.array([edge]), np.array([usual]), np.array([factor]))[0])
    slack = 1e-9 * (1 + abs(edge) + abs(judged) + abs(usual))
    if edge >= usual and abs(judged - edge) > slack:
        assert (judged > edge) == (value > wide)
    if edge <= usual and abs(judged - edge) > slack:
        assert (judged < edge) == (value < wide)


@pytest.mark.parametrize("hours", [2, 12], ids=["by its newest samples", "by the hours it has lasted"])
def test_a_new_normal_is_taken_at_once(learned: Engine, hours: int) -> None:
    samples = seasonal(24)
    samples[MONDAY:, 0] *= 2.0
    one = learned
    told = MONDAY + 4 * hours
    before = np.array([verdict.score for verdict in run(one, samples[MONDAY:told], first=MONDAY)])
    assert (before[4:, 0] >= 0.5).all()
    one.accept(np.array([0]), START + STEP * told)
    after = np.array([verdict.score for verdict in run(one, samples[told : told + 8], first=told)])
    assert np.mean(after >= 0.5) < 0.1
    (shift,) = one.shifts
    assert shift.row == 0
    assert shift.before == pytest.approx(100.0, rel=0.5)
    assert shift.after == pytest.approx(2 * shift.before, rel=0.25)


def test_a_new_normal_under_a_mask_is_where_the_masked_samples_are() -> None:
    samples = np.full((22 * DAY, 2), 5.0) + 0.1 * np.random.default_rng(1).standard_normal((22 * DAY, 2))
    samples[MONDAY:, 0] += 20.0
    one = engine()
    run(one, samples[:MONDAY])
    half = MONDAY + 12
    run(one, samples[MONDAY:half], treated(samples[MONDAY:half], slice(None)), MONDAY)
    one.accept(np.array([0]), START + STEP * half)
    after = run(one, samples[half:], first=half)
    assert np.mean([verdict.score >= 0.5 for verdict in after]) < 0.02


def test_what_is_accepted_is_kept_with_what_was_learned(learned: Engine) -> None:
    samples = seasonal(22)
    samples[MONDAY:, 0] += 70.0
    one, other = learned, engine()
    run(one, samples[MONDAY : MONDAY + 12], first=MONDAY)
    one.accept(np.array([0]), START + STEP * (MONDAY + 12))
    saved = one.checkpoint()
    assert other.restore(saved.at, saved.parts, saved.series)
    rest = samples[MONDAY + 12 :]
    assert equal(run(one, rest, first=MONDAY + 12), run(other, rest, first=MONDAY + 12))


def test_a_level_that_is_moving_can_be_told(learned: Engine) -> None:
    samples = seasonal(22)
    samples[MONDAY:, 0] += 100.0
    one = learned
    run(one, samples[MONDAY : MONDAY + 48], first=MONDAY)
    details = one.details(np.array([0, 1]))
    shift = details.shift_of(0)
    assert shift is not None
    assert shift.by == pytest.approx(100.0, rel=0.1)
    assert shift.seconds == 48 * STEP
    assert details.shift_of(1) is None
    assert replace(shift, row=1).by == shift.by


@pytest.mark.parametrize("band", [2.0, 0.5])
def test_a_band_that_is_wider_or_narrower_divides_severities_and_teaches_the_same(
    three_weeks: Engine, band: float
) -> None:
    samples = seasonal(25)[MONDAY : MONDAY + 24]
    plain, other = copy.deepcopy(three_weeks), copy.deepcopy(three_weeks)
    wide = np.full(samples.shape, 1.0)
    wide[:, 0] = band
    mask = SampleMask(np.ones(samples.shape, np.bool_), np.ones(samples.shape), wide)
    before, after = run(plain, samples, first=MONDAY), run(other, samples, mask, first=MONDAY)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(two.score[1:], one.score[1:])
        np.testing.assert_allclose(np.log2(1 - two.score[0]) * band, np.log2(1 - one.score[0]), rtol=1e-9)
        width, ordinary = two.upper[0] - two.expected[0], one.upper[0] - one.expected[0]
        assert np.isnan(width) or (width > ordinary) == (band > 1.0)
    assert not any(two.masked.any() for two in after)
    rest = seasonal(25)[MONDAY + 24 : MONDAY + 60]
    for one, two in zip(run(plain, rest, first=MONDAY + 24), run(other, rest, first=MONDAY + 24), strict=True):
        np.testing.assert_array_equal(two.score, one.score)
