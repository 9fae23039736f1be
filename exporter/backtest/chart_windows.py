"""The verdicts on a series before and after its alert, for a chart; bounded in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.backtest.recorder import AlertRecorder, RecordedAlert
from exporter.backtest.watcher import Watcher
from exporter.engine.series import Labels
from exporter.engine.verdict import Verdict, Verdicts
from exporter.evaluation.evaluator import QueryEvaluator

__all__ = ["ChartWindow", "ChartWindows"]

FloatArray = NDArray[np.float64]
_Slot = tuple[float, FloatArray]
"""The slot, and the values of each line, shape (6, size)."""

_MOST = 100
"""Alerts with a window."""
_BEFORE, _AFTER, _LONGEST = 240, 60, 1500
"""Slots before an alert fires, after it is over, and in all."""
_VALUES = 3_000_000
"""Values of a query that are kept: 24 MB."""
_LINES = ("observed", "expected", "lower", "upper", "score", "votes")


@dataclass(slots=True)
class ChartWindow:
    """The verdicts on one series before and after an alert; of a storm, on its worst series.

    Attributes
    ----------
    points : list of (float, ndarray of shape (6,))
        The slot, and observed, expected, lower, upper, score, votes.
    """

    alert: RecordedAlert
    labels: Labels
    row: int
    zone: str
    quorum: int
    interval: float
    points: list[tuple[float, FloatArray]] = field(default_factory=list)

    def lines(self) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Return the instants, shape (t,), and each line by its name."""
        values = np.stack([point for _, point in self.points], axis=1)
        return np.array([at for at, _ in self.points]), dict(zip(_LINES, values, strict=True))


class ChartWindows(Watcher):
    """Collects the windows of the first hundred alerts."""

    def __init__(self) -> None:
        self.windows: dict[int, ChartWindow] = {}
        """By the identity of the alert, which lives as long as this."""
        self._near: dict[str, deque[_Slot]] = {}
        self._fired: list[RecordedAlert] = []
        self._open: dict[str, list[ChartWindow]] = {}

    def on_start(self, record: AlertRecorder, evaluators: Mapping[str, QueryEvaluator]) -> None:  # noqa: ARG002 - all of them.
        """Subscribe to alerts that fire."""
        record.fired = self._fired.append

    def on_verdict(self, evaluator: QueryEvaluator, verdict: Verdict) -> None:
        """Keep the recent verdicts on all series, and more of those that alert."""
        name = evaluator.plan.name
        near = self._keep(name, [(verdict.at, np.stack([getattr(verdict, line) for line in _LINES]))])
        for alert in [fired for fired in self._fired if fired.name == name]:
            self._fired.remove(alert)
            if len(self.windows) < _MOST:
                self._begin(alert, evaluator, verdict, near)

    def on_quiet(self, evaluator: QueryEvaluator, verdicts: Verdicts, when: slice) -> None:
        """Keep the recent verdicts on all series, and more of those that alerted."""
        values = np.stack([getattr(verdicts, line)[when] for line in _LINES], axis=1)
        self._keep(evaluator.plan.name, list(zip(verdicts.times[when].tolist(), values, strict=True)))

    def _keep(self, name: str, slots: Sequence[_Slot]) -> deque[_Slot]:
        """Keep some slots of a query; return those before an alert."""
        size = slots[0][1].shape[1]
        near = self._near.get(name)
        if near is None or (near.maxlen or 0) * size * len(_LINES) > 2 * _VALUES:
            most = max(10, min(_BEFORE, _VALUES // (len(_LINES) * max(1, size))))
            near = self._near[name] = deque(near or (), maxlen=most)
        near.extend(slots)
        for at, values in slots if self._open.get(name) else ():
            for window in list(self._open[name]):
                self._follow(window, at, values)
        return near

    def _begin(self, alert: RecordedAlert, evaluator: QueryEvaluator, verdict: Verdict, near: deque[_Slot]) -> None:
        table, plan = evaluator.table, evaluator.plan
        rows = evaluator.alerts.rows.rows_of(alert.fingerprint, table)
        if not rows:
            return
        row = max(rows, key=lambda candidate: float(np.nan_to_num(verdict.score[candidate])))
        window = ChartWindow(alert, table.labels(row), row, plan.zone, plan.detection.quorum, plan.interval)
        nothing = np.full(len(_LINES), np.nan)
        window.points = [(at, values[:, row].copy() if row < values.shape[1] else nothing) for at, values in near]
        self.windows[id(alert)] = window
        self._open.setdefault(plan.name, []).append(window)

    def _follow(self, window: ChartWindow, at: float, values: FloatArray) -> None:
        window.points.append((at, values[:, window.row].copy()))
        ended = window.alert.resolved_at
        over = ended is not None and at > ended + _AFTER * window.interval
        if over or len(window.points) >= _LONGEST:
            self._open[window.alert.name].remove(window)
