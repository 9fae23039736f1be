"""What is an event of a group: a burst is none, what is over is over, and what comes every day is quiet."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.multivariate.covariances import BLOCK, Covariances
from exporter.engine.multivariate.regularity import Regularity
from exporter.engine.seconds import DAY, HOUR
from tests.unit.engine.multivariate.test_groups import MINUTE, STEPS, group, history, matrix, play, whitened

FAR = np.array([40.0, -40.0, 40.0])


def test_a_burst_of_one_slot_is_an_event_once_and_then_shows_below_the_threshold() -> None:
    joint, now = whitened(), history(50, seed=6)
    now[[5, 30], 4] = FAR
    scores = play(joint, now, STEPS)[:, 4]
    assert (scores[5:12] >= 0.5).any()
    assert 0.35 < scores[30] < 0.5
    assert (scores[12:] < 0.5).all()


def test_a_slot_of_an_hour_is_no_burst() -> None:
    joint, now = whitened(), history(50, seed=6)
    now[[5, 30], 4] = FAR
    scores = [joint.step(STEPS * MINUTE + HOUR * (1 + at), matrix(z), HOUR).score for at, z in enumerate(now)]
    assert max(score[4] for score in scores[30:32]) >= 0.5


def test_an_event_is_over_six_slots_after_its_end_however_far_it_was() -> None:
    joint, now = whitened(), history(40, seed=6)
    now[10:14, 4] = 100.0 * FAR
    anomalous = play(joint, now, STEPS)[:, 4] >= 0.5
    np.testing.assert_array_equal(np.flatnonzero(anomalous), np.arange(10, 20))


def test_where_there_have_been_bursts_two_slots_are_an_event() -> None:
    joint, now = whitened(), history(50, seed=6)
    now[5, 4] = now[30:32, 4] = FAR
    np.testing.assert_array_equal(np.flatnonzero(play(joint, now, STEPS)[20:, 4] >= 0.5), np.arange(11, 18))


def test_a_constant_that_moved_once_is_no_event_afterwards() -> None:
    joint, past = group(), history()
    past[:, :, 2] = 0.0
    play(joint, past)
    now = history(90, seed=6)
    now[:, :, 2] = 0.0
    now[5:7, 4] = [0.0, 0.0, 1.0]
    assert (play(joint, now, STEPS)[15:, 4] < 0.5).all()


def test_a_metric_whose_spread_has_grown_is_whitened_anew_at_once() -> None:
    covariances = Covariances(2, ridge=0.03, memory=30 * DAY, refit=HOUR)
    covariances.grow(1)
    level = np.full((1, 2), 1.0)
    vectors = np.random.default_rng(1).standard_normal((13 * BLOCK, 1, 2)) * [1.0, 1e-9]
    vectors[-1, 0, 1] = 1.0
    for vector in vectors:
        covariances.learn(vector, level, MINUTE)
    assert np.abs(covariances.whiten(np.zeros((1, 2)))).max() < 3.0


def nights(severities: list[float], hour: float = 3.2, *, slots: int = 3) -> list[np.ndarray]:
    """Return severities in units of what is regular, of an event of so many slots of five minutes in each night."""
    regularity, seen = Regularity(), []
    regularity.grow(1)
    for night, each in enumerate(severities):
        for slot in range(int(DAY / 300.0)):
            event = 0 <= slot - int(hour * 12) < slots
            got = regularity.step(
                night * DAY + 300.0 * slot, np.array([each if event else 0.2]), np.array([event]), 300.0
            )
            if event:
                seen.append(got)
    return seen


@pytest.mark.parametrize("largest", [2.0, 5.0])
def test_a_job_of_every_night_is_regular_from_the_fourth_on(largest: float) -> None:
    severity = np.ravel(nights([2.0, largest, 2.0, 2.0, 2.0 * largest])[::3])
    np.testing.assert_allclose(severity[:3], [2.0, largest, 2.0])
    assert severity[3] < 1.0
    assert severity[4] > 1.0


def test_an_outage_of_days_does_not_become_regular() -> None:
    assert np.ravel(nights([2.0] * 6, hour=0.0, slots=288)).min() == 2.0


def test_nor_does_one_in_slots_of_hours() -> None:
    regularity = Regularity()
    regularity.grow(1)
    for slot in range(6 * 12):
        assert regularity.step(2 * HOUR * slot, np.array([2.0]), np.array([True]), 2 * HOUR)[0] == 2.0


def test_nor_does_one_that_comes_and_goes() -> None:
    regularity = Regularity()
    regularity.grow(1)
    for slot in range(6 * 288):
        event = slot % 6 < 3
        got = regularity.step(300.0 * slot, np.array([2.0 if event else 0.2]), np.array([event]), 300.0)
        assert got[0] == (2.0 if event else 0.2)


def test_what_is_regular_is_stored() -> None:
    regularity, again = Regularity(), Regularity()
    for each in (regularity, again):
        each.grow(1)
    for night in range(3):
        regularity.step(night * DAY + HOUR, np.array([2.0]), np.array([True]), HOUR)
        regularity.step(night * DAY + 2 * HOUR, np.array([0.2]), np.array([False]), HOUR)
    again.restore({name: array.copy() for name, array in regularity.arrays().items()}, 1)
    for each in (regularity, again):
        assert each.step(3 * DAY + HOUR, np.array([2.0]), np.array([True]), HOUR)[0] < 1.0
    again.restore({}, 1)
    assert again.step(3 * DAY + HOUR, np.array([2.0]), np.array([True]), HOUR)[0] == 2.0


def test_state_that_an_earlier_version_stored_is_read() -> None:
    joint, again = whitened(), group()
    later = {"newest", "newest_plain", "before", "bursts", "event_hours", "event_since", "event_last", "event_day"}
    parts = {name: array for name, array in joint.arrays().items() if name not in later}
    assert len(joint.arrays()) - len(parts) == len(later)
    assert again.restore(joint.at, parts, joint.entities())
    now = history(20, seed=6)
    np.testing.assert_allclose(play(again, now, STEPS), play(joint, now, STEPS), atol=0.02)
