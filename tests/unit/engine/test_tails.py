"""The three whole-array fits of generalised Pareto tails, with scipy's distribution as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from exporter.engine.calibration import GRID, ParetoTail
from exporter.engine.detectors.novelty.histogram import BINS
from exporter.engine.detectors.novelty.surprise import GATE
from exporter.engine.detectors.novelty.tail import TAIL, fit_tail
from exporter.engine.multivariate.tail import BINS as LENGTHS
from exporter.engine.multivariate.tail import counted_by_row, exceeded

LEVELS = GRID.astype(np.float64)


def sample(shape: float, size: int, scale: float = 1.0) -> np.ndarray:
    return genpareto.rvs(shape, scale=scale, size=size, random_state=1)


@pytest.mark.parametrize("size", [50, 500, 20_000])
@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.1, 0.3, 0.5, 0.6])
def test_the_fit_to_a_curve_of_counts_is_the_one_to_all_samples(shape: float, size: int) -> None:
    excess = sample(shape, size, scale=0.5)
    counts = size - np.searchsorted(np.sort(LEVELS[0] + excess), LEVELS).astype(float)
    tail = ParetoTail.fit(LEVELS, counts)
    best_shape, _, best_scale = genpareto.fit(excess, floc=0)
    assert tail.shape == pytest.approx(best_shape, abs=0.01)
    for rarity in (4.0, 20.0, 2000.0):
        level = LEVELS[0] + genpareto.isf(1.0 / rarity, best_shape, scale=best_scale)
        assert tail.level(size / rarity) == pytest.approx(level, rel=0.03)
        assert tail.count(level) == pytest.approx(size / rarity, rel=0.1)


def test_a_heavy_tail_is_not_cut_short() -> None:
    # Moments, with the shape held below 0.45, gave 31.
    survival = genpareto.sf(LEVELS - LEVELS[0], 0.5, scale=0.5)
    tail = ParetoTail.fit(LEVELS, 20_000.0 * survival)
    assert tail.level(20_000.0 / 1500.0) == pytest.approx(LEVELS[0] + genpareto.isf(1 / 1500, 0.5, scale=0.5), rel=0.01)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.5])
def test_the_standard_error_is_the_spread_of_fits(shape: float) -> None:
    rng, size, level = np.random.default_rng(2), 200, LEVELS[0] + genpareto.isf(0.05, shape, scale=0.3)
    logs, errors = [], []
    for _ in range(200):
        severities = np.sort(LEVELS[0] + genpareto.rvs(shape, scale=0.3, size=size, random_state=rng))
        tail = ParetoTail.fit(LEVELS, size - np.searchsorted(severities, LEVELS).astype(float))
        logs.append(np.log(tail.count(level) / size))
        errors.append(tail.error(level) ** 2 - 1.0 / size)  # Without that of the number of peaks.
    assert np.std(logs) == pytest.approx(np.sqrt(np.mean(errors)), rel=0.2)


@pytest.mark.parametrize("shape", [0.0, 0.2, 0.3, 0.4, 0.5, 0.6])
def test_the_tail_of_half_octaves_gives_the_probabilities_of_the_distribution(shape: float) -> None:
    bins = np.clip(np.floor(2.0 * np.log2(sample(shape, 200_000))) + 21.0, 1, BINS - 1).astype(int)
    tail = fit_tail(np.bincount(bins, minlength=BINS).astype(np.float32)[None, :, None], GATE)
    start, unit = 2.0 ** ((tail.start[0, 0] - 21.0) / 2.0), 2.0 ** (-21.0 / 2.0)
    for chance in (1e-2, 1e-3):
        beyond = genpareto.isf(chance, shape) - start
        fitted = TAIL * genpareto.sf(beyond, tail.shape[0, 0], scale=tail.scale[0, 0] * unit)
        assert np.log10(fitted) == pytest.approx(np.log10(chance), rel=0.13)


def counted(values: np.ndarray) -> np.ndarray:
    """Return the counts of some lengths, shape (1, LENGTHS)."""
    counts = np.zeros((1, LENGTHS), np.float32)
    for value in values:
        counted_by_row(np.array([value]), counts)
    return counts


@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_the_limit_of_a_group_is_that_of_the_distribution(shape: float) -> None:
    counts = counted(4.0 * sample(shape, 20_000))
    for chance in (1e-2, 1e-3):
        assert exceeded(counts, 1e9, chance)[0] == pytest.approx(4.0 * genpareto.isf(chance, shape), rel=0.15)


@pytest.mark.parametrize("shape", [-0.3, -0.1])
def test_a_tail_with_an_end_is_taken_as_exponential(shape: float) -> None:
    # Cautious: nothing is called rarer than it is.
    counts = counted(4.0 * sample(shape, 20_000))
    for chance in (1e-2, 1e-3):
        assert exceeded(counts, 1e9, chance)[0] > 4.0 * genpareto.isf(chance, shape)
