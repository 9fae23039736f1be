"""One instant of the groups of one block: samples are compared with those of their siblings, and learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column
from exporter.engine.peers.groups import GroupBlock, medians
from exporter.engine.peers.limits import BASES, RULES
from exporter.engine.peers.samples import BoolArray, PeerSamples, PeerVerdicts
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.seconds import DAY

__all__ = ["CLIP", "ENOUGH", "LAYOUT", "NEVER", "NORMAL", "PeerInstant", "accept"]

ENOUGH = 12
"""Learned samples after which the usual place of a series is settled."""
MEMORY = 7 * DAY
"""Of the place and of how far it is left."""
ALIKE = 4.0
"""Samples that say no more about a place than one: they are alike that follow each other."""
CLIP = 3.0
"""Deviations count for place and spread at most this many times the spread."""
SMALLEST = 0.01
"""Spread of logarithms at least: a hundredth of the value."""
ADDED = 0.05
"""Part of the median that is added before a logarithm is taken, so that zero is far and not infinitely far."""
HOLD = 1.6
"""What lasts counts as its mean, and as its least sample so many times: one sample that is far does not last."""
CHANCE = 1.2
"""Standard error of how far siblings are apart, times the root of their number."""
GOES_ON = 0.5
"""Part of the limit beyond which an anomaly goes on."""
FOLLOW = 0.2
"""Weight of a sample in the level of late,"""
STRIDE = 4.0
"""for which it counts so many standard deviations at most."""
STALE = 4.0
"""Intervals after which the sample before says nothing any more."""
PART = 0.02
"""Weight of an instant in the share of those at which logarithms can be taken,"""
PLAIN_BELOW, LOGARITHM_ABOVE = 0.3, 0.95
"""and shares at which samples are compared as they are, and as logarithms again."""
SEVERITY_MAX = 1e6
NORMAL, _MEAN_NORMAL = 1.4826, 1.2533
"""Standard deviation over the median, and over the mean absolute deviation, for a normal distribution."""
_LOGARITHMS, _PLAIN = 1, 2
NEVER = np.iinfo(np.int32).min
_SPREAD, _BETWEEN, _BEGIN = range(3)

LAYOUT = {
    "space": Column((), np.int8),  # Whether samples are compared as logarithms; 0: not decided.
    "share": Column((), np.float32, np.nan),  # Of instants at which they could be.
    "offset": Column((), np.float32),  # Usual distance from the middle,
    "spread": Column((), np.float32),  # and standard deviation from it.
    "count": Column((), np.float32),  # Samples in them.
    "last": Column((2,), np.float32, np.nan),  # The last deviation and the one before, in standard deviations,
    "level": Column((), np.float32),  # their level of late,
    "at": Column((), np.float64, np.nan),  # and when it was, Unix seconds.
    "since": Column((), np.float64, np.nan),  # Begin of the anomaly under way,
    "away": Column((), np.float32, np.nan),  # and how far from its place the series has been since.
    "begin": Column((), np.float32),  # How far it was in its first samples.
    "peaks": Column((RULES,), np.float32),  # Of the runs beyond the bases that go on.
    "seen": Column((), np.float32),  # Samples that were compared,
    "tails": Column((RULES, 3), np.float32),  # and the runs beyond the bases among them; see `limits_of`.
    "limits": Column((RULES,), np.float32, np.nan),  # Of the group, as of the hour that goes on,
    "pooled": Column(
        (3,), np.float32, np.nan
    ),  # as are its spread, how far places are widened, and how far beginnings.
    "hour": Column((), np.int32, NEVER),  # Its number.
}


class PeerInstant:
    """The samples of the groups of one block at one instant; arrays of shape (g, m), or (g, 1) of a group."""

    def __init__(
        self, state: dict[str, Array], block: GroupBlock, samples: PeerSamples, index: int, settings: PeerSettings
    ) -> None:
        self._state, self._block, self._samples, self._settings = state, block, samples, settings
        self._index, self._at = index, float(samples.times[index])

    def judge(self, verdicts: PeerVerdicts) -> None:
        """Write the verdicts on the samples, and learn these."""
        block, samples, state, index = self._block, self._samples, self._state, self._index
        usable = block.member & block.take(samples.usable[index])
        value = np.where(usable, block.take(samples.values[index]), np.nan)
        number = usable.sum(axis=1)[:, None]
        if not number.any():
            return
        middle = medians(value)[:, None]
        logarithms, can = self._space(value, middle)
        plain = value if not logarithms.all() else None
        with_log = np.log(value / middle + ADDED) if logarithms.any() else value
        place = with_log if plain is None else np.where(logarithms, with_log, plain)
        place = np.where(np.isfinite(place) & can, place, np.nan)

        count, offset, spread = (block.take(state[name]).astype(np.float64) for name in ("count", "offset", "spread"))
        pooled = _of_group(block.take(state["pooled"]), block.member)
        limit = _of_group(block.take(state["limits"]), block.member)
        warm = ~np.isnan(pooled[_SPREAD])
        fresh = count < ENOUGH
        typical, variance = _expected_place(count, offset, spread, pooled, warm, fresh)
        free = place - typical
        centre = medians(free)[:, None]
        deviation = free - centre
        finest = np.where(logarithms, SMALLEST, np.maximum(1e-9 * np.abs(middle), 1e-300))
        scale = np.fmax(np.sqrt(variance), finest)
        ratio = deviation / scale
        # Of a few, so much is by chance.
        chance = 1.0 + CHANCE / np.sqrt(np.maximum(number, 1))
        widened = np.fmax(NORMAL * medians(np.abs(ratio))[:, None] / chance, 1.0)
        ratio /= widened
        recent = self._at - block.take(state["at"]) <= STALE * samples.seconds
        last = np.where(recent, block.take(state["last"]), np.nan)
        level = np.where(recent, block.take(state["level"]), 0.0)
        level = level + FOLLOW * (np.clip(ratio, -STRIDE, STRIDE) - level)
        sizes = _sizes(ratio, last.astype(np.float64), level)
        # Where nothing has ever moved only what lasts is sure.
        still = warm & ~(pooled[_SPREAD] > 0.0)
        severity = np.where(still, sizes[2] / limit[2], np.maximum.reduce(sizes / limit)) / self._settings.limit
        severity = np.minimum(severity, SEVERITY_MAX)
        judged = warm & (number >= self._settings.min_size) & ~np.isnan(ratio)
        expected = self._outward(centre + typical, middle, logarithms)
        least = np.maximum(samples.least, samples.relative * np.abs(expected))
        severity = np.where(least > 0.0, np.minimum(severity, np.abs(value - expected) / least), severity)
        severity = np.where(judged, severity, np.nan)

        reach = scale * widened * limit[2] * self._settings.limit
        reach = np.where(severity >= 1.0, np.abs(deviation) / severity, reach)
        lower, upper = (self._outward(centre + typical + side * reach, middle, logarithms) for side in (-1.0, 1.0))
        results = {
            "above": np.where(ratio >= 0.0, severity, np.minimum(severity, 0.0)),
            "below": np.where(ratio <= 0.0, severity, np.minimum(severity, 0.0)),
            "expected": np.where(judged, expected, np.nan),
            "lower": np.where(judged, lower, np.nan),
            "upper": np.where(judged, upper, np.nan),
            "middle": np.where(judged, middle, np.nan),
            "size": np.where(judged, number.astype(np.float64), np.nan),
        }
        for name, array in results.items():
            block.put(getattr(verdicts, name)[index], array)

        here = ~np.isnan(ratio)
        learn = here & block.take(samples.learn[index])
        noted = learn & (judged | ~warm)
        newest = np.stack([np.where(judged, ratio, np.nan), last[0]])
        block.put(state["last"], np.where(noted, newest, block.take(state["last"])).astype(np.float32))
        level = np.where(judged, level, 0.0)
        block.put(state["level"], np.where(noted, level, block.take(state["level"])).astype(np.float32))
        block.put(state["at"], np.where(noted, self._at, block.take(state["at"])))
        if samples.steps[index] and noted.any():
            away = place - centre - np.where(count > 0.0, offset, 0.0)
            self._follow(noted, severity, ratio, away, limit)
            normal = noted & np.isnan(block.take(state["since"]))
            self._learn(normal, warm, away, deviation, scale, widened)
            self._note_tails(normal & warm & ~fresh, sizes, limit)

    def _space(self, value: Array, middle: Array) -> tuple[BoolArray, BoolArray]:
        """Return which groups are compared as logarithms, and which can be compared now; shapes (g, 1)."""
        block, state = self._block, self._state
        able = (middle > 0.0) & ~(value < 0.0).any(axis=1, keepdims=True)
        space = np.where(block.member, block.take(state["space"]), 0).max(axis=1, keepdims=True)
        share = np.fmax.reduce(np.where(block.member, block.take(state["share"]), np.nan), axis=1, keepdims=True)
        shares, present = share, ~np.isnan(middle)
        new = np.where(space == 0, np.where(able, _LOGARITHMS, _PLAIN), space)
        if self._samples.steps[self._index]:
            share = np.where(present, np.where(np.isnan(share), able, share + PART * (able - share)), share)
            new = np.where((new == _LOGARITHMS) & (share < PLAIN_BELOW), _PLAIN, new)
            new = np.where((new == _PLAIN) & (share > LOGARITHM_ABOVE) & able, _LOGARITHMS, new)
        new = np.where(present, new, space)
        changed = (new != space) & (space != 0)
        if changed.any():
            rows = block.rows[block.member & changed]
            for name, column in LAYOUT.items():
                if name not in ("space", "share", "hour"):
                    state[name][..., rows] = column.initial
        # Both hardly ever change.
        for name, before, after in (("space", space, new), ("share", shares, share.astype(np.float32))):
            if not np.array_equal(before, after, equal_nan=True):
                block.put(state[name], np.broadcast_to(after.astype(state[name].dtype), block.rows.shape))
        logarithms = new == _LOGARITHMS
        return logarithms, ~logarithms | able

    @staticmethod
    def _outward(place: Array, middle: Array, logarithms: BoolArray) -> Array:
        """Return places in source units."""
        return np.where(logarithms, np.maximum(middle * (np.exp(place) - ADDED), 0.0), place)

    def _follow(self, noted: BoolArray, severity: Array, ratio: Array, away: Array, limit: Array) -> None:
        """Note which anomalies begin, go on and end, and accept those that have lasted."""
        block, state = self._block, self._state
        since, so_far = block.take(state["since"]), block.take(state["away"]).astype(np.float64)
        under_way = ~np.isnan(since)
        anomalous = noted & (severity >= 1.0)
        if not (under_way.any() or anomalous.any()):
            return
        far = np.abs(ratio) >= GOES_ON * limit[2] * self._settings.limit
        goes_on = anomalous | (under_way & ~(noted & ~far))
        since = np.where(goes_on, np.where(under_way, since, self._at), np.nan)
        step = 0.1 * (away - so_far)
        so_far = np.where(goes_on, np.where(noted, np.where(np.isnan(so_far), away, so_far + step), so_far), np.nan)
        block.put(state["since"], since)
        block.put(state["away"], so_far.astype(np.float32))
        lasted = block.member & (self._at - since >= self._samples.accept_after)
        if lasted.any():
            accept(state, block.rows[lasted])

    def _learn(
        self, normal: BoolArray, warm: BoolArray, away: Array, deviation: Array, scale: Array, widened: Array
    ) -> None:
        """Learn places and spreads of what is `normal`, and how far the first samples of new members were."""
        block, state = self._block, self._state
        count, offset, spread, begin = (
            block.take(state[name]).astype(np.float64) for name in ("count", "offset", "spread", "begin")
        )
        most = np.where(warm, CLIP * scale * widened, np.inf)
        rate = 1.0 / np.minimum(count + 1.0, MEMORY / self._samples.step)
        new_offset = offset + rate * np.clip(away, -most, most)
        # The first sample is at no distance from its own place.
        size = _MEAN_NORMAL * np.minimum(np.abs(np.where(warm, deviation, away)), most)
        new_spread = np.where(count >= 1.0, spread + rate * (size - spread), 0.0)
        block.put(state["offset"], np.where(normal, new_offset, offset).astype(np.float32))
        block.put(state["spread"], np.where(normal, new_spread, spread).astype(np.float32))
        block.put(state["count"], np.where(normal, np.minimum(count + 1.0, 1e6), count).astype(np.float32))
        beginning = warm & (count < ENOUGH) & ~np.isnan(deviation)
        if beginning.any():
            block.put(state["begin"], np.where(beginning, np.fmax(begin, np.abs(deviation)), begin).astype(np.float32))

    def _note_tails(self, counted: BoolArray, sizes: Array, limit: Array) -> None:
        """Note how far runs beyond the bases have gone that have ended."""
        block, state = self._block, self._state
        peaks = block.take(state["peaks"]).astype(np.float64)
        beyond = counted & (sizes > BASES[:, None, None])
        ended = counted & ~beyond & (peaks > 0.0)
        if ended.any():
            rule, group, place = np.nonzero(ended)
            farthest = np.minimum(peaks[rule, group, place], 1.5 * limit[rule, group, 0])
            excess = np.maximum(farthest - BASES[rule], 0.0)
            rows = block.rows[group, place]
            for part, value in enumerate((np.ones_like(excess), excess, excess**2)):
                state["tails"][rule, part, rows] += value.astype(np.float32)
        if beyond.any() or ended.any():
            peaks = np.where(beyond, np.maximum(peaks, sizes), np.where(ended, 0.0, peaks))
            block.put(state["peaks"], peaks.astype(np.float32))
        seen = block.take(state["seen"])
        block.put(state["seen"], seen + counted.astype(np.float32))


def accept(state: dict[str, Array], rows: npt.NDArray[np.intp]) -> None:
    """Take where anomalous `rows`, shape (m,), have been of late as their place."""
    state["offset"][rows] += state["away"][rows]
    state["count"][rows] = np.maximum(state["count"][rows], ENOUGH)
    state["since"][rows] = state["away"][rows] = state["last"][:, rows] = np.nan
    state["level"][rows] = 0.0


def _of_group(columns: Array, member: BoolArray) -> Array:
    """Return what all members of a group have that have it at all: shape (k, g, m) to (k, g, 1)."""
    shared: Array = np.fmax.reduce(np.where(member, columns, np.float32(np.nan)), axis=-1, keepdims=True)
    return shared.astype(np.float64)


def _expected_place(
    count: Array, offset: Array, spread: Array, pooled: Array, warm: BoolArray, fresh: BoolArray
) -> tuple[Array, Array]:
    """Return the usual places of members, and the variance about them, that of the place included; shape (g, m)."""
    of_group = np.nan_to_num(pooled)
    noise = (count * spread**2 + ENOUGH * of_group[_SPREAD] ** 2) / (count + ENOUGH)
    noise = np.where(warm, noise, spread**2)
    prior = np.where(fresh, of_group[_BETWEEN] ** 2, np.maximum(of_group[_BETWEEN] ** 2, offset**2))
    of_mean = noise * ALIKE / np.maximum(count, 1.0)
    total = prior + of_mean
    trust = np.divide(prior, total, out=np.zeros_like(total), where=total > 0.0)
    trust = np.where(count > 0.0, trust, 0.0)
    variance = noise + prior * (1.0 - trust) + np.where(fresh, of_group[_BEGIN] ** 2, 0.0)
    return np.where(warm, trust, 1.0) * offset, variance


def _sizes(ratio: Array, last: Array, level: Array) -> Array:
    """Return how far one sample, two and three in a row and the level of late are out on one side; shape (4, g, m)."""
    sizes = [np.abs(ratio)]
    total, least = ratio, np.abs(ratio)
    same_side = ~np.isnan(ratio)
    for number, before in enumerate(last, start=2):
        total, least = total + before, np.minimum(least, np.abs(before))
        same_side = same_side & (before * ratio > 0.0)
        sizes.append(np.where(same_side, np.minimum(np.abs(total) / number, HOLD * least), 0.0))
    return np.stack([*sizes, np.where(level * ratio > 0.0, np.abs(level), 0.0)])
