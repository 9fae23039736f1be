"""The detector: eight signals, their surprise, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.baseline import BucketStats
from exporter.engine.columns import Array, Column
from exporter.engine.constants import UNITY, ZERO, single
from exporter.engine.detectors.base import (
    BLOCK,
    CERTAIN,
    BoolArray,
    DetectorResult,
    FloatArray,
    LearningSteps,
    ReasonContext,
    Residual,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    split_by_side,
)
from exporter.engine.detectors.novelty.day import DayProfile, day_columns
from exporter.engine.detectors.novelty.gaps import Gaps, gap_columns
from exporter.engine.detectors.novelty.recent import FEATURES, RESIDUALS, Recent, recent_columns
from exporter.engine.detectors.novelty.surprise import Surprise, surprise_columns
from exporter.engine.ordered import add_up, all_of, any_of, clip

__all__ = ["Novelty"]

SIGNALS = FEATURES + 3
"""Distances of the features from all earlier values; and how unlike other days, how much wider or narrower than
before, and how differently distributed the last hours are."""
WARM_UP = 60
"""Samples before the first answer: five hours of five minutes, in which each signal gets its first 48 values."""
WITHIN = 6.0
"""Standard deviations of an hour of the week that count as seen when the hours of the week are first trusted: twice the
three within which a sample is usual by default."""
LASTING = single(0.6)
"""Weight of the recent mean of the evidence: what lasts weighs more. With `FATIGUE` worth three points of the NAB
score, against a weight of 0.3 and none (docs/detection.md)."""
FATIGUE = single(0.1)
"""What each recent anomaly adds to the evidence that the next one needs: those of a series that often has some mean
little."""
FATIGUE_MOST = single(10.0)
"""Anomalies beyond these add nothing: no series needs more than twice the evidence, or it would be mute."""
RECOVERY = single(0.5 ** (BLOCK / 4000.0))
"""Part of the fatigue that is left after a block: half after 4,000 samples, two weeks of five minutes."""
OLD, OLD_FROM, OLD_OVER = 0.5, 4032.0, 500.0
OLDER, OLDER_OVER = 0.3, 8064.0
"""What a series of two weeks of five minutes, and of six, needs in addition: with the number of its samples records
mean little, and `far` has learned by then how far its hours go."""
WHITE, ALONE, ALONE_FROM = single(0.3), single(3.0), 2016
"""Correlation of the noise from sample to sample below which any sample may be a record, so that one needs this many
times the evidence; from a week of five minutes on, when the correlation is clear."""
CORRELATED, EXACT_FROM = single(0.6), 4032
"""Correlation from which on it needs no more in the second week, and in between some of that: the means of the hours
are not exact yet, and what they are off is common to all samples of an hour."""
BESIDE = single(1.5)
"""Standard deviations of the noise from which on the sample before is on the same side, so that no sample is alone."""
HOLDS = single(0.8)
"""Share of samples that repeat the one before from which on a series holds its values. It shows so few of them that
each is far from all others: only a new extreme is news."""
HELD = 2
"""Repeats from which on a value is held. Two equal counts are none: a series that stood still for long and moves now is
one that holds its values for a while yet."""
CALM = 3
"""Blocks without novelty between two anomalies: what comes back within three hours of five minutes is the same one."""
RECENT = single(2.0 / 11.0)
"""Part of a new sample in the recent mean of the evidence: that of a mean of ten samples."""
_ROUNDING = single(4e-7)
"""Part of a value that is the rounding of float32: between three and seven of its last steps."""


class Novelty(StatefulDetector):
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

    layout: ClassVar[Mapping[str, Column]] = {
        "age": Column((), np.int32),  # Samples.
        "level": Column((), np.float32),  # Recent mean of the evidence.
        "held": Column((), np.bool_),  # Whether an anomaly goes on.
        "by_week": Column((), np.bool_),  # Whether the hours of the week are trusted.
        "fatigue": Column((), np.float32),  # Recent anomalies.
        "calm": Column((), np.uint8, CALM),  # Blocks since the last anomaly.
        "found": Column((), np.bool_),  # Whether this block has an anomaly.
        "inside": Column((), np.bool_),  # Whether the value that is held lies between those that were held before.
        "repeats": Column((), np.uint8),  # How many of the last samples repeat the one before, at most `HELD`.
        "spike": Column((FEATURES,), np.float32, np.nan),  # Of its farthest anomaly that is not to be learned.
        **recent_columns(),
        **gap_columns(FEATURES),
        **day_columns(),
        **surprise_columns(SIGNALS),
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, and note them."""
        columns, usable, index, steps = batch.state, batch.usable, batch.index, batch.steps
        recent, surprise = Recent(columns), Surprise(columns)
        sample = recent.append(index, batch.sample.astype(np.float32), usable, steps)
        typical, unlike = DayProfile(columns).update(batch.times, sample, usable, steps)
        # The day before a Monday is a Sunday: once the hours of the week are trusted, they are typical instead.
        if batch.stats.fine is not None:
            typical = np.where(batch.stats.fine, batch.mean, typical)
        features = recent.features(index, sample, typical, steps)

        signals = np.empty((SIGNALS, *sample.shape), np.float32)
        sizes = np.abs(features)
        noise = _ROUNDING * (np.abs(sample) + np.fmax.reduce(sizes))
        # A size has no meaning from an arbitrary zero; from the running median it has.
        sizes[0] = np.where(np.isnan(sizes[1]), ZERO, sizes[1])
        near = sizes * np.float32(self.tolerance)
        signals[:FEATURES] = _distances(columns, batch.stats, steps, features, noise, near)
        signals[FEATURES:] = unlike, *(np.broadcast_to(change, sample.shape) for change in recent.change)
        surprises = surprise.of(signals)
        surprises *= np.sqrt(np.sqrt(surprises))  # One that is twice as strong says more than two.
        evidence = add_up(surprises) / np.float32(SIGNALS)
        level, every = columns["level"], all_of(usable)
        levels = np.empty_like(evidence)
        for row, ok, now, learns in zip(evidence, usable, levels, steps.flags.tolist(), strict=True):
            step = RECENT * (row - level)
            np.add(level, step if every else np.where(ok, step, ZERO), out=now)
            if learns:
                level = now
        evidence += LASTING * levels
        age = columns["age"] + usable.astype(np.int32)
        if steps.count:
            columns["level"][...] = level
            noted = steps.of(usable)
            surprise.note(index, steps.of(signals, axis=1), noted)
            ages = columns["age"] + np.add.accumulate(noted, axis=0, dtype=np.int32)
            age = ages if steps.every else steps.at_each(np.concatenate([columns["age"][None], ages])) + usable
            columns["age"][...] = ages[-1]
        needed = self.threshold * np.log10(np.maximum(age, 10).astype(np.float64))
        needed *= 1.0 + OLD * clip((age - OLD_FROM) / OLD_OVER, 0.0, 1.0)
        needed *= 1.0 + OLDER * clip((age - OLD_FROM) / OLDER_OVER, 0.0, 1.0)
        needed *= 1.0 + FATIGUE * np.minimum(columns["fatigue"], FATIGUE_MOST)
        if batch.residual is not None:
            needed = needed * _more_alone(batch.residual, age, steps)
        severity = np.where(usable, evidence / needed, CERTAIN)  # Not finite.
        # After an anomaly the slow signals contain it for hours; it is over when the values are usual again.
        reach = np.maximum(self.usual * batch.stats.std, batch.resolution)
        distance = np.abs(batch.level - batch.stats.mean) / reach
        severity = np.where(age > WARM_UP, np.fmin(severity, distance), np.nan)
        if batch.residual is not None and any_of(holds := batch.residual.repeats > HOLDS):
            inside = self._inside(batch, batch.residual, sample, holds)
            severity = np.where(inside & usable, np.minimum(severity, 0.0), severity)
            distance = np.where(inside, 0.0, distance)
        # And not before: a value that lasts is soon an old one, but what made it has not ended.
        held, anomalous = columns["held"], severity >= 1.0
        columns["found"] |= (anomalous & usable).any(axis=0)
        if not steps.every and any_of(anomalous):
            _remember(columns["spike"], steps.between(features, axis=1), steps.between(anomalous & usable))
        if any_of(held) or any_of(anomalous):
            begin = 0 if any_of(held) else int(anomalous.any(axis=1).argmax())
            for row, far, ok in zip(severity[begin:], distance[begin:] >= 1.0, usable[begin:], strict=True):
                held[...] = np.where(ok, (row >= 1.0) | (held & far), held)
                row[held] = np.fmax(row[held], 1.0)
        # The side is that of the running median. It follows an anomaly that lasts, so the side of an anomaly is that
        # of the mean of this hour.
        return split_by_side(batch, severity, np.where(severity >= 1.0, batch.mean, recent.median))

    @staticmethod
    def _inside(batch: SampleBatch, residual: Residual, sample: Array, holds: Array) -> Array:
        """Return which samples, shape (t, n), are between the extremes of all before, and follow one that was held.

        Of series that hold their values, shape (n,); nothing is noted of others, whoever they are judged with.
        """
        state, within = batch.state, Gaps(batch.state).within(sample)
        inside, repeats = np.empty_like(within), (residual.change == 0.0) | ~batch.usable
        # Zeros are events that do not come, and no value that is held.
        values = batch.sample != residual.zero
        now, held = state["inside"].copy(), state["repeats"].copy()
        flags = batch.steps.flags.tolist()
        for here, new, same, value, learns in zip(inside, within & values, repeats, values, flags, strict=True):
            here[...] = np.where(same, now, new & (held >= HELD))
            if learns:
                now, held = here, np.where(same & value, np.minimum(held + 1, HELD), 0).astype(np.uint8)
        np.copyto(state["inside"], now, where=holds)
        np.copyto(state["repeats"], held, where=holds)
        return inside & holds

    def learn(self, state: State, block: int) -> None:
        """Learn the block that has ended."""
        _tire(state)
        recent, surprise = Recent(state), Surprise(state)
        novel = surprise.novel(FEATURES)
        if any_of(novel):
            Gaps(state).learn(recent.of_block().swapaxes(0, 1), novel)
        # What recurs is not novel, even where it is always over before a sample is learned.
        spike = state["spike"]
        spiked = ~np.isnan(spike)
        if any_of(spiked):
            Gaps(state).learn(spike[None], spiked[None])
            spike[...] = np.nan
        surprise.end_block(block)
        recent.end_block()

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:
        """End the anomaly that goes on; what comes next is near the mean of the baseline now."""
        state["held"][rows] = False
        state["level"][rows] = 0.0
        Recent(state).accept(rows, by.astype(np.float32))

    def reason(self, context: ReasonContext) -> str:  # noqa: ARG002
        """Say that it has not been so before."""
        return "unlike anything that this series has shown before"


