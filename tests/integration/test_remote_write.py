"""Scores and bands in real stores: history of the first start, slots, and what was missed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.dashboards import questions
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


PANELS = {
    "anomalies": [*(f"$series {letter}" for letter in "ABCD"), "Worst scores A", "Anomalous share by query A"],
    "service": [*(f"$series {letter}" for letter in "ABCD"), "Worst score by query A", "Anomalous series by query A"],
}
"""Panels over time that are about what is written."""


@pytest.mark.parametrize("kind", ["prometheus", "victoria"])
def test_dashboards_show_the_past_day_as_soon_as_history_is_written(
    kind: str,
    run_prometheus: Callable[..., Prometheus],
    run_victoria: Callable[..., VictoriaMetrics],
    exporter: Callable[..., Exporter],
) -> None:
    store: Prometheus | VictoriaMetrics = run_prometheus() if kind == "prometheus" else run_victoria()
    exporter(f"{store.url}/api/v1/write").wait_for_scores()
    variables = {"$query": "load", "$label": "service", "$value": "a", "$by": "service", "$__range": "1d"}
    variables["${series:raw}"] = 'query="load",service="a"'

    def thin() -> list[str]:
        """Return the panels that have less than fifteen hours of every series."""
        return [
            f"{name}: {question.where}"
            for name, panels in PANELS.items()
            for question in questions(name)
            if question.where in panels
            and not any(
                len(series["values"]) > 15 * 12 for series in question.ask(store, variables, seconds=86400, step=300)
            )
        ]

    def full() -> bool:
        assert not thin()
        return True

    eventually(full, 60.0, every=0.5)
    asked = [each.where for name in PANELS for each in questions(name) if each.where in PANELS[name]]
    assert len(asked) == sum(map(len, PANELS.values()))


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
