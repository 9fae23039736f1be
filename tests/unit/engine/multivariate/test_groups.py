"""Several metrics of one thing, judged together: what is found, what is not, and what is remembered."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.multivariate import Group, GroupMatrix, GroupSettings, JointForest, fit

DETECTORS = ("whitened", "isolation_forest")
THINGS, METRICS, STEPS = 12, 3, 160
NOISE = 0.02
MINUTE = 60.0


def group(detector: str = "whitened", metrics: int = METRICS, things: int = THINGS) -> Group:
    new = Group(GroupSettings(name="g", queries=tuple("abcdefgh"[:metrics]), detector=detector), 30 * 86400.0)
    new.admit([b'{"pod":"p%d"}' % thing for thing in range(things)], 0.0)
    return new


def history(steps: int = STEPS, seed: int = 5, correlation: float = 0.95) -> np.ndarray:
    """Metrics that go together, in standard deviations; shape (steps, things, metrics)."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((steps, THINGS, 1))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal((steps, THINGS, METRICS))


def matrix(z: np.ndarray) -> GroupMatrix:
    growth = np.log1p(np.clip(z * NOISE, -0.9, None))
    expected = np.full(z.shape, 100.0)
    observed = expected * (1.0 + NOISE * z)
    return GroupMatrix(z, growth, np.where(np.isnan(z), np.nan, NOISE), observed, expected, np.zeros(z.shape))


def play(group: Group, z: np.ndarray, begin: int = 0) -> np.ndarray:
    """Return the scores, shape (steps, things)."""
    scores = []
    for index, now in enumerate(z):
        at = (begin + index) * MINUTE
        if isinstance(group.detector, JointForest) and group.detector.due(at):
            group.detector.adopt(fit(group.detector.training(at), group.settings.forest_contamination, at))
        scores.append(group.step(at, matrix(now), MINUTE).score)
    return np.array(scores)


@pytest.fixture(params=DETECTORS)
def learned(request) -> Group:
    new = group(request.param)
    play(new, history())
    return new


def whitened() -> Group:
    new = group()
    play(new, history())
    return new


def test_a_broken_correlation_is_found_though_each_metric_alone_is_usual() -> None:
    joint = whitened()
    now = history(10, seed=6)
    now[:, 4] = [1.5, -1.5, 0.0]
    scores = play(joint, now, STEPS)
    assert (scores[4:, 4] >= 0.5).all()
    assert (np.delete(scores, 4, axis=1) >= 0.5).mean() < 0.02


def test_the_shares_name_the_metrics_that_disagree() -> None:
    joint = whitened()
    now = history(1, seed=6)[0]
    now[4] = [1.0, 1.0, -2.0]
    share = joint.step(STEPS * MINUTE, matrix(now), MINUTE).share
    assert share[4].argmax() == 2
    np.testing.assert_allclose(share.sum(axis=1), 1.0)


def test_a_joint_jump_is_found_by_every_detector(learned: Group) -> None:
    now = history(10, seed=6)
    now[:, 4] = [8.0, -8.0, 8.0]
    assert (play(learned, now, STEPS)[4:, 4] >= 0.5).all()


@pytest.mark.parametrize("sudden", [True, False], ids=["sudden", "gradual"])
def test_all_metrics_up_by_the_same_factor_is_load(learned: Group, sudden: bool) -> None:
    now = history(40, seed=6)
    factor = np.full(40, 1.5) if sudden else np.minimum(1.5, 1.0 + 0.025 * np.arange(40))
    now[:, 4] = (factor[:, None] * (1 + NOISE * now[:, 4]) - 1) / NOISE
    assert (play(learned, now, STEPS)[:, 4] < 0.5).all()
    verdict = learned.step((STEPS + 40) * MINUTE, matrix(now[-1]), MINUTE)
    assert verdict.load[4] == pytest.approx(1.5, rel=0.05)
    assert np.isnan(np.delete(verdict.load, 4)).all()


def test_a_metric_that_rises_much_more_than_the_others_is_no_load() -> None:
    joint = whitened()
    now = history(10, seed=6)
    now[:, 4] = (np.array([1.5, 1.5, 4.0]) * (1 + NOISE * now[:, 4]) - 1) / NOISE
    assert (play(joint, now, STEPS)[4:, 4] >= 0.5).all()


