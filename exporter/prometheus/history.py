"""A long range query as bounded chunks on one grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from exporter.errors import PrometheusError
from exporter.prometheus.decode import Matrix
from exporter.prometheus.frame import Block, FloatArray
from exporter.prometheus.refusal import asks_too_much

__all__ = ["MOST_POINTS", "MOST_SAMPLES", "blocks", "grid", "on_grid"]

MOST_POINTS = 10_000
"""Points a series in one answer; Prometheus refuses more than 11,000."""

MOST_SAMPLES = 1_000_000
"""Samples in one answer: some 40 MB of JSON."""

Fetch = Callable[[float, float], tuple[Matrix, tuple[str, ...]]]
"""Ask for the grid instants from one to another, both included."""


def grid(start: float, end: float, step: float) -> FloatArray:
    """Return the instants that a range query from `start` to `end` evaluates, shape (t,).

    >>> grid(0.0, 1.0, 0.25)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if not (step > 0 and math.isfinite(start) and math.isfinite(end)):
        raise ValueError(f"not a time range: from {start} to {end} every {step} s")
    # The API has milliseconds: an end that is a rounding error short of an instant means that instant.
    count = math.floor((end - start + 0.0005) / step) + 1
    return start + step * np.arange(max(count, 0), dtype=np.float64)


def blocks(fetch: Fetch, times: FloatArray, step: float, series: int) -> Iterator[Block]:
    """Yield the history at `times` in time order, asking for less at once where the server says it is too much.

    Parameters
    ----------
    fetch : callable
    times : array (t,)
        Grid instants, `step` seconds apart.
    step : float
    series : int
        How many series are expected; a bad guess costs requests, or memory for one chunk.

    Raises
    ------
    PrometheusError
        From `fetch`; what was yielded before stays good.
    """
    points = _points(series)
    first = 0
    while first < len(times):
        part = times[first : first + points]
        try:
            matrix, warnings = fetch(float(part[0]), float(part[-1]))
        except PrometheusError as error:
            if len(part) == 1 or not asks_too_much(error):
                raise
            points = max(1, len(part) // 2)
            continue
        yield Block(part, matrix.keys, on_grid(matrix, part, step), matrix.rejected, warnings)
        first += len(part)
        points = min(points, _points(len(matrix.keys)))


def on_grid(matrix: Matrix, times: FloatArray, step: float) -> FloatArray:
    """Return the samples of every series at `times`, shape (t, n), NaN where there is none.

    A sample belongs to the nearest instant of the grid; samples outside of it are left out.
    """
    values = np.full((len(times), len(matrix.keys)), np.nan)
    if not matrix.keys:
        return values
    lengths = [len(one) for one in matrix.times]
    column = np.repeat(np.arange(len(lengths)), lengths)
    row = np.rint((np.concatenate(matrix.times) - times[0]) / step)
    inside = (row >= 0) & (row < len(times))
    values[row[inside].astype(np.intp), column[inside]] = np.concatenate(matrix.values)[inside]
    return values


def _points(series: int) -> int:
    return max(1, min(MOST_POINTS, MOST_SAMPLES // max(series, 1)))
