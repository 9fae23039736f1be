"""What was said of a series around its alert, for a chart: kept while the past goes by, and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.backtest.recorder import AlertRecorder, RecordedAlert
from exporter.backtest.replay import Watcher
from exporter.engine.series import Labels
from exporter.engine.verdict import Verdict
from exporter.evaluation.evaluator import QueryEvaluator

__all__ = ["ChartWindow", "ChartWindows"]

FloatArray = NDArray[np.float64]

_MOST = 100
"""Alerts that are followed."""
_BEFORE, _AFTER, _LONGEST = 240, 60, 1500
"""Slots before an alert fires, after it is over, and in all."""
_VALUES = 3_000_000
"""Values of a query that are remembered: 24 MB."""
_LINES = ("observed", "expected", "lower", "upper", "score", "votes")


@dataclass(slots=True)
class ChartWindow:
    """What was said of one series around an alert; of the worst one, where it is a storm.

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
        values = np.stack([one for _, one in self.points], axis=1)
        return np.array([at for at, _ in self.points]), dict(zip(_LINES, values, strict=True))


class ChartWindows(Watcher):
    """Follows the series of alerts; the first hundred of them."""

    def __init__(self) -> None:
        self.found: dict[int, ChartWindow] = {}
        """By the identity of the alert, which lives as long as this."""
        self._near: dict[str, deque[tuple[float, FloatArray]]] = {}
        self._fired: list[RecordedAlert] = []
        self._open: dict[str, list[ChartWindow]] = {}

    def begun(self, record: AlertRecorder, cycles: Mapping[str, QueryEvaluator]) -> None:  # noqa: ARG002 - all of them.
        """Listen to what fires."""
        record.fired = self._fired.append

    def judged(self, cycle: QueryEvaluator, verdict: Verdict) -> None:
        """Remember what was said of all series for a while, and of those that alert for longer."""
        name, size = cycle.plan.name, len(verdict.score)
        said = np.stack([getattr(verdict, line) for line in _LINES])
        near = self._near.get(name)
        if near is None or (near.maxlen or 0) * size * len(_LINES) > 2 * _VALUES:
            most = max(10, min(_BEFORE, _VALUES // (len(_LINES) * max(1, size))))
            near = self._near[name] = deque(near or (), maxlen=most)
        near.append((verdict.at, said))
        for window in list(self._open.get(name, ())):
            self._follow(window, verdict.at, said)
        for alert in [one for one in self._fired if one.name == name]:
            self._fired.remove(alert)
            if len(self.found) < _MOST:
                self._begin(alert, cycle, verdict, near)

    def _begin(
        self, alert: RecordedAlert, cycle: QueryEvaluator, verdict: Verdict, near: deque[tuple[float, FloatArray]]
    ) -> None:
        table, plan = cycle.learner.engine.table, cycle.plan
        rows = cycle.alerts.rows.rows_of(alert.fingerprint, table)
        if not rows:
            return
        row = max(rows, key=lambda one: float(np.nan_to_num(verdict.score[one])))
        window = ChartWindow(alert, table.labels(row), row, plan.zone, plan.detection.quorum, plan.interval)
        nothing = np.full(len(_LINES), np.nan)
        window.points = [(at, said[:, row].copy() if row < said.shape[1] else nothing) for at, said in near]
        self.found[id(alert)] = window
        self._open.setdefault(plan.name, []).append(window)

    def _follow(self, window: ChartWindow, at: float, said: FloatArray) -> None:
        window.points.append((at, said[:, window.row].copy()))
        ended = window.alert.resolved_at
        over = ended is not None and at > ended + _AFTER * window.interval
        if over or len(window.points) >= _LONGEST:
            self._open[window.alert.name].remove(window)
