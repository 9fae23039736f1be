"""How far siblings are apart by chance: limits of deviations, from the tails of those that were seen.

Of deviations that last for one sample, for two, three or more, the excesses over a base are kept as counts and moments:
one for each run of samples beyond it, because what lasts is one event. A generalised Pareto distribution is fitted to
them by moments [1]_, and the limit is what so few samples exceed as are wanted.

References
----------
.. [1] J. R. M. Hosking, J. R. Wallis (1987), Parameter and Quantile Estimation for the Generalized Pareto
   Distribution. Technometrics 29(3). doi:10.1080/00401706.1987.10488243
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array
from exporter.engine.seconds import DAY

__all__ = ["BASES", "RULES", "limits_of"]

RULES = 4
"""One sample, two and three in a row, and a level of the last eight or so."""
BASES = np.array([3.0, 2.5, 2.0, 1.0])
"""Standardised deviations beyond which a tail begins, by rule."""
TARGET = 3e-4
"""Samples of a series beyond its limit in a week, by all rules together."""
_PARTS = np.array([0.02, 0.1, 0.5, 0.38])
"""Of these, by rule: what is unlike its siblings stays so, and a single sample is soon two."""
_WEEK = 7 * DAY
_PRIOR = 4032.0
"""Samples that the tails below weigh as much as: two weeks of one series."""
_PRIOR_SHARE = np.array([5e-3, 1.5e-3, 1e-3, 1e-3])
_PRIOR_EXCESS = np.array([0.6, 0.4, 0.3, 0.2])
_OF_QUERY = 4032.0
"""Samples that the tails of all groups weigh as much as for one of them."""
_LEAST = np.array([6.5, 3.9, 3.0, 1.8])
_MOST = 300.0
_SHAPE_MIN, _SHAPE_MAX = -0.1, np.array([0.4, 0.2, 0.1, 0.1])
"""What lasts has a lighter tail, whatever the noise is."""


def limits_of(seen: Array, tails: Array, seconds: float) -> Array:
    """Return the limits of groups, shape (4, g).

    Parameters
    ----------
    seen : ndarray, shape (g,)
        Samples of each group.
    tails : ndarray, shape (4, 3, g)
        By rule: how many runs were beyond the base, and the sums of their excesses and of the squares.
    seconds : float
        How far samples are apart that are judged.
    """
    prior = _PRIOR * _PRIOR_SHARE
    evidence = np.stack([prior, prior * _PRIOR_EXCESS, 2.0 * prior * _PRIOR_EXCESS**2], axis=1)
    all_groups = (tails.sum(axis=2) + evidence) / (seen.sum() + _PRIOR)
    count, total, squares = (
        (tails[:, part] + _OF_QUERY * all_groups[:, part, None]) / (seen + _OF_QUERY) for part in range(3)
    )
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 1e-9)
    shape = np.clip(0.5 * (1.0 - mean**2 / variance), _SHAPE_MIN, _SHAPE_MAX[:, None])
    shape = np.where(np.abs(shape) < 1e-6, 1e-6, shape)
    # A tail that few runs speak for is taken as wider.
    caution = 1.0 + 1.0 / np.sqrt(count * (seen + _OF_QUERY))
    scale = mean * (1.0 - shape) * caution
    times = np.maximum(count / (TARGET * _PARTS[:, None] * seconds / _WEEK), 1.0)
    limit: Array = BASES[:, None] + scale / shape * (times**shape - 1.0)
    return np.asarray(np.clip(limit, _LEAST[:, None], _MOST))
