from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

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
    assert share[24] == pytest.approx(1.0)
    assert share[26:].mean() < 0.05
    assert [found.row for found in one.shifts] == [0]


def test_another_shape_is_learned_anew() -> None:
    """From a daily wave to a flat line with noise: no straight line leads there."""
    samples = seasonal(40, count=1)
    rng = np.random.default_rng(2)
    samples[SHIFT:] = 500.0 + 5.0 * rng.standard_normal(samples[SHIFT:].shape)
    one = engine()
    share = share_anomalous(one, samples)
    assert share[24] == pytest.approx(1.0)
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
