"""The vote of a group: single metrics, each as its query judges it, together with the joint detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from exporter.engine.multivariate.joint import FloatArray, Joint
from exporter.engine.multivariate.members import MemberLoad

__all__ = ["together"]

_LARGEST = 50.0
"""Severity that a score of one stands for, which has none."""
_UNDER_LOAD = 0.5
"""Severity at most of a metric that goes with a load: what the load explains is no vote."""


def together(joint: Joint, severity: FloatArray | float, load: MemberLoad, voters: Sequence[int], quorum: int) -> Joint:
    """Return the result with the severity that `quorum` voters reach: the k-th largest, as in the vote of a query.

    Parameters
    ----------
    severity : ndarray, shape (n, p)
        Of the queries; NaN: one cannot say, and has no vote.
    voters : sequence of int
        The metrics that vote; the joint detector is another voter.
    """
    rows = len(joint.severity)
    single = np.minimum(np.broadcast_to(severity, joint.share.shape)[:, list(voters)], _LARGEST)
    held = (load.held | load.suspected)[:, list(voters)]
    single = np.where(held, np.fmin(single, _UNDER_LOAD), single)
    every = np.column_stack([single, joint.severity])
    ranked = -np.sort(-np.where(np.isnan(every), -np.inf, every), axis=1)
    # Of recorded samples a query may be missing.
    reached = ranked[:, quorum - 1] if quorum <= ranked.shape[1] else np.full(rows, np.nan)
    share = joint.share * np.nan_to_num(joint.severity)[:, None]
    share[:, list(voters)] += np.nan_to_num(single)
    total = share.sum(axis=1, keepdims=True)
    share = np.divide(share, total, out=np.zeros((rows, joint.share.shape[1])), where=total > 0.0)
    return replace(joint, severity=np.where(np.isfinite(reached), reached, np.nan), share=share)
