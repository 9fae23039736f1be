"""The contract of detectors: their base classes, their input and their result.

A detector is a frozen section of the configuration. `Detector.score` judges samples of every series in one call and
never loops over series. Its result is a **severity**: the deviation divided by the detector's own threshold, so that
1.0 is at the threshold of every detector. NaN means that the detector cannot say: there is no sample, or too little
was learned. A detector with state is a `StatefulDetector`. docs/architecture.md says how to add one.

All values are in **baseline units** (`exporter.engine.scale`): each series is shifted and scaled, so that float32
state is precise whatever the magnitude of the series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from exporter.engine.baseline import BucketStats
from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import double
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import all_of, any_of, median
from exporter.settings import Section

__all__ = [
    "BLOCK",
    "CERTAIN",
    "Array",
    "BoolArray",
    "Column",
    "Detector",
    "DetectorResult",
    "DetectorState",
    "FloatArray",
    "LearningSteps",
    "ReasonContext",
    "Residual",
    "Rows",
    "SampleBatch",
    "State",
    "StatefulDetector",
    "interval_result",
    "median",
    "severity_result",
    "split_by_side",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
State = dict[str, Array]
"""The arrays of a `StatefulDetector` by name, with the series as last axis. Write into them in place."""

BLOCK = 12
"""Instants that are learned together: more save calls, and make what a sample is judged by older (an hour at five
minutes)."""
SEVERITY_MAX = 1e6
"""Severities end here, so that a jump from a constant is large and finite."""
_ZERO, _SEVERITY_MAX = double(0.0), double(SEVERITY_MAX)
WHITE, HOLDS = np.array(0.3, np.float32), np.array(0.5, np.float32)
"""Correlation from sample to sample, and share of samples that repeat the one before, below which samples are
independent of each other."""
CERTAIN = 5.0
"""Severity of what cannot be, such as a value out of range: as sure as five times the threshold."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Residuals of samples, shape (t, n), and the noise of their hour, shape (n,); float32, NaN: unknown.

    See `exporter.engine.residual`.

    Attributes
    ----------
    value, contrast, spread
        Distance from the mean of the bucket, the same less the residuals of the last hour, and the noise; baseline
        units.
    ratio, ratio_contrast, ratio_spread
        The same of the natural logarithm.
    positive : ndarray of bool, shape (n,)
        Whether the series was never negative, so that a logarithm means something.
    overall : ndarray, shape (t, n)
        Distance from the mean of all hours, in their standard deviations.
    own : ndarray, shape (t, n)
        As `value`; of what is not to be noted, where it would be learned, the one before it.
    before : ndarray, shape (24 + m, n)
        Residuals of the 24 samples that were learned before these, and of those of these that are learned before the
        last one. The newest before an instant is at ``23 + steps.before``.
    change : ndarray, shape (t, n)
        Distance from the sample before; exactly 0 where it is the same value.
    correlation : ndarray, shape (n,)
        Of the residual of a sample with that of the one before; 1 while unknown.
    repeats : ndarray, shape (n,)
        Share of the samples that repeat the one before.
    zero : ndarray of float64, shape (n,)
        The value zero in baseline units.
    step : float, seconds
        How far samples that are learned are apart.
    """

    value: Array
    contrast: Array
    spread: Array
    ratio: Array
    ratio_contrast: Array
    ratio_spread: Array
    positive: Array
    overall: Array
    own: Array
    before: Array
    change: Array
    correlation: Array
    repeats: Array
    zero: Array
    step: float

    @property
    def independent(self) -> Array:
        """Which series have samples that are independent of each other, shape (n,)."""
        independent: Array = (self.correlation < WHITE) & (self.repeats < HOLDS)
        return independent

    @property
    def shorter(self) -> Array:
        """The smaller of `value` and `contrast`, shape (t, n)."""
        return np.where(np.abs(self.value) < np.abs(self.contrast), self.value, self.contrast)


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of `n` series at `t` instants, and what was learned before them.

    The instants follow each other and lie in one hour and one block; the end of neither lies between them.

    Attributes
    ----------
    times : ndarray of float64, shape (t,)
        Local time: Unix seconds plus the offset of the zone, so that ``times % 86400`` is the time of day.
    index, block : int
        Place in its block of twelve of the first instant that is learned, and the number of the block.
    sample : ndarray of float64, shape (t, n)
        Baseline units; NaN where the series has no sample.
    usable : ndarray of bool, shape (t, n)
        Whether the sample may be learned: it is there, finite, and in the valid range.
    stats : BucketStats
        What was learned about this time of the week; arrays of shape (n,).
    resolution : ndarray of float64, shape (n,)
        The smallest half-width that has a meaning at this magnitude (rounding of the source's floats).
    state : State
        Views of the arrays of the detector for these series; empty for a detector without state.
    residual : Residual, optional
        What is left of the samples without the typical value of their hour.
    steps : LearningSteps
        Which of the instants are learned; all unless given. A sample between two of them is judged as if it were the
        next one to be learned, and leaves nothing in `state` that the severity of an ordinary sample depends on.
    whole : ndarray of bool, shape (t, n), optional
        Whether samples are whole numbers in source units.
    line : ndarray of float64, shape (t, n), optional
        How far the mean of the hour is higher at each instant, baseline units; see `exporter.engine.slope`.
    """

    times: FloatArray
    index: int
    block: int
    sample: FloatArray
    usable: BoolArray
    stats: BucketStats
    resolution: FloatArray
    state: State = field(default_factory=dict)
    residual: Residual | None = None
    steps: LearningSteps = field(default_factory=LearningSteps)
    whole: BoolArray | None = None
    line: FloatArray | None = None

    def __post_init__(self) -> None:
        if not len(self.steps):
            object.__setattr__(self, "steps", LearningSteps(np.ones(len(self.sample), np.bool_)))

    def with_state(self, state: State) -> SampleBatch:
        """Return the same for a detector with its state, sooner than by `replace`."""
        return SampleBatch(
            self.times, self.index, self.block, self.sample, self.usable, self.stats, self.resolution, state,
            self.residual, self.steps, self.whole, self.line,
        )  # fmt: skip

    @property
    def level(self) -> FloatArray:
        """The samples as they would be in the middle of the hour, shape (t, n)."""
        return self.sample if self.line is None else self.sample - self.line

    @property
    def mean(self) -> FloatArray:
        """What is expected at these instants, shape (n,) or (t, n)."""
        return self.stats.mean if self.line is None else self.stats.mean + self.line


