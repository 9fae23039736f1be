"""Which component does the damage: ranked by the part of the damage that is its own, not that of what it calls.

A surprising component need not be the cause: in a quiet service every trifle surprises. So surprise only decides who is
a candidate, and candidates are ordered by how much of what went wrong they account for themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["FloatArray", "own_damage", "ranked", "reached"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_SAME = 0.9
"""Share of the damage of another component from which two have the same."""
_ALIKE = 2.5
"""How many times the work of another a component does at most, if one hands on what the other does."""


def own_damage(damage: FloatArray, edges: IntArray) -> FloatArray:
    """Return the damage of each component less that of what it calls, shape (n,).

    Parameters
    ----------
    damage : ndarray, shape (n,)
        Excess over what is expected, in the unit of the alert. It is contained in that of every caller.
    edges : ndarray of int, shape (m, 2)
        Caller and callee. Components that call each other in a circle keep their damage against each other.
    """
    own = damage.copy()
    if len(edges):
        from scipy.sparse.csgraph import connected_components  # Heavy, and needed when an alert fires.

        caller, callee = edges.T
        _, circle = connected_components(_matrix(len(damage), edges), directed=True, connection="strong")
        other = circle[caller] != circle[callee]
        np.subtract.at(own, caller[other], np.maximum(damage[callee[other]], 0.0))
    return own


def reached(count: int, edges: IntArray, start: int) -> npt.NDArray[np.bool_]:
    """Return which of `count` components a component depends on, itself among them, shape (count,)."""
    from scipy.sparse.csgraph import breadth_first_order

    inside = np.zeros(count, np.bool_)
    inside[breadth_first_order(_matrix(count, edges), start, return_predecessors=False)] = True
    return inside


def ranked(own: FloatArray, candidate: npt.NDArray[np.bool_], work: FloatArray | None = None) -> IntArray:
    """Return all components, the likeliest cause first: candidates before others, each by its own damage.

    Parameters
    ----------
    own : ndarray, shape (n,)
        From `own_damage`.
    candidate : ndarray of bool, shape (n,)
        Who looks unusual, and did so in time.
    work : ndarray, shape (n,), optional
        How much each component does while all is well. Given where no dependencies are known, and used where the same
        damage passes through several components. A component that does far more than another of them is its caller,
        which does much else. Of those that do about as much, the first does most of it; the others hand it on.
    """
    order = np.lexsort((-own, ~candidate))
    if work is None:
        return order
    result: list[int] = []
    rest = order.tolist()
    while rest:
        first = rest[0]
        least = _SAME * own[first]
        same = [i for i in rest if candidate[i] == candidate[first] and own[i] >= least] if least > 0 else rest
        result += _by_work(same, work) if least > 0 else same
        taken = set(same)
        rest = [i for i in rest if i not in taken]
    return np.array(result, np.intp)


def _by_work(same: list[int], work: FloatArray) -> list[int]:
    """Return components with the same damage, the likeliest cause first."""
    much = {i: float(work[i]) if work[i] > 0 else np.inf for i in same}
    about = _ALIKE * min(much.values())
    return sorted(same, key=lambda i: (much[i] > about, -much[i] if much[i] <= about else much[i]))


def _matrix(count: int, edges: IntArray) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
