"""Judging and learning of samples as a task: the engine goes to a worker and comes back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.verdict import Verdicts
from exporter.errors import WorkersClosedError
from exporter.worker_pool import WorkerPool

__all__ = ["Abandoned", "run_in"]

BoolArray = npt.NDArray[np.bool_]


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
    """Judge and learn samples as `Engine.run` does, in a process of the pool.

    Raises
    ------
    Abandoned
        The pool was closed.
    """
    try:
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
