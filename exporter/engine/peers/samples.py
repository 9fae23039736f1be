"""Samples that are compared with those of siblings, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "FloatArray", "PeerSamples", "PeerVerdicts"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PeerSamples:
    """Samples of all rows in one span; source units.

    Attributes
    ----------
    times : ndarray, shape (t,), Unix seconds
    values : ndarray, shape (t, size)
    usable, learn : ndarray of bool, shape (t, size)
        Which are compared, and learned.
    seconds : float
        How far instants are apart.
    step : float, seconds
        How far those are apart that are learned.
    steps : ndarray of bool, shape (t,)
        Instants that are learned.
    least, relative : float
        Deviations below never count: in units of the value, and as a part of what was expected.
    accept_after : float, seconds
        What has been unlike its siblings for so long has another place.
    """

    times: FloatArray
    values: FloatArray
    usable: BoolArray
    learn: BoolArray
    seconds: float
    step: float
    steps: BoolArray
    least: float
    relative: float
    accept_after: float


@dataclass(frozen=True, slots=True)
class PeerVerdicts:
    """How unlike their siblings samples are; arrays of shape (t, size), NaN: cannot say.

    Attributes
    ----------
    above, below
        Severities.
    expected, lower, upper : source units
        Its usual place among what the siblings are now, and the edges: beyond them a sample is anomalous where it
        lasts, and one that is anomalous is always beyond them.
    middle : source units
        The median of the siblings.
    size
        How many siblings have a sample.
    """

    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    middle: FloatArray
    size: FloatArray

    @classmethod
    def of(cls, shape: tuple[int, int]) -> PeerVerdicts:
        """Return those of nothing."""
        return cls(*np.full((7, *shape), np.nan))

    def put(self, when: slice, verdicts: PeerVerdicts) -> None:
        """Write those of some instants."""
        for name in self.__slots__:
            getattr(self, name)[when] = getattr(verdicts, name)

    def part(self, rows: slice) -> PeerVerdicts:
        """Return those of some rows."""
        return PeerVerdicts(*(getattr(self, name)[:, rows] for name in self.__slots__))

    def at(self, index: int) -> PeerVerdicts:
        """Return those of one instant: arrays of shape (size,)."""
        return PeerVerdicts(*(getattr(self, name)[index] for name in self.__slots__))
