"""Who does the damage: by what is their own, not by what they call."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.correlation.ranking import own_damage, ranked, reached

NONE = np.zeros((0, 2), np.intp)


def test_the_damage_of_a_callee_is_not_that_of_its_callers() -> None:
    edges = np.array([(0, 1), (1, 2), (3, 2)])
    assert own_damage(np.array([90.0, 80.0, 75.0, 5.0]), edges).tolist() == [10.0, 5.0, 75.0, -70.0]


def test_a_callee_that_got_better_takes_nothing_away() -> None:
    assert own_damage(np.array([10.0, -4.0]), np.array([(0, 1)])).tolist() == [10.0, -4.0]


def test_components_in_a_circle_keep_their_damage_against_each_other() -> None:
    edges = np.array([(0, 1), (1, 0), (1, 2)])
    assert own_damage(np.array([9.0, 8.0, 3.0]), edges).tolist() == [9.0, 5.0, 3.0]


def test_what_a_component_depends_on_is_what_its_calls_lead_to() -> None:
    assert reached(5, np.array([(0, 1), (1, 2), (4, 1)]), 0).tolist() == [True, True, True, False, False]


def test_candidates_come_before_others_whatever_their_damage() -> None:
    order = ranked(np.array([5.0, 90.0, 7.0]), np.array([True, False, True]))
    assert order.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("work", "first"),
    [
        pytest.param([30.0, 5.0, 1.0], 1, id="a caller that does much else is passed over"),
        pytest.param([5.0, 9.0, 1.0], 1, id="of those that do about as much the largest"),
        pytest.param([np.nan, np.nan, 1.0], 0, id="nothing says how much they do"),
    ],
)
def test_without_dependencies_equal_damage_is_ordered_by_what_is_done_otherwise(work: list[float], first: int) -> None:
    order = ranked(np.array([100.0, 99.0, 20.0]), np.ones(3, np.bool_), np.array(work))
    assert (order[0], order[2]) == (first, 2)


def test_every_component_has_one_place() -> None:
    rng = np.random.default_rng(0)
    for work in (None, rng.exponential(size=50)):
        order = ranked(rng.normal(size=50), rng.random(50) > 0.5, work)
        assert sorted(order.tolist()) == list(range(50))