@pytest.mark.parametrize("factor", [1.1, 1.5, 3.0])
def test_loads_of_any_size_whose_metrics_do_not_rise_all_alike_stay_quiet(factor: float) -> None:
    joint = whitened()
    now = history(60, seed=6)
    rng = np.random.default_rng(8)
    # Each thing has its own spread, a tenth of the logarithm, and the noise rises with the load.
    each = factor ** (1.0 + 0.1 * rng.standard_normal((1, THINGS, METRICS)))
    now = (each * (1 + NOISE * now) - 1) / NOISE
    assert (play(joint, now, STEPS) >= 0.5).mean() < 0.01
    loads = joint.step((STEPS + 60) * MINUTE, matrix(now[-1]), MINUTE).load
    assert np.nanmax(loads) == pytest.approx(factor, rel=0.2)


@pytest.mark.parametrize("factor", [1.02, 1.04])
def test_metrics_that_disagree_under_load_are_found(factor: float) -> None:
    joint = whitened()
    now = history(12, seed=6)
    # Two metrics are two standard deviations off, which is as much as thirteen of what they differ by.
    now[:, 4] += [2.0, -2.0, 0.0]
    now[:, 4] = (factor * (1 + NOISE * now[:, 4]) - 1) / NOISE
    now[:, 5] = (factor * (1 + NOISE * now[:, 5]) - 1) / NOISE
    scores = play(joint, now, STEPS)
    assert (scores[6:, 4] >= 0.5).all()
    assert (scores[:, 5] < 0.5).all()
    share = joint.step((STEPS + 12) * MINUTE, matrix(now[-1]), MINUTE).share[4]
    assert share[:2].sum() > 0.8


def test_a_load_that_nobody_would_have_been_told_of_is_not_named() -> None:
    joint = whitened()
    now = history(400, seed=6)
    loads = [joint.step((STEPS + index) * MINUTE, matrix(one), MINUTE).load for index, one in enumerate(now)]
    assert np.isfinite(loads).mean() < 0.002


def test_metrics_that_follow_one_slot_later_are_still_load() -> None:
    joint = whitened()
    now = history(20, seed=6)
    now[:, 4] = (1.5 * (1 + NOISE * now[:, 4]) - 1) / NOISE
    now[0, 4, 2] = 0.0  # Asked a little earlier than the others, when the load had not come.
    assert (play(joint, now, STEPS)[:, 4] < 0.5).all()


def test_a_missing_metric_leaves_the_others_to_be_judged() -> None:
    joint = whitened()
    now = history(10, seed=6)
    now[:, 4] = [2.0, -2.0, np.nan]
    now[:, 5, 0] = np.nan
    scores = play(joint, now, STEPS)
    assert (scores[4:, 4] >= 0.5).all()
    assert (scores[:, 5] < 0.5).all()


def test_of_one_metric_nothing_is_said(learned: Group) -> None:
    now = history(1, seed=6)[0]
    now[4] = [5.0, np.nan, np.nan]
    now[5] = np.nan
    score = learned.step(STEPS * MINUTE, matrix(now), MINUTE).score
    assert np.isnan(score[[4, 5]]).all()
    assert not np.isnan(np.delete(score, [4, 5])).any()


@pytest.mark.parametrize("detector", DETECTORS)
def test_nothing_is_said_before_enough_was_learned(detector: str) -> None:
    assert np.isnan(play(group(detector), history(4))).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_metrics_that_never_move_or_are_equal_are_no_obstacle(detector: str) -> None:
    z = history()
    z[:, :, 1] = 0.0
    z[:, :, 2] = z[:, :, 0]
    joint = group(detector)
    scores = play(joint, z)
    assert np.isfinite(scores[-1]).all()
    z[-10:, 4, 2] *= -1.0
    z[-10:, 4, 0] = 2.0
    assert np.isfinite(play(joint, z[-10:], STEPS)).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_equal_samples_give_equal_scores(detector: str) -> None:
    np.testing.assert_array_equal(play(group(detector), history(120)), play(group(detector), history(120)))


