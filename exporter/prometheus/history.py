"""A long range query as bounded chunks on one grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from exporter.errors import PrometheusError
from exporter.prometheus.decode import RangeMatrix
from exporter.prometheus.frame import FloatArray, HistoryChunk
from exporter.prometheus.part_sizes import PartSizes, is_of_the_part
from exporter.prometheus.unread_history import unread_on_grid

__all__ = ["MAX_CELLS", "MAX_POINTS", "MAX_SAMPLES", "chunks", "grid", "on_grid"]

MAX_POINTS = 10_000
"""Points of a series in one response; Prometheus refuses more than 11,000."""

MAX_SAMPLES = 1_000_000
"""Samples in one response: some 40 MB of JSON."""

MAX_CELLS = 8 * MAX_SAMPLES
"""Series times instants of one chunk, also where there is no sample: 64 MB. Series may come and go, or be a flood for a
minute."""

Fetch = Callable[[float, float], tuple[RangeMatrix, tuple[str, ...]]]
"""Queries the grid instants from one to another, both included."""


def grid(start: float, end: float, step: float) -> FloatArray:
    """Return the instants that a range query from `start` to `end` evaluates, shape (t,).

    >>> grid(0.0, 1.0, 0.25)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if not (step > 0 and math.isfinite(start) and math.isfinite(end)):
        raise ValueError(f"not a time range: from {start} to {end} every {step} s")
    # The API has milliseconds: an end that is short of an instant by a rounding error means that instant.
    count = math.floor((end - start + 0.0005) / step) + 1
    return start + step * np.arange(max(count, 0), dtype=np.float64)


def chunks(
    fetch: Fetch,
    times: FloatArray,
    step: float,
    series: int,
    sizes: PartSizes | None = None,
    *,
    answered: bool = False,
) -> Iterator[HistoryChunk]:
    """Yield the history at `times` in time order, in shorter chunks where the server refuses one.

    An instant that it refuses by itself is left out: its chunk has no series and a warning.

    Parameters
    ----------
    fetch : callable
    times : array (t,)
        Grid instants, `step` seconds apart.
    step : float
    series : int
        Expected number of series; a bad guess costs requests, or memory for one chunk.
    sizes : PartSizes, optional
        What earlier calls learned about this query; updated.
    answered : bool
        The expression was answered for another instant, so that it is not at fault where all are refused.

    Raises
    ------
    PrometheusError
        From `fetch`; chunks yielded before stay valid.
    """
    sizes = sizes or PartSizes()
    most, limit = _points(series), MAX_POINTS
    left_out: list[HistoryChunk] = []
    first = skip = 0
    while first < len(times):
        size = sizes.points(step, most)
        part = times[first : first + min(limit, size)]
        try:
            matrix, warnings = fetch(float(part[0]), float(part[-1]))
        except PrometheusError as error:
            if limit < size and len(part) > 1 and is_of_the_part(error):
                limit = len(part) // 2
                continue
            if sizes.refused(step, len(part), error):
                continue
            skip = max(1, 2 * skip)
            if not is_of_the_part(error) or (first + skip >= len(times) and not answered):
                raise
            left_out.append(_refused(times[first : first + skip], error))
            first, limit = first + skip, 1
        else:
            sizes.answered(step)
            yield from left_out
            unread = unread_on_grid(matrix.unread, part, step)
            yield HistoryChunk(part, matrix.keys, on_grid(matrix, part, step), unread, warnings)
            left_out, skip, answered = [], 0, True
            first += len(part)
            most = min(most, _points(len(matrix.keys)))
            # After instants that cannot be read, parts grow again.
            limit = min(MAX_POINTS, 2 * limit)
    yield from left_out


def _refused(times: FloatArray, error: PrometheusError) -> HistoryChunk:
    text = f"instants of history are left out, because the server refuses them: {error.message}"
    return HistoryChunk(times, [], np.empty((len(times), 0)), warnings=(text,), refused=True)


def on_grid(matrix: RangeMatrix, times: FloatArray, step: float) -> FloatArray:
    """Return the samples of every series at `times`, shape (t, n), NaN where there is none.

    A sample belongs to the nearest instant of the grid; samples beyond the grid are left out.
    """
    values = np.full((len(times), len(matrix.keys)), np.nan)
    if not matrix.keys:
        return values
    lengths = [len(times_of_series) for times_of_series in matrix.times]
    column = np.repeat(np.arange(len(lengths)), lengths)
    row = np.rint((np.concatenate(matrix.times) - times[0]) / step)
    inside = (row >= 0) & (row < len(times))
    values[row[inside].astype(np.intp), column[inside]] = np.concatenate(matrix.values)[inside]
    return values


def _points(series: int) -> int:
    return max(1, min(MAX_POINTS, MAX_SAMPLES // max(series, 1)))
