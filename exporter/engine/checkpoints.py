"""Checkpoints of what an engine has learned: what changed since the last one, and how to go on from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import BUCKETS, BucketIndex
from exporter.engine.columns import Array
from exporter.engine.series import key_of
from exporter.engine.state import EngineState
from exporter.engine.verdict import Checkpoint

__all__ = ["Checkpoints"]

_LATER = (
    *("residual/", "trend/", "young/", "peers/", "within/", "collective/clock", "novelty/inside", "novelty/repeats"),
    *("residual/zeros", "residual/nothing", "far/top", "far/jump.", "texture/noise_"),
    *("counts/dispersion", "counts/farthest", "counts/white", "season_steps", "slope/"),
)
"""Arrays that start empty where an earlier version, which did not have them, wrote the state."""


class Checkpoints:
    """The checkpoints of one engine: buckets that changed and all columns, so that many laid over each other are all.

    Parameters
    ----------
    state : EngineState
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._saved_at = np.full(BUCKETS, -np.inf)

    def changed(self) -> Checkpoint:
        """Return what changed since the last checkpoint that was `saved`.

        Its arrays are views, because copies would take as much memory again: write them before anything is learned.
        """
        state = self._state
        size = state.table.size
        touched = sorted(state.baseline.touched)
        saved_at = self._saved_at.copy()
        saved_at[touched] = state.at
        parts: dict[str, Array] = {f"bucket/{index:03}": state.baseline.bucket(index, size) for index in touched}
        for name, column in state.columns().items():
            parts[name] = column[..., :size]
        parts["saved_at"] = saved_at
        parts["block"] = np.array(
            [
                *(state.filled, state.flushed, state.blocks, state.seconds),
                *state.buckets,
                *(state.grid_at, state.instants, state.learned_hour),
            ]
        )
        parts["drift"] = state.drift.state()
        parts |= state.within.patterns()
        if state.forecasts is not None:
            parts |= state.forecasts.changed(state.at, size)
        if state.alert_counts is not None:
            parts["budget"] = state.alert_counts.state()
        series = {row: state.table.labels(row) for row in state.renamed if state.table.in_use(row)}
        removed = tuple(state.renamed - series.keys())
        return Checkpoint(state.at, parts, [(row, key_of(labels)) for row, labels in sorted(series.items())], removed)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is stored: the next one holds only what changes from now on."""
        self._saved_at = checkpoint.parts["saved_at"].astype(np.float64)
        self._state.baseline.touched.clear()
        if self._state.forecasts is not None:
            self._state.forecasts.saved(checkpoint.parts)
        self._state.renamed.clear()

    def restore(
        self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], series: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Go on from an earlier run's checkpoints; only while nothing was learned.

        A bucket that is missing (its blob was damaged) is learned again. Returns False, with nothing
        changed, where anything else is missing or does not fit: nothing can be kept then.
        """
        state = self._state
        saved_at, block = parts.get("saved_at"), parts.get("block")
        if saved_at is None or saved_at.shape != (BUCKETS,) or block is None or block.shape != (10,):
            return False
        size = parts["first"].shape[-1] if "first" in parts else 0
        columns = state.columns()
        for new in _LATER:
            if not any(name.startswith(new) for name in parts):
                columns = {name: column for name, column in columns.items() if not name.startswith(new)}
        unfit = {name for name, column in columns.items() if not _fits(parts.get(name), column, size)}
        counted = {name for name in columns if name.startswith("budget/")}
        if unfit - counted:
            return False
        if any(not 0 <= row < size for row, _ in series):
            return False
        if not state.drift.restore(parts.get("drift", np.zeros(0))):
            return False
        counts = state.alert_counts
        if counts is not None and (unfit or not counts.restore(parts.get("budget", np.zeros(0)))):
            if counts.budget.rate is not None:
                return False
            # Nothing is judged by these counts: they begin anew, and what was learned is kept.
            unfit = counted
        state.table.restore(series, size)
        state.admit(np.arange(size), at)
        state.renamed.clear()
        for name, column in state.columns().items():
            if name in columns and name not in unfit:
                column[..., :size] = parts[name]
        state.within.restore_patterns(parts)
        for index in range(BUCKETS):
            stats = parts.get(f"bucket/{index:03}")
            if stats is None or stats.ndim != 2 or stats.shape[0] not in (4, 5) or stats.shape[1] > size:
                continue
            # A row may have been given to another series after this bucket was written.
            fresh = state.lifetimes.admitted[:size] > float(saved_at[index])
            state.baseline.put(index, stats.astype(np.float32, copy=False), fresh)
            self._saved_at[index] = saved_at[index]
        if state.forecasts is not None:
            state.forecasts.restored(at, parts, state.lifetimes.admitted[:size])
        state.at = at
        filled, flushed, blocks, state.seconds, *buckets, state.grid_at, instants, hour = block.tolist()
        state.filled, state.flushed, state.blocks, state.instants = map(int, (filled, flushed, blocks, instants))
        state.learned_hour = int(hour)
        state.buckets = BucketIndex(*map(int, buckets))
        return True


def _fits(stored: npt.NDArray[np.generic] | None, column: Array, size: int) -> bool:
    return stored is not None and stored.shape == (*column.shape[:-1], size) and stored.dtype == column.dtype
