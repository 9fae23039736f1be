"""Isolation forests [1]_ that scikit-learn grows and that are scored here, from their trees alone.

Its own scoring goes through joblib at every call, and swaps the warning filters of the whole process meanwhile: in
several threads at once that prints a warning for each tree, and it costs twenty times what the trees do.

References
----------
.. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou (2008), Isolation Forest. ICDM. doi:10.1109/ICDM.2008.17
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["IsolationTrees"]

FloatArray = npt.NDArray[np.float64]


class IsolationTrees:
    """A trained forest; equal arguments give equal forests.

    Parameters
    ----------
    features : ndarray, shape (m, k)
        Training data without NaN; two vectors at least.
    count : int
        Trees.
    seed : int
    """

    def __init__(self, features: FloatArray, count: int, seed: int) -> None:
        from sklearn.ensemble import IsolationForest  # Heavy, and only needed here.

        model = IsolationForest(n_estimators=count, random_state=seed).fit(features)
        trees = [estimator.tree_ for estimator in model.estimators_]
        self._trees = [(tree, tree.compute_node_depths() + _average_path(tree.n_node_samples) - 1.0) for tree in trees]
        self._typical = count * float(_average_path(np.array([model.max_samples_]))[0])

    def scores(self, features: FloatArray) -> FloatArray:
        """Return the scores of vectors, shape (m, k): 0 to 1, higher where fewer cuts separate them."""
        vectors = np.ascontiguousarray(features, np.float32)
        depths = np.zeros(len(vectors))
        for tree, paths in self._trees:
            depths += paths[tree.apply(vectors)]
        scores: FloatArray = 2.0 ** (-depths / self._typical)
        return scores


def _average_path(samples: npt.NDArray[np.integer]) -> FloatArray:
    """Return how many cuts it takes on average to separate a sample from others; section 2 of the paper."""
    size = np.maximum(samples, 2).astype(np.float64)
    cuts = 2.0 * (np.log(np.maximum(size - 1.0, 1.0)) + np.euler_gamma) - 2.0 * (size - 1.0) / size
    path: FloatArray = np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, cuts))
    return path
