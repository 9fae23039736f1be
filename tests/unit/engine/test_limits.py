"""Limits of numbers and of memory: what no ordinary series meets, and what only the speed depends on."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine import series, state
from exporter.engine.absence import Habit, lasting
from exporter.engine.baseline import BUCKET_BYTES, Baseline, BucketStats
from exporter.engine.buckets import BUCKETS
from exporter.engine.detectors import BLOCK, DetectorState, SampleBatch, stl
from exporter.engine.detectors.base import interval_result
from exporter.engine.detectors.novelty.histogram import BINS, Histogram, histogram_columns
from exporter.engine.overrides import NeverZero
from exporter.engine.scale import Scale

ROWS = slice(0, 1)
KIB = 1024


@pytest.fixture
def unit_scale() -> Scale:
    """Return a scale with origin 0 and unit 1."""
    new = Scale()
    new.grow(1)
    new.update(ROWS, np.array([[0.0], [1.0]]))
    return new


@pytest.mark.parametrize(("source", "baseline"), [(1e17, 1e17), (1e19, 1e18), (-1e300, -1e18)])
def test_baseline_values_end_where_their_squares_fit_into_float32(source, baseline, unit_scale: Scale) -> None:
    assert unit_scale.inward(ROWS, np.array([source])) == baseline
    assert np.isfinite(np.float32(1e18) ** 2)


def test_the_twelfth_digit_is_rounding(unit_scale: Scale) -> None:
    assert unit_scale.resolution(ROWS, np.array([5.0])) == pytest.approx(5e-12)


@pytest.mark.parametrize(("deviation", "severity"), [(1e5, 1e5), (1e9, 1e6), (np.inf, 1e6)])
def test_severities_end_at_a_million(deviation: float, severity: float) -> None:
    zero, one = np.zeros(1), np.ones(1)
    batch = SampleBatch(zero, 0, 0, np.array([[deviation]]), one[None] > 0, BucketStats(*[zero] * 5), 1e-9 * one)
    assert interval_result(batch, zero, -one, one).above == severity


def filled(counts: dict[int, int]) -> Histogram:
    """Return a histogram of one signal with so many samples in each bin."""
    columns = {name: np.zeros((*column.shape, 1), column.dtype) for name, column in histogram_columns(1).items()}
    columns["past.scale"][...] = 1.0
    new = Histogram(columns)
    for bin_, count in counts.items():
        new.count(np.full((count, 1, 1), bin_))
    return new


@pytest.mark.parametrize(("samples", "left"), [(5900, 5900), (6100, 3050)])
def test_counts_are_halved_after_six_thousand_samples(samples: int, left: int) -> None:
    histogram = filled({5: samples})
    histogram.halve_when_full()
    assert histogram.counts().sum() == left


def test_what_is_rare_is_forgotten_after_three_halvings_more() -> None:
    histogram = filled({3: 1, 5: 6100})
    for count in (0.5, 0.25, 0.125):
        histogram.halve_when_full()
        assert histogram.counts()[0, 3] == count
        histogram.count(np.full((3200, 1, 1), 5))


@pytest.mark.parametrize(
    ("counts", "start", "lowest"),
    [
        ({10: 100}, 15.0, 0),
        ({1: 30, 10: 100}, 15.0, -10),  # More than a fifth of all are too small to tell apart,
        ({1: 20, 10: 100}, 15.0, 0),
        ({BINS - 1: 30, 10: 100}, 15.0, 10),  # or too large.
        ({BINS - 1: 20, 10: 100}, 15.0, 0),
        ({10: 100}, 29.0, 0),
        ({10: 100}, 31.0, 11),  # The tail begins in the last quarter.
    ],
)
def test_the_bins_move_where_the_values_are(counts: dict[int, int], start: float, lowest: int) -> None:
    histogram = filled(counts)
    histogram.recentre(np.full((1, 1), start))
    assert histogram._lowest[0, 0] == lowest


def test_the_bins_move_no_farther_than_floats_go() -> None:
    histogram = filled({BINS - 1: 100})
    for _ in range(40):
        histogram.recentre(np.full((1, 1), 15.0))
        histogram._counts[...] = np.roll(histogram._counts, BINS // 4, axis=1)
    assert histogram._lowest[0, 0] == 180


def test_the_temporaries_of_a_chunk_fit_into_the_cache() -> None:
    """A block of a chunk in float64 is 768 KiB, of a cache of 1 MiB; smaller chunks cost more in calls."""
    assert 512 * KIB < state.CHUNK * BLOCK * 8 <= 1024 * KIB


def test_the_products_of_a_tile_fit_into_the_cache() -> None:
    """Three weighted sums over the hours of the window, in float64."""
    assert 512 * KIB < 3 * stl.TILE * stl.WINDOW * 8 <= 1024 * KIB


def test_spellings_of_label_sets_do_not_fill_the_memory() -> None:
    table = series.SeriesTable(10)
    for spaces in range(5000):
        table.find([b'{"a":' + b" " * spaces + b'"1"}'])
        assert len(table._row_of_key) <= 4 + 1024 + 1
    assert len(table) == 1


def test_a_row_has_193_buckets_of_twenty_bytes() -> None:
    """Memory is calculated from these numbers, not measured."""
    baseline = Baseline(30 * 86400.0)
    baseline.grow(10)
    assert BUCKETS == 7 * 24 + 24 + 1
    assert baseline.nbytes == 10 * BUCKETS * BUCKET_BYTES


@pytest.mark.parametrize(("step", "seconds"), [(15.0, 300.0), (60.0, 300.0), (300.0, 900.0)])
def test_what_is_missing_lasts_for_five_minutes_and_three_instants(step: float, seconds: float) -> None:
    assert lasting(step) == seconds


def test_a_habit_is_half_forgotten_after_two_weeks() -> None:
    habit = Habit("any")
    habit.grow(1)
    habit.arrays()["any/times"][...] = 4.0
    assert habit.regular(ROWS).tolist() == [False]
    habit.fade(ROWS, 14 * 86400.0)
    assert habit.arrays()["any/times"].tolist() == [2.0]
    assert habit.regular(ROWS).tolist() == [True]


@pytest.mark.parametrize(("mean", "anomalous"), [(2.9, False), (3.1, True)])
def test_a_zero_is_three_deviations_off_where_other_hours_have_zeros(mean: float, anomalous: bool) -> None:
    zeros, zero, one, learn = NeverZero(), np.zeros(1), np.ones(1), np.ones(1, np.bool_)
    zeros.grow(1)
    for hour, stats in ((5, BucketStats(*[one] * 5, ~learn)), *[(10, BucketStats(mean * one, *[one] * 4, learn))] * 3):
        severity = zeros.update(ROWS, hour, zero, learn, stats, zero, step=900.0, after=86400.0)
    assert (severity > 0.0).tolist() == [anomalous]


def test_stl_knows_hours_to_the_rounding_of_float32() -> None:
    detector, one = DetectorState(stl.Stl()), np.ones(1)
    detector.grow(1)
    sample = np.full((1, 1), 1e6)
    for hour in range(4 * 24):
        batch = SampleBatch(3600.0 * hour * one, 0, hour, sample, sample > 0, BucketStats(*[one] * 5), 1e-9 * one)
        result = detector.score(batch, ROWS)
    assert result.upper - result.expected == pytest.approx(1e6 * 2.0**-22, rel=1e-3)
