"""Which label values carry the change of an aggregate: sets of one or two values under which everything moved alike.

A cause moves all leaves under it by the same factor (of a ratio: by as many points), and no others. So every set of
values is scored by how much of the squared movement of the leaves its mean explains: a parent of the cause dilutes the
mean with leaves that did not move, a child leaves moved leaves out, and both explain less. A set whose leaves moved
differently is no single cause. Sets are taken after each other from what is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Carrier", "attribute_ratio", "attribute_sum"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_MOST = 3
"""Sets that are named."""
_SIGNIFICANT = 12.0
"""How often the noise a set has to explain beyond what the best of so many sets explains by chance."""
_MATERIAL = 0.01
"""Share of the aggregate that a set has to move at least."""
_RATIO_MATERIAL = 0.05
"""The same of a ratio, whose events are few."""
_SMALL = 0.1
"""Leaves that are smaller than this share of the middle one say less, because they are noisier."""
_FLOOR, _RATIO_FLOOR = 0.01, 0.05
"""Noise of a leaf at least: of a sum as a share of it, of a ratio as a share of the whole's."""
_BARE = 1e-3
"""What leaves without a value count as, as a share of a small one."""
_FARTHEST = 4.0
"""Natural logarithm of the factor beyond which all leaves moved alike: they came or went."""
_CLIPS, _CLIPPED = 8, 6.0
"""How often leaves are left out, and how many times the mean square they moved."""
_QUIETER = 0.5
"""Share of the noise from which it was no noise but the movement of a set."""
_UNLIKE = 4.0
"""Standard errors by which the spread under a set may exceed the noise,"""
_ALIKE = 0.25
"""or share of the mean movement that it may be."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A set of label values and its part of a change.

    Attributes
    ----------
    values : mapping
        Label values; all of them hold.
    change : float
        By how much it changed, in units of the aggregate; of a ratio, events beyond those that were expected.
    leaves : ndarray of int
        Which leaves are under it.
    """

    values: Mapping[str, str]
    change: float
    leaves: IntArray


def attribute_sum(
    labels: Mapping[str, Sequence[str]], expected: FloatArray, observed: FloatArray
) -> tuple[Carrier, ...]:
    """Return the sets of label values that carry the change of a sum, those with the largest change first.

    Parameters
    ----------
    labels : mapping of str to sequence of str, length n
        By name of a label: its value for each leaf.
    expected, observed : ndarray, shape (n,)
        Values of the leaves; not negative.
    """
    least = _SMALL * _middle_of(np.maximum(expected, observed))
    bare = _BARE * least
    moved = np.clip(np.log((observed + bare) / (expected + bare)), -_FARTHEST, _FARTHEST)
    size = np.maximum(expected, observed)
    weight = size / (size + least)
    total = max(float(expected.sum()), 1e-300)
    return _carriers(labels, moved, weight, observed - expected, least=_MATERIAL * total, floor=_FLOOR**2)


def attribute_ratio(
    labels: Mapping[str, Sequence[str]],
    expected: FloatArray,
    expected_total: FloatArray,
    observed: FloatArray,
    total: FloatArray,
) -> tuple[Carrier, ...]:
    """Return the sets of label values that carry the change of a ratio of two sums.

    Parameters
    ----------
    labels : mapping
        As in `attribute_sum`.
    expected, expected_total, observed, total : ndarray, shape (n,)
        Numerator and denominator of the leaves, before and now.
    """
    overall = float(expected.sum() / max(float(expected_total.sum()), 1e-300))
    # What was not there before had no ratio of its own.
    before = np.where(expected_total > 0, expected / np.where(expected_total > 0, expected_total, 1.0), overall)
    events = before * total
    moved = np.where(total > 0, (observed - events) / np.where(total > 0, total, 1.0), 0.0)
    least = _RATIO_MATERIAL * float(events.sum())
    return _carriers(
        labels, moved, total, observed - events, least=least, floor=(_RATIO_FLOOR * overall) ** 2, ratio=overall
    )


