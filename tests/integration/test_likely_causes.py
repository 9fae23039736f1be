"""Dependencies that a real Prometheus knows, and the causes that an alert names."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

SERVICES = ("shop", "cart", "stock", "mail")
CALLS = [("shop", "cart"), ("cart", "stock"), ("shop", "mail")]


def test_an_alert_names_the_service_that_does_the_damage_by_the_calls_in_prometheus(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    now = time.time()
    at = np.arange(now - 900.0, now + 300.0, 15.0)
    name = "traces_service_graph_request_total"
    prometheus.push(
        ({"__name__": name, "client": client, "server": server}, at, 10.0 * np.arange(len(at)))
        for client, server in CALLS
    )
    feed = stack.enter_context(
        Feed(prometheus, labels=[{"service": service} for service in SERVICES], days=2.0, step=300.0)
    )
    config = configuration(
        prometheus.url,
        [alertmanager.url],
        baseline={"window": "2d", "min_history": "1d", "backfill_step": "5m"},
        detection={"detectors": ["zscore", "iqr"], "quorum": 2},
        dependencies=[{"preset": "tempo"}],
        causes=[{"alerts": ["load"], "component": ["service"], "damage": "load"}],
    )
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()
    eventually(lambda: exporter.sample("anomaly_exporter_dependencies") == 3.0, 30.0, what="dependencies")

    def causes() -> str:
        alerts = {alert["labels"]["service"]: alert["annotations"] for alert in alertmanager.alerts()}
        return alerts.get("shop", {}).get("likely_causes", "")

    # All three take longer, because the last one does.
    feed.factor[SERVICES.index("stock")] = 3.0
    feed.factor[SERVICES.index("cart")] = feed.factor[SERVICES.index("shop")] = 3.1
    eventually(lambda: causes().startswith("stock: "), 60.0, what="the cause")
    assert len(causes().splitlines()) == 1
    assert "more than expected are its own" in causes()
