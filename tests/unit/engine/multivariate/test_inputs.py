"""Verdicts of the member queries, joined by thing; the common factor of a load; the rarity of a length."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.multivariate import GroupInput, GroupMatrix, input_of, join
from exporter.engine.multivariate.load import load_of
from exporter.engine.multivariate.tail import BINS, counted, surprise
from exporter.engine.multivariate.whitened import whitening
from exporter.engine.verdict import Verdict, Verdicts

NAN = float("nan")


def verdict(observed: list[float], expected: list[float], z: list[float], score: list[float]) -> Verdict:
    verdicts = Verdicts(np.array([60.0]), np.array([observed]), 1)
    verdicts.score[0], verdicts.expected[0], verdicts.z[0] = score, expected, z
    return verdicts[0]


def test_a_reading_is_unknown_where_nothing_was_said() -> None:
    reading = input_of(verdict([1.0, NAN, 2.0], [1.0, 1.0, 1.0], [0.0, NAN, 5.0], [0.1, NAN, NAN]))
    np.testing.assert_array_equal(np.isnan(reading.z), [False, True, True])


def test_deviations_that_never_count_count_as_noise() -> None:
    said = verdict([1.001, 2.0], [1.0, 1.0], [1e6, 1e6], [0.1, 0.9])
    assert input_of(said, min_deviation=0.1).z.tolist() == [3.0, 1e6]
    assert input_of(said, min_relative_deviation=0.1).z.tolist() == [3.0, 1e6]


@pytest.mark.parametrize(
    ("observed", "expected", "growth"),
    [(3.0, 2.0, np.log(1.5)), (0.0, 0.0, 0.0), (1.0, 0.0, np.inf), (0.0, 1.0, np.inf), (-1.0, -2.0, np.inf)],
    ids=["ratio", "both zero", "from zero", "to zero", "negative"],
)
def test_growth(observed: float, expected: float, growth: float) -> None:
    assert input_of(verdict([observed], [expected], [5.0], [0.9])).growth[0] == pytest.approx(growth)


def reading(at: float, z: list[float]) -> GroupInput:
    return GroupInput(at, np.array(z), np.array(z), np.abs(np.array(z)), np.array(z) < 1.5)


def test_of_several_series_of_a_thing_the_farthest_from_its_mean_speaks() -> None:
    places = [np.array([0, 0, 1, -1]), np.array([1, 0])]
    joined = join([reading(60.0, [1.0, -4.0, 2.0, 9.0]), reading(60.0, [3.0, NAN])], places, 2, since=0.0)
    np.testing.assert_array_equal(joined.z, [[-4.0, NAN], [2.0, 3.0]])
    np.testing.assert_array_equal(joined.noise, [[4.0, NAN], [2.0, 3.0]])
    np.testing.assert_array_equal(joined.anomalous, [[True, False], [False, False]])


def test_what_is_old_or_was_never_read_is_missing() -> None:
    place = np.array([0])
    joined = join([reading(60.0, [1.0]), reading(30.0, [1.0]), None], [place, place, place], 1, since=45.0)
    np.testing.assert_array_equal(joined.z, [[1.0, NAN, NAN]])


@pytest.mark.parametrize(
    ("z", "growth", "factor"),
    [
        ([5.0, 5.0, 5.0], [1.5, 1.5, 1.5], 1.5),
        ([5.0, 5.0, 5.0], [1.45, 1.5, 1.55], 1.5),
        ([5.0, 5.0, NAN], [1.5, 1.5, NAN], 1.5),
        ([5.0, 5.0, 0.0], [1.5, 1.5, 1.0], 1.5),
        ([5.0, 5.0, 0.2], [1.5, 1.5, 1.0], NAN),
        ([5.0, 5.0, 9.0], [1.5, 1.5, 3.0], NAN),
        ([-5.0, -5.0, -5.0], [0.7, 0.7, 0.7], NAN),
        ([0.5, 0.6, 2.5], [1.03, 1.03, 1.03], NAN),
        ([5.0, 5.0, 5.0], [1.5, 1.5, np.inf], NAN),
        ([5.0, NAN, NAN], [1.5, NAN, NAN], NAN),
        ([NAN, NAN, NAN], [NAN, NAN, NAN], NAN),
    ],
    ids=["equal", "about", "missing", "zero", "one stays", "one more", "down", "noise", "no ratio", "one", "none"],
)
def test_load_is_all_metrics_up_by_about_the_same_factor(z: list[float], growth: list[float], factor: float) -> None:
    noise = np.full((1, 3), 0.05)
    found = load_of(GroupMatrix(np.array([z]), np.log(np.array([growth])), noise))
    np.testing.assert_allclose(found.factor, [factor], rtol=0.03)
    assert len(found.rows) == np.isfinite(found.factor).sum()


def test_rarity_follows_the_past_and_goes_on_beyond_it() -> None:
    rng = np.random.default_rng(3)
    counts = counted(rng.exponential(size=200_000))
    assert counts.sum() == 200_000
    assert len(counts) == BINS
    for value in (0.5, 1.0, 3.0, 6.0, 9.0, 20.0):
        assert surprise(np.array([value]), counts)[0] == pytest.approx(value / np.log(10.0), rel=0.12, abs=0.02)


def test_rarity_never_falls_with_the_value() -> None:
    counts = counted(np.random.default_rng(3).pareto(2.0, 500))
    rare = surprise(np.linspace(0.0, 1000.0, 20_000), counts)
    assert (np.diff(rare) >= -1e-12).all()
    assert rare[0] >= 0.0


@pytest.mark.parametrize("values", [[1.0] * 100, [0.0] * 100, [1e9] * 100], ids=["ones", "zeros", "huge"])
def test_a_past_without_variety_gives_a_number(values: list[float]) -> None:
    rare = surprise(np.array([0.0, 1.0, 5.0, 1e9, np.nan]), counted(np.array(values)))
    np.testing.assert_array_equal(np.isfinite(rare), [True, True, True, True, False])


def test_whitened_vectors_have_the_mahalanobis_length() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(4, 3, 3))
    covariance = root @ root.swapaxes(1, 2) + 0.5 * np.eye(3)
    vector = rng.normal(size=(4, 3))
    white = np.einsum("nij,nj->ni", whitening(covariance, None), vector)
    expected = np.einsum("ni,nij,nj->n", vector, np.linalg.inv(covariance), vector)
    np.testing.assert_allclose((white**2).sum(axis=1), expected)


def test_missing_metrics_are_left_out_of_the_length() -> None:
    covariance = np.array([[[2.0, 1.0, 0.5], [1.0, 2.0, 0.5], [0.5, 0.5, 1.0]]])
    white = whitening(covariance, np.array([[True, True, False]]))[0] @ np.array([1.0, -1.0, 0.0])
    kept = np.array([1.0, -1.0]) @ np.linalg.inv(covariance[0, :2, :2]) @ np.array([1.0, -1.0])
    assert (white**2).sum() == pytest.approx(kept)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.ones((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_a_covariance_that_cannot_be_inverted_is_whitened_too(matrix: np.ndarray) -> None:
    assert np.isfinite(whitening(matrix[None], None)).all()


def test_a_component_counts_as_having_a_fiftieth_of_the_mean_variance() -> None:
    white = whitening(np.diag([1.0, 0.001])[None], None)[0]
    assert np.diag(white) == pytest.approx([1.0, 1.0 / np.sqrt(0.02 * 0.5005)])
