"""A canary in the daemon, on a real Prometheus and Alertmanager: a worse version alerts, and the alert lives on."""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from tests.integration.daemon import Exporter, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

PODS = 4


class Rollout:
    """Writes the latency of pods of two versions, half of them each."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._rng = np.random.default_rng(11)
        self.factor = 2.0
        """By how much the new version is slower."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _push(self, at: np.ndarray, versions: tuple[str, ...]) -> None:
        series = []
        for number in range(PODS):
            for version in versions:
                factor = self.factor if version == "1.4.2" else 1.0
                values = 0.2 * factor * np.exp(0.02 * self._rng.standard_normal(len(at)))
                labels = {"__name__": "latency", "service": "cart", "version": version, "pod": f"{version}-{number}"}
                series.append((labels, at, values))
        self._prometheus.push(series)

    def _feed(self) -> None:
        while not self._stopping.wait(0.5):
            with contextlib.suppress(OSError):
                # Ahead of time, so that no query sees half of a write.
                self._push(np.array([time.time() + 2.0]), ("1.4.1", "1.4.2"))

    def __enter__(self) -> Self:
        now = time.time()
        self._push(np.arange(now - 3600.0, now, 15.0), ("1.4.1",))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def test_a_slower_version_alerts_and_the_alert_lives_on_over_a_restart(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    stack.enter_context(Rollout(prometheus))
    query = {
        "name": "latency",
        "expr": "latency",
        "unit": "seconds",
        "direction": "above",
        "canary": {"label": "version", "by": ["service"], "alert": {"labels": {"severity": "page"}}},
    }
    config = configuration(prometheus.url, [alertmanager.url], queries=[query])
    exporter = stack.enter_context(Exporter(tmp_path, config))

    def firing() -> list[dict[str, object]]:
        return alertmanager.alerts('alertname="CanaryDiffers"')

    [alert] = eventually(firing, timeout=120.0)
    assert alert["labels"] == {
        "alertname": "CanaryDiffers",
        "cluster": "test",
        "query": "latency",
        "service": "cart",
        "severity": "page",
        "version": "1.4.2",
    }
    summary = alert["annotations"]["summary"]
    assert summary.startswith("latency of service=cart: version=1.4.2 is ")
    assert "above 1.4.1 since " in summary
    assert "p < 0.001" in summary or "p < 1e-" in summary

    labels = {"query": "latency", "service": "cart", "version": "1.4.2"}
    assert (exporter.sample("anomaly_canary_score", **labels) or 0.0) >= 0.5
    [canary] = exporter.ask("/api/v1/canaries").json()["data"]
    [comparison] = canary["comparisons"]
    assert (comparison["different"], comparison["series"]) == (True, [PODS, PODS])
    assert comparison["candidate"] / comparison["baseline"] == pytest.approx(2.0, rel=0.1)
    assert "version=1.4.2" in exporter.ask("/").text

    exporter.stop()
    exporter.start()
    eventually(lambda: (exporter.sample("anomaly_canary_score", **labels) or 0.0) >= 0.5, timeout=60.0)
    [again] = firing()
    assert again["startsAt"] == alert["startsAt"]

    # Without the alert the metrics go on, and what fired ends.
    del query["canary"]["alert"]  # type: ignore[attr-defined]
    exporter.write(configuration(prometheus.url, [alertmanager.url], queries=[query]))
    exporter.hang_up()
    eventually(lambda: not firing(), timeout=60.0)
    assert (exporter.sample("anomaly_canary_score", **labels) or 0.0) >= 0.5
