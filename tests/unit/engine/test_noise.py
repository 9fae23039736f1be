"""What noise does not do by itself: a larger variance, and single counts that chance does not explain."""

from __future__ import annotations

import functools
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Counts, Texture
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdicts

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP = 600.0
DAY = int(86400 / STEP)
BOTH = DetectionSettings(detectors=(Texture(), Counts()), quorum=1)
DAYS = 42


def engine() -> Engine:
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), BOTH))


def run(engine: Engine, samples: FloatArray, first: int = 0) -> Verdicts:
    times = MONDAY + STEP * np.arange(first, first + len(samples), dtype=np.float64)
    return engine.run(times, samples, STEP)


def shape() -> FloatArray:
    """Days of 60 to 140, and weekends of half of that which begin at midnight; shape (t, 1)."""
    at = np.arange(DAYS * DAY)
    day = 100.0 + 40.0 * np.sin((at % DAY / DAY - 1 / 3) * 2.0 * np.pi)
    return (day * np.where(at // DAY % 7 >= 5, 0.5, 1.0))[:, None]


LARGER = slice(38 * DAY + 40, 38 * DAY + 76)
NIGHTS = range(31, DAYS)
SPIKES = [21 * DAY + 50 + 91 * number for number in range(20)]
COUNT = 8


def situations() -> dict[str, FloatArray]:
    """Return samples of eight series each, by what they are; all go through one engine."""
    random = np.random.default_rng(4)
    size = (DAYS * DAY, COUNT)
    larger, nightly, wide = random.standard_normal(size), random.standard_normal(size), random.standard_t(4, size)
    larger[LARGER] *= 2.5
    job = random.poisson(2.0, size).astype(float)
    for night in NIGHTS:
        nightly[night * DAY + 12 : night * DAY + 30] *= 4.0
        job[night * DAY + 12] += 30.0
    counts = random.poisson(shape() / 50.0, size).astype(float)
    counts[SPIKES] += np.round(8.0 * np.sqrt(3.0))
    bursts = random.poisson(random.gamma(0.5, 8.0, size)).astype(float)  # A variance of nine times the mean.
    named = {"larger": larger, "nightly": nightly, "wide tails": wide}
    values = {name: shape() + 5.0 * noise for name, noise in named.items()}
    return values | {"spikes": counts, "bursts": bursts, "job": job}


@functools.cache
def judged() -> dict[str, npt.NDArray[np.bool_]]:
    """Return which samples are anomalous to either detector, shape (t, 8), by situation."""
    kinds = situations()
    samples = np.concatenate(list(kinds.values()), axis=1)
    keys = [b'{"series":"%d"}' % i for i in range(samples.shape[1])]
    of_all = engine()
    score = run(of_all, of_all.align(keys, samples, MONDAY).samples).score
    return {name: score[:, COUNT * i : COUNT * (i + 1)] >= 0.5 for i, name in enumerate(kinds)}


def test_noise_that_grows_is_found_within_hours_and_normal_noise_is_not() -> None:
    found = judged()["larger"]
    assert found[LARGER].any(axis=0).mean() >= 0.8
    assert found[: LARGER.start].mean() < 0.0005


def test_wide_tails_are_no_larger_variance() -> None:
    assert judged()["wide tails"].mean() < 0.0005


def test_the_end_of_an_incident_is_no_larger_variance() -> None:
    random = np.random.default_rng(5)
    judge = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), cadence=300.0))
    past = MONDAY + 300.0 * np.arange(28 * 288)
    now = past[-1] + 300.0 + 10.0 * np.arange(8640)
    at = np.concatenate([past, now])
    samples = 100.0 + 20.0 * np.sin(at / 86400.0 * 2.0 * np.pi)[:, None] + 3.0 * random.standard_normal((len(at), 4))
    incident = slice(len(past) + 2880, len(past) + 3060)
    samples[incident] += 40.0
    judge.align([b'{"series":"%d"}' % i for i in range(4)], samples, MONDAY)
    judge.run(past, samples[: len(past)], 300.0)
    found = judge.run(now, samples[len(past) :], 10.0).score >= 0.5
    assert found[2880:3060].mean() > 0.9
    assert found[3060:].mean() < 0.001


def test_a_variance_that_comes_every_night_is_normal_from_the_fourth_on() -> None:
    found = judged()["nightly"]
    nights = np.array([found[night * DAY + 12 : night * DAY + 36].any(axis=0).mean() for night in NIGHTS])
    assert nights[0] >= 0.8
    assert nights[4:].mean() <= 0.1


def test_one_count_that_chance_does_not_explain_is_found_each_time() -> None:
    found = judged()["spikes"]
    assert found[SPIKES].mean(axis=1).min() >= 0.8
    assert np.delete(found, SPIKES, axis=0).mean() < 0.0002


def test_counts_that_come_in_bursts_are_judged_by_their_own_dispersion() -> None:
    assert judged()["bursts"].mean() < 0.0005


def test_a_job_of_many_counts_is_normal_from_the_fourth_night_on() -> None:
    found = judged()["job"][[night * DAY + 12 for night in NIGHTS]].mean(axis=1)
    assert found[0] >= 0.9
    assert found[4:].mean() <= 0.1


def test_state_of_a_version_that_did_not_judge_the_variance_is_read() -> None:
    samples, cut = situations()["larger"][: 26 * DAY, :2], 20 * DAY
    old, now = engine(), engine()
    old.align([b"{}", b'{"a":"b"}'], samples, MONDAY)
    run(old, samples[:cut])
    checkpoint = old.checkpoint()
    new = ("texture/noise_", "counts/dispersion", "counts/farthest", "counts/white")
    parts = {name: part.copy() for name, part in checkpoint.parts.items() if not name.startswith(new)}
    assert len(parts) < len(checkpoint.parts)
    assert now.restore(old.at, parts, checkpoint.series)
    score = run(now, samples[cut:], cut).score
    assert np.isfinite(score).all()
    assert (score >= 0.5).mean() < 0.001
