from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.config.model import Config
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.exposition import SelfMetrics
from exporter.views.health import health

URL = "http://am:9093"
CONFIG = Config.model_validate({"alertmanagers": [{"url": URL}]})


@pytest.fixture
def metrics():
    registry = CollectorRegistry()
    own, theirs = SelfMetrics(registry), AlertmanagerMetrics(registry)
    theirs.add(URL, dirty=lambda: 3.0, oldest_dirty_seconds=lambda: 0.0)
    return registry, own, theirs


def found(registry, *, asked=True, config=CONFIG):
    return {
        one.kind: (one.healthy, one.detail) for one in health(registry, config, size=2_500_000, asked=asked, at=1000.0)
    }


def test_what_is_well_is_said(metrics):
    registry, own, theirs = metrics
    own.source_up.set(1)
    theirs.up.labels(URL).set(1)
    theirs.last_success_timestamp_seconds.labels(URL).set(940.0)
    assert found(registry) == {
        "Prometheus": (True, ""),
        "Alertmanager": (True, "took alerts 1 min ago, 3 waiting"),
        "Store": (True, "2.5 MB"),
    }


def test_what_is_not_well_is_said(metrics):
    registry, own, theirs = metrics
    own.source_up.set(0)
    theirs.up.labels(URL).set(0)
    own.store_recovered.set(1)
    own.store_errors_total.labels(reason="full").inc(2)
    said = found(registry)
    assert said["Prometheus"] == (False, "")
    assert said["Alertmanager"] == (False, "takes no alerts, 3 waiting")
    assert said["Store"] == (
        False,
        "2.5 MB, begun afresh after damage at this start, 2 failed operations since the start",
    )


def test_what_was_not_asked_is_not_judged(metrics):
    registry = CollectorRegistry()
    SelfMetrics(registry)
    AlertmanagerMetrics(registry).add(URL, dirty=lambda: 0.0, oldest_dirty_seconds=lambda: 0.0)
    said = found(registry, asked=False)
    assert said["Prometheus"][0] is None
    assert said["Alertmanager"] == (None, "nothing to send so far")
    assert found(registry, config=Config())["Alertmanager"] == (None, "alerts are only shown")
