"""The first day of a series: it is judged by robust statistics of its own few samples, and of its siblings.

The detectors need hours or days before they can say what is normal. Until then a sample is anomalous that is far from
the median of the life of the series, from its level of late and from all that it has shown: by more than noise of its
kind (counts, values that hold) can be while so little is known. Every sample counts, also those between two that are
learned. Before a series has `FEW` samples of its own, the older series of the query say where it should be.

Nothing here is learned for later, and the samples are taken one after the other, so that the result does not depend on
how many instants are scored together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import ZERO, single
from exporter.engine.detectors.base import CERTAIN, SEVERITY_MAX, BoolArray, FloatArray
from exporter.engine.ordered import all_of, any_of, clip, pick, sort
from exporter.engine.seconds import HOUR
from exporter.engine.siblings import UNTIL

__all__ = ["FEW", "Young", "YoungSamples", "YoungVerdicts"]

FEW = 6
"""Samples of its own that a series needs before the next one is judged by them."""
KEPT = 32
"""Samples that stand for the life of a series so far: every one, then every second one, then every fourth..."""
FAR = 4.0
"""Standard deviations from the median of its life, and from its level of late, that are far."""
ALONE = 2.0
"""A single sample must be so many times as far as two in a row."""
BEYOND = 1.3
"""And so many times as far as the farthest so far on its side: of noise with bursts more is to come."""
AGAIN = 1.5
"""What came before is so far: two such samples in a row are anomalous again, a single one is not."""
PRIOR = 0.2
"""Standard deviation of a series of which nothing is known, as a part of its level: what never moved has to double."""
DOUBT = 8.0
"""Changes of the value that weigh as much as that."""
UNSURE = 0.9
"""Severities end here where there is no scale to judge by."""
FOLLOW = single(0.5)
"""Part of the distance by which the level of late follows a sample,"""
STRIDE = single(4.0)
"""whose distance counts for so many standard deviations at most."""
SHORTEST, LONGEST = 0.1 * HOUR, 2 * HOUR
"""Seconds after which a new level is normal: as long as the series had been at the one before, within these bounds."""
_NORMAL = single(1.4826)
"""Standard deviation over the median absolute deviation, for a normal distribution,"""
_TENTHS = single(2.563)
"""and the distance between its outer tenths in standard deviations."""

LAYOUT = {
    "kept": Column((KEPT,), np.float32, np.nan),
    "filled": Column((), np.int16),  # Of these,
    "stride": Column((), np.int32, 1),  # each of so many samples,
    "skipped": Column((), np.int32),  # and how many came since the newest.
    "count": Column((), np.int32),  # Samples so far,
    "changes": Column((), np.int32),  # and how many were another value than the one before,
    "value": Column((), np.float32, np.nan),  # which was this.
    "middle": Column((), np.float32, np.nan),  # Median and standard deviation of `kept`.
    "spread": Column((), np.float32),
    "extremes": Column((2,), np.float32, np.nan),  # Largest and smallest normal sample.
    "level": Column((), np.float32, np.nan),
    "fractions": Column((), np.bool_),  # Whether a value was no whole number.
    "last": Column((2,), np.float32),  # How far above and below the last sample was.
    "since": Column((), np.float64, np.nan),  # Begin of the anomaly that goes on, Unix seconds,
    "born": Column((), np.float64, np.nan),  # and of the life at this level.
    "peak": Column((2,), np.float32, np.nan),  # Largest and smallest sample of the anomaly.
}
_State = dict[str, Array]


@dataclass(frozen=True, slots=True)
class YoungSamples:
    """Samples of some rows in one span; baseline units.

    Attributes
    ----------
    times : ndarray, shape (t,), Unix seconds
    age : ndarray, shape (t, n), seconds
        NaN: no sample so far.
    sample : ndarray, shape (t, n)
    keep : ndarray of bool, shape (t, n)
        Which of them may be learned.
    usable : ndarray of bool, shape (t, n)
    whole : ndarray of bool, shape (t, n)
        Whether the value is a whole number in source units.
    zero, unit, resolution, smallest : ndarray, shape (n,)
        The value zero; the length of a baseline unit in source units; the smallest length that has a meaning, and that
        counts.
    siblings : ndarray, shape (3, t, n)
        See `Siblings`.
    """

    times: FloatArray
    age: FloatArray
    sample: FloatArray
    keep: BoolArray
    usable: BoolArray
    whole: BoolArray
    zero: FloatArray
    unit: FloatArray
    resolution: FloatArray
    smallest: FloatArray
    siblings: FloatArray


@dataclass(frozen=True, slots=True)
class YoungVerdicts:
    """Severities and bands of samples, shape (t, n), baseline units; NaN: cannot say.

    Attributes
    ----------
    governs : ndarray of bool
        Where they hold instead of those of the detectors.
    """

    governs: BoolArray
    above: FloatArray
    below: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray


class Young:
    """What is known of series in their first day."""

    def __init__(self) -> None:
        self._columns = Columns(LAYOUT)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return {f"young/{name}": array for name, array in self._columns.arrays().items()}

    def missing_samples(self, size: int) -> npt.NDArray[np.int32]:
        """Return how many samples each row lacks before it is judged by its own, shape (size,)."""
        missing: npt.NDArray[np.int32] = np.maximum(FEW - self._columns.arrays()["count"][:size], 0)
        return missing

    def accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Take the present level of `rows` as normal."""
        state = self._columns.arrays()
        some = {name: array[..., rows] for name, array in state.items()}
        _restart(some, ~np.isnan(some["value"]), some["value"], some["born"])
        for name, array in some.items():
            state[name][..., rows] = array

    def judge(self, rows: slice, samples: YoungSamples) -> YoungVerdicts | None:
        """Judge the samples of the young series among `rows`, and note them; None where there is none."""
        governs = ~(samples.age >= UNTIL)
        young = np.flatnonzero(governs.any(axis=0))
        if not len(young):
            return None
        everything = len(young) == governs.shape[1]
        views = self._columns.views(rows)
        state = views if everything else {name: array[..., young] for name, array in views.items()}
        part = samples if everything else _take(samples, young)
        result = np.full((5, *part.sample.shape), np.nan)
        for index in range(len(part.times)):
            result[:, index] = _judge(state, part, index, governs[index, young])
        if not everything:
            for name, array in state.items():
                views[name][..., young] = array
        columns = np.full((5, *governs.shape), np.nan)
        columns[..., young] = result
        return YoungVerdicts(governs, *columns)


