"""Everything that is learned of the series of one query: arrays with one row a series, and their state on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BUCKET_BYTES, BUCKETS, Baseline, BucketIndex
from exporter.engine.budget import Tail
from exporter.engine.calibration import Budget
from exporter.engine.detectors import DetectorState, StatefulDetector
from exporter.engine.detectors.base import BLOCK
from exporter.engine.drift import Drift
from exporter.engine.overrides import Overrides
from exporter.engine.scale import Scale
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.series_lifetimes import SeriesLifetimes
from exporter.engine.settings import DetectionSettings
from exporter.engine.shift import LevelShift
from exporter.engine.verdict import Checkpoint

__all__ = ["EngineState"]


class EngineState:
    """Rows, what is known of each, and the block under way.

    Parameters
    ----------
    window : float, seconds
        Memory of the bucket statistics.
    detection : DetectionSettings
        Detectors may have memories of their own.
    limit : int
        Most series.
    budget : Budget, optional
    season : str
        Of all series; ``auto``: it is found.
    drifting : float, optional
        Share of anomalous samples from which on the buckets do not fit; None: they always do.

    Attributes
    ----------
    at : float, Unix seconds
        The newest instant that was judged and noted.
    grid : float, Unix seconds
        The newest instant that is to be learned.
    pending : ndarray, shape (12, capacity)
        Samples of the block under way, as they will be learned.
    filled, flushed : int
        Instants in `pending`, and how many of them the buckets have learned.
    place, seconds
        Of the instants in between: the buckets they fall in, and how much history each stands for.
    blocks : int
        How many blocks have ended.
    learned : int
        Instants that are to be learned or were, not counting those before there was any series.
    tail : Tail or None
        How many alerts each threshold would have raised, where there is a budget.
    """

    def __init__(
        self,
        window: float,
        detection: DetectionSettings,
        limit: int,
        budget: Budget | None = None,
        season: str = "auto",
        drifting: float | None = None,
    ) -> None:
        self.at = self.grid = -np.inf
        self.table = SeriesTable(limit)
        self.scale = Scale()
        self.baseline = Baseline(window, season)
        self.shift = LevelShift()
        self.odd = Overrides()
        self.drift = Drift(drifting)
        self.register = SeriesLifetimes()
        self.memories: dict[str, DetectorState] = {
            detector.kind: detector.memory()
            for detector in detection.detectors
            if isinstance(detector, StatefulDetector)
        }
        self.tail = None if budget is None else Tail(budget, budget.memory(window))
        self.pending = np.zeros((BLOCK, 0))
        self.filled = self.flushed = self.blocks = self.learned = 0
        self.place = BucketIndex(0, 0, 0)
        self.seconds = 0.0
        self._capacity = 0
        self._used = 0
        self._saved_at = np.full(BUCKETS, -np.inf)
        self._renamed: set[int] = set()

    def admit(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Give `rows` to new series: whatever they held before is forgotten."""
        size = self.table.size
        if size > self._capacity:
            # Twice as much each time, so that growing costs little, and never for more than may come.
            self._capacity = max(size, min(2 * self._capacity, self.table.limit))
            for columns in self._forgetful():
                columns.grow(self._capacity)
            self.register.grow(self._capacity)
            pending = np.full((BLOCK, self._capacity), np.nan)
            pending[:, : self.pending.shape[1]] = self.pending
            self.pending = pending
        again = rows[rows < self._used]
        if len(again):
            for columns in self._forgetful():
                columns.forget(again)
        self._used = max(self._used, size)
        self.pending[:, rows] = np.nan
        self.register.admit(rows, at)
        self._renamed.update(rows.tolist())

    def _forgetful(self) -> list[Scale | Baseline | LevelShift | Overrides | Drift | DetectorState | Tail]:
        tail = () if self.tail is None else (self.tail,)
        return [self.scale, self.baseline, self.shift, self.odd, self.drift, *self.memories.values(), *tail]

    def learn_anew(self, rows: npt.NDArray[np.intp]) -> None:
        """Empty the buckets of `rows`; the series stay."""
        self.baseline.forget(rows)
        self.drift.empty(rows)
        self.register.count[rows] = 0

    def drifted(self, after: float) -> npt.NDArray[np.intp]:
        """Return the rows whose buckets have not fit for so many seconds."""
        rows = self.drift.lasted(slice(0, self.table.size), after)
        # One that may be on another level is waited for: a shift that is accepted keeps the shape of the day.
        return rows[self.shift.lasted(rows) < 0.5 * after]

    def relearn(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, shape (m,), whose buckets do not fit any more.

        What they have shown before stays known to the detectors that remember it, but for those that add up how far
        they were from the buckets.
        """
        if not len(rows):
            return
        self.learn_anew(rows)
        self.shift.forget(rows)
        self.odd.accept(rows)
        for memory in self.memories.values():
            memory.relearn(rows)

    def expire(self, before: float) -> list[int]:
        """Forget the series whose last sample came before an instant; return their rows."""
        old = np.flatnonzero(self.register.last[: self.table.size] < before).tolist()
        gone = [row for row in old if self.table.in_use(row)]
        self.table.release(np.array(gone, np.intp))
        self._renamed.update(gone)
        return gone

    def checkpoint(self) -> Checkpoint:
        """Return what changed since the last checkpoint that was `saved`.

        Its arrays are views, because copies would take as much memory again: write them before anything is learned.
        """
        size = self.table.size
        touched = sorted(self.baseline.touched)
        saved_at = self._saved_at.copy()
        saved_at[touched] = self.at
        parts: dict[str, npt.NDArray[np.generic]] = {
            f"bucket/{index:03}": self.baseline.bucket(index, size) for index in touched
        }
        for name, column in self._columns().items():
            parts[name] = column[..., :size]
        parts["saved_at"] = saved_at
        parts["block"] = np.array(
            [self.filled, self.flushed, self.blocks, self.seconds, *self.place, self.grid, self.learned]
        )
        parts["drift"] = self.drift.state()
        if self.tail is not None:
            parts["budget"] = self.tail.state()
        series = {row: self.table.labels(row) for row in self._renamed if self.table.in_use(row)}
        removed = tuple(self._renamed - series.keys())
        return Checkpoint(self.at, parts, [(row, key_of(labels)) for row, labels in sorted(series.items())], removed)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored: the next one holds only what changes from now on."""
        self._saved_at = checkpoint.parts["saved_at"].astype(np.float64)
        self.baseline.touched.clear()
        self._renamed.clear()

    def restore(
        self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], series: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Go on from an earlier run's checkpoints; only while nothing was learned.

        A bucket that is missing (its blob was damaged) is learned again. Returns False, with nothing
        changed, where anything else is missing or does not fit: nothing can be kept then.
        """
        saved_at, block = parts.get("saved_at"), parts.get("block")
        if saved_at is None or saved_at.shape != (BUCKETS,) or block is None or block.shape != (9,):
            return False
        size = parts["first"].shape[-1] if "first" in parts else 0
        for name, column in self._columns().items():
            if name not in parts or parts[name].shape != (*column.shape[:-1], size):
                return False
        if any(not 0 <= row < size for row, _ in series):
            return False
        if not self.drift.restore(parts.get("drift", np.zeros(0))):
            return False
        if self.tail is not None and not self.tail.restore(parts.get("budget", np.zeros(0))):
            return False
        self.table.restore(series, size)
        self.admit(np.arange(size), at)
        self._renamed.clear()
        for name, column in self._columns().items():
            column[..., :size] = parts[name]
        for index in range(BUCKETS):
            stats = parts.get(f"bucket/{index:03}")
            if stats is None or stats.ndim != 2 or stats.shape[0] != 5 or stats.shape[1] > size:
                continue
            # A row may have been given to another series after this bucket was written.
            fresh = self.register.admitted[:size] > float(saved_at[index])
            self.baseline.put(index, stats.astype(np.float32, copy=False), fresh)
            self._saved_at[index] = saved_at[index]
        self.at = at
        filled, flushed, blocks, self.seconds, *place, self.grid, learned = block.tolist()
        self.filled, self.flushed, self.blocks, self.learned = map(int, (filled, flushed, blocks, learned))
        self.place = BucketIndex(*map(int, place))
        return True

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that have a value a row, rows last."""
        columns: dict[str, npt.NDArray[np.generic]] = {
            "origin": self.scale.origin,
            "unit": self.scale.unit,
            "first": self.register.first,
            "last": self.register.last,
            "admitted": self.register.admitted,
            "count": self.register.count,
            "pending": self.pending,
            "season": self.baseline.season,
            **self.shift.arrays(),
            **self.odd.arrays(),
            **self.drift.arrays(),
        }
        for kind, memory in self.memories.items():
            columns |= {f"{kind}/{name}": array for name, array in memory.arrays().items()}
        if self.tail is not None:
            columns |= {f"budget/{name}": array for name, array in self.tail.arrays().items()}
        return columns

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""
        return self._capacity

    @property
    def row_bytes(self) -> int:
        """Bytes of learned arrays that a row takes, once it has learned in all hours."""
        columns = (column.dtype.itemsize * math.prod(column.shape[:-1]) for column in self._columns().values())
        return BUCKETS * BUCKET_BYTES + sum(columns)

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        total = self.baseline.nbytes + sum(column.nbytes for column in self._columns().values())
        return total / max(1, self._capacity)
