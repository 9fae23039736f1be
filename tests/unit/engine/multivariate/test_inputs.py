"""Verdicts of the member queries, joined by thing; the common factor of a load; the rarity of a length."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.multivariate import GroupInput, GroupMatrix, input_of, join
from exporter.engine.multivariate.covariances import whitening
from exporter.engine.multivariate.load import load_of
from exporter.engine.multivariate.tail import BINS, counted_by_row, exceeded
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
    values = np.array(z)
    size = np.abs(values)
    return GroupInput(at, values, values, size, 2.0 * values, values, 0.0 * values, values < 1.5, size)


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
    growths, none = np.log(np.array([growth])), np.zeros((1, 3))
    found = load_of(GroupMatrix(np.array([z]), growths, noise, none, none, none))
    np.testing.assert_allclose(found, [factor], rtol=0.03)


def lengths(values: np.ndarray) -> np.ndarray:
    """Return the counts of some values, shape (1, BINS)."""
    counts = np.zeros((1, BINS), np.float32)
    for value in values:
        counted_by_row(np.array([value]), counts)
    return counts


def test_a_limit_follows_the_past_and_goes_on_beyond_it() -> None:
    counts = lengths(np.random.default_rng(3).exponential(size=20_000))
    assert counts.sum() == 20_000
    for share in (0.3, 0.1, 0.01, 1e-3, 1e-5):
        assert exceeded(counts, 1e9, share)[0] == pytest.approx(-np.log(share), rel=0.12)


def test_a_limit_is_farther_where_few_values_speak_for_it_and_for_smaller_shares() -> None:
    counts = lengths(np.random.default_rng(3).pareto(2.0, 500))
    limits = [exceeded(counts, 500.0, share)[0] for share in (0.5, 0.1, 0.01, 1e-3, 1e-6)]
    assert (np.diff(limits) > 0.0).all()
    assert exceeded(counts, 50.0, 1e-3)[0] > 1.5 * exceeded(counts, 5000.0, 1e-3)[0]


@pytest.mark.parametrize("values", [[1.0] * 100, [0.0] * 100, [1e9] * 100], ids=["ones", "zeros", "huge"])
def test_a_past_without_variety_gives_a_number(values: list[float]) -> None:
    assert np.isfinite(exceeded(lengths(np.array(values)), 100.0, 1e-3)).all()


def test_unknown_lengths_are_not_counted() -> None:
    assert lengths(np.array([1.0, NAN, 2.0])).sum() == 2.0


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


def test_a_ridge_is_variance_that_every_metric_has() -> None:
    white = whitening(np.diag([1.0, 0.001])[None], None, 0.03)[0]
    assert np.diag(white) == pytest.approx([1.03**-0.5, 0.031**-0.5])
