"""Two exporters that do the same work and two Alertmanagers that know each other: people are told once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import RunAlertmanager, RunPrometheus
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.dashboards import Question, questions
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

PATIENCE = 90.0
GRAFANA = {"$query": "load", "$label": "service", "$value": ".*", "$by": "service", "$__range": "1m"}
RULES = Path(__file__).parent.parent.parent / "deploy" / "prometheus" / "rules"


def test_a_pair_and_a_cluster_tell_people_once(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], group_wait="2s")
    feed = stack.enter_context(Feed(prometheus))
    config = configuration(prometheus.url, [one.url for one in cluster])
    pair = [stack.enter_context(Exporter(tmp_path / name, config)) for name in ("first", "second")]
    for one in pair:
        one.wait_for_scores(PATIENCE)

    def told() -> list[tuple[str, str]]:
        notes = webhook.notifications
        return [(alert["status"], alert["labels"]["instance"]) for note in notes for alert in note.alerts]

    def firing() -> list[float | None]:
        return [one.sample("anomaly_exporter_alerts", query="load", state="firing") for one in pair]

    feed.factor[1] = 3.0
    eventually(lambda: firing() == [1.0, 1.0], PATIENCE)
    webhook.wait_for(lambda notes: bool(notes), PATIENCE)
    # One of the pair goes for good: the other one says all there is to say.
    pair[0].kill()
    feed.factor[1] = 1.0
    webhook.wait_for(lambda _: ("resolved", "host1:9100") in told(), PATIENCE)
    time.sleep(3.0)  # Nothing more comes.
    assert told() == [("firing", "host1:9100"), ("resolved", "host1:9100")]


def once_in_panel(where: str) -> Question:
    """The query of a panel of the dashboard."""
    [question] = [one for one in questions("anomalies") if one.where == where]
    return question


def test_a_pair_is_one_in_every_count_and_in_one_incident_also_when_one_missed_its_beginning(
    prometheus: Prometheus,
    run_alertmanager: RunAlertmanager,
    webhook: Webhook,
    run_prometheus: RunPrometheus,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    # No instance and no job: what an expression gives that sums by service.
    services = ("payments", "checkout", "search", "cart")
    feed = stack.enter_context(Feed(prometheus, labels=[{"service": name} for name in services]))
    alertmanager = run_alertmanager(webhook=webhook.url, group_by=["service"])
    depends = {"caller": {"service": "checkout"}, "callee": {"service": "payments"}}
    # One series has a known event, and whatever it does is no news.
    day = {"starts_at": time.time() - 60.0, "ends_at": time.time() + 86400.0}
    span = {name: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for name, at in day.items()}
    masked = {"name": "move", **span, "match": ['service="search"'], "action": "ignore"}
    more = {"dependencies": [depends], "silences": {"interval": "1s"}, "calendar": [masked]}
    config = configuration(prometheus.url, [alertmanager.url], **more)
    first, second = (stack.enter_context(Exporter(tmp_path / name, config)) for name in ("first", "second"))
    scrape = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["scrape_configs"][0]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{one.port}" for one in (first, second)]}]
    files = sorted(RULES.glob("*.rules.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    watching = run_prometheus(config={"scrape_configs": [scrape]}, rules={"groups": groups})
    for one in (first, second):
        one.wait_for_scores(PATIENCE)

    def value(expr: str) -> float | None:
        answer = watching.query(expr)
        assert len(answer) <= 1, answer
        return float(answer[0]["value"][1]) if answer else None

    def listed() -> list[tuple[str, str]]:
        return sorted((alert["labels"]["service"], alert["labels"]["incident_role"]) for alert in alertmanager.alerts())

    eventually(lambda: value("count(anomaly_score)") == 8.0, PATIENCE, what="the scores of both")
    assert {tuple(row["metric"]) for row in watching.query("anomaly_score")} == {
        ("__name__", "query", "replica", "service")
    }
    feed.factor[2] = 3.0
    second.kill()
    feed.factor[0] = 3.0
    eventually(lambda: listed() == [("payments", "root")], PATIENCE)
    feed.factor[1] = 3.0
    eventually(lambda: listed() == [("checkout", "effect"), ("payments", "root")], PATIENCE)
    feed.factor[0] = 1.0
    eventually(lambda: listed() == [("checkout", "effect")], PATIENCE)

    # The other one sees the effect alone, whose cause is over.
    second.start()
    firing = {"query": "load", "state": "firing"}
    eventually(lambda: second.sample("anomaly_exporter_alerts", **firing) == 1.0, PATIENCE)
    sent = "anomaly_exporter_alertmanager_sent_total"
    eventually(lambda: (second.sample(sent, alertmanager=alertmanager.url) or 0.0) >= 1.0, PATIENCE)
    assert listed() == [("checkout", "effect")]
    both = 'count(anomaly_score{service=~"checkout|search"} >= 0.5)'
    eventually(lambda: value(both) == 4.0, PATIENCE, what="both are anomalous for both")
    assert value('count(anomaly_suppressed{service="search",reason="event"})') == 2.0
    eventually(lambda: value("query:anomalous_series:count") == 1.0, PATIENCE, what="and one is counted, once")
    assert value("query:anomalous_series:ratio") == pytest.approx(1 / 3)
    series = once_in_panel("Anomalous series A")
    assert [float(row["value"][1]) for row in series.ask(watching, GRAFANA)] == [1.0]
    table = once_in_panel("Worst series now score").ask(watching, GRAFANA)
    assert sorted(row["metric"]["service"] for row in table) == ["cart", "checkout", "payments", "search"]
    fires = once_in_panel("Open alerts A")
    eventually(lambda: [row["value"][1] for row in fires.ask(watching, GRAFANA)] == ["1"], PATIENCE)
    names = {alert["labels"]["alertname"] for alert in watching.alerts()}
    assert not names & {"AnomalyWidespread", "AnomalyExporterDown"}

    feed.factor[1] = 1.0
    eventually(lambda: listed() == [], PATIENCE)
    for one in (first, second):
        eventually(lambda one=one: one.sample("anomaly_exporter_alerts", **firing) == 0.0, PATIENCE)
    webhook.wait_for(lambda notes: len(notes) >= 4)
    services_and_states = [(labels["service"], status) for status, labels in webhook.alerts()]
    assert sorted(services_and_states) == [
        (service, status) for service in ("checkout", "payments") for status in ("firing", "resolved")
    ]
