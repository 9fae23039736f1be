"""Dependencies from the answer of a query: a series for each caller and callee."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.alerting.settings import DependencySettings
from exporter.engine.series import labels_of

__all__ = ["MOST_DEPENDENCIES", "dependencies_in"]

MOST_DEPENDENCIES = 20_000
"""Of one query; more are left out."""


def dependencies_in(
    settings: DependencySettings, keys: Sequence[bytes], values: npt.NDArray[np.float64]
) -> tuple[DependencySettings, ...]:
    """Return the dependencies that an answer holds, at most `MOST_DEPENDENCIES`, in an order that does not vary.

    Parameters
    ----------
    settings : DependencySettings
        With `from_query`: it says which label of the answer is which label of an alert.
    keys : sequence of bytes, length n
        Label sets as JSON objects.
    values : ndarray, shape (n,)
        How much is called; what is not above 0 is no call.

    >>> settings = DependencySettings(from_query="calls", caller={"service": "client"}, callee={"service": "server"})
    >>> (edge,) = dependencies_in(settings, [b'{"client":"shop","server":"stock"}'], np.array([2.0]))
    >>> edge.caller, edge.callee
    ({'service': 'shop'}, {'service': 'stock'})
    """
    pairs = set()
    for place in np.flatnonzero(values > 0).tolist():
        labels = dict(labels_of(keys[place]))
        caller, callee = (
            tuple((name, labels.get(source, "")) for name, source in side.items())
            for side in (settings.caller, settings.callee)
        )
        # What has no name is left out, and nothing is the cause of itself.
        if caller != callee and all(value for _, value in (*caller, *callee)):
            pairs.add((caller, callee))
    return tuple(
        DependencySettings(caller=dict(caller), callee=dict(callee), equal=settings.equal)
        for caller, callee in sorted(pairs)[:MOST_DEPENDENCIES]
    )
