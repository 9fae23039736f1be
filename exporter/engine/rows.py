"""The rows of one engine, and every array that has a value a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.awakening import Awakening
from exporter.engine.baseline import BUCKET_BYTES, Baseline
from exporter.engine.buckets import BUCKETS
from exporter.engine.budget import AlertCounts
from exporter.engine.columns import Array, Columns
from exporter.engine.detectors import BLOCK, DetectorState, StatefulDetector
from exporter.engine.drift import Drift
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.overrides import Overrides
from exporter.engine.peers.state import PeerState
from exporter.engine.recent import RecentDeviations
from exporter.engine.recurrence import Runs
from exporter.engine.residual import Residuals
from exporter.engine.row_settings import RowSettings
from exporter.engine.scale import Scale
from exporter.engine.series import SeriesLifetimes, SeriesTable
from exporter.engine.settings import EngineSettings
from exporter.engine.shift import LevelShift
from exporter.engine.slope import Slope
from exporter.engine.trend import Trend
from exporter.engine.within_hour import WithinHour
from exporter.engine.young import Young

__all__ = ["EngineRows"]

Rows = npt.NDArray[np.intp]

_Part = (
    Scale | Baseline | LevelShift | Overrides | Drift | Residuals | Trend | Young | Columns | AlertCounts | Forecasts
)


class EngineRows:
    """Rows, and what was learned of each.

    Parameters
    ----------
    settings : EngineSettings

    Attributes
    ----------
    row_settings : RowSettings
        Settings that rows have of their own.
    voters : tuple of Detector
        Those that judge a series without its siblings.
    pending : ndarray, shape (12, capacity)
        Samples of the block under way, as they will be learned.
    detectors : dict of str to DetectorState
        State of the detectors that have one, by kind.
    alert_counts : AlertCounts or None
        How many alerts each threshold would have raised, where there is a budget.
    forecasts : Forecasts or None
        Where the query asks for them.
    peers : PeerState or None
        Places of series among their siblings, where the query asks for them.
    renamed : set of int
        Rows that were given to another series, or to none; the reader empties the set.
    """

    def __init__(self, settings: EngineSettings) -> None:
        baseline, budget = settings.baseline, settings.budget
        self.settings = settings
        self.row_settings = RowSettings.of(settings)
        self.voters = settings.detection.alone
        self.table = SeriesTable(settings.max_series)
        self.scale = Scale()
        self.baseline = Baseline(baseline.window, baseline.season)
        self.shift = LevelShift()
        self.overrides = Overrides()
        self.drift, self.recent = Drift(settings.drifting), RecentDeviations()
        self.residuals, self.trend, self.young = Residuals(), Trend(), Young()
        self.runs, self.within, self.awakening = Runs(), WithinHour(), Awakening()
        self.slope = Slope()
        self.lifetimes = SeriesLifetimes()
        self.detectors: dict[str, DetectorState] = {
            detector.kind: DetectorState(detector)
            for detector in settings.detection.detectors
            if isinstance(detector, StatefulDetector)
        }
        self.alert_counts = None if budget is None else AlertCounts(budget, budget.fading(baseline.window))
        self.forecasts: Forecasts | None = None
        if settings.forecast is not None:
            step, zone = settings.forecast_step, settings.zone
            self.forecasts = Forecasts(settings.forecast, zone, step, settings.valid_range)
        self.peers = None if settings.peers is None else PeerState(settings.peers)
        self.pending = np.zeros((BLOCK, 0))
        self.capacity = 0
        self._used = 0
        self.renamed: set[int] = set()
        self._row_bytes: int | None = None

    def configure(self, settings: EngineSettings) -> None:
        """Judge by other settings from now on; those of learning must be the same."""
        self.settings, self._row_bytes = settings, None
        self.row_settings = RowSettings.of(settings)
        self.voters = settings.detection.alone
        self.table.limit = settings.max_series
        self.baseline.fix_season(settings.baseline.season)
        self.drift.ratio = settings.drifting
        if self.forecasts is not None and settings.forecast is not None:
            self.forecasts.configure(settings.forecast, settings.valid_range)
        if self.peers is not None and settings.peers is not None:
            self.peers.settings = settings.peers
        if self.alert_counts is not None and settings.budget is not None:
            self.alert_counts.configure(settings.budget)
        for detector in settings.detection.detectors:
            if isinstance(detector, StatefulDetector) and detector.kind in self.detectors:
                self.detectors[detector.kind].detector = detector

    def admit(self, rows: Rows, at: float) -> None:
        """Give `rows` to new series: whatever they held before is forgotten."""
        size = self.table.size
        if size > self.capacity:
            # Twice as much each time, so that growing costs little, and never for more than may come.
            self._grow(max(size, min(2 * self.capacity, self.table.limit)))
        again = rows[rows < self._used]
        if len(again):
            for part in self._parts():
                part.forget(again)
        self._used = max(self._used, size)
        self.pending[:, rows] = np.nan
        self.lifetimes.admit(rows, at)
        self.renamed.update(rows.tolist())

    def _grow(self, capacity: int) -> None:
        self.capacity = capacity
        for part in self._parts():
            part.grow(capacity)
        self.lifetimes.grow(capacity)
        pending = np.full((BLOCK, capacity), np.nan)
        pending[:, : self.pending.shape[1]] = self.pending
        self.pending = pending

    def _parts(self) -> list[_Part]:
        optional: list[AlertCounts | Forecasts | PeerState] = [
            part for part in (self.alert_counts, self.forecasts, self.peers) if part is not None
        ]
        shared: list[_Part] = [self.scale, self.baseline, self.shift, self.overrides, self.drift, self.residuals]
        shared += [self.trend, self.young, self.recent, self.runs, self.within, self.awakening, self.slope]
        return [*shared, *self.detectors.values(), *optional]

    @property
    def votes(self) -> list[int]:
        """How many votes each of `voters` has."""
        return [detector.votes for detector in self.voters]

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.table.size

    def expire(self, before: float) -> list[int]:
        """Forget the series whose last sample came before an instant; return their rows."""
        gone: list[int] = np.flatnonzero(self.table.used() & (self.lifetimes.last[: self.table.size] < before)).tolist()
        self.forget(gone)
        return gone

    def forget(self, rows: Sequence[int]) -> None:
        """Forget the series of some rows; nothing is due in a row without one."""
        self.table.release(np.array(rows, np.intp))
        self.lifetimes.first[rows] = np.nan
        self.renamed.update(rows)

    def columns(self) -> dict[str, Array]:
        """Return the arrays that have a value a row, rows last."""
        columns: dict[str, Array] = {
            "origin": self.scale.origin,
            "unit": self.scale.unit,
            "negative": self.scale.negative,
            "first": self.lifetimes.first,
            "last": self.lifetimes.last,
            "admitted": self.lifetimes.admitted,
            "count": self.lifetimes.count,
            "pending": self.pending,
            "season": self.baseline.season,
            "season_errors": self.baseline.errors,
            "season_steps": self.baseline.steps,
            **self.shift.arrays(),
            **self.overrides.arrays(),
            **self.drift.arrays(),
            **self.residuals.arrays(),
            **self.trend.arrays(),
            **self.young.arrays(),
            **self.recent.arrays(),
            **self.runs.arrays(),
            **self.within.arrays(),
            **self.awakening.arrays(),
            **self.slope.arrays(),
        }
        for kind, detector in self.detectors.items():
            columns |= {f"{kind}/{name}": array for name, array in detector.arrays().items()}
        if self.peers is not None:
            columns |= self.peers.arrays()
        if self.forecasts is not None:
            columns |= self.forecasts.arrays()
        if self.alert_counts is not None:
            columns |= {f"budget/{name}": array for name, array in self.alert_counts.arrays().items()}
        return columns

    @property
    def row_bytes(self) -> int:
        """Bytes of learned arrays that a row takes, once it has learned in all hours."""
        if self._row_bytes is None:
            columns = (column.dtype.itemsize * math.prod(column.shape[:-1]) for column in self.columns().values())
            slots = 0 if self.forecasts is None else self.forecasts.row_bytes
            self._row_bytes = BUCKETS * BUCKET_BYTES + sum(columns) + slots
        return self._row_bytes

    @property
    def bytes_per_series(self) -> float:
        """Bytes of learned arrays that a series takes."""
        total = self.baseline.nbytes + self.within.nbytes + sum(column.nbytes for column in self.columns().values())
        total += 0 if self.forecasts is None else self.forecasts.nbytes
        return total / max(1, self.capacity)
