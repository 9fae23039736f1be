"""What a group learns before its first slot: the past of its queries, slot by slot, as if it had been there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate import Group, GroupInput, join

__all__ = ["Waiting", "replay"]

_PATIENCE = 300.0
"""Seconds for which reading history may come no further before it is gone on without it."""


class Waiting:
    """Whether a group can begin: all of its queries have learned their history, or nothing comes any more."""

    def __init__(self) -> None:
        self._progress: list[float] = []
        self._since = -np.inf

    def over(self, progress: Sequence[float], at: float) -> bool:
        """Return whether to wait no longer.

        Parameters
        ----------
        progress : sequence of float
            How much of its history each query has learned, 0 to 1.
        at : float, Unix seconds
            Now.
        """
        if progress != self._progress:
            self._progress, self._since = list(progress), at
        done = sum(part >= 1.0 for part in progress)
        # With one metric there is nothing to judge.
        return done == len(progress) or (done >= 2 and at - self._since >= _PATIENCE)


def replay(
    group: Group,
    past: Mapping[str, Sequence[GroupInput]],
    places: Mapping[str, npt.NDArray[np.intp]],
    *,
    slots: Sequence[float],
    interval: float,
    age: float,
    ended: Callable[[], bool],
) -> int:
    """Let a group judge and learn slots of the past, those after the newest that it has judged; return how many.

    Parameters
    ----------
    group : Group
    past : mapping
        The readings of its queries, by name and in its order, in the order of time.
    places : mapping
        The thing of each row of each query.
    slots : sequence of float, Unix seconds
        In the order of time.
    interval : float, seconds
        How much time a slot stands for.
    age : float, seconds
        Readings that are so much older than a slot do not belong to it.
    ended : callable
        Whether to break off.
    """
    begin = dict.fromkeys(past, 0)
    number = 0
    for slot in slots:
        if slot <= group.at:
            continue
        if ended():
            break
        now: list[GroupInput | None] = []
        for query, readings in past.items():
            index = begin[query]
            while index < len(readings) and readings[index].at <= slot:
                index += 1
            begin[query] = index
            now.append(readings[index - 1] if index else None)
        rows = [
            places[query] if one is None else places[query][: len(one.z)] for query, one in zip(past, now, strict=True)
        ]
        group.step(slot, join(now, rows, group.table.size, since=slot - age), interval)
        number += 1
    return number
