"""A range of the past through the evaluators of the daemon, from samples that a function of the time makes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.replay import replay
from exporter.backtest.replay_result import TimeSpan
from exporter.config.model import Config
from exporter.prometheus import Frame, HistoryChunk

__all__ = ["alerts_of"]

FloatArray = npt.NDArray[np.float64]
Value = Callable[[str, Mapping[str, str], FloatArray], FloatArray]


class PastServer:
    """Answers as `PrometheusApi` does; expressions are names of metrics, each with the same series."""

    def __init__(self, series: Sequence[Mapping[str, str]], value: Value) -> None:
        self.series, self.value = series, value

    def _keys(self, expr: str) -> list[bytes]:
        return [json.dumps({"__name__": expr, **labels}).encode() for labels in self.series]

    def _values(self, expr: str, times: FloatArray) -> FloatArray:
        return np.stack([self.value(expr, labels, times) for labels in self.series], axis=1)

    def instant(self, expr: str, at: float, **_: object) -> Frame:
        return Frame(at, self._keys(expr), self._values(expr, np.array([at]))[0], np.full(len(self.series), at))

    def history(self, expr: str, start: float, end: float, step: float, **_: object) -> Iterator[HistoryChunk]:
        times = start + step * np.arange(math.floor((end - start + 0.0005) / step) + 1)
        for part in np.array_split(times, max(1, len(times) // 1000)):
            yield HistoryChunk(part, self._keys(expr), self._values(expr, part))

    def cancel(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is open."""

    def connect(self) -> PastServer:
        return self


def alerts_of(
    config: Mapping[str, Any], series: Sequence[Mapping[str, str]], value: Value, start: float, end: float
) -> Sequence[RecordedAlert]:
    """Return the alerts of a daemon that was started at `start`, Unix seconds, without state."""
    servers = {"prometheus": {"url": "http://127.0.0.1:1"}, "alertmanagers": [{"url": "http://127.0.0.1:2"}]}
    result = replay(
        Config.model_validate({**servers, **config}),
        TimeSpan(start, end),
        connect=lambda _: PastServer(series, value),  # type: ignore[arg-type, return-value]
        sleep=lambda _: None,
    )
    return result.record.alerts