def _take(samples: YoungSamples, rows: npt.NDArray[np.intp]) -> YoungSamples:
    columns = {name: getattr(samples, name) for name in YoungSamples.__slots__}
    return YoungSamples(**{name: array if name == "times" else array[..., rows] for name, array in columns.items()})


def _judge(state: _State, samples: YoungSamples, index: int, governs: BoolArray) -> FloatArray:
    """Judge one sample of each series and note it; return above, below, expected, lower, upper, shape (5, n)."""
    sample, at = samples.sample[index], float(samples.times[index])
    few = state["count"] < FEW
    tenth, half, ninth = samples.siblings[:, index]
    of_siblings = np.where(few, half, np.nan)
    judged = ~few | ~np.isnan(of_siblings)
    middle = np.where(few, of_siblings, state["middle"].astype(np.float64))
    level = np.where(few, of_siblings, state["level"].astype(np.float64))
    spread, scale = _spread(state, samples, middle, few, tenth, ninth)
    high, low = np.where(few, middle, state["extremes"].astype(np.float64))
    reach = FAR * spread
    upper = middle + np.maximum(reach, BEYOND * (high - middle))
    # A new one may begin below its siblings.
    lower = np.where(few, -np.inf, middle - np.maximum(reach, BEYOND * (middle - low)))
    above = np.minimum((sample - middle) / (upper - middle), (sample - level) / reach)
    below = np.minimum((middle - sample) / (middle - lower), (level - sample) / reach)
    two = np.minimum(np.maximum(np.array((above, below)), 0.0), SEVERITY_MAX)
    two = np.where(scale & ~((sample >= tenth) & (sample <= ninth) & ~few), two, np.minimum(two, UNSURE))
    two = np.where(judged & samples.usable[index], two, np.nan)
    severity = np.fmax(two / ALONE, np.fmin(two, state["last"]))
    severity = np.where(np.isnan(two), np.nan, severity)
    if not all_of(samples.usable[index]):
        beyond = np.array((sample > middle, sample < middle))
        severity = np.where(judged & ~samples.usable[index] & ~np.isnan(sample), CERTAIN * beyond, severity)
    counts = samples.smallest > 0.0
    if any_of(counts):
        most = np.abs(sample - middle) / np.where(counts, samples.smallest, 1.0)
        severity = np.where(counts, np.minimum(severity, most), severity)
    noted = samples.keep[index] & governs
    _note(state, sample, samples.whole[index], at, two, severity, spread, noted)
    # Without a scale there is no width either.
    lower, upper = (np.where(scale, edge, middle) for edge in (lower, upper))
    band = np.array((middle, np.where(np.isfinite(lower), lower, np.nan), upper))
    return np.concatenate([severity, np.where(judged, band, np.nan)])


