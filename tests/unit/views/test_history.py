"""What a chart reads of servers that answer with more than they were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from exporter.engine.series import key_of
from exporter.prometheus.frame import HistoryChunk
from exporter.prometheus.settings import PrometheusSettings
from exporter.views.history import ChartSubject, SeriesHistory
from tests.faults.cycling import plan_of

TIMES = np.arange(20) * 60.0
LABELS = [("__name__", "load"), ("instance", "a")]


class Source:
    """Answers every range with the series, its scores, and a series of something else."""

    def history(self, *_: Any, **__: Any) -> Iterator[HistoryChunk]:
        names = ("load", "anomaly_score", "expected_value", "node_load1")
        keys = [key_of((("__name__", name), ("instance", "a"))) for name in names]
        yield HistoryChunk(TIMES, keys, np.tile(np.arange(4.0), (len(TIMES), 1)))

    def close(self) -> None:
        pass


def test_series_that_nobody_asked_for_are_passed_over() -> None:
    history = SeriesHistory(lambda _: Source(), lambda work, task: work(task))  # type: ignore[arg-type, return-value]
    subject = ChartSubject(PrometheusSettings(), plan_of(), LABELS, 1)
    scored = history.scored(subject, 0.0, 19 * 60.0, 60.0)
    assert not scored.replayed
    assert set(scored.lines["score"]) == {1.0}
    assert set(scored.lines["expected"]) == {2.0}
    assert set(scored.lines["observed"]) == {0.0}
