"""Where each query lies on the grid of its interval."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

__all__ = ["offset_of", "offsets"]


def offset_of(name: str, interval: float) -> float:
    """Return the shift of a query on its grid: whole milliseconds below `interval`, equal in every process."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return math.floor(int.from_bytes(digest, "big") / 2**64 * interval * 1000) / 1000


def offsets(intervals: Mapping[str, float], groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the shift of every query.

    Queries are spread, so that they do not all start together. Those of one group share their instants: metrics
    that are read at different times disagree whenever all of them change.

    Parameters
    ----------
    intervals : mapping of str to float
        Seconds, by query.
    groups : sequence of sequence of str
        Queries that are judged together; a query may be in several.

    Returns
    -------
    dict of str to float
        Seconds, below the interval of the query.
    """
    leader = {name: name for name in intervals}
    for group in groups:
        members = [name for name in group if name in leader]
        joined = {leader[name] for name in members}
        if joined:
            first = min(joined)
            leader = {name: first if old in joined else old for name, old in leader.items()}
    # By the shortest interval, because slots of the longer ones are then among those of the shorter.
    shortest: dict[str, float] = {}
    for name, first in leader.items():
        shortest[first] = min(intervals[name], shortest.get(first, math.inf))
    return {name: offset_of(first, shortest[first]) for name, first in leader.items()}
