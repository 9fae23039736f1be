"""How vectors count: what one metric is allowed of a length, and what is ordinary at this hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.engine.multivariate.joint import FloatArray

__all__ = ["ALONE", "Vectors", "changing", "deviating", "limited"]

ALONE, _SECOND, _SECOND_OF_ALL = 9.0, 30.0, 150.0
"""A component's square counts at most so much, and so many times the next largest (so many divided by the number of
metrics, where they are more than five: the next largest of many is larger), beyond what the others do: a deviation of
one metric alone is what its own query is for."""
_COMPRESSED = 6.0
"""Standard deviations beyond which a component of the changes counts by its logarithm."""
_AT_THIS_HOUR = 2.0
"""Standard deviations of this hour of the week within which a metric is ordinary, however few hours stray so far."""
_FARTHEST = 1e3
"""Standard deviations at most, so that everything stays finite."""
_TOO_SMALL_TO_COUNT = 3.0
"""Standard deviations of a deviation or change below the smallest one that counts for its query, at most; and of one
that is ordinary at this hour."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of some entities, shape (m, p).

    `distance` is in standard deviations of this hour of the week, shape (m, p); `loaded` the factor of a load, NaN:
    there is none, and `second` how large the second largest component typically is, shape (m,).
    """

    vector: FloatArray
    distance: FloatArray
    loaded: FloatArray
    second: FloatArray
    changes: bool


def limited(some: Vectors, least: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Return vectors as they count."""
    ordinary = (np.abs(some.vector) < least) | (some.distance < _AT_THIS_HOUR)
    farthest = np.where(ordinary, _TOO_SMALL_TO_COUNT, _FARTHEST) * spread
    counting: FloatArray = np.clip(some.vector, mean - farthest, mean + farthest)
    return counting


def deviating(white: FloatArray, second: FloatArray) -> FloatArray:
    """Return the squares of the components of deviations, the largest limited by the next, or what that typically is.

    Parameters
    ----------
    second : ndarray, shape (n,)
        Of each entity.
    """
    squares = white**2
    largest = squares.argmax(axis=1)[:, None]
    rest = squares.copy()
    np.put_along_axis(rest, largest, 0.0, axis=1)
    limit = ALONE + min(_SECOND, _SECOND_OF_ALL / white.shape[1]) * np.maximum(rest.max(axis=1), second)[:, None]
    np.put_along_axis(rest, largest, np.minimum(np.take_along_axis(squares, largest, axis=1), limit), axis=1)
    return rest


def changing(white: FloatArray) -> FloatArray:
    """Return the squares of the components of changes, of large ones the logarithm."""
    size = np.abs(white)
    large = _COMPRESSED * (1.0 + np.log(np.maximum(size, _COMPRESSED) / _COMPRESSED))
    return np.where(size > _COMPRESSED, large, size) ** 2
