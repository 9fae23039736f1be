"""From the votes to what is said: score, votes, band, in source units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.budget import SETTLED
from exporter.engine.sample_mask import widen
from exporter.engine.settings import EngineSettings
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import Ballot, score_of

__all__ = ["MIN_SAMPLES", "say"]

FloatArray = npt.NDArray[np.float64]

MIN_SAMPLES = 12
"""Samples that a series must have before anything is said of the next one."""


def say(
    settings: EngineSettings,
    known: EngineState,
    rows: slice,
    when: slice,
    seconds: float,
    verdicts: Verdicts,
    ballot: Ballot,
    odd: FloatArray,
    mean: FloatArray,
    factor: FloatArray | None,
) -> None:
    """Write into `verdicts` what is said of some series at some instants.

    Parameters
    ----------
    seconds : float
        How far instants are apart.
    ballot : Ballot
    odd : ndarray, shape (t, n)
        Severity of what is anomalous whatever the votes; 0 elsewhere.
    mean : ndarray, shape (n,), source units
    factor : ndarray, shape (n,) or (t, n), optional
        Expected multiple of the usual value.
    """
    low, high = settings.valid_range
    upward, downward = settings.direction != "below", settings.direction != "above"
    here, alone = ~np.isnan(verdicts.observed[when, rows]), odd > 0.0
    can = here & (known.register.count[rows] >= MIN_SAMPLES)
    votes = np.array([detector.votes for detector in settings.detection.detectors])[:, None, None]
    above, below = _counting(ballot.above, upward), _counting(ballot.below, downward)
    each = np.array([_counting(ballot.each[0], upward), _counting(ballot.each[1], downward)])
    cast = (votes * (each >= 1.0)).sum(axis=1).max(axis=0)
    severity = np.where(can, np.maximum(above, below), np.nan)
    old = verdicts.times[when, None] - known.register.first[rows] >= settings.baseline.min_history
    if not old.all():
        # A young series of which too few can say anything is scored by those that can, where they agree.
        agreed = np.fmax.reduce(np.fmin.reduce(each, axis=1), axis=0)
        severity = np.where(can & ~old & np.isnan(severity), agreed, severity)
    severity = np.where(alone, np.fmax(severity, odd), severity)
    said = ~np.isnan(severity)

    verdicts.score[when, rows] = score_of(severity)
    verdicts.votes[when, rows] = np.where(said, np.where(alone, votes.sum(), cast), np.nan)
    verdicts.each[when, :, rows] = np.where(can, each.max(axis=0), np.nan).swapaxes(0, 1)
    verdicts.ready[when, rows] = said & old
    if known.tail is not None and known.tail.fits(seconds):
        # What cannot be is anomalous at any threshold; it says nothing about where one should be.
        tail = np.where(ballot.counts >= 1.0, ballot.joint, np.minimum(ballot.joint, 0.0))
        tail = np.maximum(_counting(tail[0], upward), _counting(tail[1], downward))
        settled = old & (verdicts.times[when, None] - known.register.first[rows] >= SETTLED)
        settled &= ~verdicts.masked[when, rows]
        tail = np.where(said & settled & here, np.where(alone, 0.0, tail), np.nan)
        known.tail.see(rows, known.tail.slot, tail)
    can |= verdicts.absent[when, rows]
    expected = np.clip(known.scale.outward(rows, ballot.expected), low, high)
    verdicts.expected[when, rows] = np.where(can, expected, np.nan)
    for edges, edge, bound, counts in (
        (verdicts.lower, ballot.said_lower, low, downward),
        (verdicts.upper, ballot.said_upper, high, upward),
    ):
        outer = known.scale.outward(rows, edge) if counts else np.full(len(edge), bound)
        outer = np.clip(outer if factor is None or not counts else widen(outer, mean, factor), low, high)
        edges[when, rows] = np.where(can & np.isfinite(outer), outer, np.nan)
    told = said & old & here & ~verdicts.masked[when, rows]
    observed = verdicts.observed[when, rows]
    outside = (observed < verdicts.lower[when, rows]) | (observed > verdicts.upper[when, rows])
    known.drift.see(rows, verdicts.score[when, rows] >= 0.5, told, outside, seconds)


def _counting(severity: FloatArray, counts: bool) -> FloatArray:
    """Return the severity of one direction: none where that direction does not count, NaN kept."""
    return severity if counts else np.minimum(severity, 0.0)
