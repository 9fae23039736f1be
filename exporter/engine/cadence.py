"""The cadence of learning: which samples are learned where they come more often than the steps of history.

Detectors that look at the last samples, at changes, or at how often something was so large, know samples and not
seconds. History is read in steps of five minutes and live samples come every minute; learned alike, they would have
smaller changes, running means of minutes instead of an hour, and values that were seen a minute ago. So one cadence
holds for all: every sample is judged as if it were the next one in steps of the cadence, by what was learned at the
last such step, and one of each step is learned and stands for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import BucketIndex
from exporter.engine.learning_steps import LearningSteps

__all__ = ["YOUNG", "LearningGrid", "Span", "cadence_of"]

_ALIKE = 0.75
"""Samples that are at least this part of a cadence apart are all learned: their step is the cadence, or longer.
Half-way between every sample and every second one."""

YOUNG = 72
"""Instants that are all learned in the beginning. Where there is no history nothing was learned to judge by,
and nobody should wait for an hour to see a first score. At one minute these are 72 minutes, six blocks."""

PERIOD = 720.0
"""Seconds after which it is seen whether a series was outside its band nearly all the time: a block of twelve
instants of a minute, as where all are learned."""


def cadence_of(interval: float, step: float) -> float:
    """Return the whole number of intervals that is nearest to the step of history, at least one; seconds.

    >>> [cadence_of(interval, 300.0) for interval in (5.0, 60.0, 120.0, 300.0, 900.0)]
    [300.0, 300.0, 240.0, 300.0, 900.0]
    """
    return interval * max(1, round(step / interval))


@dataclass(frozen=True, slots=True)
class Span:
    """Instants that are scored together: of one hour, one block and the same buckets.

    Attributes
    ----------
    when : slice
        Of the instants of the call.
    buckets : BucketIndex
    seconds : float
        How far instants are apart.
    steps : LearningSteps
        Which of them are learned.
    complete : ndarray of bool, shape (t,)
        Instants at which every series that exists is in the answer.
    periods : list of int
        Instants of the span, but for the first, at which another period begins; see `LearningGrid.period`.
    """

    when: slice
    buckets: BucketIndex
    seconds: float
    steps: LearningSteps
    complete: npt.NDArray[np.bool_]
    periods: list[int]


class LearningGrid:
    """Which of the instants that come every `seconds` are learned.

    Parameters
    ----------
    cadence : float, seconds, optional
        None: all are.
    seconds : float
        How far instants are apart.

    Attributes
    ----------
    seconds : float
        How far instants are apart.
    finer : bool
        Whether not all are learned.
    """

    def __init__(self, cadence: float | None, seconds: float) -> None:
        self._least = -np.inf
        self.seconds = self._stands_for = seconds
        self.finer = cadence is not None and seconds < _ALIKE * cadence
        if cadence is not None and self.finer:
            # Instants are on a grid of their own and may be late by a rounding error; one that is missing is made
            # up for by the next.
            self._least = cadence - 0.5 * seconds
            self._stands_for = cadence

    def stands_for(self, instants: int) -> float:
        """Return how much history an instant stands for that is learned after so many others, seconds."""
        return self.seconds if instants < YOUNG else self._stands_for

    def period(self, at: float) -> float:
        """Return the number of the period that an instant falls in, after each of which level shifts may be accepted.

        Where all instants are learned the blocks of learning are these periods, and there are no others.
        """
        return at // PERIOD if self.finer else 0.0

    def periods(self, times: npt.NDArray[np.float64]) -> list[int]:
        """Return at which of some instants, shape (t,), another period begins than that of the one before."""
        if not self.finer or self.period(times[0]) == self.period(times[-1]):
            return []
        periods: list[int] = (1 + np.flatnonzero(np.diff(times // PERIOD))).tolist()
        return periods

    def score_only(
        self, times: npt.NDArray[np.float64], begin: int, last: float, instants: int
    ) -> npt.NDArray[np.bool_]:
        """Return which instants are not learned, shape (t,); those before `begin` do not count.

        Parameters
        ----------
        last : float, Unix seconds
            The newest that was learned; -inf where none was.
        instants : int
            How many were learned before.
        """
        score_only = np.zeros(len(times), np.bool_)
        if not self.finer:
            return score_only
        begin += max(YOUNG - instants, 0)
        last = last if instants >= YOUNG or not 0 < begin <= len(times) else float(times[begin - 1])
        for index, at in enumerate(times[begin:].tolist(), begin):
            if at - last < self._least:
                score_only[index] = True
            else:
                last = at
        return score_only