def _distances(
    columns: State, stats: BucketStats, steps: LearningSteps, features: Array, noise: Array, near: Array
) -> Array:
    """Return how far features, shape (f, t, n), are from all that was learned; see `Gaps.distance`.

    Where the hours of the week are trusted for the first time, with a sample that is learned, the distances from the
    typical value are forgotten: from the hour of the day every weekend was far, and so nothing would be new on a
    Wednesday.
    """
    gaps = Gaps(columns)
    trusted = columns["by_week"] if stats.fine is None or steps.none else columns["by_week"] | stats.fine
    new = np.flatnonzero(trusted & ~columns["by_week"])
    if not len(new):
        return gaps.distance(features, noise, near)
    before, after = slice(0, steps.first), slice(steps.first, None)
    parts = [gaps.distance(features[:, before], noise[before], near[:, before])] if steps.first else []
    columns["by_week"][new] = True
    Gaps(columns, RESIDUALS).begin_anew(new, (WITHIN * stats.std[new]).astype(np.float32))
    return np.concatenate([*parts, gaps.distance(features[:, after], noise[after], near[:, after])], axis=1)


def _more_alone(residual: Residual, age: Array, steps: LearningSteps) -> Array:
    """Return how many times the evidence samples need, shape (t, n): more where noise makes records alone."""
    part = clip((CORRELATED - residual.correlation) / (CORRELATED - WHITE), 0.0, 1.0)
    if not any_of(part):
        return np.ones(age.shape, np.float32)
    before = steps.at_each(residual.before, len(residual.before) - steps.most - 1)
    beside = (before * residual.value > 0.0) & (np.abs(before) > BESIDE * residual.spread)
    part = np.where(age < EXACT_FROM, part, (part >= 1.0).astype(np.float32))
    record = ~beside & (age > ALONE_FROM)
    more: Array = np.where(record, UNITY + part * (ALONE - UNITY), UNITY)
    return more


def _tire(columns: State) -> None:
    """Count the recent anomalies; one that goes on is one."""
    anomalous, calm, fatigue = columns["found"], columns["calm"], columns["fatigue"]
    fatigue *= RECOVERY
    fatigue += anomalous & (calm >= CALM)
    calm[...] = np.where(anomalous, 0, np.minimum(calm, CALM - 1) + 1)
    anomalous[...] = False


def _remember(spike: Array, features: Array, anomalous: BoolArray) -> None:
    """Keep the features, shape (f, t, n), of the `anomalous` sample that is farthest from the median."""
    for sample, here in zip(features.swapaxes(0, 1), anomalous, strict=True):
        farther = here & ~(np.abs(sample[1]) <= np.abs(spike[1]))
        np.copyto(spike, sample, where=farther)
