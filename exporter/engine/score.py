"""Scores some series at some instants: detectors, vote, verdicts; and notes what is to be learned of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exporter.engine.absence import Attendance
from exporter.engine.baseline import BucketStats
from exporter.engine.beside import beside_peers, inward
from exporter.engine.buckets import utc_offset
from exporter.engine.budget import SETTLED
from exporter.engine.cadence import Span
from exporter.engine.constants import double
from exporter.engine.details import note_lasting
from exporter.engine.detectors import Detector, DetectorResult, SampleBatch, StatefulDetector
from exporter.engine.detectors.base import SEVERITY_MAX
from exporter.engine.ordered import all_of, any_of, clip
from exporter.engine.overrides import OverrideContext
from exporter.engine.peers.samples import PeerVerdicts
from exporter.engine.residual import Levels
from exporter.engine.row_settings import RowSettings
from exporter.engine.sample_mask import BoolArray, FloatArray, SampleMask, forgive, widen
from exporter.engine.scale import LARGEST
from exporter.engine.seconds import HOUR
from exporter.engine.siblings import UNTIL
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import Ballot, beside_months, score_of, vote
from exporter.engine.young import YoungSamples, YoungVerdicts

__all__ = ["score_instants"]

_NAN = double(np.nan)
_LARGEST, _LEAST = double(LARGEST), double(-LARGEST)

MIN_SAMPLES = 12
"""Samples that a series must have before the next one has a score: a block, which is when something is learned."""
LENIENCE = 9.0
"""Half-widths of the band beyond its edge that are learned as they are while the hour of the week is not trusted:
the band of the hour of the day is too narrow for a first weekend, and a weekend that was cut off looks like a
drift for weeks. A spike that is farther out is no weekend. A band cut off at two
half-widths made false drifts of 6 % of all samples, at four or ten none (docs/detection.md)."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Results of some series in one span, from which their verdicts follow.

    Attributes
    ----------
    rows : slice
    own : RowSettings
        Of these rows.
    ballot : Ballot
    override : ndarray, shape (t, n)
        Severity of what is anomalous whatever the votes; 0 elsewhere.
    mean : ndarray, shape (n,), source units
    factor : ndarray, shape (n,) or (t, n), optional
        Expected multiple of the ordinary value.
    negative : ndarray of bool, shape (t, n)
        Whether the series has been below zero by then.
    young : YoungVerdicts, optional
        Of the series in their first day; None: there is none.
    within : ndarray, shape (t, n), optional
        What is expected of the minutes of the hour, baseline units; it was subtracted from the samples.
    peers : PeerVerdicts, optional
        What their siblings say, divided by the threshold of the query, in baseline units.
    """

    rows: slice
    own: RowSettings
    ballot: Ballot
    override: FloatArray
    mean: FloatArray
    factor: FloatArray | None
    negative: BoolArray
    young: YoungVerdicts | None
    within: FloatArray | None
    peers: PeerVerdicts | None


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
        batch = SampleBatch(*parts, steps=span.steps, whole=value == np.rint(value))
        levels = Levels(zero, by.mean, by.std, by.single_visit)
        step = state.seconds or span.seconds
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
        ballot = vote(results, voters, settings.detection.quorum, sample, smallest, threshold)
        # Rounded up, so that what was divided is as severe as it was.
        severity = ballot.joint * normal[:, None] * 1.00001 if monthly else ballot.joint
        state.runs.note(rows, hour, *(severity if all_of(learn) else np.where(learn, severity, 0.0)))
        z = (sample - stats.mean) / np.maximum(stats.std, resolution)
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
        self._emit_verdicts(_Scored(rows, own, ballot, override, mean, factor, negative, young, within, peers))
        if any_of(outage):
            batch = replace(batch, usable=usable & ~outage)
        lasting = self._note(rows, batch, learn, ballot, of_buckets, zero, young)
        sample = np.where(batch.usable, sample, np.nan)
        note_lasting(
            state, verdicts, span, rows, ballot, lasting=lasting, sample=sample, local=local, usual=of_buckets.mean
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
        state, span, sample, stats = self.state, self.span, batch.sample, batch.stats
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

    def _emit_verdicts(self, scored: _Scored) -> None:
        """Write score, votes and band, in source units, into the verdicts; count alerts and drift."""
        state, verdicts, settings = self.state, self.verdicts, self.state.settings
        when, rows, ballot = self.span.when, scored.rows, scored.ballot
        upward, downward = scored.own.upward, scored.own.downward
        here, overridden = ~np.isnan(verdicts.observed[when, rows]), scored.override > 0.0
        can = here & (state.lifetimes.count[rows] >= MIN_SAMPLES)
        above, below = _counting(ballot.above, upward), _counting(ballot.below, downward)
        each = ballot.each
        if upward is not True or downward is not True:
            each = np.array([_counting(each[0], upward), _counting(each[1], downward)])
        beside: FloatArray | None = None
        if (peers := scored.peers) is not None:
            beside = np.fmax(_counting(peers.above, upward), _counting(peers.below, downward))
        cast, passed = np.zeros(above.shape), each >= 1.0
        if any_of(passed):
            weights = np.array(state.votes, np.int16)[:, None, None]
            np.maximum.reduce(np.add.reduce(weights * passed, axis=1, dtype=np.int16), axis=0, out=cast)
        severity = np.where(can, np.maximum(above, below), np.nan)
        voted = ~np.isnan(severity)
        age = verdicts.times[when, None] - state.lifetimes.first[rows]
        old = age >= settings.baseline.min_history
        if not all_of(old):
            # A young series of which too few can say anything is scored by those that can, where they agree.
            agreed = np.fmax.reduce(np.fmin.reduce(each, axis=1), axis=0)
            severity = np.where(can & ~old & np.isnan(severity), agreed, severity)
        expected, lower, upper = ballot.expected, ballot.published_lower, ballot.published_upper
        if scored.within is not None:
            expected, lower, upper = (edge + scored.within for edge in (expected, lower, upper))
        has_band = can
        if (young := scored.young) is not None:
            first_day = np.fmax(_counting(young.above, upward), _counting(young.below, downward))
            # Detectors that somebody chose decide as soon as as many as are needed can.
            governs = young.governs & ~(voted & settings.detection.chosen)
            severity = np.where(governs, first_day, severity)
            quorum = settings.detection.quorum
            cast = np.where(governs, np.where(severity >= 1.0, quorum, np.minimum(cast, quorum - 1)), cast)
            expected = np.where(governs, young.expected, expected)
            lower = np.where(governs, young.lower, lower)
            upper = np.where(governs, young.upper, upper)
            verdicts.first_day[when, rows] = governs & ~np.isnan(severity)
            has_band = np.where(governs, here & ~np.isnan(young.expected), can)
        alertable = old
        if peers is not None and beside is not None:
            # A series need not be old, nor have any past, to be unlike its siblings.
            decides = (beside >= 1.0) & ~(severity >= 1.0)
            severity = np.fmax(severity, beside)
            cast = np.where(beside >= 1.0, np.maximum(cast, settings.detection.quorum), cast)
            expected = np.where(decides, peers.expected, expected)
            lower, upper = np.where(decides, peers.lower, lower), np.where(decides, peers.upper, upper)
            verdicts.first_day[when, rows] &= ~decides
            has_band, alertable = has_band | decides, old | decides
        severity = np.where(overridden, np.fmax(severity, scored.override), severity)
        has_score = ~np.isnan(severity)

        verdicts.score[when, rows] = score_of(severity)
        verdicts.votes[when, rows] = np.where(has_score, np.where(overridden, sum(state.votes), cast), np.nan)
        larger = np.maximum(*each)
        larger = np.where(can, larger, np.nan)
        if beside is not None:
            larger = np.concatenate([larger, beside[None]])
        verdicts.each[when, :, rows] = larger.swapaxes(0, 1)
        verdicts.ready[when, rows] = has_score & alertable
        if state.counts_alerts(self.span.seconds):
            # What cannot be is anomalous at any threshold; it says nothing about where one should be.
            joint = np.where(ballot.counts >= 1.0, ballot.joint, np.minimum(ballot.joint, 0.0))
            joint = np.maximum(_counting(joint[0], upward), _counting(joint[1], downward))
            if beside is not None:
                joint = np.fmax(joint, beside * self.threshold)
            settled = old & (age >= SETTLED) & ~verdicts.masked[when, rows]
            severities = np.where(has_score & settled & here, np.where(overridden, 0.0, joint), np.nan)
            state.count_alerts(rows, severities, self.span.seconds)
        has_band = has_band | verdicts.absent[when, rows]
        low, high = scored.own.low, scored.own.high
        band = [state.scale.outward(rows, edge) for edge in (lower, expected, upper)]
        if scored.factor is not None:
            band[::2] = (widen(edge, scored.mean, scored.factor) for edge in band[::2])
        edges = np.empty((3, max(len(edge) if edge.ndim > 1 else 1 for edge in band), band[1].shape[-1]))
        edges[0], edges[1], edges[2] = band
        lower, expected, upper = clip(state.scale.possible(rows, edges, scored.negative), low, high)
        verdicts.expected[when, rows] = np.where(has_band, expected, _NAN)
        for column, outer, bound, alerts in (
            (verdicts.lower, lower, low, downward),
            (verdicts.upper, upper, high, upward),
        ):
            outer = outer if alerts is True else np.where(alerts, outer, bound)
            column[when, rows] = np.where(has_band & np.isfinite(outer), outer, _NAN)
        counted = has_score & old & here & ~verdicts.masked[when, rows] & ~verdicts.zero[when, rows]
        observed = verdicts.observed[when, rows]
        beyond = (observed < verdicts.lower[when, rows]) | (observed > verdicts.upper[when, rows])
        state.drift.update(rows, verdicts.score[when, rows] >= 0.5, counted, beyond, self.span.seconds)


def _counting(severity: FloatArray, counts: bool | BoolArray) -> FloatArray:
    """Return the severity of one direction: none where that direction does not count, NaN kept."""
    if counts is True:
        return severity
    none = np.minimum(severity, 0.0)
    return none if counts is False else np.where(counts, severity, none)


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
