"""A line through the hour, where the mean rises or falls within it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.series import key_of
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.slope import SETTLED, Slope, line_through, rise_between

FloatArray = npt.NDArray[np.float64]
START, STEP, DAY = 1_760_313_600.0, 300.0, 288
KEYS = [key_of((("shape", name),)) for name in ("steep", "steps", "noisy")]


def engine() -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def shapes(days: int) -> FloatArray:
    """Return the means of a day five times as high as its night, of two steps a day, and of a day lost in noise."""
    hour = np.arange(days * DAY) / 12.0 % 24.0
    wave = np.cos(2.0 * np.pi * (hour - 14.0) / 24.0)
    return np.stack([100.0 + 67.0 * wave, np.where((hour >= 8.0) & (hour < 20.0), 150.0, 50.0), 100.0 + 10.0 * wave], 1)


def samples(days: int) -> FloatArray:
    return shapes(days) + np.array([2.0, 2.0, 20.0]) * np.random.default_rng(4).standard_normal((days * DAY, 3))


def run(here: Engine, values: FloatArray, first: int = 0) -> FloatArray:
    """Return what is expected, shape (t, 3)."""
    times = START + STEP * np.arange(first, first + len(values), dtype=np.float64)
    return here.run(times, here.align(KEYS, values, times[0]).samples, STEP).expected


def test_the_expected_value_follows_a_steep_day_and_stays_flat_elsewhere() -> None:
    here, days = engine(), 8
    expected, truth = run(here, samples(days))[-DAY:], shapes(days)[-DAY:]
    off = np.abs(expected / truth - 1.0).mean(axis=0)
    assert off[0] < 0.015
    used = here.state.slope.arrays()["slope/used"][:3]
    assert used.tolist() == [True, False, False]
    # Whole hours have one expected value; another bucket, or what was learned at the end of a block, another.
    hours = expected.reshape(24, 12, 3)
    assert (np.ptp(hours[:, :, 1:], axis=1) < 1e-9).all()
    assert np.ptp(hours[:, :, 0], axis=1).max() > 15.0
    # The mean of the hour stays.
    assert np.allclose(hours[:, :, 0].mean(axis=1), truth.reshape(24, 12, 3)[:, :, 0].mean(axis=1), rtol=0.03)


def test_one_sample_after_the_other_is_judged_as_all_of_them_together() -> None:
    days = 6
    values, kept = samples(days), days * DAY - 30
    together, one_by_one = engine(), engine()
    expected = run(together, values)[kept:]
    run(one_by_one, values[:kept])
    single = [run(one_by_one, values[index : index + 1], index)[0] for index in range(kept, days * DAY)]
    assert np.array_equal(expected, single)


def test_the_state_of_an_earlier_version_begins_without() -> None:
    here, other = engine(), engine()
    run(here, samples(6))
    saved = here.checkpoint()
    parts = {name: part for name, part in saved.parts.items() if not name.startswith("slope/")}
    assert other.restore(saved.at, parts, saved.series)
    assert not other.state.slope.arrays()["slope/used"].any()


def test_a_line_is_used_while_it_predicts_clearly_better() -> None:
    slope, rows, noise = Slope(), slice(0, 1), np.ones(1)
    slope.grow(1)
    line = np.linspace(-5.0, 5.0, 12)[:, None]

    def blocks(count: int, distance: FloatArray) -> bool:
        for _ in range(count):
            slope.note(rows, distance, line, noise)
            slope.end_block(rows, STEP)
        return slope.used(rows, line) is not None

    few = int(SETTLED / (12.0 * STEP)) - 1
    assert not blocks(few, line)
    assert blocks(1, line)
    assert blocks(12, 0.0 * line)
    assert not blocks(200, 0.0 * line)


def test_a_few_steep_hours_of_samples_that_are_ten_seconds_apart_decide_nothing() -> None:
    slope, rows = Slope(), slice(0, 1)
    slope.grow(1)
    line = np.linspace(-5.0, 5.0, 12)[:, None]
    for _ in range(3 * 30):
        slope.note(rows, line, line, np.ones(1))
        slope.end_block(rows, 10.0)
    assert slope.used(rows, line) is None


def test_an_incident_says_little_about_the_line() -> None:
    slope, rows = Slope(), slice(0, 1)
    slope.grow(1)
    line = np.full((12, 1), 1.0)
    for distance in [line] * 100 + [line + 1e6] * 3:
        slope.note(rows, distance, line, np.ones(1))
        slope.end_block(rows, STEP)
    assert slope.used(rows, line) is not None


def test_a_line_never_passes_the_means_beside_it_and_is_zero_on_average() -> None:
    before, here, after = (
        np.array([0.0, 0.0, 4.0, np.nan]),
        np.array([1.0, 0.0, 1.0, 1.0]),
        np.array([9.0, 9.0, 0.5, 2.0]),
    )
    rise = rise_between(before, here, after)
    assert rise.tolist() == [2.0, 0.0, -1.0, 0.0]
    line = line_through(START + STEP * np.arange(12), STEP, rise)
    assert line is not None
    assert np.allclose(line.sum(axis=0), 0.0)
    assert line_through(np.array([START]), 1800.0, rise) is None
