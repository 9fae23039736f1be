"""What explanations say of rows, from the state of their engine; kept for instants that are scored with later ones."""

from __future__ import annotations

import numpy as np

from exporter.engine.baseline import BucketSummary
from exporter.engine.buckets import BucketIndex
from exporter.engine.cadence import Span
from exporter.engine.row_details import FloatArray, RowDetails, Rows
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import Ballot

__all__ = ["details_of", "note_lasting", "summary_of"]


def details_of(state: EngineState, rows: Rows, buckets: BucketIndex) -> RowDetails:
    """Return what explanations of the newest instant, which has these buckets, say of `rows`, shape (m,), ascending."""
    scale, shift = state.scale, state.shift.under_way(rows)
    with np.errstate(all="ignore"):
        shift[:2] = scale.possible(rows, scale.outward(rows, shift[:2]))
        deviations, values, hours = state.recent.of(rows)
        mean = state.shift.offset[rows] + state.shift.gain[rows] * state.baseline.all_times(rows)[0]
        level = scale.outward(rows, mean.astype(np.float64))
    unit, summary = scale.unit_of(rows), summary_of(state, rows, buckets)
    return RowDetails(rows, buckets.week, summary, shift, deviations * unit, values, hours * unit, level)


def summary_of(state: EngineState, rows: Rows, buckets: BucketIndex) -> BucketSummary:
    """Return the statistics that `rows`, shape (m,), are judged against in some buckets; source units."""
    with np.errstate(all="ignore"):
        stats = state.stats(buckets, rows)
        middle = state.scale.outward(rows, stats.mean)
        std = state.scale.outward(rows, stats.mean + stats.std) - middle
        columns = (middle, *(state.scale.outward(rows, column) for column in (stats.q1, stats.q3)))
        mean, q1, q3 = (state.scale.possible(rows, column) for column in columns)
    return BucketSummary(mean, std, q1, q3, *state.baseline.scope(buckets, rows))


def note_lasting(
    state: EngineState,
    verdicts: Verdicts,
    span: Span,
    rows: slice,
    ballot: Ballot,
    *,
    lasting: FloatArray,
    sample: FloatArray,
    local: FloatArray,
    usual: FloatArray,
    line: FloatArray | None,
) -> None:
    """Note samples of some series for level shifts and for explanations.

    Where the verdicts are to have details, each anomalous instant but the last gets those of its anomalous rows: what
    follows has not been noted then. Nothing else that details tell of changes within a span.

    Parameters
    ----------
    lasting, sample : ndarray, shape (t, n), baseline units
        What counts for level shifts, and for explanations; NaN: none.
    local : ndarray, shape (t,)
        Local time.
    usual : ndarray, shape (n,)
        See `RecentDeviations.note`.
    line : ndarray, shape (t, n), optional
        See `exporter.engine.slope`.
    """
    count, begin, noted = len(sample), 0, 0
    after, kept = state.settings.baseline.accept_level_shift_after, list[int]()
    if verdicts.details is not None:
        anomalous = verdicts.score[span.when, rows] >= 0.5
        kept = (np.flatnonzero(anomalous[:-1].any(axis=1)) + 1).tolist()
    for end in sorted({*kept, *span.periods, count}):
        if begin in span.periods:
            # Nothing has lasted for long enough to be accepted; see `EngineState.spans`.
            state.shift.end_block(rows, after)
        state.shift.note(rows, lasting[begin:end], (ballot.lower, ballot.expected, ballot.upper), span.seconds)
        if end in kept or end == count:
            beyond = 0.0 if line is None else line[noted:end]
            state.recent.note(rows, local[noted:end], sample[noted:end], ballot.expected + beyond, usual + beyond)
            noted = end
        if verdicts.details is not None and end in kept:
            chosen = rows.start + np.flatnonzero(anomalous[end - 1])
            verdicts.details[span.when.start + end - 1] = details_of(state, chosen, span.buckets)
        begin = end
