from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.exposition import SelfMetrics


@pytest.fixture
def metrics():
    return SelfMetrics(CollectorRegistry())


def page(metrics):
    return generate_latest(metrics.registry).decode()


def test_the_counters_of_a_query_start_at_zero(metrics):
    metrics.watch("cpu")
    assert 'anomaly_exporter_cycles_total{query="cpu"} 0.0' in page(metrics)
    assert 'anomaly_exporter_cycles_missed_total{query="cpu"} 0.0' in page(metrics)


def test_a_forgotten_query_leaves_nothing_and_the_others_stay(metrics):
    for query in ("cpu", "memory"):
        metrics.watch(query)
        metrics.cycle_duration_seconds.labels(query, "fetch").observe(0.1)
        metrics.last_success_timestamp_seconds.labels(query).set(1.0)
        metrics.query_errors_total.labels(query, "timeout").inc()
        metrics.series.labels(query, "scored").set(3)
        metrics.series_rejected_total.labels(query, "duplicate_labels").inc()
        metrics.band_coverage_ratio.labels(query).set(0.99)
        metrics.backfill_progress_ratio.labels(query).set(0.5)
        metrics.alerts.labels(query, "firing").set(1)
    before = page(metrics)
    metrics.forget("cpu")
    after = page(metrics)
    assert 'query="cpu"' not in after
    assert after.count('query="memory"') == before.count('query="memory"') == before.count('query="cpu"')
    metrics.forget("never seen")


def test_every_name_has_the_prefix_or_is_of_the_process(metrics):
    for family in metrics.registry.collect():
        assert family.name.startswith(("anomaly_exporter_", "process_", "python_")), family.name


def test_no_created_series(metrics):
    metrics.watch("cpu")
    assert "_created" not in page(metrics)


def test_the_build_says_its_versions(metrics):
    assert 'anomaly_exporter_build_info{numpy_version="' in page(metrics)
    assert 'version=""' not in page(metrics)
