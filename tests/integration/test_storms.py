"""Many series at once, and services that depend on each other, from outside: what people are told."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import DEPLOY
from tests.integration.conftest import RunAlertmanager
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

SHORT = {"window": "2d", "min_history": "1d", "backfill_step": "5m"}
"""Baseline that hundreds of series learn quickly."""
QUICK = {"detectors": ["zscore", "iqr"], "quorum": 2}


def told(notes: list[Notification]) -> list[tuple[str, str]]:
    """What the people were told, in order: (status, storm or service)."""
    return [
        (alert["status"], alert["labels"].get("storm") or alert["labels"].get("service", "a series"))
        for note in notes
        for alert in note.alerts
    ]


def test_500_series_that_turn_together_are_one_notification_and_one_resolved(
    prometheus: Prometheus, alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    labels = [{"job": "app", "instance": f"host{i}:9100", "zone": "a" if i < 200 else f"z{i % 7}"} for i in range(520)]
    feed = stack.enter_context(Feed(prometheus, labels=labels, days=2.0, step=300.0))
    config = configuration(prometheus.url, [alertmanager.url], baseline=SHORT, detection=QUICK)
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()

    def annotation(name: str) -> str:
        found = alertmanager.alerts()
        return found[0]["annotations"].get(name, "") if found else ""

    def turn(first: int, last: int, factor: float) -> None:
        feed.factor[first:last] = [factor] * (last - first)

    turn(0, 200, 3.0)
    webhook.wait_for(lambda notes: ("firing", "1") in told(notes), 30.0)
    alert = webhook.notifications[0].alerts[0]
    assert alert["labels"] == {
        "alertname": "AnomalyDetected",
        "cluster": "test",
        "job": "app",
        "query": "load",
        "severity": "page",
        "storm": "1",
    }
    assert alert["annotations"]["in_common"].startswith("zone=a: ")
    assert " of 520 series of load are anomalous together, mostly zone=a, for " in alert["annotations"]["summary"]
    assert len(alert["annotations"]["worst"].splitlines()) == 5

    turn(200, 500, 3.0)
    eventually(lambda: annotation("members").startswith("500 of 520 series"), 30.0, what="all members")
    (one,) = exporter.ask("/api/v1/anomalies?status=open").json()["data"]["anomalies"]
    assert one["storm"]["members"].startswith("500 of 520 series")
    assert len(one["storm"]["worst"]) == 5
    exporter.kill()
    exporter.start()
    exporter.wait_for_scores()
    turn(2, 500, 1.0)
    eventually(lambda: annotation("members").startswith("2 of 520 series, 500 in"), 30.0, what="two members")
    turn(0, 2, 1.0)
    webhook.wait_for(lambda notes: ("resolved", "1") in told(notes), 30.0)
    audit = exporter.ask("/api/v1/anomalies").json()["data"]
    assert len(audit["anomalies"] if isinstance(audit, dict) else audit) == 1
    # What came after the last look would be in the next notification of the group; a new one shows that there was none.
    feed.factor[510] = 3.0
    webhook.wait_for(lambda notes: ("firing", "a series") in told(notes), 30.0)
    assert told(webhook.notifications)[:3] == [("firing", "1"), ("resolved", "1"), ("firing", "a series")]


def test_a_cascade_is_one_incident_and_unrelated_anomalies_are_two(
    prometheus: Prometheus, run_alertmanager: RunAlertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    services = ("checkout", "payments", "search", "mail")
    feed = stack.enter_context(Feed(prometheus, labels=[{"service": name} for name in services], days=2.0))
    route = {"receiver": "hook", "group_by": ["alertname", "query", "service"], "group_wait": "1s"}
    route |= {"group_interval": "1s", "repeat_interval": "1h"}
    route["routes"] = [{"matchers": ['incident!=""'], "group_by": ["incident"]}]
    inhibit = {"source_matchers": ['incident_role="root"'], "target_matchers": ['incident_role="effect"']}
    alertmanager = run_alertmanager(
        config={
            "route": route,
            "inhibit_rules": [inhibit | {"equal": ["incident"]}],
            "receivers": [{"name": "hook", "webhook_configs": [{"url": webhook.url, "send_resolved": True}]}],
        }
    )
    calls = [{"caller": {"service": "checkout"}, "callee": {"service": "payments"}}]
    calls.append({"caller": {"service": "search"}, "callee": {"service": "index"}})
    config = configuration(prometheus.url, [alertmanager.url], baseline=SHORT, detection=QUICK, dependencies=calls)
    config["queries"][0]["alert"]["for"] = "4s"
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()

    def alerts() -> dict[str, dict]:
        return {one["labels"]["service"]: one for one in alertmanager.alerts()}

    def is_open(service: str) -> bool:
        (score,) = exporter.samples("anomaly_score", service=service).values()
        return score >= 0.5

    feed.factor[services.index("payments")] = 3.0
    eventually(lambda: is_open("payments"), 20.0, what="the cause")
    feed.factor[services.index("checkout")] = 3.0
    eventually(lambda: {"payments", "checkout"} <= alerts().keys(), 40.0, what="both alerts")
    cause, effect = alerts()["payments"]["labels"], alerts()["checkout"]["labels"]
    assert (cause["incident_role"], effect["incident_role"]) == ("root", "effect")
    assert cause["incident"] == effect["incident"]
    assert alerts()["checkout"]["annotations"]["suspected_cause"].startswith("load of service=payments, ")
    eventually(lambda: alerts()["checkout"]["status"]["inhibitedBy"], 20.0, what="inhibition")
    eventually(
        lambda: "service=checkout" in alerts()["payments"]["annotations"].get("suspected_effects", ""),
        20.0,
        what="effect",
    )
    feed.factor[services.index("checkout")] = 1.0
    eventually(lambda: "checkout" not in alerts(), 30.0, what="the end of the effect")
    feed.factor[services.index("payments")] = 1.0
    webhook.wait_for(lambda notes: ("resolved", "payments") in told(notes), 30.0)

    feed.factor[services.index("search")] = feed.factor[services.index("mail")] = 3.0
    for name in ("search", "mail"):
        webhook.wait_for(lambda notes, name=name: ("firing", name) in told(notes), 40.0)
    assert "incident" not in alerts()["mail"]["labels"]
    assert alerts()["search"]["labels"]["incident_role"] == "root"
    # Two notifications of the cascade. The second may name the effect too, if both end within one group_interval.
    cascade = [note for note in webhook.notifications if note.body["groupLabels"].get("incident") == cause["incident"]]
    assert [note.status for note in cascade] == ["firing", "resolved"]
    heard = [service for status, service in told(webhook.notifications) if status == "firing"]
    assert heard[0] == "payments"
    assert sorted(heard[1:]) == ["mail", "search"]


def test_a_cascade_over_queries_and_a_group_is_one_notification_with_the_shipped_routes(
    prometheus: Prometheus, run_alertmanager: RunAlertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    services = ("checkout", "payments", "index", "mail")
    feed = stack.enter_context(Feed(prometheus, labels=[{"service": name} for name in services], days=2.0, step=1.0))
    shipped = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    hook = {"name": "pager", "webhook_configs": [{"url": webhook.url, "send_resolved": True}]}
    others = [{"name": each["name"]} for each in shipped["receivers"] if each["name"] != "pager"]
    route = {**shipped["route"], "group_wait": "1s", "group_interval": "2s"}
    route["routes"] = [{**each, **({"group_wait": "1s"} if "group_wait" in each else {})} for each in route["routes"]]
    alertmanager = run_alertmanager(config={**shipped, "route": route, "receivers": [hook, *others], "templates": []})
    calls = [("checkout", "payments"), ("payments", "index")]
    dependencies = [{"caller": {"service": a}, "callee": {"service": b}} for a, b in calls]
    config = configuration(
        prometheus.url, [alertmanager.url], baseline=SHORT, detection=QUICK, dependencies=dependencies
    )
    (query,) = config["queries"]
    page = {"labels": {"severity": "page"}}
    # Not all of them go up, or it were a load.
    exprs = {"requests": "load", "free": "400 - load", "idle": "800 - 2 * load"}
    config["queries"] = [
        {**query, "name": name, "expr": expr, "direction": "both", "alert": {"for": "4s", **page}}
        for name, expr in exprs.items()
    ]
    config["groups"] = [{"name": "shop", "by": ["service"], "queries": list(exprs), "contamination": 1e-6}]
    config["groups"][0]["alert"] = {"for": "4s", **page}
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()

    def all_scores(service: str) -> list[float]:
        return list(exporter.samples("anomaly_score", service=service).values())

    def begin(service: str) -> None:
        feed.factor[services.index(service)] = 3.0
        eventually(lambda: min(all_scores(service)) >= 0.5, 30.0, what=f"anomalies of {service}")

    eventually(lambda: len(all_scores("index")) == len(exprs), 30.0, what="scores of all queries")
    for service in ("index", "payments", "checkout"):
        begin(service)

    def alerts() -> list[dict[str, Any]]:
        return [alert for alert in alertmanager.alerts() if alert["labels"]["service"] != "mail"]

    eventually(lambda: len(alerts()) >= 9, 60.0, what="all alerts")
    incidents = {alert["labels"]["incident"] for alert in alerts()}
    roots = [alert for alert in alerts() if alert["labels"]["incident_role"] == "root"]
    assert [alert["labels"]["service"] for alert in roots] == ["index"], roots
    assert len(incidents) == 1
    eventually(
        lambda: all(
            alert["status"]["inhibitedBy"] for alert in alerts() if alert["labels"]["incident_role"] == "effect"
        ),
        20.0,
        what="inhibition",
    )
    for service in ("checkout", "payments", "index"):
        feed.factor[services.index(service)] = 1.0
        eventually(lambda service=service: max(all_scores(service)) < 0.5, 30.0, what=f"the end of {service}")
    eventually(lambda: not alerts(), 60.0, what="the end of all")

    def told_of() -> list[Notification]:
        return [note for note in webhook.notifications if note.body["groupLabels"].get("incident") in incidents]

    eventually(lambda: told_of()[-1].status == "resolved", 30.0, what="the notification of the end")
    assert [note.status for note in told_of()].count("resolved") == 1
    assert told_of()[0].alerts[0]["labels"]["service"] == "index"
