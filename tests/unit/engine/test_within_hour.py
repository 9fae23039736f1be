"""What comes at the same minutes of every hour."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdicts

FloatArray = npt.NDArray[np.float64]
START, STEP, HOUR = 1_760_313_600.0, 300.0, 12
SERIES = 3


def engine() -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def series(hours: int, seed: int = 1) -> FloatArray:
    """Return samples of five minutes: noise, with a job at :00, and with another at :15 and :45."""
    rng = np.random.default_rng(seed)
    samples = 100.0 + 3.0 * rng.standard_normal((hours * HOUR, SERIES))
    samples[::HOUR, 1] += 60.0
    samples[3::6, 2] += 40.0
    return samples


def run(here: Engine, samples: FloatArray, first: int = 0) -> Verdicts:
    times = START + STEP * np.arange(first, first + len(samples), dtype=np.float64)
    keys = [b'{"series":"%d"}' % index for index in range(samples.shape[1])]
    return here.run(times, here.align(keys, samples, times[0]).samples, STEP)


def test_a_job_of_every_hour_is_expected_when_it_comes_and_nowhere_else() -> None:
    samples = series(72)
    verdicts = run(engine(), samples)
    last = slice(60 * HOUR, None)
    expected = verdicts.expected[last]
    assert np.abs(expected[::HOUR, 1] - 160.0).max() < 10.0
    assert np.abs(np.delete(expected[:, 1], np.s_[::HOUR]) - 100.0).max() < 10.0
    assert np.abs(expected[3::6, 2] - 140.0).max() < 10.0
    assert np.abs(expected[:, 0] - 100.0).max() < 5.0
    assert (verdicts.score[last] >= 0.5).mean() < 0.01
    assert (verdicts.upper[last][5::HOUR, 1] < 130.0).all()  # The band is that of the noise.


def test_a_job_at_another_minute_is_an_anomaly_and_so_is_one_that_is_away() -> None:
    samples = series(72)
    samples[-HOUR, 1] -= 60.0
    samples[-5, 1] += 60.0
    score = run(engine(), samples).score
    assert score[-HOUR, 1] >= 0.5
    assert score[-5, 1] >= 0.5


def test_an_incident_seen_many_times_a_minute_is_no_job() -> None:
    # At ten seconds each minute has six samples: they are one hour's, whatever their number.
    random = np.random.default_rng(5)
    here = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), cadence=STEP))
    past, now = START + STEP * np.arange(14 * 24 * HOUR), START + 14 * 86400.0 + 10.0 * np.arange(6000)
    samples = 100.0 + 3.0 * random.standard_normal((len(past) + len(now), 4))
    samples[len(past) + 2880 : len(past) + 3060] += 40.0
    here.align([b'{"series":"%d"}' % index for index in range(4)], samples, START)
    here.run(past, samples[: len(past)], STEP)
    assert np.abs(here.run(now, samples[len(past) :], 10.0).expected - 100.0).max() < 5.0


def test_a_job_that_has_ended_is_forgotten() -> None:
    here = engine()
    run(here, series(72))
    rng = np.random.default_rng(3)
    verdicts = run(here, 100.0 + 3.0 * rng.standard_normal((24 * 8 * HOUR, SERIES)), 72 * HOUR)
    assert np.abs(verdicts.expected[-HOUR:] - 100.0).max() < 10.0
    assert (verdicts.score[-24 * HOUR :] >= 0.5).mean() < 0.01


def test_an_outage_and_noise_make_no_pattern() -> None:
    samples = series(60)
    samples[40 * HOUR : 46 * HOUR, 0] = 0.0
    here = engine()
    run(here, samples)
    assert (
        not here.checkpoint()
        .parts["within_pattern/used"][: len(here.checkpoint().parts["within_pattern/row"])][
            here.checkpoint().parts["within_pattern/row"] == 0
        ]
        .any()
    )


def test_after_a_restart_the_pattern_is_there_with_the_same_bits() -> None:
    samples = series(50)
    cut = 40 * HOUR + 5
    whole = run(engine(), samples)
    first, second = engine(), engine()
    run(first, samples[:cut])
    checkpoint = first.checkpoint()
    parts = {name: part.copy() for name, part in checkpoint.parts.items()}
    assert second.restore(first.at, parts, checkpoint.series)
    again = run(second, samples[cut:], cut)
    for name in ("score", "expected", "lower", "upper"):
        assert np.array_equal(getattr(whole, name)[cut:], getattr(again, name), equal_nan=True)
    del parts["within_pattern/row"]
    damaged = engine()
    assert damaged.restore(first.at, parts, checkpoint.series)
    assert np.isfinite(run(damaged, samples[cut:], cut).score).all()


def test_a_row_that_is_given_to_another_series_begins_without() -> None:
    here = engine()
    run(here, series(48))
    before = np.count_nonzero(here.checkpoint().parts["within/slot"] != -1)
    here.expire(START + 1e9)
    assert before >= 2
    run(here, series(24, seed=5), 48 * HOUR)
    rows = here.checkpoint().parts["within_pattern/row"]
    slots = here.checkpoint().parts["within/slot"]
    for slot, row in enumerate(rows.tolist()):
        assert row < 0 or slots[row] == slot
