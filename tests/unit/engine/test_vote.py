from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engine.detectors import DetectorResult
from exporter.engine.vote import beside_months, score_of, vote

finite = st.floats(-100, 100).map(lambda x: round(x, 3))


@dataclass(frozen=True)
class Voter:
    votes: int
    interval: bool = True
    kind: str = "voter"

    def judge(self, moment: object) -> DetectorResult:
        raise NotImplementedError


def voters(*votes: int) -> list[Voter]:
    return [Voter(count) for count in votes]


def judged(sample: float, expected: float, half: float) -> DetectorResult:
    one = np.ones(1)
    deviation = sample - expected
    return DetectorResult(
        max(deviation, 0) / half * one[None], max(-deviation, 0) / half * one[None],
        expected * one, (expected - half) * one, (expected + half) * one,
    )  # fmt: skip


@pytest.mark.parametrize(("severity", "score"), [(0, 0), (1, 0.5), (2, 0.75), (5, 0.96875), (1e6, 1.0)])
def test_score(severity: float, score: float) -> None:
    assert score_of(np.array([severity])) == pytest.approx(score)


def test_score_of_the_unknown_is_unknown() -> None:
    assert np.isnan(score_of(np.array([np.nan])))[0]


@pytest.mark.parametrize(("quorum", "above", "upper"), [(1, 3.0, 2.0), (2, 1.5, 4.0), (3, 0.5, 12.0)])
def test_quorum_takes_the_kth(quorum: int, above: float, upper: float) -> None:
    ballot = vote([judged(6, 0, half) for half in (4, 12, 2)], voters(1, 1, 1), quorum, np.array([[6.0]]), np.zeros(1))
    assert ballot.above[0] == pytest.approx(above)
    assert ballot.upper == pytest.approx(upper)
    assert ballot.lower == pytest.approx(-upper)


def test_a_detector_that_cannot_say_does_not_vote() -> None:
    unknown = DetectorResult(*np.full((2, 1, 1), np.nan), *np.full((3, 1), np.nan))
    one = vote([judged(6, 0, 4), unknown], voters(1, 1), 1, np.array([[6.0]]), np.zeros(1))
    two = vote([judged(6, 0, 4), unknown], voters(1, 1), 2, np.array([[6.0]]), np.zeros(1))
    assert one.above[0] == pytest.approx(1.5)
    assert np.isnan([two.above[0], two.below[0]]).all()


def without_interval(severity: float) -> DetectorResult:
    return DetectorResult(*np.full((2, 1, 1), severity), *np.full((3, 1), np.nan))


@pytest.mark.parametrize(
    ("novel", "sample", "anomalous"),
    [(2.0, 6.0, True), (2.0, 1.0, False), (0.5, 6.0, False), (np.nan, 6.0, False)],
    ids=["both", "inside-the-band", "not-novel", "cannot-say"],
)
def test_a_detector_without_an_interval_needs_one_with(novel: float, sample: float, anomalous: bool) -> None:
    """Two votes of one that knows no interval, one vote of either of two that do: three are needed."""
    judgements = [judged(sample, 0, 4), judged(sample, 0, 8), without_interval(novel)]
    ballot = vote(judgements, [*voters(1, 1), Voter(2, interval=False)], 3, np.array([[sample]]), np.zeros(1))
    assert (ballot.above[0, 0] >= 1.0) == anomalous
    assert ballot.upper == pytest.approx(4.0)


@given(
    sample=finite,
    bands=st.lists(st.tuples(finite, st.floats(0.01, 50)), min_size=1, max_size=5),
    quorum=st.integers(1, 5),
    smallest=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_anomalous_is_outside_the_band(sample, bands, quorum, smallest) -> None:
    quorum = min(quorum, len(bands))
    votes = voters(*[1] * len(bands))
    ballot = vote([judged(sample, *band) for band in bands], votes, quorum, np.array([[sample]]), np.array([smallest]))
    above, below = ballot.above[0, 0], ballot.below[0, 0]
    if abs(above - 1) > 1e-9 and abs(below - 1) > 1e-9:
        outside = bool(sample > ballot.upper[0] or sample < ballot.lower[0])
        assert (max(above, below) >= 1) == outside
    agree = max((ballot.each[0] >= 1).sum(), (ballot.each[1] >= 1).sum())
    assert (max(above, below) >= 1) == (agree >= quorum)


def test_what_has_no_side_is_divided_by_what_months_had_on_either() -> None:
    edges = np.full(2, np.nan)
    texture = DetectorResult(np.full((1, 2), 1.0), np.full((1, 2), 1.0), edges, edges, edges)
    above = DetectorResult(np.array([[6.0, 6.0]]), np.zeros((1, 2)), edges, edges, edges)
    normal = np.array([[4.0, 1.0], [1.0, 1.0]])
    divided = beside_months(texture, normal)
    assert (divided.above.tolist(), divided.below.tolist()) == ([[0.25, 1.0]], [[0.25, 1.0]])
    assert beside_months(above, normal).above.tolist() == [[1.5, 6.0]]
    below = DetectorResult(above.below, above.above, edges, edges, edges)
    assert beside_months(below, normal).below.tolist() == [[6.0, 6.0]]