def _spread(
    state: _State, samples: YoungSamples, middle: FloatArray, few: BoolArray, tenth: FloatArray, ninth: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return the standard deviation to judge by, shape (n,), and whether the series has a scale at all."""
    size = np.abs(middle - samples.zero)
    own = state["spread"].astype(np.float64)
    prior = PRIOR * size
    of_siblings = (ninth - tenth) / _TENTHS
    # Siblings that are alike say how wide a member of the family is.
    prior = np.where(few, np.fmax(prior, of_siblings), np.fmax(np.fmin(prior, BEYOND * of_siblings), 0.25 * prior))
    trust = state["changes"] / (state["changes"] + DOUBT)
    blended = np.sqrt(trust * own**2 + (1.0 - trust) * prior**2)
    spread = np.where(few | (own <= samples.resolution), prior, blended)
    scale = (spread > samples.resolution) & (few | (size > samples.resolution) | (own > samples.resolution))
    # A whole number is a count, as far as anyone knows.
    counted = np.sqrt(np.maximum(size * samples.unit, 1.0)) / samples.unit
    spread = np.where(state["fractions"], spread, np.maximum(spread, counted))
    return np.maximum(spread, samples.resolution), scale


def _note(
    state: _State,
    sample: FloatArray,
    whole: BoolArray,
    at: float,
    two: FloatArray,
    severity: FloatArray,
    spread: FloatArray,
    noted: BoolArray,
) -> None:
    """Note a sample of each series where it is to be `noted`: as normal, or as part of an anomaly until this lasts."""
    if not any_of(noted):
        return
    value = sample.astype(np.float32)
    state["born"][...] = np.where(noted & np.isnan(state["born"]), at, state["born"])
    far = np.fmax(two[0], two[1])
    under_way = ~np.isnan(state["since"])
    begins = (severity[0] >= 1.0) | (severity[1] >= 1.0)
    # In the noise a sample may be near; only one that is halfway back says that it is over.
    anomalous = noted & (begins | (under_way & (far >= 0.5)))
    normal = noted & ~anomalous
    last = np.where(np.isnan(two), ZERO, two.astype(np.float32))
    state["last"][...] = np.where(noted, last, state["last"])
    state["count"] += noted
    state["fractions"] |= noted & ~whole
    if any_of(under_way) or any_of(anomalous):
        peak = state["peak"]
        peak[0] = np.where(anomalous, np.fmax(peak[0], value), peak[0])
        peak[1] = np.where(anomalous, np.fmin(peak[1], value), peak[1])
        ended = under_way & normal
        if any_of(ended):
            _widen(state, ended)
        since = np.where(anomalous & ~under_way, at, state["since"])
        state["since"][...] = np.where(ended, np.nan, since)
        held = clip(state["since"] - state["born"], SHORTEST, LONGEST)
        lasted = anomalous & (at - state["since"] >= held)
        if any_of(lasted):
            _restart(state, lasted, value, np.where(lasted, state["since"], state["born"]))
            normal |= lasted
    with_change = normal & ~np.isnan(state["value"]) & (value != state["value"])
    state["changes"] += with_change
    state["value"][...] = np.where(noted, value, state["value"])
    # A single sample that is far may be the first of many.
    reached = np.where(far >= 1.0, _part(state["middle"], value), value)
    extremes = state["extremes"]
    extremes[0] = np.where(normal, np.fmax(extremes[0], reached), extremes[0])
    extremes[1] = np.where(normal, np.fmin(extremes[1], reached), extremes[1])
    most = STRIDE * spread.astype(np.float32)
    step = clip(value - state["level"], -most, most)
    level = np.where(np.isnan(step), value, state["level"] + FOLLOW * step)
    state["level"][...] = np.where(normal, level, state["level"])
    _keep(state, value, normal)


def _widen(state: _State, ended: BoolArray) -> None:
    """Count what an anomaly that is over reached as a part of the range of the series."""
    peak, extremes = state["peak"], state["extremes"]
    reached = _part(state["middle"], peak)
    extremes[0] = np.where(ended, np.fmax(extremes[0], reached[0]), extremes[0])
    extremes[1] = np.where(ended, np.fmin(extremes[1], reached[1]), extremes[1])
    peak[:, ended] = np.nan


def _part(middle: Array, value: Array) -> Array:
    """Return what counts of a far value in the range of the series."""
    part: Array = middle + (value - middle) / np.float32(BEYOND * AGAIN)
    return part


def _restart(state: _State, rows: BoolArray, value: Array, born: FloatArray) -> None:
    """Begin the life of some rows at another level; they have been judged before, so they still are."""
    state["kept"][:, rows] = np.nan
    for name, initial in (("filled", 0), ("stride", 1), ("skipped", 0), ("changes", 0), ("spread", 0.0)):
        state[name][rows] = initial
    for name in ("middle", "level"):
        state[name][...] = np.where(rows, value, state[name])
    state["extremes"][...] = np.where(rows, value, state["extremes"])
    state["peak"][:, rows] = np.nan
    state["since"][rows] = np.nan
    state["last"][:, rows] = 0.0
    state["born"][...] = np.where(rows, born, state["born"])


def _keep(state: _State, value: Array, normal: BoolArray) -> None:
    """Keep every sample, or one of every `stride`; and compute the statistics of those that are kept."""
    state["skipped"] += normal
    due = np.flatnonzero(normal & (state["skipped"] >= state["stride"]))
    if not len(due):
        return
    state["skipped"][due] = 0
    kept, filled = state["kept"], state["filled"]
    kept[filled[due], due] = value[due]
    filled[due] += 1
    full = due[filled[due] == KEPT]
    if len(full):
        kept[: KEPT // 2, full] = kept[1::2, full]
        kept[KEPT // 2 :, full] = np.nan
        filled[full] = KEPT // 2
        state["stride"][full] *= 2
    count = filled[due].astype(np.intp)
    some = sort(kept[: int(count.max()), due])  # Those behind are empty.
    middle = _quantile(some, count, 0.5)
    deviation = sort(np.abs(some - middle))
    outer = (_quantile(some, count, 0.9) - _quantile(some, count, 0.1)) / _TENTHS
    state["middle"][due] = middle
    state["spread"][due] = np.maximum(_NORMAL * _quantile(deviation, count, 0.5), outer)


def _quantile(ordered: Array, count: npt.NDArray[np.intp], share: float) -> Array:
    """Return a quantile of the first `count` rows of each series, shapes (k, n) and (n,); between two, their mean."""
    place = (count - 1) * share
    low, high = pick(ordered, np.floor(place).astype(np.intp)), pick(ordered, np.ceil(place).astype(np.intp))
    quantile: Array = np.float32(0.5) * (low + high)
    return quantile