def _carriers(
    labels: Mapping[str, Sequence[str]],
    moved: FloatArray,
    weight: FloatArray,
    change: FloatArray,
    *,
    least: float,
    floor: float,
    ratio: float | None = None,
) -> tuple[Carrier, ...]:
    if not len(weight):
        return ()
    weight = weight / max(float(weight.mean()), 1e-300)
    sets = _label_sets(labels)
    threshold = _SIGNIFICANT + 2.0 * np.log(max(sum(size for _, _, size in sets), 1))
    columns = np.stack([weight, weight * moved, weight * moved * moved, change, np.ones(len(moved))], axis=1)
    sums = [_sums(place, size, columns) for _, place, size in sets]
    carriers: list[Carrier] = []
    left = weight > 0
    while len(carriers) < _MOST and left.any():
        noise = _noise(moved[left], weight[left], floor)
        for _ in range(2):
            scored = [_best_of(each, noise, least, ratio) for each in sums]
            best = max(range(len(sets)), key=lambda number: scored[number][0])
            place, top = sets[best][1], scored[best][1]
            # Where a cause has half of the leaves, what is noise shows only without it.
            inside = (place == top) & left
            rest = np.where(inside, moved - np.average(moved[inside], weights=weight[inside]), moved)
            without = _noise(rest[left], weight[left], floor)
            if without > _QUIETER * noise:
                break
            noise = without
        if scored[best][0] <= threshold or not sets[best][0]:
            break
        under = np.flatnonzero(inside)
        values = {name: labels[name][int(under[0])] for name in sets[best][0]}
        carriers.append(Carrier(values, float(change[under].sum()), under))
        left[under] = False
        for (_, place, size), each in zip(sets, sums, strict=True):
            each -= _sums(place[under], size, columns[under])
    return tuple(sorted(carriers, key=lambda carrier: -abs(carrier.change)))


def _sums(place: IntArray, size: int, columns: FloatArray) -> FloatArray:
    # A product with the matrix of which leaf is in which combination passes over the leaves once, not five times.
    count = len(place)
    from scipy.sparse import csr_array  # Heavy, and needed when an alert fires.

    inside = csr_array((np.ones(count), place, np.arange(count + 1)), shape=(count, size))
    sums: FloatArray = (inside.T @ columns).T
    return sums


def _label_sets(labels: Mapping[str, Sequence[str]]) -> list[tuple[tuple[str, ...], IntArray, int]]:
    """Return each label and pair of labels: names, which combination each leaf has, and how many there may be."""
    codes = {}
    for name, values in labels.items():
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        code = np.fromiter(map(numbers.__getitem__, values), np.intp, len(values))
        codes[name] = (code, len(numbers))
    names = [name for name, (_, size) in codes.items() if size > 1]
    # No label at all: everything moved alike, so nothing carries it.
    whole = np.zeros(len(next(iter(labels.values()), ())), np.intp)
    sets: list[tuple[tuple[str, ...], IntArray, int]] = [((), whole, 1), *(((name,), *codes[name]) for name in names)]
    for name, other in itertools.combinations(names, 2):
        (code, size), (inner, width) = codes[name], codes[other]
        sets.append(((name, other), code * width + inner, size * width))
    return sets


def _best_of(sums: FloatArray, noise: float, least: float, ratio: float | None) -> tuple[float, int]:
    """Return how much the best combination of some labels explains, in units of the noise, and which it is."""
    mass, first, second, change, leaves = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = first / mass
        gain = first * mean / noise
        spread = (second - first * mean) / leaves
        own = noise
        if ratio is not None:
            # Events are rare: their noise grows with how many there are.
            now = np.clip(ratio + mean, ratio, 1.0)
            own = noise * np.maximum(now * (1.0 - now), ratio * (1.0 - ratio)) / max(ratio * (1.0 - ratio), 1e-12)
        alike = spread <= own * (1.0 + _UNLIKE * np.sqrt(2.0 / leaves))
        alike |= spread * leaves <= _ALIKE**2 * first * mean
    gain = np.where(alike & (np.abs(change) >= least) & (leaves > 0.5), gain, -np.inf)
    top = int(np.argmax(gain))
    return float(gain[top]), top


def _noise(moved: FloatArray, weight: FloatArray, floor: float) -> float:
    """Return the variance of a leaf of weight 1, from those that did not move."""
    squares = weight * (moved - np.median(moved)) ** 2
    for _ in range(_CLIPS):
        kept = squares[squares <= _CLIPPED * squares.mean()]
        if len(kept) == len(squares):
            break
        squares = kept
    return max(float(squares.mean()), floor, 1e-12)


def _middle_of(size: FloatArray) -> float:
    positive = size[size > 0]
    return float(np.median(positive)) if len(positive) else 1.0
