"""When the level of a series last changed, by PELT: an exact search for the best segments in linear time [1]_.

References
----------
.. [1] R. Killick, P. Fearnhead, I. A. Eckley (2012), Optimal detection of changepoints with a linear computational
   cost. Journal of the American Statistical Association 107(500).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["changepoint"]

FloatArray = npt.NDArray[np.float64]

WEEK = 168
"""Hours."""
PENALTY = 40.0
"""What a changepoint costs, in variances: noise that is correlated over hours has none."""
GROUP = 3
"""Hours that are one point: the search takes its time, and is to take little."""
SHORTEST = 4
"""Points of a level."""
LEAST = 3.0
"""Standard deviations that the level must change by."""


def changepoint(hours: FloatArray) -> int | None:
    """Return the index at which the newest level began, or None where the level has not changed.

    Parameters
    ----------
    hours : ndarray, shape (t,)
        Hourly values, oldest first; NaN = missing. At least two weeks.

    Raises
    ------
    ImportError
        Without ruptures, the extra ``drift``.
    """
    import ruptures

    known = np.isfinite(hours)
    if len(hours) < 2 * WEEK or known.mean() < 0.75:
        return None
    rest = np.where(known, hours, np.nan)
    for hour in range(WEEK):
        same = rest[hour::WEEK]
        rest[hour::WEEK] = same - (np.nanmedian(same) if np.isfinite(same).any() else 0.0)
    middle = np.nanmedian(rest)
    scale = 1.4826 * np.nanmedian(np.abs(rest - middle))
    if not scale > 0.0:
        return None
    rest = np.where(np.isfinite(rest), rest - middle, 0.0) / scale
    first = len(rest) % GROUP
    rest = rest[first:].reshape(-1, GROUP).mean(axis=1)
    found = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(rest).predict(pen=PENALTY)
    edges = [0, *found]
    for begin, at, end in reversed(list(zip(edges[:-2], edges[1:-1], edges[2:], strict=True))):
        if abs(rest[at:end].mean() - rest[begin:at].mean()) >= LEAST:
            return first + GROUP * int(at)
    return None
