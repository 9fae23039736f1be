"""Which of some instants are steps of learning, and what was learned before each of them.

Every sample is judged as if it were the next one to be learned: between two that are, the past of all is the same.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array

__all__ = ["LearningSteps"]

_NOTHING = np.zeros(0, np.bool_)


class LearningSteps:
    """Some instants of which all, some or none are learned.

    Parameters
    ----------
    flags : ndarray of bool, shape (t,)
        Which are; at least one instant, but where there is nothing to be done.

    Attributes
    ----------
    count : int
        How many are.
    every, none : bool
        Whether all are, or none.

    Examples
    --------
    >>> steps = LearningSteps(np.array([False, True, False, False, True]))
    >>> steps.past(np.array([0.0]), np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])).ravel()
    array([0., 0., 2., 2., 2.])
    >>> steps.of(np.arange(5)), steps.between(np.arange(5)), steps.before
    (array([1, 4]), array([0, 2, 3]), array([0, 0, 1, 1, 1]))
    """

    def __init__(self, flags: npt.NDArray[np.bool_] = _NOTHING) -> None:
        self.flags = flags
        self.count = int(np.count_nonzero(flags))
        self.every, self.none = self.count == len(flags), self.count == 0

    def __len__(self) -> int:
        return len(self.flags)

    @cached_property
    def before(self) -> npt.NDArray[np.intp]:
        """How many of those that are learned come before each instant, shape (t,)."""
        before: npt.NDArray[np.intp] = np.add.accumulate(self.flags, dtype=np.intp) - self.flags
        return before

    @cached_property
    def most(self) -> int:
        """How many come before the last instant."""
        return self.count - int(self.flags[-1])

    @cached_property
    def last(self) -> int:
        """The last instant that is learned; -1 where none is."""
        return int(np.flatnonzero(self.flags)[-1]) if self.count else -1

    @cached_property
    def first(self) -> int:
        """The first instant that is learned; how many there are where none is."""
        return len(self.flags) if self.none else int(self.flags.argmax())

    def of(self, values: Array, axis: int = 0) -> Array:
        """Return what is learned of values, which have t entries along an axis; a view where that is all or nothing."""
        return values if self.every else self._chosen(values, axis, slice(0) if self.none else self.flags)

    def between(self, values: Array, axis: int = 0) -> Array:
        """Return what is not learned of values; as `of`."""
        return values if self.none else self._chosen(values, axis, slice(0) if self.every else ~self.flags)

    def at_each(self, rows: Array, first: int = 0, axis: int = 0) -> Array:
        """Return for each instant the row ``first + before``, such as what was learned before it; not to be changed."""
        if self.every or len(self) == 1:
            return self._chosen(rows, axis, slice(first, first + len(self)))
        if not self.none:
            return self._chosen(rows, axis, first + self.before)
        here = self._chosen(rows, axis, slice(first, first + 1))
        return np.broadcast_to(here, (*here.shape[:axis], len(self), *here.shape[axis + 1 :]))

    @staticmethod
    def _chosen(values: Array, axis: int, which: slice | Array) -> Array:
        place: tuple[slice | Array, ...] = (*(slice(None),) * axis, which)
        chosen: Array = values[place]
        return chosen

    def past(self, state: Array, values: Array, axis: int = 0) -> Array:
        """Return what values were at the instant before each that was learned, or the `state` where none was.

        Parameters
        ----------
        state : ndarray
            The shape of `values` without the axis of the instants.
        values : ndarray
            With t entries along the axis.
        """
        rows = state[(slice(None),) * axis + (None,)]
        if not self.none:
            kept = self._chosen(self.of(values, axis), axis, slice(0, self.most))
            # A copy in any case: the state may change next.
            rows = np.concatenate([rows, kept], axis=axis) if self.most else rows.copy()
        return self.at_each(rows, axis=axis)
