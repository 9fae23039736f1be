"""Which metrics of an entity go with a load: hundreds of entities of three noisy metrics, up together or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.members import MemberLoad, MemberLoads

THINGS, BEFORE, DURING, AFTER = 200, 20, 30, 10


def matrix(z: np.ndarray, growth: np.ndarray, noise: np.ndarray, anomalous: np.ndarray) -> GroupMatrix:
    return GroupMatrix(z, growth, noise, np.exp(growth), np.ones(z.shape), np.zeros(z.shape), anomalous)


def run(factors: Sequence[float], noise: float = 0.12) -> list[MemberLoad]:
    """Judge entities whose metrics are usual, then up by these factors, then usual again."""
    rng, members = np.random.default_rng(4), MemberLoads(len(factors))
    judged = []
    for step in range(BEFORE + DURING + AFTER):
        level = np.array(factors) if BEFORE <= step < BEFORE + DURING else np.ones(len(factors))
        value = level * np.maximum(1.0 + noise * rng.standard_normal((THINGS, len(factors))), 0.05)
        z = (value - 1.0) / noise
        judged.append(members.step(matrix(z, np.log(value), np.full(z.shape, noise), np.abs(z) > 3.2)))
    return judged


def held(judged: Sequence[MemberLoad]) -> np.ndarray:
    """Return how often each metric is held or may be, shape (t, p)."""
    return np.array([(load.held | load.suspected).mean(axis=0) for load in judged])


@pytest.mark.parametrize("noise", [0.05, 0.12])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_all_metrics_up_together_are_held_from_the_first_sample_on_and_not_for_long_after(factor, noise) -> None:
    judged = run([factor] * 3, noise)
    assert not any(load.named.any() for load in judged[:BEFORE])
    during = judged[BEFORE : BEFORE + DURING]
    assert held(during)[0].min() > 0.9
    assert held(during[3:]).min() > 0.99
    assert np.mean([load.failing for load in during[3:]]) < 0.001
    assert np.nanmedian([load.factor for load in during[3:]]) == pytest.approx(factor, rel=0.05)
    assert all(load.named.mean() > 0.99 for load in during[6:])
    assert np.mean([load.named for load in judged[-6:]]) < 0.005


@pytest.mark.parametrize("noise", [0.05, 0.12])
@pytest.mark.parametrize("failing", [6.0, 0.3])
def test_a_metric_that_fails_under_load_is_not_held_and_the_others_are(failing: float, noise: float) -> None:
    during = run([2.0, failing, 2.0], noise)[BEFORE + 3 : BEFORE + DURING]
    assert held(during)[:, [0, 2]].min() > 0.99
    assert np.mean([load.held[:, 1] for load in during]) < 0.002
    # A suspicion is over in the next slot.
    assert held(during)[:, 1].mean() < 0.05
    assert np.mean([load.failing for load in during], axis=(0, 1)).tolist() == pytest.approx([0.0, 1.0, 0.0], abs=0.01)


@pytest.mark.parametrize("factors", [[1.0, 1.5, 1.0], [1.5, 1.5, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5]], ids=str)
def test_what_is_no_load_holds_nothing(factors: list[float]) -> None:
    during = run(factors)[BEFORE + 3 : BEFORE + DURING]
    assert np.mean([load.held for load in during]) < 0.02


def test_a_metric_that_is_just_as_usual_says_that_it_is_no_load() -> None:
    assert np.mean([load.held for load in run([1.5, 1.5, 1.0], 0.05)[BEFORE + 3 : BEFORE + DURING]]) < 0.02


def test_one_sample_beside_the_load_ends_nothing_two_do() -> None:
    members, noise = MemberLoads(3), np.full((1, 3), 0.05)

    def step(*factors: float) -> list[bool]:
        growth = np.log([factors])
        now = matrix((np.exp(growth) - 1.0) / 0.05, growth, noise, np.ones((1, 3), np.bool_))
        return members.step(now).held[0].tolist()

    for _ in range(6):
        step(2.0, 2.0, 2.0)
    assert step(2.0, 2.0, 3.2) == [True, True, True]
    assert step(2.0, 2.0, 3.2) == [True, True, False]


def test_zero_of_what_is_expected_to_be_zero_does_not_speak_against_a_load() -> None:
    members = MemberLoads(3)
    growth = np.array([[np.log(2.0), np.log(2.0), 0.0]])
    z = np.array([[20.0, 20.0, 0.0]])
    for _ in range(4):
        load = members.step(matrix(z, growth, np.full((1, 3), 0.05), z > 3.0))
    assert load.held[0].tolist() == [True, True, False]
