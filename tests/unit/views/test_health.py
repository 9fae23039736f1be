from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendar import Calendar, CalendarEntry
from exporter.config.model import Config
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.exposition import SelfMetrics
from exporter.views.health import component_health, upcoming_events

URL = "http://am:9093"
NOW = 1_764_000_000.0  # 2025-11-24 16:00 UTC
CONFIG = Config.model_validate({"alertmanagers": [{"url": URL}]})


@pytest.fixture
def metrics():
    registry = CollectorRegistry()
    own, theirs = SelfMetrics(registry), AlertmanagerMetrics(registry)
    theirs.add(URL, dirty=lambda: 3.0, oldest_dirty_seconds=lambda: 0.0)
    return registry, own, theirs


def health(registry, *, queried=True, config=CONFIG, trouble=None):
    return {
        component.kind: (component.healthy, component.detail)
        for component in component_health(
            registry,
            config,
            alertmanagers=dict.fromkeys((each.url for each in config.alertmanagers), trouble),
            store_bytes=2_500_000,
            queried=queried,
            at=1000.0,
        )
    }


def test_what_is_well_is_said(metrics):
    registry, own, theirs = metrics
    own.source_up.labels(source="prometheus").set(1)
    theirs.up.labels(URL).set(1)
    theirs.last_success_timestamp_seconds.labels(URL).set(940.0)
    assert health(registry) == {
        "Prometheus": (True, ""),
        "Alertmanager": (True, "took alerts 1 min ago, 3 waiting"),
        "Store": (True, "2.5 MB"),
    }


def test_what_is_not_well_is_said(metrics):
    registry, own, theirs = metrics
    own.source_up.labels(source="prometheus").set(0)
    theirs.up.labels(URL).set(0)
    own.store_recovered.set(1)
    own.store_errors_total.labels(reason="full").inc(2)
    said = health(registry)
    assert said["Prometheus"] == (False, "")
    assert said["Alertmanager"] == (False, "takes no alerts, 3 waiting")
    assert said["Store"] == (
        False,
        "2.5 MB, recovered after damage or loss, 2 failed operations since the start",
    )


def test_a_configuration_that_was_refused_is_listed(metrics):
    registry, own, _ = metrics
    own.config_last_reload_successful.set(1)
    own.config_last_reload_success_timestamp_seconds.set(900.0)
    assert "Configuration" not in health(registry)
    own.config_last_reload_successful.set(0)
    assert health(registry)["Configuration"] == (False, "the file was refused, an older one is in force")


def test_an_alertmanager_that_cannot_list_its_silences_is_listed_as_such(metrics):
    registry, _, theirs = metrics
    theirs.up.labels(URL).set(1)
    theirs.last_success_timestamp_seconds.labels(URL).set(940.0)
    healthy, detail = health(registry, trouble="HTTP 500: several sets of matchers")["Alertmanager"]
    assert healthy
    assert detail.endswith("; cannot list its silences, those read before hold (HTTP 500: several sets of matchers)")


def test_what_was_not_asked_is_not_judged(metrics):
    registry = CollectorRegistry()
    SelfMetrics(registry)
    AlertmanagerMetrics(registry).add(URL, dirty=lambda: 0.0, oldest_dirty_seconds=lambda: 0.0)
    said = health(registry, queried=False)
    assert said["Prometheus"][0] is None
    assert said["Alertmanager"] == (None, "nothing to send so far")
    assert health(registry, config=Config())["Alertmanager"] == (None, "alerts are only shown")


def test_each_event_is_listed_once_the_soonest_first():
    entries = [
        {"name": "hourly", "cron": "0 * * * *", "duration": "10m", "match": ['query="a"'], "action": "ignore"},
        {"name": "sale", "starts_at": "2025-11-24T15:00:00Z", "ends_at": "2025-11-24T18:00:00Z", "match": ['job="x"'],
         "action": "expect", "multiplier": 3.0},
        {"name": "past", "starts_at": "2025-11-20T15:00:00Z", "ends_at": "2025-11-20T18:00:00Z", "match": ['job="x"'],
         "action": "silence"},
        {"name": "far", "starts_at": "2025-12-20T15:00:00Z", "ends_at": "2025-12-20T18:00:00Z", "match": ['job="x"'],
         "action": "silence"},
    ]  # fmt: skip
    calendar = Calendar([CalendarEntry.model_validate(entry) for entry in entries])
    found = upcoming_events(calendar, NOW)
    assert [(one.name, one.action, one.match) for one in found] == [
        ("sale", "expect × 3", 'job="x"'),  # noqa: RUF001
        ("hourly", "ignore", 'query="a"'),
    ]
    assert found[0].starts_at < NOW < found[0].ends_at
