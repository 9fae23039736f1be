"""Scores and bands in real stores: history of the first start, slots, and what was missed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.servers import Prometheus, VictoriaMetrics, eventually

NAMES = ("anomaly_score", "expected_value", "expected_value_upper", "observed_value")
"""The query has no lower edge: its `direction` is above."""


def count(store: Prometheus | VictoriaMetrics, name: str, seconds: int) -> float:
    """How many samples of a metric a store has."""
    answer = store.query(f'sum(count_over_time({name}{{query="load",replica="a"}}[{seconds}s]))')
    return float(answer[0]["value"][1]) if answer else 0.0


@pytest.fixture
def exporter(prometheus: Prometheus, stack: ExitStack, tmp_path: Path) -> Callable[..., Exporter]:
    stack.enter_context(Feed(prometheus, labels=[{"service": "a", "Zone": "b"}], days=1.0))

    def start(url: str) -> Exporter:
        config = configuration(prometheus.url, [], remote_write=[{"url": url, "labels": {"replica": "a"}}])
        return stack.enter_context(Exporter(tmp_path / "exporter", config))

    return start


def test_prometheus_has_history_and_slots_and_nothing_is_lost_while_it_is_away(
    run_prometheus: Callable[..., Prometheus], exporter: Callable[..., Exporter]
) -> None:
    store = run_prometheus()
    daemon = exporter(f"{store.url}/api/v1/write")
    daemon.wait_for_scores()
    eventually(lambda: count(store, "anomaly_score", 10) >= 3, what="slots")
    # One day at a sample every five minutes, less those that are too early for a verdict.
    assert count(store, "expected_value", 90_000) > 200
    store.stop()
    refused = "anomaly_exporter_remote_write_errors_total"
    eventually(lambda: sum(daemon.samples(refused).values()) >= 2, what="requests in vain")
    away = time.time()
    store.start()
    eventually(lambda: daemon.sample("anomaly_exporter_remote_write_pending_bytes") == 0.0, 60.0, what="an empty queue")
    seconds = round(time.time() - away) + 3
    for name in NAMES:
        assert count(store, name, seconds) >= seconds - 4
    labels = store.query("anomaly_score")[0]["metric"]
    assert labels == {
        "__name__": "anomaly_score", "query": "load", "service": "a", "Zone": "b", "replica": "a",
        **{name: labels[name] for name in ("job", "instance") if name in labels},
    }  # fmt: skip
    # The same numbers as on the page.
    shown = next(iter(daemon.samples("expected_value").values()))
    assert shown in {float(value) for _, value in values(store, "expected_value")}


def values(store: Prometheus, name: str) -> list[list[str]]:
    """Timestamps and values of the last half minute."""
    (series,) = store.query(f"{name}[30s]")
    return list(series["values"])


def test_a_restart_writes_nothing_twice(
    run_victoria: Callable[..., VictoriaMetrics], exporter: Callable[..., Exporter]
) -> None:
    store = run_victoria()
    daemon = exporter(f"{store.url}/api/v1/write")
    daemon.wait_for_scores()
    eventually(lambda: count(store, "anomaly_score", 10) >= 2, what="slots")
    daemon.stop()
    daemon.start()
    daemon.wait_for_scores()
    eventually(lambda: (daemon.sample("anomaly_exporter_remote_write_samples_total") or 0.0) > 0.0, what="slots")
    # A day of history again would be more than a thousand samples.
    assert daemon.sample("anomaly_exporter_remote_write_samples_total") < 800  # type: ignore[operator]
