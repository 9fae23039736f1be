"""What comes at the same minutes of every hour, such as a job at :00: found, and expected where that predicts.

Of every series it is noted at which twelfths of an hour a sample was far. Only one that was so at the same in five
hours on end gets a pattern, in arrays that have a place for such series alone: the mean distance of each minute from
the middle of the hour. It is subtracted from the samples before they are judged, and added to what is expected of
them, as long as it predicts the samples better by a good part than the hour alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.constants import single
from exporter.engine.ordered import any_of
from exporter.engine.seconds import HOUR

__all__ = ["WithinHour"]

MINUTES = 60
MINUTE = 60.0
PARTS = 12
"""Parts of an hour in which it is noted whether a sample was far."""
HOURS = 5
"""Hours on end in which the same part must have been far."""
FAR = single(2.0)
"""Standard deviations that are far."""
MEMORY = 48.0
"""Hours that the pattern is a mean of."""
VISITS = 3
"""Hours after which a minute has an expected distance."""
SETTLED = 24
"""Samples that were predicted before the pattern is used,"""
ERRORS = 600.0
"""and how many the errors are means of."""
TAKEN, KEPT = 0.6, 0.85
"""Part of the mean square error without the pattern that the one with it must stay below to be used, and to stay so."""
CLIP = 3.0
"""A sample counts at most this many times the error of the pattern beyond its size."""
LEAST = 1.0
"""Errors of the pattern that a minute must be from the middle: most of the hour is as it would be without one."""
IDLE = 48
"""Hours without evidence after which a pattern that is not used is forgotten."""
_NEVER = np.iinfo(np.int32).min

_SLOTS = {
    "pattern": Column((MINUTES,), np.float32),  # Mean distance from the expected value, baseline units,
    "visits": Column((MINUTES,), np.uint8),  # and over how many hours.
    "shift": Column((MINUTES,), np.float32),  # What is subtracted in this hour.
    "errors": Column((2,), np.float32),  # Mean square distance from the expected value without pattern and with it,
    "predicted": Column((), np.float32),  # of so many samples.
    "used": Column((), np.bool_),
    "idle": Column((), np.int16),  # Hours since there was evidence.
    "row": Column((), np.int32, -1),  # Whose it is; -1: nobody's.
}


class WithinHour(Columns):
    """The patterns within the hour of the series of a query."""

    def __init__(self) -> None:
        super().__init__(
            {
                "marks": Column((HOURS,), np.uint16),  # Parts of the last hours that were far, the present one first.
                "mark_hour": Column((), np.int32, _NEVER),  # Number of the hour that goes on.
                "slot": Column((), np.int32, -1),  # Where its pattern is; -1: it has none.
            }
        )
        self._slots = Columns(_SLOTS)
        self.room: int | None = None
        """Patterns that may come; None: as many as there is room for."""
        self.crowded = False
        """Whether a series got none for want of room."""

    @property
    def free(self) -> int:
        """How many more patterns there is room for."""
        return self._most - int(np.count_nonzero(self._slots.arrays()["row"] >= 0))

    @property
    def _most(self) -> int:
        """For a quarter of all series."""
        return MINUTES + len(self._arrays["slot"]) // 4

    def arrays(self) -> dict[str, Array]:
        """Return the state that has a value a row, by name."""
        return {f"within/{name}": array for name, array in self._arrays.items()}

    def patterns(self) -> dict[str, Array]:
        """Return the patterns, by name."""
        return {f"within_pattern/{name}": array for name, array in self._slots.arrays().items()}

    def restore_patterns(self, parts: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take the patterns of an earlier run; where they do not fit the series begin without."""
        names = {name: f"within_pattern/{name}" for name in _SLOTS}
        stored = {name: parts[key] for name, key in names.items() if key in parts}
        slot = self._arrays["slot"]
        count = stored["row"].shape[-1] if "row" in stored else 0
        fits = len(stored) == len(_SLOTS) and all(
            stored[name].shape == (*column.shape, count) and stored[name].dtype == column.dtype
            for name, column in _SLOTS.items()
        )
        if not fits:
            slot[...] = -1
            return
        self._slots.grow(count)
        for name, array in self._slots.arrays().items():
            array[...] = stored[name]
        # A row may have been given away after one of both was written.
        rows = self._slots.arrays()["row"]
        rows[rows >= len(slot)] = -1
        here = np.flatnonzero(slot >= 0)
        here = here[(slot[here] >= count) | (rows[np.minimum(slot[here], max(count - 1, 0))] != here)]
        slot[here] = -1
        taken = np.flatnonzero(rows >= 0)
        rows[taken[slot[rows[taken]] != taken]] = -1

    def copy_patterns(self, rows: slice, target: WithinHour, place: slice) -> None:
        """Copy the patterns of some rows to other rows of another object, in place of what these have."""
        own, there = self._arrays["slot"][rows], target._arrays["slot"][place]
        target._release(there[there >= 0])
        which = np.flatnonzero(own >= 0)
        if len(which):
            target._admit(place.start + which)
            which = which[there[which] >= 0]
            for name, array in target._slots.arrays().items():
                if name != "row":
                    array[..., there[which]] = self._slots.arrays()[name][..., own[which]]

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, shape (m,)."""
        slots = self._arrays["slot"][rows]
        self._release(slots[slots >= 0])
        super().forget(rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the patterns."""
        return sum(array.nbytes for array in self._slots.arrays().values())

    def shift(self, rows: slice, times: npt.NDArray[np.float64]) -> Array | None:
        """Return what is expected of the minutes of `times`, local seconds, beyond the hour; (t, n), baseline units.

        None: nothing, for any of the rows.
        """
        state, number = self.views(rows), int(times[0] // HOUR)
        if number != int(state["mark_hour"].max()):
            self._begin_hour(rows, state, number)
        slots = self._slots.arrays()
        if not any_of(slots["used"]):
            return None
        slot = state["slot"]
        used = np.flatnonzero(slot >= 0)
        used = used[slots["used"][slot[used]]]
        if not len(used):
            return None
        shift = np.zeros((len(times), len(slot)))
        shift[:, used] = slots["shift"][_minutes(times)][:, slot[used]]
        return shift

    def note(
        self,
        rows: slice,
        times: npt.NDArray[np.float64],
        distance: Array,
        spread: Array,
        shift: Array | None,
        keep: Array,
        seconds: float,
    ) -> None:
        """Note samples of one hour, one a minute: others of it would count as those of other hours.

        Parameters
        ----------
        times : ndarray, shape (t,)
            Local seconds.
        distance : ndarray, shape (t, n)
            From the expected value with what `shift` returned or from the last hour, whichever is less; baseline
            units. A day that is higher altogether is no pattern of its hours, and neither are steps between them.
        spread : ndarray, shape (n,)
        shift : ndarray, shape (t, n), optional
        keep : ndarray of bool, shape (t, n)
            Which of them may be learned.
        seconds : float
            How far samples are apart.
        """
        state = self.views(rows)
        if seconds < MINUTE:
            first = times % MINUTE < seconds
            times, distance, keep = times[first], distance[first], keep[first]
            shift = None if shift is None else shift[first]
        far = keep & (np.abs(distance) > FAR * spread)
        if any_of(far):
            part = (times % HOUR // (HOUR / PARTS)).astype(np.uint16)
            bits = np.left_shift(np.uint16(1), part)[:, None]
            state["marks"][0] |= np.bitwise_or.reduce(np.where(far, bits, np.uint16(0)), axis=0)
        slot = state["slot"]
        if self._slots.arrays()["row"].size and any_of(slot >= 0):
            which = np.flatnonzero(slot >= 0)
            plain = distance[:, which].astype(np.float64)
            plain = plain if shift is None else plain + shift[:, which]
            self._learn(slot[which], _minutes(times), plain, keep[:, which])

    def _learn(self, slot: Array, minutes: Array, distance: Array, keep: Array) -> None:
        slots = self._slots.arrays()
        pattern, visits, errors = slots["pattern"], slots["visits"], slots["errors"]
        for minute, size, ok in zip(minutes.tolist(), distance, keep & np.isfinite(distance), strict=True):
            mean, count = pattern[minute, slot], visits[minute, slot].astype(np.int64)
            predicted = slots["predicted"][slot]
            # What happens once is not to be expected in every hour.
            most = np.abs(mean) + CLIP * np.sqrt(errors[1, slot])
            most = np.where((predicted >= SETTLED) & (count >= VISITS), most, np.inf)
            delta = np.clip(size - mean, -most, most)
            compared = ok & (count >= VISITS)
            weight = np.where(compared, 1.0 / np.minimum(predicted + 1.0, ERRORS), 0.0)
            for index, error in enumerate((np.clip(size, -most, most), delta)):
                step = weight * (np.where(compared, error, 0.0) ** 2 - errors[index, slot])
                errors[index, slot] += step.astype(np.float32)
            slots["predicted"][slot] = predicted + compared
            step = np.where(ok, delta / np.minimum(count + 1.0, MEMORY), 0.0)
            pattern[minute, slot] = (mean + step).astype(np.float32)
            visits[minute, slot] = np.where(ok, np.minimum(count + 1, 255), count)

    def _begin_hour(self, rows: slice, state: dict[str, Array], number: int) -> None:
        """Decide which patterns are used in the hour that begins, and which series get one."""
        marks, slot = state["marks"], state["slot"]
        evidence = np.bitwise_and.reduce(marks, axis=0) != 0
        which = np.flatnonzero(slot >= 0)
        if len(which):
            self._decide(slot[which], evidence[which])
        new = np.flatnonzero(evidence & (slot < 0))
        if len(new):
            self._admit(new + rows.start)
        on_end = number == int(state["mark_hour"].max()) + 1
        marks[1:] = marks[:-1].copy() if on_end else 0
        marks[0] = 0
        state["mark_hour"][...] = number

    def _decide(self, slot: Array, evidence: Array) -> None:
        slots = self._slots.arrays()
        without, with_it = slots["errors"][:, slot]
        part = np.where(slots["used"][slot], KEPT, TAKEN)
        used = (slots["predicted"][slot] >= SETTLED) & (with_it < part * without)
        slots["used"][slot] = used
        valid = slots["visits"][:, slot] >= VISITS
        pattern = np.where(valid, slots["pattern"][:, slot].astype(np.float64), np.nan)
        ranked = np.sort(pattern, axis=0)
        count = valid.sum(axis=0)
        middle = ranked[np.maximum(count - 1, 0) // 2, np.arange(len(slot))]
        away = pattern - middle
        away = np.where(valid & (np.abs(away) > LEAST * np.sqrt(with_it)), away, 0.0)
        slots["shift"][:, slot] = away.astype(np.float32)
        idle = np.where(evidence | used, 0, slots["idle"][slot] + 1)
        slots["idle"][slot] = idle
        self._release(slot[idle > IDLE])

    def _admit(self, rows: npt.NDArray[np.intp]) -> None:
        """Give a pattern to `rows`, as far as there is room."""
        if self.room is not None:
            self.crowded |= len(rows) > self.room
            self.room -= min(len(rows), self.room)
        owner = self._slots.arrays()["row"]
        free = np.flatnonzero(owner < 0)
        most = self._most
        if len(free) < len(rows) and len(owner) < most:
            self._slots.grow(min(most, max(8, 2 * len(owner), len(owner) + len(rows) - len(free))))
            owner = self._slots.arrays()["row"]
            free = np.flatnonzero(owner < 0)
        self.crowded |= len(free) < len(rows)
        rows, free = rows[: len(free)], free[: len(rows)]
        self._slots.forget(free)
        owner[free] = rows
        self._arrays["slot"][rows] = free

    def _release(self, slots: Array) -> None:
        if len(slots):
            rows = self._slots.arrays()["row"][slots]
            self._arrays["slot"][rows] = -1
            self._slots.forget(slots)


def _minutes(times: npt.NDArray[np.float64]) -> Array:
    minutes: Array = (times % HOUR // MINUTE).astype(np.intp)
    return minutes
