"""Every query of the dashboards has an answer, from a real Prometheus that scrapes the real exporter."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.dashboards import Question, questions, series_variable
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

VARIABLES = {
    "$query": "(both|load)",
    "$label": "service",
    "$value": ".*",
    "$by": "instance",
    "$instance": ".+",
    "$__range": "1m",
    "$__rate_interval": "10s",
}
EMPTY = {
    "Drift A",  # An index against a pinned week takes two of them.
    *("Alertmanagers that are found A", "Alertmanagers that are found B"),  # There is no discovery.
    *(f"Budgets of alerts {letter}" for letter in "CDE"),  # There is too little history for a calibration.
    *(f"False alerts to expect {letter}" for letter in "AB"),  # For a count, too.
    *("Suppressed series by reason A", "Anomalous"),  # Nothing is silenced; and only where it is anomalous.
    *(f"Remote write {letter}" for letter in "ABC"),  # It is not configured,
    "Remote write, waiting A",
    *("$series F", "Time to the limit A", "Probability of reaching the limit A"),  # nor are forecasts.
    *("Canaries A", "Candidates against their baselines A"),  # Nothing is compared.
    "Answers with warnings, and partial ones C",  # History is whole.
    "Memory C",  # A limit is there where the control group has one.
    "Starts C",  # It has not been restarted.
}
"""Panels that may have no data, and why."""
ALERT = {"alert": "AnomalyOfATest", "expr": "anomaly_score >= 0.5"}


def test_every_panel_has_data(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    run_prometheus: Callable[..., Prometheus],
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    feed = stack.enter_context(Feed(prometheus))
    config = configuration(prometheus.url, [alertmanager.url])
    # With a lower edge, which `direction: above` has not.
    config["queries"].append({"name": "both", "expr": "load", "alert": {"budget": "7/week"}})
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    target = [{"targets": [f"127.0.0.1:{exporter.port}"]}]
    scrape = [{"job_name": "anomaly-exporter", "honor_labels": True, "static_configs": target}]
    rules = {"groups": [{"name": "test", "rules": [ALERT]}]}
    grafanas = run_prometheus(config={"scrape_configs": scrape}, rules=rules)
    exporter.wait_for_scores()
    feed.factor[1] = 3.0
    eventually(lambda: grafanas.query('anomaly_exporter_alerts{state="firing"} > 0'), 40.0, what="an alert")

    def all_series() -> list[str]:
        found = series_variable(grafanas, VARIABLES)
        assert len(found) == 6, (found, grafanas.query("anomaly_score"))
        return found

    worst = eventually(all_series, 120.0)
    assert 'instance="host1:9100"' in worst[0]
    variables = {**VARIABLES, "${series:raw}": worst[0]}

    def answered() -> bool:
        mine = {**variables, "$label": "instance", "$value": "host1:9100"}
        by_dashboard = {"anomalies": variables, "exporter": variables, "service": mine}
        without = {
            one.where
            for name, values in by_dashboard.items()
            for one in questions(name)
            if not of_groups(one) and not one.ask(grafanas, values)
        }
        assert without <= EMPTY, sorted(without - EMPTY)
        return True

    # A rate needs two scrapes, and what is rare, such as a checkpoint, its time.
    eventually(answered, 90.0)
    columns = [
        one.ask(grafanas, variables) for one in questions("anomalies") if one.where.startswith("Worst series now")
    ]
    rows = [{tuple(sorted(row["metric"].items())) for row in column} for column in columns]
    assert len(rows) == 6
    # Grafana makes one row of what has the same labels; only a lower edge may be missing.
    assert all(row <= rows[0] for row in rows)
    assert sorted(len(row) for row in rows) == [3, 6, 6, 6, 6, 6]
    names = grafanas.ask("GET", "/api/v1/label/query/values", params={"match[]": "anomaly_score"})
    assert names.json()["data"] == ["both", "load"]
    [band] = next(one for one in questions("anomalies") if one.where == "$series A").ask(grafanas, variables)
    assert band["metric"]["instance"] == "host1:9100"
    assert float(band["values"][-1][0]) > time.time() - 30


def of_groups(question: Question) -> bool:
    """Whether it is about groups: those have their first score after a minute, so they are asked in test_scrape."""
    return "anomaly_group_score" in question.expr