@dataclass(frozen=True, slots=True)
class DetectorResult:
    """Severities and interval of one detector.

    Attributes
    ----------
    above, below : ndarray of float64, shape (t, n)
        Severity of a deviation upward and downward; the same in both where the detector knows no direction. NaN:
        cannot say.
    expected, lower, upper : ndarray of float64, shape (n,)
        The middle and the edges at which the severity is 1.0, in baseline units. NaN: the detector has no interval.
    """

    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True)
class ReasonContext:
    """What the words of a vote may mention.

    Attributes
    ----------
    below : bool
        Whether the sample is below the expected value.
    z : float
        Distance from the mean of this time of the week, in its standard deviations; NaN or infinite: unknown.
    hours : str
        Which hours the sample was compared with, such as ``Mondays 14:00-15:00``.
    quartiles : pair of str, optional
        Lower and upper quartile of these hours, with their unit; None: unknown.
    siblings : str
        Where the siblings are and where the series would be among them, as a clause; empty: unknown.
    """

    below: bool = False
    z: float = np.nan
    hours: str = "this time of the week"
    quartiles: tuple[str, str] | None = None
    siblings: str = ""

    @property
    def side(self) -> str:
        """``above`` or ``below``: on which side of the expected value the sample is."""
        return "below" if self.below else "above"


