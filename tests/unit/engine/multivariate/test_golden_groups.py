"""The verdicts of both joint detectors on entities in all kinds of situations, against a golden file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.multivariate import Group, GroupMatrix, GroupSettings, JointForest, fit
from exporter.engine.multivariate.group import _without
from exporter.engine.multivariate.joint import Array
from exporter.engine.multivariate.load import load_of, spread_of
from exporter.engine.multivariate.tail import BINS, counted_by_row, exceeded
from tests.unit.engine.test_golden_verdicts import MESSAGE, row

FloatArray = npt.NDArray[np.float64]

METRICS, STEPS, EVENT, NOISE, MINUTE = 3, 420, 330, 0.02, 60.0
DAY = 86400.0
MONTH = 30 * DAY
PERIODS = {"first hours": (0, 120), "before": (120, EVENT), "event": (EVENT, 360), "after": (360, STEPS)}
HERE = slice(EVENT, 360)

Change = Callable[[FloatArray], npt.ArrayLike]


def grown(*factors: float) -> Change:
    """Return a change that multiplies metrics, as deviations from an expected value of 1."""
    return lambda z: (np.array(factors) * (1 + NOISE * z) - 1) / NOISE


SITUATIONS: dict[str, tuple[slice, Change]] = {
    "calm": (HERE, lambda z: z),
    "calm, too": (HERE, lambda z: z),
    "independent": (slice(None), lambda z: 0.9 * z[:, ::-1] * [1, -1, 1] + [0.3, 0, 0]),
    "broken correlation": (HERE, lambda z: 0 * z + [1.5, -1.5, 0.0]),
    "a little broken": (HERE, lambda z: np.add(z, [0.6, -0.6, 0.0])),
    "for one instant": (slice(EVENT, EVENT + 1), lambda z: np.add(z, [4, -4, 0])),
    "for three instants": (slice(EVENT, EVENT + 3), lambda z: np.add(z, [4, -4, 0])),
    "jump": (HERE, lambda z: 0 * z + [8, -8, 8]),
    "very far": (HERE, lambda z: 0 * z + [30, 0, 0]),
    "one metric is away": (HERE, lambda z: z * [1, np.nan, 1] + [1.5, 0, -1.5]),
    "two metrics are away": (HERE, lambda z: z * [np.nan, np.nan, 1]),
    "load": (HERE, grown(1.5, 1.5, 1.5)),
    "load with spread": (HERE, grown(1.5, 1.6, 1.4)),
    "load of four percent": (HERE, grown(1.04, 1.04, 1.04)),
    "broken under load": (HERE, lambda z: grown(1.08, 1.08, 1.08)(z + np.array([1.4, -1.4, 0]))),
    "one rises more": (HERE, grown(1.5, 1.5, 4.0)),
    "again and again": (slice(200, None, 20), lambda z: np.add(z, [3, -3, 0])),
    "to stay": (slice(EVENT, None), lambda z: np.add(z, [3, -3, 0])),
    "accepted": (slice(EVENT, None), lambda z: np.add(z, [5, -5, 0])),
    "new": (slice(0, 300), lambda z: np.nan * z),
}


def history() -> FloatArray:
    """Return metrics that go together, in standard deviations; shape (steps, entities, metrics)."""
    rng = np.random.default_rng(5)
    own = np.sqrt(0.05) * rng.standard_normal((STEPS, len(SITUATIONS), METRICS))
    z = np.sqrt(0.95) * rng.standard_normal((STEPS, len(SITUATIONS), 1)) + own
    for entity, (when, change) in enumerate(SITUATIONS.values()):
        z[when, entity] = change(z[when, entity])
    return z


def matrix(z: FloatArray) -> GroupMatrix:
    growth = np.log1p(np.clip(z * NOISE, -0.9, None))
    expected = np.full(z.shape, 100.0)
    observed = expected * (1.0 + NOISE * z)
    return GroupMatrix(z, growth, np.where(np.isnan(z), np.nan, NOISE), observed, expected, np.zeros(z.shape))


def group(detector: str, entities: int = len(SITUATIONS)) -> Group:
    new = Group(GroupSettings(name="g", queries=tuple("abc"), detector=detector), MONTH)
    new.admit([b'{"pod":"p%d"}' % entity for entity in range(entities)], 0.0)
    return new


def table(detector: str) -> list[str]:
    """Return what was said of each entity in each period."""
    new, verdicts = group(detector), []
    for index, now in enumerate(history()):
        at = index * MINUTE
        if isinstance(new.detector, JointForest) and index in (100, 300):
            new.detector.adopt(fit(new.detector.training(at), new.settings.forest_contamination, at))
        verdicts.append(new.step(at, matrix(now), MINUTE))
        if index == EVENT + 10:
            new.accept(np.array([list(SITUATIONS).index("accepted")]))
    score, share, load = (
        np.array([getattr(verdict, name) for verdict in verdicts]) for name in ("score", "share", "load")
    )
    severity = -np.log2(np.maximum(1.0 - score, 1e-6))
    lines = [detector.ljust(55) + "".join(f" {head:>11}" for head in ("anomalous", "severity", "a", "b", "c", "load"))]
    for entity, name in enumerate(SITUATIONS):
        for period, (begin, end) in PERIODS.items():
            here = slice(begin, end), entity
            columns = [severity[here], *share[here].T, load[here]]
            means = [np.mean(column[~np.isnan(column)]) if not np.isnan(column).all() else np.nan for column in columns]
            lines.append(row(f"{name}, {period}", [np.sum(score[here] >= 0.5), *means]))
    return lines


def limits() -> list[str]:
    """Return what small shares of some values are beyond."""
    rng, shares = np.random.default_rng(3), (0.5, 0.1, 0.01, 1e-3, 1e-4)
    past = {
        "exponential": rng.standard_exponential(5000),
        "few": rng.standard_exponential(60),
        "heavy": rng.pareto(0.8, 5000),
        "short": rng.random(5000),
        "far out": 2000.0 + rng.standard_exponential(500),
    }
    lines = ["limit".ljust(55) + "".join(f" {share:>11g}" for share in shares)]
    for name, some in past.items():
        counts = np.zeros((1, BINS), np.float32)
        for value in some:
            counted_by_row(np.array([value]), counts)
        lines.append(row(name, [exceeded(counts, float(len(some)), share)[0] for share in shares]))
    return lines


def test_the_verdicts_are_those_of_the_golden_file(golden_numbers: Callable[[str, str], None]) -> None:
    lines = [*table("whitened"), "", *table("isolation_forest"), "", *limits(), ""]
    try:
        golden_numbers("group_verdicts.txt", "\n".join(lines))
    except AssertionError as differs:
        raise AssertionError(f"{MESSAGE}\n{differs}") from None


# ---------------------------------------------------------------------- when a load is one

LN = np.log


@pytest.mark.parametrize(
    ("growth", "noise", "z", "factor"),
    [
        ((0.025, 0.025), (0.001, 0.001), (9, 9), 0.025),
        ((0.015, 0.015), (0.001, 0.001), (9, 9), None),  # Too small.
        ((0.49, 0.31), (0.001, 0.001), (9, 9), 0.4),
        ((0.52, 0.28), (0.001, 0.001), (9, 9), None),  # More than a quarter of it apart,
        ((0.55, 0.25), (0.02, 0.02), (9, 9), 0.4),
        ((0.57, 0.23), (0.02, 0.02), (9, 9), 0.4),
        ((0.59, 0.21), (0.02, 0.02), (9, 9), None),  # and four times the noise.
        ((0.6, 0.2), (0.1, 0.1), (9, 9), 0.4),
        ((0.6, 0.6, 0.03), (0.1, 0.1, 0.1), (9, 9, 9), None),  # Nearer to what is usual than to the factor.
        ((0.4, 0.5), (0.001, 0.1), (9, 9), 0.42),  # Noise weighs, from a twentieth on.
        ((0.4, 2.3), (0.001, 2.0), (9, 9), 0.4 + 1.9 / 101),
        ((0.4, 2.7), (0.001, 2.0), (9, 9), None),  # No metric is so noisy that all agrees with it.
        ((0.4, 0.4), (0.3, 0.3), (2.1, 0.5), 0.4),
        ((0.4, 0.4), (0.3, 0.3), (1.9, 0.5), None),  # Not half of them are certainly up,
        ((0.4, 0.4), (0.02, 0.02), (1.9, 0.5), 0.4),  # neither by this hour nor by all.
    ],
)
def test_a_load_is_what_all_metrics_agree_on(growth, noise, z, factor) -> None:
    none = np.zeros((1, len(growth)))
    found = load_of(GroupMatrix(*(np.array([values], float) for values in (z, growth, noise)), none, none, none))
    assert found[0] == (pytest.approx(np.exp(factor)) if factor is not None else pytest.approx(np.nan, nan_ok=True))


def test_metrics_stray_from_a_load_by_a_part_of_its_logarithm() -> None:
    assert spread_of(np.array([1.5])) == pytest.approx(1.5 * (1.5**0.15 - 1.0))


# ---------------------------------------------------------------------- when there is enough to go by


def far(z: float, entities: int) -> GroupMatrix:
    return matrix(np.full((entities, METRICS), z))


@pytest.mark.parametrize(("entities", "first"), [(1, 120), (4, 72), (20, 60)])
def test_severities_begin_after_four_blocks_and_60_lengths(entities: int, first: int) -> None:
    new, rng = group("whitened", entities), np.random.default_rng(1)
    for step in range(first + 1):
        last = new.step(step * MINUTE, matrix(rng.standard_normal((entities, METRICS))), MINUTE).score
        assert np.isnan(last).all() == (step < first), step


def forest(vectors: int = 600) -> JointForest:
    """Return a detector that was trained at 0."""
    new, rng = JointForest(METRICS, 0.02, MONTH), np.random.default_rng(2)
    new.grow(vectors)
    new.judge(0.0, matrix(rng.standard_normal((vectors, METRICS))), np.full(vectors, np.nan), MINUTE)
    new.adopt(fit(new.training(0.0), 0.02, 0.0))
    return new


@pytest.mark.parametrize(("vectors", "due"), [(60, False), (70, True)])
def test_a_forest_is_trained_from_64_vectors(vectors: int, due: bool) -> None:
    new = forest(vectors)
    new.forest = None
    assert new.due(0.0) == due


@pytest.mark.parametrize(("size", "more", "due"), [(100, 90, False), (100, 110, True), (520, 1000, False)])
def test_a_forest_of_few_vectors_is_trained_again_when_there_are_twice_as_many(size: int, more: int, due: bool) -> None:
    new = forest(size)
    new.grow(max(size, more))
    new.judge(MINUTE, far(1.0, more), np.full(more, np.nan), MINUTE)
    assert new.due(MINUTE) == due


def test_8192_vectors_are_kept() -> None:
    new = JointForest(METRICS, 0.02, MONTH)
    new.grow(9000)
    new.judge(0.0, far(1.0, 9000), np.full(9000, np.nan), MINUTE)
    assert new.training(0.0).shape == (8192, 2 * METRICS)


def recent_scores(index: float, total: float) -> Array:
    """Return counts in the deciles of training with about this stability index: one decile is fuller."""
    share = np.full(10, 0.1)
    while ((share - 0.1) * np.log(share / 0.1)).sum() < index:
        share[0] += 0.001
        share[1:] = (1.0 - share[0]) / 9
    return total * share


@pytest.mark.parametrize(
    ("at", "index", "total", "due"),
    [
        (6.9 * DAY, 0.0, 1000, False),
        (7.1 * DAY, 0.0, 1000, True),
        (0.3 * DAY, 0.22, 1000, True),
        (0.3 * DAY, 0.18, 1000, False),
        (0.2 * DAY, 0.22, 1000, False),  # Not twice in six hours.
        (0.3 * DAY, 0.22, 490, False),  # Too few scores.
        (0.3 * DAY, 0.22, 510, True),
    ],
)
def test_a_forest_is_trained_again_every_week_or_when_its_scores_drift(at, index, total, due) -> None:
    new = trained()
    new._recent[...] = recent_scores(index, total)
    assert new.due(at) == due


def trained() -> JointForest:
    """Return a detector whose forest stands for nothing but its age."""
    new = JointForest(METRICS, 0.02, MONTH)
    new._kept_at[:600] = 0.0
    new.forest = fit(np.random.default_rng(2).standard_normal((512, 2 * METRICS)), 0.02, 0.0)
    return new


def test_scores_of_a_day_ago_count_a_third_for_drift() -> None:
    new = trained()
    new.grow(2)
    new._recent[...] = 100.0
    new.judge(DAY, far(0.0, 2), np.full(2, np.nan), DAY)
    assert new._recent.sum() == pytest.approx(1000.0 * np.exp(-1.0) + 2.0)


def test_a_forest_gives_half_a_severity_at_most_under_load() -> None:
    new = forest()
    alone = new.judge(MINUTE, far(9.0, 2), np.full(2, np.nan), MINUTE)
    assert (alone.severity > 1.0).all()
    loaded = new.judge(MINUTE, far(9.0, 2), np.full(2, 1.5), MINUTE)
    assert loaded.severity.tolist() == [0.5, 0.5]
    assert loaded.excused.all()


def test_what_feedback_accepts_is_the_mean_of_three_samples_and_finite() -> None:
    new = group("whitened", 1)
    new.step(0.0, matrix(np.array([[1.0, np.inf, 0.0]])), MINUTE)
    half_life = 1.0 - 0.5 ** (1 / 3)
    assert new.arrays()["recent"][0] == pytest.approx([half_life, half_life * 1e6, 0.0])
    left = _without(matrix(np.array([[-40.0]])), np.array([[100.0]], np.float32))
    assert np.exp(left.growth) == pytest.approx(1e-6)
