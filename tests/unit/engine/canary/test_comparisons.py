"""Comparisons of sides: what is compared with what, what is silent, and what a difference looks like."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from exporter.engine.canary.comparisons import CanaryVerdict, Comparisons
from exporter.engine.canary.settings import ComparisonSettings
from exporter.engine.canary.sides import compare_sides, spread_of_sides

NONE = np.zeros(0, np.intp)


class Fleet:
    """Comparisons of the same two sides, a baseline of some series and a candidate of some."""

    def __init__(self, comparisons: int, baseline: int, candidate: int, **settings: Any) -> None:
        settings = {"direction": "both", **settings}
        self.comparisons = Comparisons(ComparisonSettings(**settings))
        self.comparisons.admit([json.dumps({"n": str(n)}).encode() for n in range(comparisons)], 0.0)
        self.size = baseline + candidate
        self.place = np.repeat(np.arange(comparisons), self.size)
        self.side = np.tile(np.repeat([0, 1], [baseline, candidate]), comparisons)
        self.slot = 0
        self.verdict: CanaryVerdict | None = None

    def step(self, values: np.ndarray) -> CanaryVerdict:
        self.slot += 1
        self.verdict = self.comparisons.step(60.0 * self.slot, values.ravel(), self.place, self.side, 60.0, NONE)
        return self.verdict

    def run(self, values: np.ndarray) -> np.ndarray:
        """Take `values`, (slots, comparisons, series); return which comparisons were ever different."""
        different = np.zeros(values.shape[1], np.bool_)
        for slot in values:
            different |= self.step(slot).different
        return different


def latency(rng: np.random.Generator, slots: int, comparisons: int, series: int) -> np.ndarray:
    """A common load, and noise of each series."""
    load = np.exp(0.3 * np.sin(np.arange(slots) / 20.0))[:, None, None]
    return 100.0 * load * np.exp(0.05 * rng.standard_normal((slots, comparisons, series)))


def test_the_two_sides_of_a_slot() -> None:
    place, side = np.array([0, 0, 0, 0, 0, -1, 1]), np.array([0, 0, 0, 0, 1, 0, 0])
    values = np.array([1.0, 2.0, 3.0, 6.0, 5.0, 99.0, 7.0])
    sides = compare_sides(values, place, side, 2, None)
    np.testing.assert_array_equal(sides.count, [[4, 1], [1, 0]])
    np.testing.assert_array_equal(sides.value, [[3.0, 7.0], [5.0, np.nan]])
    # The one candidate with each series of the baseline.
    np.testing.assert_array_equal(sides.pairs[:, 0], [4.0, 3.0, 2.0, -1.0, *[np.nan] * 4])
    assert np.isnan(sides.pairs[:, 1]).all()
    assert compare_sides(values, place, side, 2, 0.5).value[0, 0] == 2.5


def test_sides_of_one_size_are_one_pair() -> None:
    sides = compare_sides(np.array([1.0, 3.0, 6.0, 8.0]), np.zeros(4, np.intp), np.array([0, 0, 1, 1]), 1, None)
    np.testing.assert_array_equal(sides.pairs[:, 0], [5.0, *[np.nan] * 7])


def test_the_spread_of_few_series_is_unknown() -> None:
    place, side = np.zeros(5, np.intp), np.array([0, 0, 0, 1, 1])
    level = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    error = np.sqrt((2.0 + 2.0) / 3.0 * (1 / 3 + 1 / 2))
    np.testing.assert_allclose(spread_of_sides(level, place, side, 1), [3.0 * error])
    level[1:3] = np.nan
    assert spread_of_sides(level, place, side, 1)[0] == 0.0


def test_sides_that_move_together_are_silent_whatever_their_sizes() -> None:
    rng = np.random.default_rng(1)
    for baseline, candidate in ((1, 1), (12, 1), (2, 9)):
        fleet = Fleet(60, baseline, candidate, min_relative_deviation=0.0, alpha=0.01)
        values = latency(rng, 120, 60, baseline + candidate)
        values[60:] *= 1.5
        assert not fleet.run(values).any()


def test_skewed_values_of_sides_of_other_sizes_are_silent() -> None:
    # The mean of many is above that of few most of the time: the comparison must not fall for it.
    values = np.random.default_rng(2).lognormal(0.0, 1.5, (200, 60, 13))
    assert not Fleet(60, 12, 1, min_relative_deviation=0.0, alpha=0.01).run(values).any()


def test_series_that_always_differ_are_no_difference_of_the_sides() -> None:
    rng = np.random.default_rng(3)
    values = latency(rng, 150, 60, 14) * np.exp(0.05 * rng.standard_normal((1, 60, 14)))
    assert not Fleet(60, 12, 2, min_relative_deviation=0.0, alpha=0.01).run(values).any()


def test_a_candidate_that_is_worse_is_found_and_the_words_are_right() -> None:
    rng = np.random.default_rng(4)
    values = latency(rng, 90, 40, 12)
    values[20:, :, 10:] *= 1.5
    fleet = Fleet(40, 10, 2)
    assert fleet.run(values).mean() >= 0.95
    verdict = fleet.verdict
    assert verdict is not None
    chosen = verdict.different
    assert (verdict.sign[chosen] == 1.0).all()
    np.testing.assert_allclose(verdict.candidate[chosen] / verdict.baseline[chosen], 1.5, rtol=0.1)
    assert (verdict.p_value[chosen] <= 0.001).all()
    # It began after twenty slots of a minute, give or take what noise makes of it.
    assert abs(np.median(verdict.since[chosen]) - 21 * 60.0) <= 300.0


def test_the_smallest_difference_that_counts() -> None:
    rng = np.random.default_rng(5)
    values = latency(rng, 100, 30, 20)
    values[:, :, 10:] *= 1.04
    assert not Fleet(30, 10, 10).run(values).any()
    assert not Fleet(30, 10, 10, min_deviation=30.0, min_relative_deviation=0.0).run(values * 1.2).any()
    values[:, :, 10:] *= 1.15
    assert Fleet(30, 10, 10).run(values).mean() > 0.9


def test_a_direction_that_does_not_count_is_silent() -> None:
    values = latency(np.random.default_rng(6), 80, 20, 10)
    values[:, :, 5:] *= 0.5
    assert not Fleet(20, 5, 5, direction="above").run(values).any()
    assert Fleet(20, 5, 5, direction="below").run(values).all()


def test_a_difference_that_is_over_ends_and_another_is_found() -> None:
    values = latency(np.random.default_rng(7), 400, 10, 10)
    values[:100, :, 5:] *= 1.5
    values[250:, :, 5:] *= 1.6
    fleet = Fleet(10, 5, 5)
    shares = [fleet.step(slot).different.mean() for slot in values]
    assert shares[99] == 1.0
    assert shares[140] == 0.0
    assert max(shares[140:250]) == 0.0
    assert shares[-1] == 1.0


def test_a_side_without_series_is_not_compared() -> None:
    values = latency(np.random.default_rng(8), 60, 1, 4)
    fleet = Fleet(1, 3, 1)
    fleet.run(values)
    values[0, 0, 3] = np.nan
    verdict = fleet.step(values[0])
    assert not verdict.compared[0]
    assert np.isnan(verdict.score[0])
    assert fleet.comparisons.expire(60.0 * 60 + 3700.0).tolist() == [0]


def test_state_goes_on_after_a_restart() -> None:
    values = latency(np.random.default_rng(9), 80, 5, 6)
    values[40:, :, 3:] *= 1.5
    fleet, again = Fleet(5, 3, 3), Fleet(5, 3, 3)
    for slot in values[:60]:
        fleet.step(slot)
    series = [(row, json.dumps(dict(labels)).encode()) for row, labels in fleet.comparisons.table.items()]
    stored = {name: array.copy() for name, array in fleet.comparisons.arrays().items()}
    again.comparisons = Comparisons(fleet.comparisons.settings)
    assert again.comparisons.restore(fleet.comparisons.at, stored, series)
    again.slot = fleet.slot
    for slot in values[60:]:
        same, other = fleet.step(slot), again.step(slot)
    # Levels of single series are learned anew; what the test has seen is not.
    np.testing.assert_allclose(np.log(other.p_value), np.log(same.p_value), rtol=0.25)
    assert not Comparisons(fleet.comparisons.settings).restore(0.0, {}, series)