class Detector(Section):
    """A detector without state: its parameters, its score and its words.

    A subclass declares `kind` as a ``Literal`` with a default and a description.

    Attributes
    ----------
    interval : bool
        Whether its result is an interval around an expected value. A detector without one has no band.
    single : bool
        Whether a single sample can be anomalous to it.
    zero_based : bool
        Whether its result depends on where zero is, or on whether values are ever negative.
    slow : bool
        Whether it detects what comes slowly, over days.
    outage : bool
        Whether a sample that it calls anomalous downward belongs to an outage. Such samples are not learned.
    warm_up : float, seconds
        History that it needs before it says anything, where that is more than some samples.
    """

    interval: ClassVar[bool] = True
    single: ClassVar[bool] = True
    zero_based: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    outage: ClassVar[bool] = False
    warm_up: ClassVar[float] = 0.0

    votes: int = Field(1, ge=1, le=100, description="How many votes it has; `quorum` counts them.")
    kind: str = Field(description="Its name in the configuration, in metrics and in explanations.")

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series; the arguments are not changed, but for `batch.state`."""
        raise NotImplementedError

    def reason(self, context: ReasonContext) -> str:  # noqa: ARG002
        """Say why it calls a sample anomalous, as a clause without a full stop; the description unless overridden."""
        description = type(self).model_fields["kind"].description or "beyond its limit"
        return description[:1].lower() + description[1:].rstrip(".")


class StatefulDetector(Detector):
    """A detector that learns arrays of its own: it declares them in `layout`.

    The engine owns, stores and restores the arrays. It calls `score` for every sample once, in the order of time, for
    one or more instants of a block and for some series at a time, and `learn` when the block of twelve has ended.
    `score` may note samples in `batch.state`; what it reads to compute severities may change only in `learn`, or where
    another hour begins. Otherwise the result would depend on how many instants are scored together.

    Attributes
    ----------
    layout : mapping of str to Column
        The arrays by name; names, shapes and types are the format on disk.
    """

    layout: ClassVar[Mapping[str, Column]] = {}

    def learn(self, state: State, block: int) -> None:
        """Learn the block that has ended from what `score` noted in `state`; `block` is its number."""

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """Follow the baseline of `rows`, which moved `by`, shapes (m,): begin anew for them unless overridden."""
        self.reset(state, rows)

    def relearn(self, state: State, rows: Rows) -> None:
        """Follow the baseline of `rows`, which is learned anew at the same level: as `accept` unless overridden."""
        self.accept(state, rows, np.zeros(len(rows)))

    def reset(self, state: State, rows: Rows) -> None:
        """Set the arrays of `rows`, shape (m,), to their initial values."""
        for name, column in self.layout.items():
            state[name][..., rows] = column.initial


class DetectorState(Columns):
    """The state of one stateful detector for all series of a query.

    Attributes
    ----------
    detector : StatefulDetector
        Replaced when a new configuration changes how it judges.
    """

    def __init__(self, detector: StatefulDetector) -> None:
        super().__init__(detector.layout)
        self.detector = detector

    def score(self, batch: SampleBatch, rows: slice, keep: BoolArray | None = None) -> DetectorResult:
        """Score samples of `rows`; of those that are not to be `keep`, shape (t, n), nothing is noted."""
        batch = batch.with_state(self.views(rows))
        if keep is None or all_of(keep):
            return self.detector.score(batch)
        before = {name: array.copy() for name, array in batch.state.items()}
        result = self.detector.score(batch)
        for name, array in batch.state.items():
            array[...] = before[name]
        kept = np.where(keep, batch.sample, np.nan)
        self.detector.score(replace(batch, sample=kept, usable=batch.usable & keep))
        return result

    def learn(self, rows: slice, block: int) -> None:
        """Learn a block that has ended."""
        self.detector.learn(self.views(rows), block)

    def accept(self, rows: Rows, by: FloatArray) -> None:
        """Follow the baseline of `rows`, which moved `by`, shapes (m,)."""
        self.detector.accept(self.arrays(), rows, by)

    def relearn(self, rows: Rows) -> None:
        """Follow the baseline of `rows`, which is learned anew."""
        self.detector.relearn(self.arrays(), rows)


def interval_result(batch: SampleBatch, expected: FloatArray, lower: FloatArray, upper: FloatArray) -> DetectorResult:
    """Return severities by an interval: 0 at `expected`, 1 at its edges, growing linearly; shapes (n,).

    An interval narrower than the resolution of the values is widened to it; otherwise the last bit of a
    constant series would be an anomaly.
    """
    lower = np.minimum(lower, expected - batch.resolution)
    upper = np.maximum(upper, expected + batch.resolution)
    deviation = batch.level - expected
    above = np.minimum(np.maximum(deviation, _ZERO) / (upper - expected), _SEVERITY_MAX)
    below = np.minimum(np.maximum(-deviation, _ZERO) / (expected - lower), _SEVERITY_MAX)
    return DetectorResult(above, below, expected, lower, upper)


def severity_result(batch: SampleBatch, above: FloatArray, below: FloatArray) -> DetectorResult:
    """Return severities of shape (t, n) or (n,) without an interval; NaN where there is no sample."""
    no_interval = _no_interval(batch.sample.shape[1])
    missing = np.isnan(batch.sample)
    if any_of(missing) or above.shape != missing.shape:
        above, below = np.where(missing, np.nan, above), np.where(missing, np.nan, below)
    return DetectorResult(above, below, no_interval, no_interval, no_interval)


@lru_cache(maxsize=16)
def _no_interval(count: int) -> FloatArray:
    """Return NaN for so many series, which nobody can change."""
    nothing = np.full(count, np.nan)
    nothing.flags.writeable = False
    return nothing


def split_by_side(batch: SampleBatch, severity: FloatArray, centre: FloatArray) -> DetectorResult:
    """Return severities without a direction as deviations from `centre`; on the centre itself they are both."""
    above = np.where(batch.sample < centre, np.minimum(severity, 0.0), severity)
    below = np.where(batch.sample > centre, np.minimum(severity, 0.0), severity)
    return severity_result(batch, above, below)
