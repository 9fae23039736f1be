"""Lengths of vectors over the newest instants: what lasts counts, a burst that is not the first one does not.

Many entities have bursts of a single instant, at a full minute or once a day, that nobody could act on: after the first
one they show in the score, below the threshold. And what is over is over: after an event the mean of what it was would
stay high for as long as the event was far.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.joint import NEWEST, Array, FloatArray

__all__ = ["BACK", "bursts", "is_large", "smoothed"]

BACK = 6
"""Instants after which nothing of an event is left that is anomalous: twice the half-life of the mean."""
_ONCE = 0.4
"""Part of the limit that one instant reaches at most, and that what is over goes down to at once: a score of 0.39."""


def is_large(lengths: FloatArray, limit: Array) -> npt.NDArray[np.bool_]:
    """Return which lengths of one instant, shape (n,), count for less than they are unless they last."""
    large: npt.NDArray[np.bool_] = lengths > _ONCE / NEWEST * limit
    return large


def bursts(newest: Array, lengths: FloatArray, limit: Array) -> npt.NDArray[np.bool_]:
    """Return which entities, shape (n,), had a burst of one instant in the last one.

    Parameters
    ----------
    newest : ndarray, shape (n, BACK)
        Lengths of deviations before now, oldest first.
    lengths : ndarray, shape (n,)
        Now.
    limit : ndarray, shape (n,)
    """
    burst = is_large(newest[:, -1], limit) & ~is_large(newest[:, -2], limit)
    return burst & (lengths <= _ONCE / NEWEST * limit)


def smoothed(
    mean: Array, newest: Array, lengths: FloatArray, limit: Array, bursting: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Add the newest lengths to their means, and return which entities, shape (n,), have one that is sudden.

    Parameters
    ----------
    mean : ndarray, shape (n, 2)
        Of deviations and of changes. Changed.
    newest : ndarray, shape (n, 2, BACK)
        Lengths of the newest instants, oldest first. Changed.
    lengths : ndarray, shape (n, 3)
        Of deviations, changes, and changes since the instant before the last; NaN: there is none, or none is large.
        A deviation counts as the lesser of this instant and the last; a change as the lesser of the last and of what
        is left of it now.
    limit : ndarray, shape (n,)
        NaN: not known yet.
    bursting : ndarray of bool, shape (n,)
        Entities that have had bursts of one instant. Of others the first instant counts in full.
    """
    # The end of a burst is no change: it leads to where it came from.
    now = np.column_stack([lengths[:, 0], np.fmin(lengths[:, 1], lengths[:, 2])])
    here, once = ~np.isnan(now), np.where(bursting, _ONCE / NEWEST * limit, np.inf)
    lasting = np.fmin(newest[:, :, -1], np.nan_to_num(lengths[:, [0, 2]]))
    counting = np.fmax(lasting, np.fmin(now, once[:, None]))
    sudden: npt.NDArray[np.bool_] = now[:, 0] > counting[:, 0]
    mean += np.where(here, NEWEST * (counting - mean), 0.0)
    newest[...] = np.where(here[:, :, None], np.concatenate([newest[:, :, 1:], now[:, :, None]], axis=2), newest)
    np.minimum(mean, np.fmax(newest.max(axis=2), _ONCE * limit[:, None]), out=mean)
    return sudden
