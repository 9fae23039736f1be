"""The detector: signals, their surprise, and what they amount to."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from exporter.engine.baseline import BucketStats
from exporter.engine.detectors.base import BLOCK, DetectorResult, Params, SampleBatch
from exporter.engine.detectors.columns import Array, Column, Columns
from exporter.engine.detectors.novelty.day import DayProfile, day_columns
from exporter.engine.detectors.novelty.gaps import Gaps, gap_columns
from exporter.engine.detectors.novelty.recent import FEATURES, RESIDUALS, Recent, recent_columns
from exporter.engine.detectors.novelty.surprise import Surprise, surprise_columns
from exporter.engine.detectors.ordered import add_up

__all__ = ["Novelty", "NoveltyMemory"]

SIGNALS = FEATURES + 3
"""Distances of the features from all known values; and how unlike other days, how much wider or narrower than
before, and how differently distributed the last hours are."""
WARM_UP = 60
"""Samples before the first answer."""
WITHIN = 6.0
"""Standard deviations of an hour of the week that are taken as known when these begin to be known."""
LASTING = np.float32(0.6)
"""Weight of the recent mean of the evidence: what lasts weighs more."""
FATIGUE = np.float32(0.1)
"""What each anomaly of late adds to the surprise that the next one needs: a series that often has some says little
by them."""
FATIGUE_MOST = np.float32(10.0)
"""Anomalies beyond these add nothing."""
RECOVERY = np.float32(0.5 ** (BLOCK / 4000.0))
"""What a block leaves of them: half after 4,000 samples."""
APART = 3
"""Blocks without novelty between two anomalies."""
RECENT = np.float32(2.0 / 11.0)
"""Part of a new sample in that mean."""
_UNLIKE_ANYTHING = 5.0
"""Severity of a value that is not a number to reckon with, such as infinity; as sure as five times the threshold."""
_ROUNDING = np.float32(4e-7)
"""Part of a value that is the rounding of float32."""


class Novelty(Params):
    """How unlike everything that the series has shown before a sample is.

    Eight signals are computed of each sample: the distance of the value, of its change, of its deviation from
    the running median and from the usual value at this hour of the week, and of the mean of the last twelve such
    deviations, from every value they ever had; and how unlike other days, how much wider or narrower, and how
    differently distributed the last samples are. Each signal becomes its surprise, -log10 of its probability in
    its own past, and the mean of the surprises is the evidence. The evidence needed grows with the logarithm of
    the age, because an old series has had more chances to surprise, and with every anomaly of late, because a
    series that often has some says little by them.

    A spike that recurs is not novel, so it stops alerting; another kind of spike is. So it raises few alerts,
    and early ones. An anomaly lasts until a sample is usual again. It has no band: what is unlike the past cannot
    be said as an interval. Above or below is meant from the running median; of an anomaly, from what is usual at
    this hour of the week.

    Fails on an anomaly that looks like an earlier one, and on a value that is usual at another time of the day
    where noise is as large as the daily movement. Cannot say in the first 60 samples, and alerts more easily in
    the first week.

    Parameters
    ----------
    threshold : float > 0, decades of probability for each decade of age
        Severity is 1.0 where the mean surprise is this times log10 of the number of samples seen.
    tolerance : float, 0..1
        A feature this part of its own size from a known value is that value again.
    usual : float >= 0, standard deviations
        Severity is at most the distance from the mean of the hour of the week, divided by this.

    References
    ----------
    .. [1] A. Siffer, P. Fouque, A. Termier, C. Largouet (2017), Anomaly Detection in Streams with Extreme Value
       Theory. KDD. doi:10.1145/3097983.3098144
    """

    interval: ClassVar[bool] = False

    kind: Literal["novelty"] = Field("novelty", description="Unlike everything that the series has shown before.")
    threshold: float = Field(
        0.26, gt=0, le=100, allow_inf_nan=False, description="Mean surprise for each decade of age; more is quieter."
    )
    tolerance: float = Field(
        0.02, ge=0, le=1, description="What differs from a known value by this part of itself is not novel."
    )
    usual: float = Field(
        3.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Standard deviations of the hour of the week within which a sample is usual, whatever came before.",
    )

    def judge(self, moment: SampleBatch) -> DetectorResult:
        """Judge without any past, where nothing can be said."""
        unknown = np.full(moment.sample.shape, np.nan)
        return _judgement(moment, unknown, unknown)

    def memory(self) -> NoveltyMemory:
        """Return an empty memory; see `StatefulDetector`."""
        return NoveltyMemory(self)


def _layout() -> dict[str, Column]:
    own = {"age": Column((), np.int32), "level": Column((), np.float32), "held": Column((), np.bool_)}
    own["by_week"] = Column((), np.bool_)
    own |= {"fatigue": Column((), np.float32), "calm": Column((), np.uint8, APART), "found": Column((), np.bool_)}
    # The features of the farthest anomaly of this block between samples that are learned.
    own["spike"] = Column((FEATURES,), np.float32, np.nan)
    return own | recent_columns() | gap_columns(FEATURES) | day_columns() | surprise_columns(SIGNALS)


class NoveltyMemory:
    """What was seen of every series; see `DetectorState`."""

    def __init__(self, params: Novelty) -> None:
        self.params = params
        self._columns = Columns(_layout())
        # Not state: the block of the last `judge` is the one that `close` ends.
        self._block = 0

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return self._columns.all()

    def judge(self, moment: SampleBatch, rows: slice) -> DetectorResult:
        """Judge samples of `rows`, and note them for `close`."""
        columns = self._columns.of(rows)
        usable, index = moment.usable, moment.index
        self._block = moment.block
        recent, surprise = Recent(columns), Surprise(columns)
        see = recent.passing if moment.passing else recent.see
        sample = see(index, moment.sample.astype(np.float32), usable)
        usual, unlike = DayProfile(columns).see(moment.times, sample, None if moment.passing else usable)
        # The day before a Monday is a Sunday: once the baseline knows the hours of the week, they are what is usual.
        if moment.stats.fine is not None:
            usual = np.where(moment.stats.fine, moment.stats.mean, usual)
        if moment.passing:
            features = recent.features_of(index, sample, usual)
        else:
            if moment.stats.fine is not None:
                self._by_week(columns, moment.stats)
            recent.compare(index, usual)
            features = recent.features(index, len(sample))

        signals = np.empty((SIGNALS, *sample.shape), np.float32)
        sizes = np.abs(features)
        noise = _ROUNDING * (np.abs(sample) + np.fmax.reduce(sizes))
        # Where the zero of the values lies means nothing; from the running median it does.
        sizes[0] = np.where(np.isnan(sizes[1]), np.float32(0.0), sizes[1])
        near = sizes * np.float32(self.params.tolerance)
        signals[:FEATURES] = Gaps(columns).distance(features, noise, near)
        signals[FEATURES:] = unlike, *(np.broadcast_to(change, sample.shape) for change in recent.change)
        surprises = surprise.of(signals)
        surprises *= np.sqrt(np.sqrt(surprises))  # One that is twice as strong says more than two.
        evidence = add_up(surprises) / np.float32(SIGNALS)
        level, every = columns["level"], usable.all()
        for row, ok in zip(evidence, usable, strict=True):
            step = RECENT * (row - level)
            now = level + (step if every else np.where(ok, step, np.float32(0.0)))
            row += LASTING * now
            if not moment.passing:
                level[...] = now
        if moment.passing:
            age = columns["age"] + usable.astype(np.int32)
        else:
            surprise.note(index, signals, usable)
            age = columns["age"] + np.add.accumulate(usable, axis=0, dtype=np.int32)
            columns["age"][...] = age[-1]
        needed = self.params.threshold * np.log10(np.maximum(age, 10).astype(np.float64))
        needed *= 1.0 + FATIGUE * np.minimum(columns["fatigue"], FATIGUE_MOST)
        severity = np.where(usable, evidence / needed, _UNLIKE_ANYTHING)
        # After an anomaly the slow signals remember it for hours; it is over when the values are usual again.
        reach = np.maximum(self.params.usual * moment.stats.std, moment.resolution)
        distance = np.abs(moment.sample - moment.stats.mean) / reach
        severity = np.where(age > WARM_UP, np.fmin(severity, distance), np.nan)
        # And not before: a value that lasts is soon known, but what made it has not ended.
        held, found = columns["held"], severity >= 1.0
        columns["found"] |= (found & usable).any(axis=0)
        if moment.passing and found.any():
            _remember(columns["spike"], features, found & usable)
        if held.any() or found.any():
            for row, far, ok in zip(severity, distance >= 1.0, usable, strict=True):
                held[...] = np.where(ok, (row >= 1.0) | (held & far), held)
                row[held] = np.fmax(row[held], 1.0)
        # What is novel is above or below where the series has been; on that itself it is both. The running median
        # follows an anomaly that lasts, so of an anomaly what is usual at this hour says on which side it is.
        been = np.where(severity >= 1.0, moment.stats.mean, recent.median)
        above = np.where(moment.sample < been, np.minimum(severity, 0.0), severity)
        below = np.where(moment.sample > been, np.minimum(severity, 0.0), severity)
        return _judgement(moment, above, below)

    def accept(self, rows: npt.NDArray[np.intp], by: npt.NDArray[np.float64]) -> None:
        """End the anomaly that goes on; what comes next is near what the baseline finds usual now."""
        columns = self._columns.all()
        columns["held"][rows] = False
        columns["level"][rows] = 0.0
        Recent(columns).accept(rows, by.astype(np.float32))

    def relearn(self, rows: npt.NDArray[np.intp]) -> None:
        """End the anomaly that goes on; what was seen stays known."""
        self.accept(rows, np.zeros(len(rows)))

    def _by_week(self, columns: dict[str, Array], stats: BucketStats) -> None:
        """Forget how far from usual was known, where the hours of the week are known for the first time.

        Against the hour of the day every weekend was far from usual, and so nothing would be new on a Wednesday.
        """
        new = np.flatnonzero(stats.fine & ~columns["by_week"])
        if len(new):
            columns["by_week"][new] = True
            Gaps(columns, RESIDUALS).begin_anew(new, (WITHIN * stats.std[new]).astype(np.float32))

    def _tire(self, columns: dict[str, Array]) -> None:
        """Count the anomalies of late; one that goes on is one."""
        found, calm, fatigue = columns["found"], columns["calm"], columns["fatigue"]
        fatigue *= RECOVERY
        fatigue += found & (calm >= APART)
        calm[...] = np.where(found, 0, np.minimum(calm, APART - 1) + 1)
        found[...] = False

    def close(self, rows: slice) -> None:
        """Learn the block that has ended."""
        columns = self._columns.of(rows)
        self._tire(columns)
        recent, surprise = Recent(columns), Surprise(columns)
        novel = surprise.novel(FEATURES)
        if novel.any():
            Gaps(columns).learn(recent.features(0, len(novel)).swapaxes(0, 1), novel)
        # What recurs is not novel, even where it is always over before a sample is learned.
        spike = columns["spike"]
        spiked = ~np.isnan(spike)
        if spiked.any():
            Gaps(columns).learn(spike[None], spiked[None])
            spike[...] = np.nan
        surprise.close(self._block)
        recent.close()


def _remember(spike: Array, features: Array, found: npt.NDArray[np.bool_]) -> None:
    """Keep the features, shape (f, t, n), of the sample that is farthest from the median where it was `found`."""
    for one, here in zip(features.swapaxes(0, 1), found, strict=True):
        farther = here & ~(np.abs(one[1]) <= np.abs(spike[1]))
        np.copyto(spike, one, where=farther)


def _judgement(moment: SampleBatch, above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> DetectorResult:
    """Return severities, shape (t, n), without an interval."""
    missing = np.isnan(moment.sample)
    nothing = np.full(moment.sample.shape[1], np.nan)
    return DetectorResult(np.where(missing, np.nan, above), np.where(missing, np.nan, below), nothing, nothing, nothing)
