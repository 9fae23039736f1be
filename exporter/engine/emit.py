"""From what detectors, siblings and rules say of some series to their verdicts, in source units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.engine.budget import SETTLED
from exporter.engine.cadence import Span
from exporter.engine.constants import double
from exporter.engine.ordered import all_of, any_of, clip
from exporter.engine.peers.samples import PeerVerdicts
from exporter.engine.row_settings import RowSettings
from exporter.engine.sample_mask import BoolArray, FloatArray, widen
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import Ballot, score_of
from exporter.engine.young import YoungVerdicts

__all__ = ["MIN_SAMPLES", "ScoredRows", "emit_verdicts"]

_NAN = double(np.nan)

MIN_SAMPLES = 12
"""Samples that a series must have before the next one has a score: a block, which is when something is learned."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
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
        What is expected of the minutes of the hour beyond its mean, baseline units: the band is that of the rest.
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


def emit_verdicts(state: EngineState, verdicts: Verdicts, span: Span, threshold: float, scored: ScoredRows) -> None:
    """Write score, votes and band, in source units, into the verdicts of a span; count alerts and drift."""
    when, rows, ballot, settings = span.when, scored.rows, scored.ballot, state.settings
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
    if state.counts_alerts(span.seconds):
        # What cannot be is anomalous at any threshold; it says nothing about where one should be.
        joint = np.where(ballot.counts >= 1.0, ballot.joint, np.minimum(ballot.joint, 0.0))
        joint = np.maximum(_counting(joint[0], upward), _counting(joint[1], downward))
        if beside is not None:
            joint = np.fmax(joint, beside * threshold)
        settled = old & (age >= SETTLED) & ~verdicts.masked[when, rows]
        severities = np.where(has_score & settled & here, np.where(overridden, 0.0, joint), np.nan)
        state.count_alerts(rows, severities, span.seconds)
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
    state.drift.update(rows, verdicts.score[when, rows] >= 0.5, counted, beyond, span.seconds)


def _counting(severity: FloatArray, counts: bool | BoolArray) -> FloatArray:
    """Return the severity of one direction: none where that direction does not count, NaN kept."""
    if counts is True:
        return severity
    none = np.minimum(severity, 0.0)
    return none if counts is False else np.where(counts, severity, none)
