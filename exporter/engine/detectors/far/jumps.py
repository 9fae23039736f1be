"""Jumps of smooth series: far from the samples just before, though not from their hour.

Where noise lasts for hours, the level of a series is often far from the typical value of its hour, and the difference
between two samples is small. There a jump is an event long before its value is far. Its distance is that from the
median of the three samples before, in three standard deviations that such a distance has by the correlation of the
noise. It must be ten typical changes as well, and the sample must be farther off its hour than those before, so that
the way back is no jump. Only series whose neighbouring residuals are nearly equal have jumps: single spikes of counts
and the steps of values that are held are none.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import UNITY, ZERO, single
from exporter.engine.detectors.base import LearningSteps, Residual, Rows, SampleBatch, State
from exporter.engine.limits import Limit, SignalLimits, limit_columns
from exporter.engine.ordered import add_to, any_of
from exporter.engine.seconds import DAY, HOUR

__all__ = ["JUMP_COLUMNS", "SMOOTH", "Jumps"]

CORRELATED, SMOOTH, MOST = single(0.5), single(0.9), single(0.999)
"""Correlation from sample to sample from which on distances are noted, and from which on they are jumps; what counts as
the most."""
HOLDS = single(0.8)
"""Share of samples that repeat the one before from which on each movement is a step."""
OFF = single(1.5)
"""Standard deviations of the noise that a sample must be off its hour."""
LEAVES = single(1.5)
"""How many times as far from its hour it must be as the samples before were: neither the way back is a jump, nor the
other end of a sawtooth."""
FAR = single(3.0 * 2.0**0.5)
"""Times ``sqrt(1 - correlation**2)``: three standard deviations of the distance, in those of the noise."""
TYPICAL = single(10.0)
"""Typical changes that a jump is: most events are more, most of what is none is three to nine."""
CLIP = single(6.0)
"""A change counts as at most so many typical ones."""
LASTS = HOUR
"""Seconds in which a jump that goes on becomes what its samples are compared with."""
PARTS = 8
"""Parts of the day that have a typical change of their own."""
MEMORY = single(14.0)
"""Days that it is a mean of."""
RULES = (
    Limit(least=1.0, quarter=4.4, tenth=1.6, share=0.66, days=0.7, beyond=1.3),
    Limit(least=0.8, quarter=4.4, tenth=1.3, share=0.95),
)
"""Limits of single samples and of two in a row."""
PREFIX = "jump."

JUMP_COLUMNS: dict[str, Column] = {f"{PREFIX}{name}": column for name, column in limit_columns(RULES).items()} | {
    f"{PREFIX}changes": Column((2,), np.float32),  # The last changes that were learned, newest last,
    # and the size of the jump to the last sample, with its sign: from the samples before, and as it was judged.
    f"{PREFIX}last": Column((2,), np.float32),
    f"{PREFIX}typical": Column((PARTS,), np.float32),  # Mean size of the changes in each part of the day; 0: unknown.
    f"{PREFIX}age": Column((), np.float32),  # Of how many days it is.
    f"{PREFIX}sum": Column((3,), np.float32),  # Sizes of the changes of the block, their number, and days they are of.
    f"{PREFIX}away": Column((), np.float32),  # Distance from the level before the jump that goes on; 0: none does.
}
_COLUMNS = [(name.removeprefix(PREFIX), name) for name in JUMP_COLUMNS]


class Jumps:
    """The jumps of some series, in columns of `JUMP_COLUMNS`."""

    def __init__(self, state: State) -> None:
        self._state = {name: state[column] for name, column in _COLUMNS}
        self._typical = self._state["typical"][0]

    def judge(self, batch: SampleBatch, residual: Residual, alone: float) -> Array:
        """Return how far jumps are beyond their limits, above and below, shape (2, t, n), and note them."""
        state, steps = self._state, batch.steps
        self._typical = state["typical"][int(batch.times[0] // HOUR) * PARTS // 24 % PARTS]
        change = np.where(batch.usable & ~np.isnan(residual.change), residual.change, ZERO)
        distance = self._distances(change, steps)
        if steps.count:
            most = np.where(self._typical > 0.0, CLIP * self._typical, np.float32(np.inf))
            number, days = batch.usable.astype(np.float32), np.float32(residual.step / DAY)
            noted = (np.minimum(np.abs(change), most), number, days * number)
            for total, values in zip(state["sum"], noted, strict=True):
                add_to(total, steps.of(values))
        if not any_of(_counts(residual)) and not any_of(state["away"]):
            nothing = np.zeros((2, *change.shape), np.float32)
            SignalLimits(state, RULES).note(batch.times, nothing, batch.usable, None, steps)
            if steps.count:
                state["last"][...] = 0.0
            return nothing
        signed = self._sizes(batch, residual, distance)
        last = state["last"][0]
        beyond, pair = self._beyond(signed, steps.past(last, signed), self._most(residual, distance), alone)
        sizes = np.array((np.abs(signed), pair))
        SignalLimits(state, RULES).note(batch.times, sizes, batch.usable, beyond >= 1.0, steps)
        if steps.count:
            last[...] = signed[steps.last]
        if any_of(state["away"]) or any_of(beyond >= 1.0):
            signed, beyond = self._go_on(batch, residual, change, distance, alone)
        elif steps.count:
            state["last"][1] = signed[steps.last]
        return np.array((np.where(signed > 0.0, beyond, ZERO), np.where(signed < 0.0, beyond, ZERO)))

    def _distances(self, change: Array, steps: LearningSteps) -> Array:
        """Return the median of the distances from the three samples before, and keep the changes that are learned."""
        past = self._state["changes"]
        rows = np.concatenate((past, steps.of(change)))
        before, earlier = steps.at_each(rows, 1), steps.at_each(rows)
        past[...] = rows[-2:]
        two = before + earlier
        distance: Array = change + np.maximum(np.minimum(before, two), np.minimum(np.maximum(before, two), ZERO))
        return distance

    @staticmethod
    def _sizes(batch: SampleBatch, residual: Residual, distance: Array, index: int | slice = slice(None)) -> Array:
        """Return the sizes of distances from the samples before, with their signs; 0 where they are no jumps."""
        rho = np.minimum(residual.correlation, MOST)
        scale = np.maximum(residual.spread * np.sqrt(UNITY - rho * rho), batch.resolution.astype(np.float32))
        away = residual.value[index]
        size = np.minimum(np.abs(away) / (OFF * residual.spread), np.abs(distance) / (FAR * scale))
        signed: Array = np.where(
            _counts(residual) & batch.usable[index] & (distance * away > 0.0), np.copysign(size, distance), ZERO
        )
        return signed

    def _most(
        self, residual: Residual, distance: Array, index: int | slice = slice(None), goes_on: Array | bool = False
    ) -> Array:
        """Return how far jumps are at most, whatever their limits.

        Limits are of all jumps, also of those that these conditions sort out: they say how much changes vary.
        """
        smooth, away = (residual.correlation >= SMOOTH) & (residual.repeats < HOLDS), residual.value[index]
        leaves = (np.abs(away) >= LEAVES * np.abs(away - distance)) | goes_on
        return np.where(smooth & leaves, np.abs(distance) / (TYPICAL * self._typical), ZERO)

    def _beyond(self, signed: Array, previous: Array, most: Array, alone: float) -> tuple[Array, Array]:
        """Return how far jumps are beyond their limits, and the sizes of two in a row."""
        size, limit = np.abs(signed), self._state["limit"]
        pair = np.where(signed * previous > 0.0, np.minimum(size, np.abs(previous)), ZERO)
        beyond = np.maximum(size / (np.float32(alone) * limit[0]), pair / limit[1])
        beyond = np.where(beyond > 0.0, np.minimum(beyond, most), ZERO)  # NaN: no limit yet.
        return beyond, pair

    def _go_on(
        self, batch: SampleBatch, residual: Residual, change: Array, distance: Array, alone: float
    ) -> tuple[Array, Array]:
        """Judge samples one after the other: while a jump goes on, they are compared with the level before it."""
        away, last = self._state["away"], self._state["last"][1]
        pace = np.float32(1.0 - min(residual.step / LASTS, 1.0))
        signed, beyond = np.empty_like(distance), np.empty_like(distance)
        for index, ok in enumerate(batch.usable):
            goes_on = away != 0.0
            reach = np.where(goes_on, away + change[index], distance[index])
            signed[index] = self._sizes(batch, residual, reach, index)
            most = self._most(residual, reach, index, goes_on)
            beyond[index], _ = self._beyond(signed[index], last, most, alone)
            if not batch.steps.flags[index]:
                continue
            last[...] = signed[index]
            over = ok & (beyond[index] < 0.5)
            away[...] = np.where((beyond[index] >= 1.0) | (goes_on & ~over), pace * reach, ZERO)
        return signed, beyond

    def end_block(self) -> None:
        """Learn the block that has ended."""
        state = self._state
        (total, number, days), age = state["sum"], state["age"]
        rows = np.flatnonzero(number)
        part = state["now"][rows] // 60 * PARTS // 24 % PARTS
        mean, now = state["typical"][part, rows], total[rows] / number[rows]
        rate = np.minimum(PARTS * days[rows] / np.maximum(age[rows], days[rows]), UNITY)
        state["typical"][part, rows] = np.where(mean > 0.0, mean + rate * (now - mean), now)
        age[...] = np.minimum(age + days, MEMORY)
        state["sum"][...] = 0.0
        SignalLimits(state, RULES).end_block()

    def accept(self, rows: Rows) -> None:
        """End the jump that goes on: the level of `rows`, shape (m,), has moved."""
        self._state["last"][:, rows] = 0.0
        self._state["away"][rows] = 0.0


def _counts(residual: Residual) -> Array:
    """Return of which series distances are noted, shape (n,)."""
    counts: Array = (residual.correlation >= CORRELATED) & (residual.correlation < UNITY)  # 1: unknown.
    return counts
