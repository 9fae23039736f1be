"""Which samples are not to be learned, and where a multiple of the ordinary value is expected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "FloatArray", "SampleMask", "forgive", "widen"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SampleMask:
    """How the samples of each row are taken.

    Both arrays have the shape (size,), for every instant of a call, or (t, size).

    Attributes
    ----------
    learn : ndarray of bool
        Where False the sample is judged as ever, and for everything that comes later it is as if it had been missing.
    factor : ndarray of float64, > 0
        Expected multiple of the ordinary value; 1 changes nothing. What lies between the ordinary value and its
        multiple counts as the ordinary value, and what lies beyond is divided by the factor. It is learned as it was
        judged.
    band : ndarray of float64, > 0, optional
        How many times as wide the band is. It changes nothing of what is learned.
    """

    learn: BoolArray
    factor: FloatArray
    band: FloatArray | None = None

    def part(self, when: slice, rows: slice) -> SampleMask:
        """Return the mask of some instants and rows."""
        place = rows if self.learn.ndim == 1 else (when, rows)
        return SampleMask(self.learn[place], self.factor[place], None if self.band is None else self.band[place])


def forgive(value: FloatArray, ordinary: FloatArray, factor: FloatArray) -> FloatArray:
    """Return the values that samples are judged as where a multiple of the ordinary value is expected.

    Continuous in the value, and never farther from the ordinary value than the sample itself.

    Parameters
    ----------
    value : ndarray, shape (t, n)
        Source units; NaN where there is no sample.
    ordinary : ndarray, shape (n,)
        NaN: unknown, nothing is forgiven there.
    factor : ndarray, shape (n,) or (t, n)

    >>> forgive(np.array([[50.0, 100.0, 250.0, 330.0]]), np.full(4, 100.0), np.full(4, 3.0))
    array([[ 50., 100., 100., 110.]])
    """
    up, far = _side(value, ordinary, factor)
    scaled = value / factor
    above = np.minimum(np.maximum(scaled, ordinary), value)
    below = np.maximum(np.minimum(scaled, ordinary), value)
    return np.where(far, np.where(up, above, below), value)


def widen(edge: FloatArray, ordinary: FloatArray, factor: FloatArray) -> FloatArray:
    """Return where an edge of the band lies for samples that are judged by `forgive`: the far one farther out.

    >>> widen(np.array([80.0, 120.0]), np.full(2, 100.0), np.full(2, 3.0))
    array([ 80., 360.])
    """
    up, far = _side(edge, ordinary, factor)
    scaled = edge * factor
    return np.where(far, np.where(up, np.maximum(scaled, edge), np.minimum(scaled, edge)), edge)


def _side(value: FloatArray, ordinary: FloatArray, factor: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return whether the multiple lies above the ordinary value, and which values are on its side."""
    up = (factor > 1.0) == (ordinary >= 0.0)
    return up, (factor != 1.0) & np.where(up, value > ordinary, value < ordinary)
