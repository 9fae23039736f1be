"""The vote: severities of the detectors to one severity, one score and one band.

With a quorum of *k* the joint severity is the *k*-th largest, so it is >= 1 exactly when *k* detectors agree.
Deviations upward and downward are counted apart; the band is then the set of values for which the vote would
not pass: its upper edge is the *k*-th smallest upper edge, its lower edge the *k*-th largest lower edge.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Detector, DetectorResult
from exporter.engine.ordered import add_up, any_of, clip, count_of

__all__ = ["Ballot", "beside_months", "score_of", "severity_of", "vote"]

FloatArray = npt.NDArray[np.float64]

_FEW = 12
"""Voters, and sets of them, up to which the sets are gone through; beyond, sorting is quicker."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The joint result, in baseline units. NaN: the detectors that could say have fewer votes than the quorum.

    Attributes
    ----------
    above, below : ndarray, shape (t, n)
        The joint severities of the two directions, divided by the threshold of the query.
    expected, lower, upper : ndarray, shape (n,)
        No sample inside is anomalous. One outside is where the detectors without an interval agree.
    each : ndarray, shape (2, d, t, n)
        Above and below of every detector, divided by the threshold, after the smallest deviation that counts.
    joint : ndarray, shape (2, t, n)
        Above and below before the division.
    counts : ndarray, shape (t, n)
        The deviation in units of the smallest that counts.
    published_lower, published_upper : ndarray, shape (n,)
        The band at the threshold of the query. `lower` and `upper` are those of the detectors: what is learned does
        not depend on the budget.
    """

    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    each: FloatArray
    joint: FloatArray
    counts: FloatArray
    published_lower: FloatArray
    published_upper: FloatArray


def vote(
    results: Sequence[DetectorResult],
    detectors: Sequence[Detector],
    quorum: int,
    sample: FloatArray,
    smallest: FloatArray,
    threshold: float | FloatArray = 1.0,
) -> Ballot:
    """Count the votes.

    Parameters
    ----------
    results : sequence of DetectorResult, length d
    detectors : sequence of Detector, length d
        Whose results they are.
    quorum : int
        1 to the votes of all detectors together.
    sample : ndarray, shape (t, n)
        Baseline units.
    smallest : ndarray, shape (n,)
        Deviations from the expected value below this never count, whatever the detectors say; baseline units.
    threshold : float or ndarray of shape (n,) or (t, n), > 0
        Severity that makes a sample anomalous; see `exporter.engine.budget`.
    """
    votes = [detector.votes for detector in detectors]
    # What has no interval has no part in the band.
    banded = [index for index, detector in enumerate(detectors) if detector.interval] or list(range(len(votes)))
    with_band, votes_of_band = [results[index] for index in banded], [votes[index] for index in banded]
    expected = _mean([result.expected for result in with_band])
    # Detectors without an interval may agree at any value, so those with one have to withhold what is left.
    free = sum(detector.votes for detector in detectors if not detector.interval)
    needed = max(1, quorum - free)
    band = _band(with_band, votes_of_band, needed, 1.0)
    plain = isinstance(threshold, float) and threshold == 1.0
    published = band if plain else _band(with_band, votes_of_band, needed, threshold)
    # The mean of the detectors may lie a little outside the band of some of them.
    expected = clip(expected, np.minimum(*band), np.maximum(*band))
    lower, published_lower = (np.minimum(edge, expected - smallest) for edge in (band[0], published[0]))
    upper, published_upper = (np.maximum(edge, expected + smallest) for edge in (band[1], published[1]))

    any_counts = not any_of(smallest)
    counts = np.full(sample.shape, np.inf)
    if not any_counts:
        np.divide(np.abs(sample - expected), smallest, out=counts, where=smallest > 0.0)
    each = np.array([[result.above for result in results], [result.below for result in results]])
    # Of both sides at once.
    joint = _kth_largest(list(each.swapaxes(0, 1)), votes, quorum)
    if not plain:
        each /= threshold
    above, below = joint if plain else joint / threshold
    if not any_counts:
        above, below, each = (np.minimum(severity, counts) for severity in (above, below, each))
    return Ballot(above, below, expected, lower, upper, each, joint, counts, published_lower, published_upper)


def beside_months(result: DetectorResult, normal: FloatArray) -> DetectorResult:
    """Return a result divided by what months had, shape (2, n); what has no side, such as texture, by the larger."""
    sideless = result.above == result.below
    above, below = (np.where(sideless, normal.max(axis=0), side) for side in normal)
    return replace(result, above=result.above / above, below=result.below / below)


def _band(
    results: Sequence[DetectorResult], votes: Sequence[int], needed: int, threshold: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the edges at which as many votes as are needed have a severity of `threshold`."""
    lower, upper = [], []
    for result in results:
        if isinstance(threshold, float) and threshold == 1.0:
            lower.append(result.lower)
            upper.append(-result.upper)
        else:
            lower.append(result.expected + threshold * (result.lower - result.expected))
            upper.append(-(result.expected + threshold * (result.upper - result.expected)))
    least, most = _kth_largest(list(np.array((lower, upper)).swapaxes(0, 1)), votes, needed)
    return least, -most


def _mean(rows: Sequence[FloatArray]) -> FloatArray:
    """Return the mean of the rows that are not NaN; NaN where all are."""
    every = np.array(rows)
    valid = ~np.isnan(every)
    total, count = add_up(np.where(valid, every, 0.0)), count_of(valid)
    mean: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _kth_largest(rows: list[FloatArray], votes: Sequence[int], k: int) -> FloatArray:
    """Return the k-th largest of d arrays elementwise, each counted `votes` times.

    NaN counts as smallest, and wins where k reaches it.
    """
    coalitions = _coalitions(tuple(votes), k) if len(votes) <= _FEW else None
    if coalitions is None:
        ballots = np.array([row for row, count in zip(rows, votes, strict=True) for _ in range(min(count, k))])
        ranked: FloatArray = -np.sort(-ballots, axis=0)  # Descending, NaN last.
        return ranked[k - 1] if k <= len(ranked) else np.full_like(rows[0], np.nan)
    # Every coalition that has enough votes agrees on the smallest of its severities; the largest of these counts.
    agreed = (functools.reduce(np.minimum, [rows[index] for index in coalition]) for coalition in coalitions)
    return functools.reduce(np.fmax, agreed) if coalitions else np.full_like(rows[0], np.nan)


@functools.lru_cache(maxsize=64)
def _coalitions(votes: tuple[int, ...], k: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the sets of voters, by number, that have `k` votes together and none too many; None: they are many."""
    members = range(len(votes))
    winning = (some for size in range(1, len(votes) + 1) for some in itertools.combinations(members, size))
    needed = [
        some for some in winning if k <= sum(votes[each] for each in some) < k + min(votes[each] for each in some)
    ]
    return tuple(needed) if len(needed) <= _FEW else None


def severity_of(score: FloatArray) -> FloatArray:
    """Return the severity that a score stands for: 53 where it has no more digits."""
    severity: FloatArray = -np.log2(np.maximum(1.0 - score, 2.0**-53))
    return severity


def score_of(severity: FloatArray) -> FloatArray:
    """Return the anomaly score, 0..1: 0.5 at severity 1, 0.97 at severity 5."""
    score: FloatArray = 1.0 - np.exp2(-severity)
    return score