def test_a_group_goes_on_where_its_state_was_stored() -> None:
    joint, again = whitened(), group(things=0)
    assert again.restore(joint.at, joint.arrays(), joint.entities())
    now = history(40, seed=6)
    np.testing.assert_array_equal(play(again, now, STEPS), play(joint, now, STEPS))
    assert again.table.items() == joint.table.items()


def test_a_forest_is_trained_again_from_what_is_stored() -> None:
    joint = group("isolation_forest")
    play(joint, history())
    again = group("isolation_forest", things=0)
    assert again.restore(joint.at, joint.arrays(), joint.entities())
    now = history(3, seed=6)
    assert np.isfinite(play(again, now, STEPS)).all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_state_of_another_shape_is_refused(detector: str) -> None:
    stored, other = group(detector), group(detector, metrics=4, things=0)
    assert not other.restore(0.0, stored.arrays(), stored.entities())
    assert not other.restore(0.0, {}, [])


def test_samples_are_not_changed(learned: Group) -> None:
    now = matrix(history(1, seed=6)[0])
    before = now.z.copy()
    learned.step(STEPS * MINUTE, now, MINUTE)
    np.testing.assert_array_equal(now.z, before)


def test_a_new_thing_is_judged_after_four_blocks_by_what_all_exceed() -> None:
    joint = whitened()
    assert joint.admit([b'{"pod":"new"}'], STEPS * MINUTE).tolist() == [THINGS]
    usual = history(70, seed=6)
    now = np.concatenate([usual, usual[:, :1]], axis=1)
    now[60:, THINGS] = [3.0, -3.0, 0.0]
    scores = play(joint, now, STEPS)[:, THINGS]
    assert 44 <= np.flatnonzero(~np.isnan(scores))[0] <= 56
    assert (scores[56:60] < 0.5).all()
    assert (scores[64:] >= 0.5).all()


def test_things_that_are_gone_are_forgotten_and_their_rows_used_again() -> None:
    joint = whitened()
    now = history(1, seed=6)[0]
    now[3] = np.nan
    joint.step(1e6, matrix(now), MINUTE)
    assert joint.expire(1e6) == [3]
    assert joint.admit([b'{"pod":"new"}'], 1e6).tolist() == [3]


@pytest.mark.parametrize(
    ("slots", "live"), [((1, 2), 1), ((2, 3), 2), ((5, 6), 5), ((5, 6), 1), ((1, 10), 1), ((20, 21), 1)]
)
def test_a_value_that_is_held_over_several_slots_is_one_reading(slots: tuple[int, int], live: int) -> None:
    """The history holds each reading for so many slots, at least and at most less one; then readings come faster."""
    joint = group()
    readings = history(62, seed=6)
    past = np.repeat(readings, np.random.default_rng(7).integers(*slots, size=len(readings)), axis=0)
    scores = play(joint, past)
    assert np.isfinite(scores[-1]).all()
    now = np.repeat(history(60, seed=8), live, axis=0)
    begin, end = 10 * live, 30 * live
    now[begin:end, 4] = [12.0, -12.0, 0.0]
    after = play(joint, now, len(past))
    assert not (scores >= 0.5).any()
    assert (np.delete(after, 4, axis=1) < 0.5).all()
    assert (after[begin + 1 : end, 4] >= 0.5).all()
    assert (after[end + 25 :, 4] < 0.5).all(), "and it ends"


def test_readings_that_are_held_do_not_make_a_group_ready_sooner() -> None:
    joint = group()
    assert np.isnan(play(joint, np.repeat(history(40), 5, axis=0))).all()


def test_a_long_event_does_not_become_usual_while_it_lasts() -> None:
    joint = whitened()
    now = history(60, seed=6)
    now[:, 4] = [2.0, -2.0, 0.0]
    assert (play(joint, now, STEPS)[4:, 4] >= 0.5).all()


