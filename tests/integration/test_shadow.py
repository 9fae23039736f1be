"""A shadow in the daemon, on a real Prometheus and Alertmanager: compared, silent, promoted by a reload."""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.integration.daemon import Exporter, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

BLIND: dict[str, Any] = {"detection": {"detectors": ["iqr"], "quorum": 1}, "min_deviation": 1e6}
SHARP: dict[str, Any] = {"detection": {"detectors": ["zscore", "iqr"], "quorum": 1}, "min_deviation": 0.5}


class Pods:
    """Writes the load of three pods, of which the first jumps."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._rng = np.random.default_rng(5)
        self.factor = 1.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _push(self, at: np.ndarray) -> None:
        self._prometheus.push(
            [
                (
                    {"__name__": "load", "pod": f"p{pod}"},
                    at,
                    (1.0 if pod else self.factor) * np.exp(0.02 * self._rng.standard_normal(len(at))),
                )
                for pod in range(3)
            ]
        )

    def _feed(self) -> None:
        while not self._stopping.wait(0.5):
            with contextlib.suppress(OSError):
                self._push(np.array([time.time() + 2.0]))

    def __enter__(self) -> Self:
        now = time.time()
        self._push(np.arange(now - 2 * 3600.0, now, 15.0))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def test_a_shadow_is_compared_and_promoted_with_what_it_learned(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    pods = stack.enter_context(Pods(prometheus))
    baseline = {"window": "1d", "min_history": "1h", "backfill_step": "15s"}
    query = {"name": "load", "expr": "load", "baseline": baseline, "alert": {}}

    def write(fields: dict[str, Any]) -> str:
        return configuration(prometheus.url, [alertmanager.url], queries=[{**query, **fields}])

    exporter = stack.enter_context(Exporter(tmp_path, write({**BLIND, "shadow": SHARP})))

    def report() -> dict[str, Any]:
        [shadow] = exporter.ask("/api/v1/shadows").json()["data"]
        return shadow

    eventually(lambda: report()["series"] == 3, timeout=120.0)
    pods.factor = 8.0
    eventually(lambda: report()["shadow_firing"] == 1, timeout=60.0)
    seen = report()
    assert (seen["only_query"], seen["only_shadow"], seen["anomalous"], seen["shadow_alerts"]) == (0, 1, 0, 1)
    assert (exporter.sample("anomaly_exporter_shadow_disagreement_ratio", query="load") or 0.0) == pytest.approx(1 / 3)
    assert exporter.sample("anomaly_exporter_shadow_alerts_total", query="load") == 1
    assert "anomalous only to the query" in exporter.ask("/").text
    assert alertmanager.alerts() == []

    exporter.write(write(SHARP))
    exporter.hang_up()
    [alert] = eventually(alertmanager.alerts, timeout=60.0)
    assert alert["labels"]["pod"] == "p0"
    log = exporter.process.log.read_text()
    assert "the shadow is promoted" in log
    assert log.count("reading history") == 1
    assert exporter.ask("/api/v1/shadows").json()["data"] == []
    # Scrapes within a second have the same page.
    eventually(lambda: exporter.sample("anomaly_exporter_shadow_alerts_total", query="load") is None)
