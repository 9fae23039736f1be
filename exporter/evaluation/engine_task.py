"""Judging and learning of samples as a task: the engine goes to a worker and comes back, or its rows to several."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.slices import can_be_sliced, judge_slice, run_sliced
from exporter.engine.verdict import Verdicts
from exporter.errors import WorkersClosedError
from exporter.worker_pool import WorkerPool

__all__ = ["Abandoned", "run_in"]

BoolArray = npt.NDArray[np.bool_]


_ROWS = 400
"""Series for each worker, at least: with fewer, the instants of a pass cost nearly as much as with these."""


class Abandoned(Exception):  # noqa: N818 - not an error: it was asked for.
    """Reading history was given up, because the query ends or changes."""


def run_in(
    pool: WorkerPool,
    engine: Engine,
    times: FloatArray,
    samples: FloatArray,
    seconds: float,
    mask: SampleMask | None,
    *,
    complete: BoolArray | None,
) -> Verdicts:
    """Judge and learn samples as `Engine.run` does, in processes of the pool.

    Raises
    ------
    Abandoned
        The pool was closed.
    """
    slices = min(pool.count, samples.shape[1] // _ROWS)
    try:
        if slices > 1 and can_be_sliced(engine):
            judge = partial(pool.map, judge_slice)
            return run_sliced(engine, slices, judge, times, samples, seconds, mask, complete=complete)
        other, verdicts = pool.run(_run, engine, times, samples, seconds, mask, complete)
    except WorkersClosedError:
        raise Abandoned from None
    engine.become(other)
    return verdicts


def _run(
    engine: Engine,
    times: FloatArray,
    samples: FloatArray,
    seconds: float,
    mask: SampleMask | None,
    complete: BoolArray | None,
) -> tuple[Engine, Verdicts]:
    return engine, engine.run(times, samples, seconds, mask, complete=complete)
