from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.columns import Columns
from exporter.engine.detectors.novelty.gaps import GAPS, Gaps, gap_columns
from exporter.engine.detectors.novelty.histogram import BINS, Histogram, histogram_columns
from exporter.engine.detectors.novelty.recent import relative_entropy
from exporter.engine.detectors.novelty.surprise import GATE
from exporter.engine.detectors.novelty.tail import fit_tail
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.ordered import add_up, median, rolling_sum, suffix_sums
from exporter.engine.settings import BaselineSettings, DetectionSettings


@pytest.mark.parametrize("reduce", [add_up, suffix_sums, median, lambda rows: rolling_sum(rows, 12)])
def test_a_series_alone_has_the_bits_that_it_has_among_many(reduce) -> None:
    rows = np.random.default_rng(1).standard_normal((37, 200)).astype(np.float32)
    assert np.array_equal(reduce(rows)[..., :1], reduce(rows[:, :1].copy()))


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_median_of_few_rows_is_the_same_among_many_series(count: int, dtype: type) -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((count, 600)).astype(dtype)
    rows[rng.random(rows.shape) < 0.3] = np.nan
    alone = np.concatenate([median(column[:, None]) for column in rows.T])
    assert np.array_equal(median(rows), alone, equal_nan=True)
    assert median(rows).dtype == alone.dtype


def distances(known: list[float], asked: list[float]) -> list[float]:
    columns = Columns(gap_columns(1))
    columns.grow(1)
    gaps = Gaps(columns.views(slice(0, 1)))
    for value in known:
        gaps.learn(np.array([[[value]]], np.float32), np.array([[[True]]]))
    values = np.array(asked, np.float32)[None, :, None]
    return gaps.distance(values, np.zeros(values.shape[1:], np.float32), np.zeros_like(values)).ravel().tolist()


def test_the_distance_is_that_to_the_nearest_known_value() -> None:
    assert distances([0, 10, 20], [0, 4, 13, 25, -3]) == [0, 4, 3, 5, 3]


def test_nothing_is_near_while_nothing_is_known() -> None:
    assert distances([], [1.0]) == [np.inf]


def test_series_learn_a_block_together_as_each_value_by_itself() -> None:
    rng, columns = np.random.default_rng(3), Columns(gap_columns(2))
    columns.grow(80)
    together, alone = columns.arrays(), {name: array.copy() for name, array in columns.arrays().items()}
    for block in range(6):
        # Whole numbers repeat, and gaps are equally narrow.
        values = np.rint(rng.standard_normal((12, 2, 80)) * 40.0 / (1 + block)).astype(np.float32)
        novel = rng.random(values.shape) < rng.random(80)
        Gaps(together).learn(values, novel)
        for series in range(80):
            one = {name: array[..., series : series + 1] for name, array in alone.items()}
            for value, new in zip(values[..., series], novel[..., series], strict=True):
                Gaps(one).learn(value[None, :, None], new[None, :, None])
    for name, array in together.items():
        assert np.array_equal(array, alone[name])


def test_tails_that_begin_elsewhere_are_fitted_together_as_each_by_itself() -> None:
    rng = np.random.default_rng(4)
    counts = np.zeros((2, BINS, 100), np.float32)
    for series in range(99):  # The last one has seen nothing, and others only zeros.
        bins = np.clip(rng.normal(series / 3.0, 2.0, 500), 0, BINS - 1).astype(int)
        counts[:, :, series] = np.bincount(bins, minlength=BINS)
    fit = fit_tail(counts, GATE)
    for series in range(100):
        one = fit_tail(counts[..., series : series + 1].copy(), GATE)
        for name in ("gate", "start", "at_gate", "at_start", "shape", "scale"):
            assert np.array_equal(getattr(fit, name)[:, series], getattr(one, name)[:, 0]), name


def test_far_values_stay_known_where_more_come_than_there_are_gaps() -> None:
    dense = np.random.default_rng(2).uniform(0, 1, 50 * GAPS).tolist()
    near, far, between = distances([1000, *dense], [0.5, 1000, 400])
    assert near < 0.1
    assert far == 0
    assert between == pytest.approx(399, abs=0.1)


@pytest.mark.parametrize("shape", [0.05, 0.3, 0.6])
def test_the_tail_of_a_generalised_pareto_is_found(shape: float) -> None:
    uniform = np.random.default_rng(3).uniform(size=200_000)
    values = (uniform**-shape - 1) / shape
    bins = np.clip(np.floor(2 * np.log2(values)) + 21, 1, BINS - 1).astype(int)
    counts = np.bincount(bins, minlength=BINS).astype(np.float32)[None, :, None]
    fit = fit_tail(counts, GATE)
    start = 2.0 ** ((fit.start[0, 0] - 21) / 2)
    assert start == pytest.approx((0.1**-shape - 1) / shape, rel=0.05)
    assert fit.shape[0, 0] == pytest.approx(shape, abs=0.1)
    assert fit.at_start[0, 0] == pytest.approx(1.0 - GATE)


def test_bins_do_not_depend_on_the_unit_of_the_signal() -> None:
    signals = np.random.default_rng(4).exponential(size=(1, 500, 1)).astype(np.float32)
    usable = np.ones((500, 1), np.bool_)
    bins = []
    for factor in (1.0, 1e-6, 3e7):
        columns = Columns(histogram_columns(1))
        columns.grow(1)
        bins.append(Histogram(columns.views(slice(0, 1))).bins_of(signals * np.float32(factor), usable))
    assert np.mean(bins[0] != bins[1]) < 0.01
    assert np.mean(bins[0] != bins[2]) < 0.01


def test_relative_entropy_is_the_same_in_the_mirror() -> None:
    rng = np.random.default_rng(5)
    past, now = np.sort(rng.standard_normal((83, 4)), axis=0), rng.standard_normal((48, 4)) + 1.0
    known = np.full(4, 83)
    straight, mirrored = relative_entropy(now, past, known), relative_entropy(-now, -past[::-1], known)
    np.testing.assert_allclose(straight, mirrored, rtol=1e-9)
    assert (straight > 0.2).all()


@pytest.mark.parametrize(("more", "entropy"), [(6, 0.0), (7, 0.0125)])
def test_a_relative_entropy_of_a_hundredth_is_rounding(more: int, entropy: float) -> None:
    """Of 200 samples, 20 in each tenth of the past, some in another tenth."""
    counts = np.full(10, 20)
    counts[[2, 7]] += [more, -more]
    now = np.repeat(10.0 * np.arange(10) + 5.0, counts)[:, None]
    found = relative_entropy(now, np.arange(100.0)[:, None], np.full(1, 100))
    assert found == pytest.approx(entropy, rel=0.03)


def anomalous_readings(readings: list[float], each: int) -> list[int]:
    """Return which readings have an anomalous sample; each of them is held for so many samples of five minutes."""
    samples = np.repeat(readings, each)[:, None]
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    times = 1_760_313_600.0 + 300.0 * np.arange(len(samples))
    verdicts = engine.run(times, engine.align([b'{"a":"1"}'], samples, times[0]).samples, 300.0)
    return np.flatnonzero((verdicts.score[:, 0] >= 0.5).reshape(-1, each).any(axis=1)).tolist()


def test_of_values_that_hold_only_a_new_extreme_is_news() -> None:
    readings = [100.0, 100.4, 94.2, 85.8, 87.4, 93.8, 98.0, 88.7, 99.1, 92.3, 150.0, 96.0, 120.0]
    news = anomalous_readings(readings, 288)
    assert {3, 10} <= set(news) <= {1, 2, 3, 10}
