"""How much each thing that is known says about a horizon: robust regression, drawn to what holds for most series."""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array

__all__ = ["FEATURES", "HALF_LIVES", "prior", "weigh"]

HALF_LIVES = np.array([1 / 6, 0.75, 3.0, 12.0, 96.0])
"""Hours, of the running means of deviations from the profile."""
FEATURES = 1 + len(HALF_LIVES) + 2
"""The newest deviation, its running means; how far the week and the last day are from the profile."""
_HOURS = (1 / 12, 1 / 6, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 36.0, 48.0, 72.0)
_PRIOR = np.array(
    [
        [0.30, 0.70, -0.05, 0.00, 0.00, 0.00, 0.00, 0.00],
        [0.15, 0.85, -0.05, 0.00, 0.00, 0.00, 0.00, 0.00],
        [0.20, 0.75, 0.00, 0.00, 0.02, 0.00, 0.00, 0.00],
        [0.30, 0.50, 0.15, 0.00, 0.05, -0.03, 0.00, 0.00],
        [0.25, 0.45, 0.25, -0.05, 0.10, -0.05, 0.00, 0.05],
        [0.00, 0.50, 0.20, 0.10, 0.05, -0.05, -0.03, 0.08],
        [0.00, 0.30, 0.20, 0.15, 0.05, -0.08, -0.06, 0.15],
        [0.00, 0.20, 0.10, 0.20, 0.05, -0.08, -0.07, 0.22],
        [0.00, 0.10, 0.00, 0.30, 0.05, -0.05, -0.08, 0.25],
        [0.00, 0.10, 0.05, 0.15, 0.10, -0.04, -0.05, 0.25],
        [0.00, 0.05, 0.05, 0.10, 0.05, 0.00, -0.05, 0.15],
        [0.05, 0.05, 0.05, 0.05, 0.05, 0.00, -0.20, 0.08],
        [0.00, 0.03, 0.05, 0.05, 0.05, 0.05, -0.20, 0.00],
    ]
)
"""Least absolute deviations over public operational series, rounded. By hours ahead and feature."""
_PULL = 0.3
"""Ridge: how hard a series is drawn to the prior, in units of its mean squared feature."""
_ROUNDS = 2
_SHARPEST = 0.1
"""Residuals below this part of the mean one do not weigh more."""


def prior(hours: Array) -> Array:
    """Return the weights to begin with, shape (k, 8), for k horizons in hours, shape (k,)."""
    ahead = np.log(hours)
    return np.stack([np.interp(ahead, np.log(_HOURS), column) for column in _PRIOR.T], axis=1)


def weigh(features: Array, target: Array, present: Array, before: Array, pooled: int) -> tuple[Array, Array]:
    """Fit weights by least absolute deviations, near to those before.

    Parameters
    ----------
    features : ndarray of float32, shape (h, k, t, n)
        Of h horizons at t origins; 0 where not present.
    target, present : ndarray, shape (h, t, n)
        What became of it, and whether that is known.
    before : ndarray, shape (h, k)
        The weights to begin with.
    pooled : int
        Neighbouring horizons on each side that speak as well.

    Returns
    -------
    weights : ndarray, shape (h, k, n)
    rest : ndarray, shape (h, t, n)
        What is left of the target; 0 where not present.
    """
    horizons, size, _, n = features.shape
    begin = before.astype(np.float32)
    rest = target - np.einsum("hktn,hk->htn", features, begin)
    rest *= present
    aim = rest.copy()
    scale = np.abs(rest).sum(axis=1) / np.maximum(present.sum(axis=1), 1) + np.float32(1e-30)
    weights = np.broadcast_to(begin[:, :, None], (horizons, size, n))
    for _ in range(_ROUNDS):
        weight = present / np.maximum(np.abs(rest) / scale[:, None], np.float32(_SHARPEST))
        # In units of the horizon's own errors, so that the sums of neighbours can be added.
        weight /= (scale * scale)[:, None]
        gram, right = np.empty((horizons, n, size, size)), np.empty((horizons, n, size))
        for i in range(size):
            weighted = weight * features[:, i]
            right[:, :, i] = np.einsum("htn,htn->hn", weighted, aim)
            for j in range(i, size):
                gram[:, :, i, j] = gram[:, :, j, i] = np.einsum("htn,htn->hn", weighted, features[:, j])
        gram, right = _pool(gram, pooled), _pool(right, pooled)
        ridge = _PULL / size * np.einsum("hnii->hn", gram) + 1e-30
        gram += ridge[..., None, None] * np.eye(size)
        change = np.linalg.solve(gram, right[..., None])[..., 0]
        weights = (begin[:, :, None] + change.swapaxes(1, 2)).astype(np.float32)
        rest = (target - np.einsum("hktn,hkn->htn", features, weights)) * present
    return weights, rest


def _pool(sums: Array, pooled: int) -> Array:
    total = sums.copy()
    for by in range(1, pooled + 1):
        total[by:] += sums[:-by]
        total[:-by] += sums[by:]
    return total