def test_what_is_accepted_is_usual_from_then_on_and_kept(learned: Group) -> None:
    now = history(60, seed=6)
    now[:, 4] += [6.0, -6.0, 6.0]
    now[:, 5] += [6.0, -6.0, 6.0]
    before = play(learned, now[:20], STEPS)
    assert (before[4:, [4, 5]] >= 0.5).all()
    learned.accept(np.array([4]))
    again = group(learned.settings.detector, things=0)
    assert again.restore(learned.at, learned.arrays(), learned.entities())
    if isinstance(learned.detector, JointForest):
        again.detector.adopt(learned.detector.forest)
    after = play(again, now[20:40], STEPS + 20)
    assert (after[:, 4] < 0.5).mean() > 0.9
    assert (after[:, 5] >= 0.5).all()
    # What was usual before is not usual now.
    now[40:, 4] -= [6.0, -6.0, 6.0]
    assert (play(again, now[40:], STEPS + 40)[4:, 4] >= 0.5).all()


def test_load_on_what_was_accepted_is_still_load() -> None:
    joint = whitened()
    now = history(60, seed=6)
    now[:, 4] += [2.0, -2.0, 0.0]
    play(joint, now[:20], STEPS)
    joint.accept(np.array([4]))
    play(joint, now[20:30], STEPS + 20)
    now[30:, 4] = (1.5 * (1 + NOISE * now[30:, 4]) - 1) / NOISE
    assert (play(joint, now[30:], STEPS + 30)[:, 4] < 0.5).all()


def test_a_forest_is_old_after_a_week_or_when_scores_have_drifted() -> None:
    joint = group("isolation_forest")
    play(joint, history())
    forest = joint.detector
    assert isinstance(forest, JointForest)
    now = STEPS * MINUTE
    assert not forest.due(now)
    assert forest.due(now + 8 * 86400.0)
    play(joint, 3.0 * history(200, seed=6), STEPS)
    assert forest.drift() > 0.2
    assert forest.due(forest.forest.at + 7 * 3600.0)
    assert not forest.due(forest.forest.at + 3600.0)


def test_what_is_kept_for_training_is_bounded_and_not_older_than_the_memory() -> None:
    forest = JointForest(2, 0.02, memory=100 * MINUTE)
    forest.grow(200)
    for step in range(300):
        z = np.full((200, 2), float(step % 10))
        forest.judge(step * MINUTE, matrix(z), np.full(200, np.nan), MINUTE)
    training = forest.training(300 * MINUTE)
    assert 2000 < len(training) <= 8192
    assert len(forest.arrays()["kept"]) == 8192


def test_how_a_metric_came_to_be_where_it_is() -> None:
    joint = whitened()
    now = 0.1 * history(16, seed=6)
    now[8:, 4, 0] = 9.0
    now[:, 5, 0] = np.linspace(0.0, 9.0, 16)
    now[8:, 5, 1] = -9.0
    now[-1, 5, 2] = np.nan
    play(joint, now, STEPS)
    assert joint.shape_of(4, 0) == "jump"
    assert joint.shape_of(5, 0) == "build-up"
    assert joint.shape_of(5, 1) == "drop"
    assert joint.shape_of(5, 2) == "missing"
    again = group(things=0)
    assert again.restore(joint.at, joint.arrays(), joint.entities())
    assert again.shape_of(4, 0) is None, "the newest samples are not stored"


def test_a_job_of_every_night_is_ordinary_at_its_hour_and_found_at_another() -> None:
    """Two of three metrics jump together; at the hour of the job their spread is as large as the jump."""
    joint = group()
    nights, slots = 12, 144  # Of ten minutes.
    rng = np.random.default_rng(9)
    scores = np.zeros((nights, slots, THINGS))
    for night in range(nights):
        for slot in range(slots):
            z = rng.standard_normal((THINGS, METRICS))
            job = slot in (12, 13) or (night == nights - 1 and slot in (80, 81))
            z[4, :2] += 30.0 * job
            now = matrix(z)
            if 12 <= slot < 18:
                # The bucket of this hour has seen the job: its mean is a third of it, and its spread is as large.
                now.z[4, :2] = (z[4, :2] - 10.0) / 15.0
                now.expected[4, :2] += 10.0 * NOISE * 100.0
            at = (night * slots + slot) * 600.0
            scores[night, slot] = joint.step(at, now, 600.0).score
    assert (scores[3:, 12:20, 4] < 0.5).all()
    assert scores[-1, 81, 4] >= 0.5
