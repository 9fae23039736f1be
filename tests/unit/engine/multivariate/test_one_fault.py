"""One fault of an entity is one alert from begin to end, whatever the noise of its metrics does meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.multivariate import Group, GroupMatrix, GroupSettings, alerts_under_load

BoolArray = npt.NDArray[np.bool_]

ENTITIES, BEFORE, DURING, AFTER = 40, 84, 40, 30
MINUTE, MONTH = 60.0, 30 * 86400.0


def played(
    factors: Sequence[float], *, noise: float = 0.05, interval: float = MINUTE, uneven: float = 0.0, seed: int = 1
) -> tuple[BoolArray, BoolArray]:
    """Multiply metrics for a while; return which entities would alert, (t, n), and which metrics, (t, n, p), since."""
    rng, metrics = np.random.default_rng(seed), len(factors)
    shape = (ENTITIES, metrics)
    group = Group(GroupSettings(name="g", queries=tuple("abcdefgh"[:metrics])), MONTH)
    group.admit([b'{"pod":"p%d"}' % entity for entity in range(ENTITIES)], 0.0)
    each = np.array(factors) ** (1.0 + uneven * rng.standard_normal(shape))
    # What is expected is never quite right, and for all samples of an hour in the same way.
    off = 1.0 + 0.3 * noise * rng.standard_normal(shape)
    entities, members = [], []
    for step in range(BEFORE + DURING + AFTER):
        level = each if BEFORE <= step < BEFORE + DURING else 1.0
        value = off * level * np.maximum(1.0 + noise * rng.standard_normal(shape), 0.05)
        z, flat = (value - 1.0) / noise, np.ones(shape)
        now = GroupMatrix(z, np.log(value), noise * flat, 100.0 * value, 100.0 * flat, 0.0 * flat, np.abs(z) > 3.5)
        verdict = group.step(step * interval, now, interval)
        load = alerts_under_load(verdict, np.ones(metrics, np.bool_), group_alerts=True)
        entities.append(verdict.anomalous & ~load.replaced)
        members.append(now.anomalous & ~load.held)
    return np.array(entities)[BEFORE:], np.array(members)[BEFORE:]


def begun(anomalous: BoolArray, waits: int) -> npt.NDArray[np.intp]:
    """Return how many alerts begin that wait for so many slots."""
    alerts, run = np.zeros(anomalous.shape[1:], np.intp), np.zeros(anomalous.shape[1:], np.intp)
    for now in anomalous:
        run = np.where(now, run + 1, 0)
        alerts += run == waits
    return alerts


@pytest.mark.parametrize("interval", [1.0, 60.0])
@pytest.mark.parametrize("factors", [[1, 1.5, 1], [2, 1, 1], [0.5, 1, 1], [1, 1, 1, 1.5, 1]], ids=str)
def test_one_metric_that_is_off_is_one_alert(factors: list[float], interval: float) -> None:
    entities, _ = played(factors, interval=interval)
    for waits in (1, 4):
        assert begun(entities, waits).max() == 1
        assert begun(entities, waits).mean() > 0.95


@pytest.mark.parametrize("factors", [[2, 6, 2], [1.5, 4, 1.5], [1.2, 6, 1.2]], ids=str)
def test_a_failure_under_a_load_is_that_of_its_metric_and_not_of_the_group_when_it_ends(factors: list[float]) -> None:
    entities, members = played(factors)
    assert begun(entities, 4).max() == 0
    assert begun(members, 4)[:, [0, 2]].max() == 0
    assert begun(members, 4)[:, 1].tolist() == [1] * ENTITIES


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_load_that_is_uneven_raises_nothing_and_its_edge_does_not_flap(factor: float) -> None:
    entities, members = played([factor] * 3, uneven=0.1)
    assert begun(entities, 1).mean() < 0.02
    assert begun(members, 4).mean() < 0.02
    assert begun(members, 4).max() <= 1


def test_what_was_decided_survives_a_restart() -> None:
    def state() -> Group:
        return Group(GroupSettings(name="g", queries=("a", "b", "c")), MONTH)

    group, rng = state(), np.random.default_rng(2)
    group.admit([b"{}"], 0.0)

    def step(group: Group, index: int, factors: Sequence[float]) -> bool:
        value = np.array([factors]) * (1.0 + 0.03 * rng.standard_normal((1, 3)))
        z, flat = (value - 1.0) / 0.03, np.ones((1, 3))
        now = GroupMatrix(z, np.log(value), 0.03 * flat, 100.0 * value, 100.0 * flat, 0.0 * flat, np.abs(z) > 3.5)
        verdict = group.step(index * MINUTE, now, MINUTE)
        replaced = alerts_under_load(verdict, np.ones(3, np.bool_), group_alerts=True).replaced
        return bool((verdict.anomalous & ~replaced)[0])

    for index in range(200):
        step(group, index, [1.0, 1.0, 1.0])
    assert not any(step(group, 200 + index, [2.0, 6.0, 2.0]) for index in range(8))
    # The load is over, and what failed under it is not.
    other = state()
    assert other.restore(group.at, group.arrays(), group.entities())
    assert not any(step(other, 208 + index, [1.0, 6.0, 1.0]) for index in range(12))
    # State of a version that did not store it.
    old = {name: array for name, array in group.arrays().items() if not name.startswith(("anomaly_", "failing"))}
    old.pop("second"), old.pop("event")
    assert state().restore(group.at, old, group.entities())
