"""Samples that climbed to where they are under a load of their group: they do not alert, as in the daemon."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.detect.scoring import ScoredSeries
from exporter.engine.recent import NEWEST
from exporter.engine.shape import climbs, explained_by_load

__all__ = ["climbed"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


def climbed(result: ScoredSeries, factor: FloatArray) -> BoolArray:
    """Return the anomalous samples that a climb under a load explains, shape (t,).

    Parameters
    ----------
    factor : ndarray, shape (t,)
        By which the metrics of the entity are up together; NaN: there is no load.
    """
    observed, expected, upper = result.series.values, result.expected, result.upper
    quiet = np.zeros(len(observed), np.bool_)
    with np.errstate(invalid="ignore"):
        candidates = (result.score >= 0.5) & explained_by_load(observed, expected, upper, factor)
    deviations = np.concatenate([np.full(NEWEST, np.nan), observed - expected])
    for at in np.flatnonzero(candidates).tolist():
        half = upper[at] - expected[at]
        slowly, suddenly = climbs(deviations[at + 1 : at + 1 + NEWEST, None] / (half if half > 0.0 else np.nan))
        quiet[at] = (slowly[0] or (at > 0 and quiet[at - 1])) and not suddenly[0]
    return quiet
