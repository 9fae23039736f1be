"""What a detector is.

A detector is a frozen parameter object. It judges one sample of every series in one call and never loops
over series. Its answer is a **severity**: the deviation divided by the detector's own threshold, so 1.0 is
exactly at the threshold, in every detector. NaN means "cannot say": no sample, or nothing learned so far.

All values are in **baseline units** (see `exporter.engine.scale`): shifted and scaled per series, so that
float32 state keeps its precision whatever the magnitude of the series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import Field

from exporter.engine.baseline import BucketStats
from exporter.settings import Section

__all__ = [
    "BLOCK",
    "Detector",
    "FloatArray",
    "DetectorResult",
    "DetectorState",
    "SampleBatch",
    "Params",
    "StatefulDetector",
    "interval_judgement",
]

FloatArray = npt.NDArray[np.float64]

BLOCK = 12
"""Instants that are learned together."""
SEVERITY_MAX = 1e6
"""Severities end here, so that a jump from a constant is large and finite."""


class Params(Section):
    """Parameters of a detector: frozen, strict, unknown keys refused.

    Attributes
    ----------
    interval : bool
        Whether its judgement is an interval around an expected value. One without has no band.
    single : bool
        Whether a single sample can be anomalous to it.
    warm_up : float, seconds
        History that it needs before it says anything, where that is more than some samples.
    """

    interval: ClassVar[bool] = True
    single: ClassVar[bool] = True
    warm_up: ClassVar[float] = 0.0

    votes: int = Field(1, ge=1, le=100, description="How many votes it has; `quorum` counts them.")


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """All that may be known when samples are judged: the past, and the samples.

    The instants of one moment follow each other and lie in one hour; nothing is learned between them.

    Attributes
    ----------
    times : ndarray of float64, shape (t,)
        Local time: Unix seconds plus the offset of the zone, so that ``times % 86400`` is the time of day.
    index, block : int
        Place of the first instant in its block of twelve, and the number of the block.
    sample : ndarray of float64, shape (t, n)
        Baseline units; NaN where the series has no sample.
    usable : ndarray of bool, shape (t, n)
        Whether the sample may be learned: it is there, finite, and possible.
    stats : BucketStats
        What was learned about this time of the week, without these samples; arrays of shape (n,).
    resolution : ndarray of float64, shape (n,)
        The smallest half-width that has a meaning at this magnitude (rounding of the source's floats).
    passing : bool
        Whether the samples lie between two that are learned. Each is judged as if it were the next one to be
        learned, and leaves nothing behind that the judgement on a usual sample depends on.
    """

    times: FloatArray
    index: int
    block: int
    sample: FloatArray
    usable: npt.NDArray[np.bool_]
    stats: BucketStats
    resolution: FloatArray
    passing: bool = False


@dataclass(frozen=True, slots=True)
class DetectorResult:
    """What one detector says of every sample.

    Attributes
    ----------
    above, below : ndarray of float64, shape (t, n)
        Severity of a deviation upward and downward. A detector that knows no direction gives the same in both.
        NaN: cannot say.
    expected, lower, upper : ndarray of float64, shape (n,)
        The middle and the edges at which the severity is 1.0, in baseline units. NaN: the detector has no interval.
    """

    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray


class Detector(Protocol):
    """The contract that every detector keeps; tests/contract checks it for each one."""

    @property
    def kind(self) -> str:
        """The name in the configuration file and in explanations."""

    @property
    def votes(self) -> int:
        """How many votes it has."""

    @property
    def interval(self) -> bool:
        """Whether its judgement is an interval around an expected value."""

    def judge(self, moment: SampleBatch) -> DetectorResult:
        """Judge the samples of every series; reads its arguments, changes nothing. Unused where it remembers."""


class DetectorState(Protocol):
    """What a detector has learned of all series beyond the bucket statistics: arrays with the series as last axis.

    The engine shows it every sample once, in the order of time, some rows at a time: first `judge`, for one or more
    instants of a block, and `close` when the block of twelve has ended. What is learned may change only in `close`,
    so that it does not matter how many instants are judged together. Samples of a moment that is `passing` are shown
    in between; they have the place in the block of the next one that is learned.
    """

    params: Any
    """The detector; the engine replaces it when a configuration changes how it judges."""

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""

    def judge(self, moment: SampleBatch, rows: slice) -> DetectorResult:
        """Judge samples of `rows`, and note them for `close`."""

    def close(self, rows: slice) -> None:
        """Learn the block that has ended."""

    def accept(self, rows: npt.NDArray[np.intp], by: FloatArray) -> None:
        """Follow the baseline of `rows`, which was moved `by`, shapes (m,): what is there now is normal."""

    def relearn(self, rows: npt.NDArray[np.intp]) -> None:
        """Let what goes on in `rows` end: their baseline did not fit any more, and is learned anew."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of the state, by name: what is stored and restored."""


@runtime_checkable
class StatefulDetector(Protocol):
    """A detector with a memory; its `judge` is that of the memory."""

    def memory(self) -> DetectorState:
        """Return an empty memory."""


def interval_judgement(
    moment: SampleBatch, expected: FloatArray, lower: FloatArray, upper: FloatArray
) -> DetectorResult:
    """Judge by an interval: severity 0 at `expected`, 1 at its edges, growing linearly.

    An interval narrower than the resolution of the values is widened to it; otherwise the last bit of a
    constant series would be an anomaly.
    """
    lower = np.minimum(lower, expected - moment.resolution)
    upper = np.maximum(upper, expected + moment.resolution)
    deviation = moment.sample - expected
    above = np.minimum(np.maximum(deviation, 0.0) / (upper - expected), SEVERITY_MAX)
    below = np.minimum(np.maximum(-deviation, 0.0) / (expected - lower), SEVERITY_MAX)
    return DetectorResult(above, below, expected, lower, upper)
