"""An engine that stays awake: what recurs is found again, zeros are counts, an outage lasts, growth is followed."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import _pack, _unpack
from exporter.engine.detectors import Far
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdicts

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 900.0
DAY = int(86400 / STEP)


def judged(samples: FloatArray, detection: DetectionSettings | None = None, step: float = STEP) -> Verdicts:
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection or DetectionSettings()))
    keys = [b'{"series":"%d"}' % i for i in range(samples.shape[1])]
    times = MONDAY + step * np.arange(len(samples))
    return engine.run(times, engine.align(keys, samples, MONDAY).samples, step)


def traffic(days: int, count: int = 4, noise: float = 0.05, seed: int = 5) -> FloatArray:
    hour = np.arange(days * DAY) / DAY * 24.0
    shape = 100.0 + 40.0 * np.sin((hour - 8.0) / 24.0 * 2.0 * np.pi)
    return shape[:, None] * np.exp(noise * np.random.default_rng(seed).standard_normal((len(hour), count)))


def test_the_same_incident_is_found_every_time() -> None:
    samples = traffic(35)
    starts = [21 * DAY + day * DAY + (17 * day) % DAY for day in range(12)]
    for start in starts:
        samples[start : start + 4] *= 3.0
    found = judged(samples).score >= 0.5
    assert all(found[start : start + 4].any(axis=0).all() for start in starts)


def test_a_job_at_the_same_hour_is_usual_from_the_fourth_night() -> None:
    samples = traffic(28)
    nights = [14 * DAY + day * DAY + 8 for day in range(12)]
    for start in nights:
        samples[start : start + 4] *= 3.0
    found = judged(samples).score >= 0.5
    assert found[nights[0] : nights[0] + 4].any(axis=0).all()
    assert np.mean([found[start : start + 4].any(axis=0) for start in nights[4:]]) <= 0.1


def test_a_fall_to_nothing_is_told_until_it_ends_and_the_recovery_is_none() -> None:
    samples = traffic(30)
    begin, end = 22 * DAY + 30, 26 * DAY
    samples[begin:end] = 0.0
    found = judged(samples).score >= 0.5
    assert found[begin + 2 : end].all()
    assert found[end + 6 : end + DAY].mean() < 0.02


def test_zeros_of_small_counts_add_up() -> None:
    samples = np.random.default_rng(3).poisson(4.0, (24 * DAY, 6)).astype(float)
    begin = 22 * DAY
    samples[begin : begin + 12] = 0.0
    found = judged(samples).score >= 0.5
    assert found[begin : begin + 8].any(axis=0).all()
    assert found[8 * DAY : begin].mean() < 0.001


def test_growth_is_followed_by_what_is_expected() -> None:
    samples = traffic(56, noise=0.04) * 1.3 ** (np.arange(56 * DAY) / DAY / 30.0)[:, None]
    # The variance between the weeks is growth, and hides no dip.
    begin = 55 * DAY + 56
    samples[begin : begin + 8] *= 0.7
    verdicts = judged(samples)
    assert (verdicts.score[begin : begin + 2] >= 0.5).any(axis=0).all()
    last = slice(-3 * DAY, begin)
    assert np.median(np.abs(verdicts.expected[last] / samples[last] - 1.0)) < 0.04
    assert abs(np.mean(verdicts.expected[last] / samples[last]) - 1.0) < 0.03


def test_a_value_that_stands_still_is_found_and_one_that_always_does_is_not() -> None:
    samples = traffic(24)
    samples[:, 3] = np.repeat(np.random.default_rng(1).normal(1800.0, 120.0, 24), DAY)
    begin = 22 * DAY + 20
    samples[begin : begin + 30, :3] = samples[begin - 1, :3]
    found = judged(samples).score >= 0.5
    assert found[begin : begin + 30, :3].any(axis=0).all()
    assert found[8 * DAY :, 3].mean() < 0.005


def test_a_value_that_is_held_is_one_sample_however_often_it_is_read() -> None:
    held = np.random.default_rng(2).normal(1800.0, 120.0, (26, 4))
    held[22, :2], held[24, 2:] = 1800.0 + 3.9 * 120.0, 1800.0 + 9.0 * 120.0
    detection = DetectionSettings(detectors=(Far(),), quorum=1)
    found = judged(np.repeat(held, DAY, axis=0), detection).score >= 0.5
    assert not found[22 * DAY : 23 * DAY, :2].any()
    assert found[24 * DAY, 3]


def test_wide_tails_are_found_in_pairs_and_not_alone() -> None:
    """Values of eight deviations are part of the noise; two in a row of six are not."""
    samples = 100.0 + 5.0 * np.random.default_rng(4).standard_t(4.0, (26 * DAY, 6)) / np.sqrt(2.0)
    begin = 25 * DAY
    samples[begin : begin + 4] = 100.0 + 5.0 * 7.0
    found = judged(samples, DetectionSettings(detectors=(Far(),), quorum=1)).score >= 0.5
    assert found[8 * DAY : begin].sum() <= 6
    assert found[begin : begin + 4].any(axis=0).sum() >= 5


def test_a_single_sample_far_beyond_normal_noise_is_found_though_weekends_differ() -> None:
    """In the first weeks a weekend is noise; where samples are not correlated, the hours of the week know better."""
    rng, days = np.random.default_rng(6), 38
    level = traffic(days, 8, noise=0.0) * np.where(np.arange(days * DAY) // DAY % 7 >= 5, 0.8, 1.0)[:, None]
    samples = level + 5.0 * rng.standard_normal(level.shape)
    at = 37 * DAY + 14 * DAY // 24 + 2
    samples[at] = level[at] + 8.0 * 5.0
    found = judged(samples, DetectionSettings(detectors=(Far(),), quorum=1)).score >= 0.5
    assert found[at].sum() >= 7
    assert found[8 * DAY : at].sum() <= 2


def test_far_outside_in_the_first_week_needs_no_other_vote() -> None:
    samples = traffic(8, 8)
    incidents = [3 * DAY + 40, 5 * DAY + 60, 6 * DAY + 20]
    for begin in incidents:
        samples[begin : begin + 4] *= 3.0
    found = judged(samples, DetectionSettings(detectors=(Far(),), quorum=1)).score >= 0.5
    assert all(found[begin : begin + 4].any(axis=0).all() for begin in incidents[1:])
    assert found.sum() <= 4 * 8 * len(incidents)


def test_hourly_samples_with_wide_tails_are_far_less_often_and_incidents_each_time() -> None:
    days, rng = 70, np.random.default_rng(8)
    samples = 100.0 + 10.0 * rng.standard_t(3.0, (24 * days, 12))
    events = [24 * 40 + 61 * number for number in range(10)]
    samples[events, 6:] = 100.0 + 10.0 * 40.0
    found = judged(samples, DetectionSettings(detectors=(Far(),), quorum=1), step=3600.0).score >= 0.5
    assert found[events, 6:].all()
    weeks = (days - 14) / 7.0
    assert found[24 * 14 :, :6].sum() / (6 * weeks) <= 1.2


def test_bursts_of_what_is_mostly_zero_are_far_by_their_own_size_and_not_by_that_of_an_empty_hour() -> None:
    """The noise of an hour that saw no event is none at all."""
    days, rng = 42, np.random.default_rng(9)
    samples = np.zeros((days * DAY, 8))
    for series in samples.T:
        for at in rng.choice(days * DAY, 3 * days):
            series[at] += rng.geometric(0.4)
    outages = [30 * DAY + 7, 35 * DAY + 50, 39 * DAY + 20]
    for begin in outages:
        samples[begin : begin + 4, 4:] += rng.integers(50, 80, (4, 4))
    found = judged(samples, DetectionSettings(detectors=(Far(),), quorum=1)).score >= 0.5
    assert all(found[begin : begin + 4, 4:].any(axis=0).sum() >= 3 for begin in outages)
    assert found[14 * DAY :, :4].sum() <= 2


def test_noise_without_memory_counts_as_such_from_the_second_week_on() -> None:
    """In the first days every sample is on the same side of a mean of all hours as the one before."""
    engine = Engine(
        EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(detectors=(Far(),), quorum=1))
    )
    samples = traffic(9)
    times = MONDAY + STEP * np.arange(len(samples))
    engine.run(times, engine.align([b'{"series":"%d"}' % row for row in range(4)], samples, MONDAY).samples, STEP)
    product, square = engine.state.residuals.arrays()["residual/echo"][:, :4]
    assert (product < 0.3 * square).all()


def test_the_memory_of_noise_is_known_after_a_series_began_anew() -> None:
    """Where nothing is expected of a series nothing is learned of its memory either; nor does it stay unknown."""
    shift = 28 * DAY
    samples = 100.0 + 6.0 * np.random.default_rng(8).standard_t(3.0, (shift + 9 * DAY, 8))
    samples[shift:] = 1.3 * 100.0 + 1.5 * (samples[shift:] - 100.0)
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    times = MONDAY + STEP * np.arange(len(samples))
    rows = engine.align([b'{"series":"%d"}' % row for row in range(8)], samples, MONDAY).samples
    last = len(samples) - DAY
    engine.run(times[:last], rows[:last], STEP)
    echo = engine.state.residuals.arrays()["residual/echo"]
    assert np.isfinite(echo).all()
    echo[:, 0] = np.nan  # As an earlier version left it.
    engine.run(times[last:], rows[last:], STEP)
    assert np.isfinite(echo).all()


def test_quartiles_survive_being_kept_in_half_the_bytes() -> None:
    stats = np.array([[1e9, -3.0], [2.0, 0.0], [1e9 - 1.3, -3.0], [1e9 + 1.4, -3.0], [3600.0, 60.0]])
    np.testing.assert_allclose(_unpack(_pack(stats)), stats, rtol=1e-7, atol=2e-3)


def test_a_series_that_stood_still_for_a_week_is_known_half_a_day_after_it_moved() -> None:
    """What never moved has no noise: it begins anew, and its first values are learned as they are."""
    day, step = 1440, 60.0
    samples = np.zeros((9 * day, 1))
    moved = 7 * day + day // 3
    level = 50.0 + 40.0 * np.sin(np.arange(len(samples)) / day * 2.0 * np.pi)
    samples[moved:, 0] = np.random.default_rng(3).poisson(level[moved:])
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    times = MONDAY + step * np.arange(len(samples))
    score = engine.run(times, engine.align([b"{}"], samples, MONDAY).samples, step).score
    assert (score[moved : moved + 60] >= 0.5).all()
    assert (score[moved + 780 :] >= 0.5).mean() < 0.01
