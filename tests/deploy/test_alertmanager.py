"""Routes, by amtool; inhibition, by a real Alertmanager. Texts are in test_notifications.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.load import load
from tests.deploy.tools import DEPLOY, run
from tests.integration.servers import Alertmanager, eventually

FOLDER = DEPLOY / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"


def test_configuration_is_valid() -> None:
    assert "SUCCESS" in run("amtool", "check-config", CONFIG)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=AnomalyWidespread query=cpu severity=page", "webhook,pager,chat"),
        ("alertname=AnomalyDetected query=cpu severity=critical", "webhook,pager,chat"),
        ("alertname=AnomalyDetected query=cpu severity=warning", "webhook,chat"),
        ("alertname=AnomalyDetected query=cpu", "webhook,chat"),
        ("alertname=AnomalyDetected severity=page incident=a1 incident_role=root", "webhook,pager,chat"),
        ("alertname=AnomalyGroup group=api severity=ticket", "webhook,chat"),
        ("alertname=AnomalyExporterDown severity=page", "webhook,pager,chat"),
        ("alertname=AnomalyDetected query=cpu severity=page notify_as=digest", "webhook,chat"),
        ("alertname=CheckoutIsSlow query=latency severity=page", "pager,chat"),
        ("alertname=SomethingElse severity=ticket", "chat"),
    ],
)
def test_alert_goes_where_it_should(labels: str, receivers: str) -> None:
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receivers}",
        *labels.split(),
    )


def test_the_guide_sends_the_alert_of_its_query_to_pager_and_channel(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DEPLOY.parent / "docs" / "alerts.md").read_text(), re.DOTALL)
    (routes,) = (block for block in blocks if block.startswith("# alertmanager.yml"))
    (config,) = (block for block in blocks if "CheckoutIsSlow" in block)
    (tmp_path / "config.yaml").write_text(config)
    load(tmp_path / "config.yaml")
    alert = yaml.safe_load(config)["queries"][0]["alert"]
    file = tmp_path / "alertmanager.yml"
    file.write_text(routes.replace("/etc/alertmanager/anomaly.tmpl", str(FOLDER / "anomaly.tmpl")))
    labels = [f"alertname={alert['alertname']}", *(f"{name}={value}" for name, value in alert["labels"].items())]
    verified = "--verify.receivers=payments-oncall,payments-chat"
    run("amtool", "check-config", file)
    run("amtool", "config", "routes", "test", f"--config.file={file}", verified, *labels)


@pytest.fixture
def shipped(run_alertmanager: Callable[..., Alertmanager]) -> Alertmanager:
    """A real Alertmanager with the shipped routes and inhibition; its receivers do nothing."""
    config = yaml.safe_load(CONFIG.read_text())
    config["receivers"] = [{"name": receiver["name"]} for receiver in config["receivers"]]
    config["templates"] = []
    return run_alertmanager(config=config)


@pytest.mark.integration
def test_worse_alerts_inhibit_what_follows_from_them(shipped: Alertmanager) -> None:
    begin = time.time()

    def fire(name: str, **labels: str) -> dict[str, Any]:
        stamps = {
            key: datetime.fromtimestamp(at, UTC).isoformat()
            for key, at in (("startsAt", begin), ("endsAt", begin + 300))
        }
        return {"labels": {"alertname": name, **labels}, **stamps}

    one = {"query": "cpu", "instance": "a", "job": "node"}
    shipped.post(
        [
            fire("AnomalyWidespread", query="cpu"),
            fire("AnomalyDetected", **one),
            # A storm that pages says more than that many are anomalous; one that does not hides no page.
            fire("AnomalyDetected", query="memory", service="all", storm="1", severity="page"),
            fire("AnomalyWidespread", query="memory", service="memory"),
            fire("AnomalyDetected", query="disk", service="all", storm="1", severity="warning"),
            fire("AnomalyWidespread", query="disk", service="disk"),
            # What is extreme on one disk hides nothing of another.
            fire("AnomalyExtreme", query="latency", instance="a", device="sda"),
            fire("AnomalyLasting", query="latency", instance="a", device="sdb"),
            fire("AnomalyDetected", query="errors", service="payments", incident="one", incident_role="root"),
            fire("AnomalyDetected", query="errors", service="checkout", incident="one", incident_role="effect"),
            fire("AnomalyDetected", query="errors", service="search", incident="two", incident_role="effect"),
            # What waits for the message of the day hides no page.
            fire("AnomalyDetected", service="cache", incident="three", incident_role="root", notify_as="digest"),
            fire("AnomalyDetected", service="web", incident="three", incident_role="effect", severity="page"),
            fire("AnomalyExporterSourceDown", instance="ae:9877"),
            fire("AnomalyExporterQueryStale", instance="ae:9877", query="latency"),
            fire("AnomalyExporterStoreErrors", instance="ae:9877"),
        ]
    )

    def inhibited() -> list[tuple[str, str]]:
        # Inhibition is worked out when an alert is notified, so all of them have to have been looked at.
        found = [one for one in shipped.alerts() if one["status"]["inhibitedBy"]]
        what = [one["labels"] for one in found]
        return sorted((one["alertname"], one.get("instance") or one["service"]) for one in what)

    expected = [
        ("AnomalyDetected", "a"),
        ("AnomalyDetected", "checkout"),
        ("AnomalyExporterQueryStale", "ae:9877"),
        ("AnomalyWidespread", "memory"),
    ]
    eventually(lambda: inhibited() == expected, what=str(expected))


def test_secrets_are_in_files() -> None:
    assert not re.search(r"(routing_key|api_url|password|token):", CONFIG.read_text())
