"""Rings of slots of all series, and the parts of them that a checkpoint has to write."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns
from exporter.engine.forecast.past import LARGEST, Past, Rows, Slots
from exporter.engine.seconds import DAY

__all__ = ["Ring"]

BLOCK = 96
"""Slots that are written together: a day of quarters of an hour."""
_INSTANTS = 512
"""Instants that are put in at once."""


class Ring:
    """The last slots of every series.

    Parameters
    ----------
    name : str
        Of its parts in a checkpoint.
    seconds : float
        Of a slot.
    days : int
        How long a slot is kept; a whole number of blocks.
    """

    def __init__(self, name: str, seconds: float, days: int) -> None:
        self.name, self.seconds = name, seconds
        self.slot = -1
        """Number of the newest slot."""
        self._slots = round(days * DAY / seconds)
        layout = {"values": Column((self._slots,), np.float32, np.nan), "count": Column((), np.float32)}
        self._columns = Columns(layout)
        self._touched: set[int] = set()
        self._saved_at = np.full(self._slots // BLOCK, -np.inf)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Empty `rows`."""
        self._columns.forget(rows)

    def of(self, rows: Rows, root: npt.NDArray[np.bool_] | None = None) -> Past:
        """Return the slots of some rows; `root` as of `Past`."""
        return Past(self._columns.arrays()["values"][:, rows], self.slot, self.seconds, root)

    def enter(self, local: float) -> None:
        """Note that the newest instant is `local`, seconds on the clock of the wall."""
        self.slot = int(local // self.seconds)

    def note(self, local: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> None:
        """Put samples in, shapes (t,) and (t, size); times ascend, but the first may be before the newest so far."""
        part = slice(None, values.shape[1])
        state = self._columns.views(part)
        slots = (local // self.seconds).astype(np.intp)
        for begin in range(0, len(slots), _INSTANTS):
            piece = slots[begin : begin + _INSTANTS]
            _put(state["values"], state["count"], piece, self.slot, values[begin : begin + _INSTANTS])
            low, high = min(int(piece[0]), self.slot), max(int(piece[-1]), self.slot)
            changed = np.arange(max(low, high - self._slots + 1), high + 1)
            self._touched.update(np.unique(changed % self._slots // BLOCK).tolist())
            self.slot = int(piece[-1])

    # ------------------------------------------------------------------ checkpoints

    @property
    def nbytes(self) -> int:
        """Bytes of all slots."""
        return sum(array.nbytes for array in self._columns.arrays().values())

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes."""
        return 4 * (self._slots + 1)

    def changed(self, at: float, size: int) -> dict[str, Array]:
        """Return the blocks that changed since they were last `saved`, as views, and when each was."""
        state = self._columns.views(slice(None, size))
        saved_at = self._saved_at.copy()
        blocks = sorted(self._touched)
        saved_at[blocks] = at
        parts = {f"{self.name}/{block:02}": state["values"][block * BLOCK : (block + 1) * BLOCK] for block in blocks}
        return {**parts, f"{self.name}/count": state["count"], f"{self.name}/saved_at": saved_at}

    def saved(self, parts: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Note that what `changed` gave is stored."""
        self._saved_at = parts[f"{self.name}/saved_at"].astype(np.float64)
        self._touched.clear()

    def restore(
        self, parts: Mapping[str, npt.NDArray[np.generic]], admitted: npt.NDArray[np.float64], local: float
    ) -> None:
        """Go on from stored parts; what is missing, or does not fit, is empty.

        Parameters
        ----------
        admitted : ndarray, shape (size,), Unix seconds
            When each row was given to its series: what was written before is of another one.
        local : float
            The newest instant that is in it, on the clock of the wall.
        """
        self.enter(local)
        saved_at = parts.get(f"{self.name}/saved_at")
        count = parts.get(f"{self.name}/count")
        if saved_at is None or count is None or saved_at.shape != self._saved_at.shape or len(count) > len(admitted):
            return
        state = self._columns.views(slice(None, len(admitted)))
        state["count"][: len(count)] = count
        for block in range(len(saved_at)):
            stored = parts.get(f"{self.name}/{block:02}")
            if stored is None or stored.ndim != 2 or len(stored) != BLOCK or stored.shape[1] > len(admitted):
                continue
            values = state["values"][block * BLOCK : (block + 1) * BLOCK, : stored.shape[1]]
            values[...] = stored
            values[:, admitted[: stored.shape[1]] > float(saved_at[block])] = np.nan
            self._saved_at[block] = saved_at[block]


def _put(ring: Array, count: Array, slots: Slots, before: int, values: Array) -> None:
    """Put samples into a ring, in place.

    Parameters
    ----------
    ring : ndarray, shape (s, n)
    count : ndarray, shape (n,)
        Samples in the newest slot so far.
    slots : ndarray, shape (t,)
        Numbers of the slots of the samples, ascending.
    before : int
        Number of the newest slot so far. Slots in between are emptied; so are those after the first where time went
        back.
    values : ndarray of float64, shape (t, n)
        NaN = no sample.
    """
    first, last, size = int(slots[0]), int(slots[-1]), len(ring)
    starts = np.flatnonzero(np.diff(slots, prepend=first - 1))
    here = ~np.isnan(values)
    clipped = np.where(here, np.clip(values, -LARGEST, LARGEST), 0.0)
    if len(starts) == len(slots):
        total, counted = clipped, here.astype(np.float32)
    else:
        total, counted = np.add.reduceat(clipped, starts), np.add.reduceat(here, starts, dtype=np.float32)
    if first == before:
        # To the mean that there is, so that it does not matter in how many calls the samples come.
        present = ring[first % size]
        total[0] += np.where(count > 0.0, present * count, 0.0)
        counted[0] += count
    emptied = np.arange(first if first < before else before + 1, max(last, before) + 1)
    ring[emptied[-size:] % size] = np.nan
    means = np.where(counted > 0.0, total / np.maximum(counted, 1.0), np.nan)
    kept = slice(-size, None)
    ring[slots[starts][kept] % size] = means[kept]
    count[...] = counted[-1]
