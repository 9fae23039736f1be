"""The vote: severities of the detectors to one severity, one score and one band.

With a quorum of *k* the joint severity is the *k*-th largest, so it is >= 1 exactly when *k* detectors agree.
Deviations upward and downward are counted apart; the band is then the set of values for which the vote would
not pass: its upper edge is the *k*-th smallest upper edge, its lower edge the *k*-th largest lower edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Judgement

__all__ = ["Ballot", "score_of", "vote"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ballot:
    """The joint judgement; arrays of shape (n,), in baseline units. NaN: fewer than `quorum` detectors could say.

    `above` and `below` are the joint severities of the two directions; `each` has shape (2, d, n): above and
    below of every detector, after the smallest deviation that counts.
    """

    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    each: FloatArray


def vote(judgements: Sequence[Judgement], quorum: int, sample: FloatArray, smallest: FloatArray) -> Ballot:
    """Count the votes.

    Parameters
    ----------
    judgements : sequence of Judgement, length d
    quorum : int
        1 to d.
    sample : ndarray, shape (n,)
        Baseline units.
    smallest : ndarray, shape (n,)
        Deviations from the expected value below this never count, whatever the detectors say; baseline units.
    """
    able = [~np.isnan(judgement.expected) for judgement in judgements]
    count = np.sum(able, axis=0)
    total = np.sum([np.where(ok, j.expected, 0.0) for ok, j in zip(able, judgements, strict=True)], axis=0)
    # The mean of a detector may lie a little outside the band of the others.
    expected = np.divide(total, count, out=np.full(len(sample), np.nan), where=count >= quorum)
    lower = _kth_largest([judgement.lower for judgement in judgements], quorum)
    upper = -_kth_largest([-judgement.upper for judgement in judgements], quorum)
    expected = np.clip(expected, np.minimum(lower, upper), np.maximum(lower, upper))

    deviation = np.abs(sample - expected)
    counts = np.divide(deviation, smallest, out=np.full(len(sample), np.inf), where=smallest > 0.0)
    each = np.array([[j.above for j in judgements], [j.below for j in judgements]])
    each = np.minimum(each, counts)
    above, below = _kth_largest(list(each[0]), quorum), _kth_largest(list(each[1]), quorum)
    return Ballot(
        above, below, expected, np.minimum(lower, expected - smallest), np.maximum(upper, expected + smallest), each
    )


def _kth_largest(rows: list[FloatArray], k: int) -> FloatArray:
    """Return the k-th largest of d arrays elementwise; NaN counts as smallest, and wins where k reaches it."""
    if len(rows) == 1:
        return rows[0]
    if len(rows) == 2:
        # fmax and fmin skip NaN; minimum passes it on, which is what a quorum of both has to do.
        both: FloatArray = np.fmax(rows[0], rows[1]) if k == 1 else np.minimum(rows[0], rows[1])
        return both
    ranked: FloatArray = -np.sort(-np.array(rows), axis=0)  # Descending, NaN last.
    kth: FloatArray = ranked[k - 1]
    return kth


def score_of(severity: FloatArray) -> FloatArray:
    """Return the anomaly score, 0..1: 0.5 at severity 1, 0.97 at severity 5."""
    score: FloatArray = 1.0 - np.exp2(-severity)
    return score
