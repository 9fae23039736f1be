"""Scores some series at some instants: detectors, vote, verdicts; and notes what is to be learned of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exporter.engine.absence import Attendance
from exporter.engine.baseline import BucketStats
from exporter.engine.beside import beside_peers, inward
from exporter.engine.buckets import utc_offset
from exporter.engine.cadence import Span
from exporter.engine.constants import double
from exporter.engine.details import note_lasting
from exporter.engine.detectors import Detector, DetectorResult, SampleBatch, StatefulDetector
from exporter.engine.detectors.base import SEVERITY_MAX
from exporter.engine.emit import MIN_SAMPLES, ScoredRows, emit_verdicts
from exporter.engine.ordered import all_of, any_of, clip
from exporter.engine.overrides import OverrideContext
from exporter.engine.peers.samples import PeerVerdicts
from exporter.engine.residual import Levels
from exporter.engine.sample_mask import BoolArray, FloatArray, SampleMask, forgive
from exporter.engine.scale import LARGEST
from exporter.engine.seconds import HOUR
from exporter.engine.siblings import UNTIL
from exporter.engine.slope import line_through
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import Ballot, beside_months, vote
from exporter.engine.young import YoungSamples, YoungVerdicts

__all__ = ["score_instants"]

_LARGEST, _LEAST = double(LARGEST), double(-LARGEST)

LENIENCE = 9.0
"""Half-widths of the band beyond its edge that are learned as they are while the hour of the week is not trusted:
the band of the hour of the day is too narrow for a first weekend, and a weekend that was cut off looks like a
drift for weeks. A spike that is farther out is no weekend. A band cut off at two
half-widths made false drifts of 6 % of all samples, at four or ten none (docs/detection.md)."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores the instants of one span.

    Attributes
    ----------
    state : EngineState
    verdicts : Verdicts
        Of all instants of the call; `score` writes into those of the span.
    span : Span
    threshold : float > 0
        Severity that makes a sample anomalous.
    siblings : ndarray, shape (3, t, 1) or (3, t, size), source units
        Of the instants of the span; see `exporter.engine.siblings`.
    peers : PeerVerdicts, optional
        Of the instants of the span, source units.
    """

    state: EngineState
    verdicts: Verdicts
    span: Span
    threshold: float
    siblings: FloatArray
    peers: PeerVerdicts | None = None

    def score(self, rows: slice, mask: SampleMask | None) -> None:
        """Score the samples of some series, and note what the end of the block will learn.

        Parameters
        ----------
        rows : slice
        mask : SampleMask, optional
            Of these rows at these instants.
        """
        state, verdicts, span, settings = self.state, self.verdicts, self.span, self.state.settings
        when = span.when
        times, observed = verdicts.times[when], verdicts.observed[when, rows]
        value = clip(observed, _LEAST, _LARGEST)
        own = state.row_settings.part(rows)
        here = ~np.isnan(value)
        usable = np.isfinite(observed) & (value >= own.low) & (value <= own.high)
        learn = here if mask is None else here & mask.learn
        state.scale.update(rows, np.where(usable & learn, value, np.nan))
        negative = state.scale.note_signs(rows, np.where(usable, value, np.nan))
        last = state.lifetimes.last[rows].copy()
        state.lifetimes.update(rows, times, here, learn)
        verdicts.masked[when, rows] = here & ~learn

        zero = state.scale.inward(rows, np.zeros(value.shape[1]))
        by = state.judged_by(span.buckets, rows)
        of_buckets = by.stats
        stats = state.trend.today(of_buckets, zero, rows)
        mean = state.scale.outward(rows, stats.mean)
        factor = None if mask is None else mask.factor
        sample = state.scale.inward(rows, value if factor is None else forgive(value, mean, factor))
        local = times + utc_offset(float(times[0]), settings.zone)
        if (within := state.within.shift(rows, local)) is not None:
            sample = sample - within
        resolution = state.scale.resolution(rows, mean)
        parts = (local, state.filled, state.blocks, sample, usable, stats, resolution)
        step = state.seconds or span.seconds
        possible = line_through(local, step, stats.rise)
        line = state.slope.used(rows, possible)
        batch = SampleBatch(*parts, steps=span.steps, whole=value == np.rint(value), line=line)
        levels = Levels(zero, by.mean, by.std, by.single_visit)
        batch = state.residuals.update(rows, batch, span.buckets.day % 24, usable & learn, levels, step)
        stats = batch.stats
        if (residual := batch.residual) is not None:
            state.within.note(rows, local, residual.shorter, residual.spread, within, usable & learn, span.seconds)
        voters, keep = state.voters, learn | ~here
        results = [
            state.detectors[detector.kind].score(batch, rows, keep)
            if isinstance(detector, StatefulDetector)
            else detector.score(batch)
            for detector in voters
        ]
        hour = int(local[0] // HOUR)
        normal = state.runs.normal(rows, hour)
        monthly = any_of(normal > 1.0)
        if monthly:
            results = [beside_months(each, normal) for each in results]
        outage = _outage(voters, results)
        least = np.fmax(own.min_deviation, own.min_relative_deviation * np.abs(mean))
        smallest = state.scale.lengths(rows, least)
        threshold = self.threshold if mask is None or mask.band is None else self.threshold * mask.band
        ballot = vote(results, voters, settings.detection.quorum, batch.level, smallest, threshold)
        # Rounded up, so that what was divided is as severe as it was.
        severity = ballot.joint * normal[:, None] * 1.00001 if monthly else ballot.joint
        state.runs.note(rows, hour, *(severity if all_of(learn) else np.where(learn, severity, 0.0)))
        z = (batch.level - stats.mean) / np.maximum(stats.std, resolution)
        verdicts.z[when, rows] = clip(z, -SEVERITY_MAX, SEVERITY_MAX)
        context = OverrideContext(
            hour=span.buckets.week,
            complete=_whole(span.complete, verdicts.unread, rows),
            attendance=Attendance(state.lifetimes.first[rows], *state.baseline.weights(span.buckets, rows)[:2]),
            last=last,
            stats=stats,
            zero=zero,
            low=own.low,
            high=own.high,
            downward=own.downward,
            step=span.seconds,
            after=settings.baseline.accept_level_shift_after,
        )
        override = state.overrides.update(rows, when, verdicts, learn, context, settings.detection)
        verdicts.zero[when, rows] |= outage
        young = self._judge_young(rows, batch, usable & learn, zero, smallest)
        peers = None if self.peers is None else inward(self.peers.part(rows), state.scale, rows, threshold)
        if line is not None:
            within = line if within is None else within + line
        scored = ScoredRows(rows, own, ballot, override, mean, factor, negative, young, within, peers)
        emit_verdicts(state, verdicts, span, self.threshold, scored)
        if any_of(outage):
            batch = replace(batch, usable=usable & ~outage)
        lasting = self._note(rows, batch, learn, ballot, of_buckets, zero, young)
        sample = np.where(batch.usable, sample, np.nan)
        if possible is not None and span.steps.count:
            distance = span.steps.of(np.where(batch.usable & learn, batch.sample - stats.mean, np.nan))
            state.slope.note(rows, distance, span.steps.of(possible), np.maximum(stats.std, resolution))
        usual = of_buckets.mean
        note_lasting(
            state, verdicts, span, rows, ballot, lasting=lasting, sample=sample, local=local, usual=usual, line=line
        )

    def _judge_young(
        self, rows: slice, batch: SampleBatch, keep: BoolArray, zero: FloatArray, smallest: FloatArray
    ) -> YoungVerdicts | None:
        """Judge the series in their first day, and note their samples."""
        state, when = self.state, self.span.when
        age = self.verdicts.times[when, None] - state.lifetimes.first[rows]
        if all_of(age >= UNTIL):
            return None
        observed = self.verdicts.observed[when, rows]
        siblings = self.siblings if self.siblings.shape[-1] == 1 else self.siblings[..., rows]
        samples = YoungSamples(
            times=self.verdicts.times[when],
            age=age,
            sample=batch.sample,
            keep=keep,
            usable=batch.usable,
            whole=observed == np.rint(observed),
            zero=zero,
            unit=state.scale.unit_of(rows),
            resolution=batch.resolution,
            smallest=smallest,
            siblings=state.scale.inward(rows, siblings),
        )
        return state.young.judge(rows, samples)

    def _note(
        self,
        rows: slice,
        batch: SampleBatch,
        learn: BoolArray,
        ballot: Ballot,
        of_buckets: BucketStats,
        zero: FloatArray,
        young: YoungVerdicts | None,
    ) -> FloatArray:
        """Note samples that are to be learned, for trend and buckets; return what counts for level shifts."""
        state, span, sample, stats = self.state, self.span, batch.level, batch.stats
        # Whatever direction alerts, a value beyond the band is pulled to its edge before it is learned.
        settled = state.lifetimes.count[rows] >= MIN_SAMPLES
        fine = settled if stats.fine is None else settled & stats.fine
        band = (ballot.lower, ballot.expected, ballot.upper)
        state.shift.follow(rows, np.where(batch.usable, sample, np.nan), band)
        usable = batch.usable & learn
        lasting = np.where(usable & fine, sample, np.nan)
        steps = span.steps
        if steps.none:
            return lasting
        # What never moved has no width to go by: zeros of a first night must not hold the day down for ever. And what
        # was emptied in a night has seen no day.
        clip = settled & (fine | (of_buckets.std > batch.resolution)) & ~state.drift.restarted(rows)
        lower, upper = (edge + np.where(fine, 0.0, LENIENCE) * (edge - ballot.expected) for edge in band[::2])
        if young is not None:
            # An incident of the first day would widen the band of its hour for weeks. A level that lasts is none.
            usable &= ~(young.governs & ((young.above >= 1.0) | (young.below >= 1.0)))
        usable, sample = steps.of(usable), steps.of(sample)
        clipped = np.where(clip, np.fmin(np.fmax(sample, lower), upper), sample)
        state.trend.note(rows, np.where(usable, sample, np.nan), of_buckets, zero, span.seconds)
        block = slice(state.filled, state.filled + len(sample))
        state.pending[block, rows] = np.where(usable, state.shift.bucket(clipped, rows), np.nan)
        return lasting


def _outage(detectors: Sequence[Detector], results: Sequence[DetectorResult]) -> BoolArray:
    """Return which samples belong to an outage, shape (t, n): they are not learned, however long it lasts."""
    outage = np.zeros(results[0].below.shape, np.bool_)
    for detector, result in zip(detectors, results, strict=True):
        if detector.outage:
            outage |= result.below >= 1.0
    return outage


def _whole(complete: BoolArray, unread: BoolArray | None, rows: slice) -> BoolArray:
    """Return where a series without a sample is away, shape (t,), or (t, n) where some rows could not be read."""
    return complete if unread is None else complete[:, None] & ~unread[rows]


def score_instants(
    state: EngineState, verdicts: Verdicts, every: BoolArray, seconds: float, mask: SampleMask | None
) -> None:
    """Score and learn the samples in `verdicts`, and write what follows from them there.

    Parameters
    ----------
    every : ndarray of bool, shape (t,) or (t, size)
        Instants at which a series without a sample is away.
    seconds : float
        How far instants are apart.
    mask : SampleMask, optional
    """
    times, samples = verdicts.times, verdicts.observed
    # What is not learned of an instant must not reach the next one by way of a batch that both are in.
    alone: BoolArray | None = None
    if mask is not None and not all_of(mask.learn):
        alone = np.broadcast_to(~mask.learn.all(axis=-1), len(times))
    with np.errstate(all="ignore"):  # NaN and overflow have their meaning here, and are handled.
        for span in state.spans(times, every, seconds, samples=samples, alone=alone):
            siblings = state.siblings(samples[span.when], times[span.when])
            peers = beside_peers(state, verdicts, span, mask)
            scorer = Scorer(state, verdicts, span, state.threshold, siblings, peers)
            for rows in state.chunks():
                scorer.score(rows, None if mask is None else mask.part(span.when, rows))
