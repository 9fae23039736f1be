"""One judgement: some series at some instants, by what was known before; then what of it is to be learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.absence import Past
from exporter.engine.baseline import BucketIndex
from exporter.engine.detectors import DetectorResult, DetectorState, SampleBatch
from exporter.engine.emit_verdicts import MIN_SAMPLES, say
from exporter.engine.overrides import Circumstances
from exporter.engine.sample_mask import BoolArray, SampleMask, forgive
from exporter.engine.scale import LARGEST
from exporter.engine.settings import EngineSettings
from exporter.engine.state import EngineState
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import vote

__all__ = ["Span", "judge"]

FloatArray = npt.NDArray[np.float64]

LENIENCE = 9.0
"""Half-widths of the band beyond its edge that are learned as they are while the hour of the week is not known:
the band of the hour of the day is too narrow for a first weekend, and a weekend that was cut off looks like a
drift for weeks. A spike that is farther out is no weekend."""


@dataclass(frozen=True, slots=True)
class Span:
    """Instants that are judged together: of one hour, one block and one place.

    Attributes
    ----------
    when : slice
    place : BucketIndex
    seconds : float
        How far instants are apart.
    passing : bool
        Whether they are only judged; see `exporter.engine.cadence`.
    complete : ndarray of bool, shape (t,)
        Instants at which every series that exists is in the answer.
    """

    when: slice
    place: BucketIndex
    seconds: float
    passing: bool
    complete: BoolArray


def judge(
    settings: EngineSettings,
    known: EngineState,
    rows: slice,
    span: Span,
    verdicts: Verdicts,
    treatment: SampleMask | None,
    threshold: float,
) -> None:
    """Judge the samples of some series, and note what the end of the block will learn.

    Parameters
    ----------
    treatment : SampleMask, optional
        Of these rows at these instants.
    threshold : float > 0
        Severity that makes a sample anomalous.
    """
    when = span.when
    times, observed = verdicts.times[when], verdicts.observed[when, rows]
    value = np.clip(observed, -LARGEST, LARGEST)
    low, high = settings.valid_range
    here = ~np.isnan(value)
    usable = np.isfinite(observed) & (value >= low) & (value <= high)
    learn = here if treatment is None else here & treatment.learn
    known.scale.see(rows, np.where(usable & learn, value, np.nan))
    last = known.register.last[rows].copy()
    known.register.see(rows, times, here, learn)
    verdicts.masked[when, rows] = here & ~learn

    stats = known.shift.today(known.baseline.stats(span.place, rows), rows)
    mean = known.scale.outward(rows, stats.mean)
    factor = None if treatment is None else treatment.factor
    sample = known.scale.inward(rows, value if factor is None else forgive(value, mean, factor))
    local = times + _offset(float(times[0]), settings.zone)
    resolution = known.scale.resolution(rows, mean)
    moment = SampleBatch(local, known.filled, known.blocks, sample, usable, stats, resolution, span.passing)
    judgements = [
        _shown(memory, moment, rows, learn | ~here)
        if (memory := known.memories.get(detector.kind))
        else detector.judge(moment)
        for detector in settings.detection.detectors
    ]
    least = np.fmax(settings.min_deviation, settings.min_relative_deviation * np.abs(mean))
    smallest = known.scale.lengths(rows, least)
    ballot = vote(judgements, settings.detection.detectors, settings.detection.quorum, sample, smallest, threshold)
    verdicts.z[when, rows] = (sample - stats.mean) / np.maximum(stats.std, resolution)
    around = Circumstances(
        hour=span.place.week,
        complete=span.complete,
        past=Past(known.register.first[rows], *known.baseline.seen(span.place, rows)[:2]),
        last=last,
        stats=stats,
        nothing=known.scale.inward(rows, np.zeros(len(mean))),
        low=low,
        high=high,
        downward=settings.direction != "above",
        step=span.seconds,
        after=settings.baseline.accept_level_shift_after,
    )
    odd = known.odd.see(rows, when, verdicts, learn, around, settings.detection)
    say(settings, known, rows, when, span.seconds, verdicts, ballot, odd, mean, factor)

    # Whatever direction alerts, a value outside the band is pulled to its edge before it is learned.
    settled = known.register.count[rows] >= MIN_SAMPLES
    fine = settled if stats.fine is None else settled & stats.fine
    band = (ballot.lower, ballot.expected, ballot.upper)
    known.shift.follow(rows, np.where(usable, sample, np.nan), band)
    usable &= learn
    known.shift.note(rows, np.where(usable & fine, sample, np.nan), band, span.seconds)
    if span.passing:
        return
    # What never moved has no width to go by: zeros of a first night must not hold the day down for ever. And what was
    # emptied in a night has seen no day.
    leave = settled & (fine | (stats.std > resolution)) & ~known.drift.fresh(rows)
    lower, upper = (edge + np.where(fine, 0.0, LENIENCE) * (edge - ballot.expected) for edge in band[::2])
    learned = np.where(leave, np.fmin(np.fmax(sample, lower), upper), sample)
    block = slice(known.filled, known.filled + len(times))
    known.pending[block, rows] = np.where(usable, known.shift.bucket(learned, rows), np.nan)


def _shown(memory: DetectorState, moment: SampleBatch, rows: slice, keep: BoolArray) -> DetectorResult:
    """Let a memory judge samples of one instant, of which it keeps only some; `keep` has shape (t, n)."""
    if keep.all():
        return memory.judge(moment, rows)
    before = {name: array[..., rows].copy() for name, array in memory.arrays().items()}
    judgement = memory.judge(moment, rows)
    for name, array in memory.arrays().items():
        array[..., rows] = before[name]
    kept = replace(moment, sample=np.where(keep, moment.sample, np.nan), usable=moment.usable & keep)
    memory.judge(kept, rows)
    return judgement


def _offset(at: float, zone: ZoneInfo) -> float:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
