"""What people get: the shipped receivers and texts in a real Alertmanager, before servers that play the services.

docs/notifications.md shows what came, word for word.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import DEPLOY, ROOT, run
from tests.integration.conftest import RunAlertmanager
from tests.integration.listener import Answer, Listener
from tests.integration.mailbox import Mailbox
from tests.integration.process import eventually

pytestmark = pytest.mark.integration

FOLDER = DEPLOY / "alertmanager"
PAGE = ROOT / "docs" / "notifications.md"
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=34)
CHART = "query=api_latency_p99&service=payments&from=1795999166&to=1796010000"

LATENCY: dict[str, Any] = {
    "labels": {
        "alertname": "AnomalyDetected",
        "query": "api_latency_p99",
        "service": "payments",
        "path": "/a b<!channel>",
        "severity": "page",
    },
    "annotations": {
        "summary": "api_latency_p99 of service=payments is 1.02 s, 3.9 times the expected 0.26 s "
        "(band 0.19 s to 0.35 s), for 34 s",
        "description": "Payments are slow for <b>customers</b>.",
        "band": "0.19 s to 0.35 s",
        "history": "past Mondays 14:00-15:00 were mostly 0.24 s to 0.28 s, mean 0.26 s (4 weeks, Europe/Berlin)",
        "votes": "zscore, iqr, novelty (2): 4 votes, 3 are enough",
        "also": "errors of service=payments since 14:03 UTC (score 0.99)\nand 3 more series",
        "suspected_cause": "db_latency of db=payments, anomalous since 2026-11-30T14:01:00Z, 1 min before this",
        "chart_url": f"https://anomaly.example.org/graph?{CHART}",
        "chart_image": f"https://anomaly.example.org/chart.png?{CHART}",
        "runbook_url": "https://runbooks.example.org/latency",
    },
    "generatorURL": "https://prometheus.example.org/graph?g0.expr=x&g0.tab=1",
}
EXTREME: dict[str, Any] = {
    "labels": {"alertname": "AnomalyExtreme", "query": "cpu", "instance": "a:9100", "severity": "page"},
    "annotations": {
        "summary": "cpu instance=a:9100 is 0.93, expected 0.21: far from what is usual at this hour, for 10m",
        "description": "The score has been 0.98 or so for 10m.",
        "runbook_url": "https://runbooks.example.org/#anomalyextreme",
    },
    "generatorURL": "https://prometheus.example.org/graph?g0.expr=y&g0.tab=1",
}


class Services(Listener):
    """Plays the services that are told by HTTP, and keeps what they get, by path."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self._lock = threading.Lock()
        self._received: list[tuple[str, dict[str, Any]]] = []

    def _take(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        with self._lock:
            self._received.append((request.path, json.loads(body)))
        # What Slack and PagerDuty say when they are content.
        return (202, b'{"status": "success"}', {}) if request.path == "/pagerduty" else (200, b"ok", {})

    def got(self, path: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many requests to a path; return their bodies."""
        with self._lock:
            bodies = [body for received, body in self._received if received == path]
        assert len(bodies) >= count, (path, len(bodies))
        return bodies


def version() -> tuple[int, ...]:
    """The version of Alertmanager's tool."""
    return tuple(map(int, re.findall(r"version (\d+)\.(\d+)", run("amtool", "--version"))[0]))


def configured(services: Services, mail: Mailbox, folder: Path) -> dict[str, Any]:
    """The shipped configuration, all of its receivers in one, with the addresses of the test."""
    shipped = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    receivers: dict[str, Any] = {"name": "everybody"}
    for one in shipped["receivers"]:
        receivers |= {kind: configs for kind, configs in one.items() if kind != "name"}
    del receivers["webhook_configs"]
    if version() >= (0, 28):
        teams = yaml.safe_load((FOLDER / "teams.yml").read_text())
        [receivers["msteamsv2_configs"]] = [one["msteamsv2_configs"] for one in teams["receivers"]]
        [config] = receivers["msteamsv2_configs"]
        config["webhook_url"] = f"http://{services.address}/teams"
        del config["webhook_url_file"]
    [slack], [pager], [mails] = (receivers[f"{kind}_configs"] for kind in ("slack", "pagerduty", "email"))
    (folder / "slack").write_text(f"http://{services.address}/slack")
    slack["api_url_file"] = str(folder / "slack")
    (folder / "pagerduty").write_text("0123456789abcdef0123456789abcdef")
    pager |= {"routing_key_file": str(folder / "pagerduty"), "url": f"http://{services.address}/pagerduty"}
    mails |= {"smarthost": mail.address, "require_tls": False, "hello": "localhost"}
    return {
        "route": {"receiver": "everybody", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"},
        "receivers": [receivers],
        "templates": [str(FOLDER / "anomaly.tmpl")],
    }


def stamped(alert: dict[str, Any], *, began: datetime = BEGAN, ended: bool = False) -> dict[str, Any]:
    end = BEGAN + timedelta(minutes=33) if ended else datetime.now(UTC) + timedelta(minutes=5)
    return {**alert, "startsAt": began.isoformat(), "endsAt": end.isoformat()}


Shown = Callable[[str, str], None]


@pytest.fixture
def shown(update_golden: bool) -> Shown:
    """Compare a text with the one that the page of documentation shows under a heading."""

    def compare(name: str, text: str) -> None:
        whole = PAGE.read_text()
        head, opening, rest = whole.partition(f"\n### {name}\n")
        before, fence, block = rest.partition("```text\n")
        documented, _, after = block.partition("\n```")
        if update_golden:
            PAGE.write_text(f"{head}{opening}{before}{fence}{text.strip()}\n```{after}")
        else:
            assert text.strip() == documented

    return compare


def test_everybody_is_told_the_number_the_thing_and_the_duration(
    run_alertmanager: RunAlertmanager, stack: ExitStack, shown: Shown, tmp_path: Path
) -> None:
    services, mail = stack.enter_context(Services()), stack.enter_context(Mailbox())
    alertmanager = run_alertmanager(config=configured(services, mail, tmp_path))

    def public(text: str) -> str:
        return text.replace(alertmanager.url, "https://alertmanager.example.org")

    alertmanager.post([stamped(LATENCY)])
    [slack] = eventually(lambda: services.got("/slack", 1))
    [attachment] = slack["attachments"]
    annotations = LATENCY["annotations"]
    assert attachment["title_link"] == annotations["chart_url"]
    assert attachment["image_url"] == annotations["chart_image"]
    assert attachment["color"] == "danger"
    chart, silence = attachment["actions"]
    assert chart["url"] == annotations["chart_url"]
    shown("Slack", public(f"{attachment['title']}\n\n{attachment['text']}"))
    # Exactly the matchers of this alert, in a form that Alertmanager's page reads.
    assert public(silence["url"]) == (
        "https://alertmanager.example.org/#/silences/new?filter=%7Balertname%3D%22AnomalyDetected%22%2C"
        "path%3D%22%2Fa%20b%3C%21channel%3E%22%2Cquery%3D%22api_latency_p99%22%2Cservice%3D%22payments%22%2C"
        "severity%3D%22page%22%7D"
    )
    assert "<" not in attachment["title"] + attachment["text"]

    [page] = eventually(lambda: services.got("/pagerduty", 1))
    assert page["event_action"] == "trigger"
    links = "\n".join(f"{one['text']}: {public(one['href'])}" for one in page["links"])
    shown("PagerDuty", f"{page['payload']['summary']}\n\n{links}")
    assert page["payload"]["class"] == "AnomalyDetected"
    assert page["payload"]["component"] == "api_latency_p99"
    assert page["client_url"] == annotations["chart_url"]
    assert [one["text"] for one in page["links"]] == ["chart", "runbook", "silence"]
    assert page["images"][0]["src"] == annotations["chart_image"]
    assert page["payload"]["custom_details"]["text"] == attachment["text"]

    [letter] = eventually(lambda: list(mail.mails))
    assert letter["Subject"] == attachment["title"]
    plain, html = (letter.get_body([kind]).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert plain.split() == attachment["text"].split()
    assert f'<img src="{annotations["chart_image"].replace("&", "&amp;")}"' in html
    assert "&lt;b&gt;customers" in html, "a label or text of anybody is no markup"
    assert "#/silences/new?filter=" in html

    if version() >= (0, 28):
        [card] = eventually(lambda: services.got("/teams", 1))
        texts = [one["text"] for one in card["attachments"][0]["content"]["body"]]
        assert texts[0] == attachment["title"]
        shown("Teams", public(texts[1]))

    over = {**annotations, "recovered": "api_latency_p99 of service=payments is 0.27 s again, expected 0.26 s"}
    alertmanager.post([stamped({**LATENCY, "annotations": over}, ended=True)])
    slack = eventually(lambda: services.got("/slack", 2))[1]
    shown("When it is over", slack["attachments"][0]["title"])
    assert slack["attachments"][0]["color"] == "good"
    assert not slack["attachments"][0].get("image_url")
    second = eventually(lambda: services.got("/pagerduty", 2))[1]
    assert (second["event_action"], second["dedup_key"]) == ("resolve", page["dedup_key"])


def test_an_alert_of_a_rule_and_several_alerts(
    run_alertmanager: RunAlertmanager, stack: ExitStack, shown: Shown, tmp_path: Path
) -> None:
    services, mail = stack.enter_context(Services()), stack.enter_context(Mailbox())
    alertmanager = run_alertmanager(config=configured(services, mail, tmp_path))
    texts = [json.dumps(EXTREME).replace("a:9100", f"{letter}:9100") for letter in "abcdefghijklm"]
    # Alerts that are older than `group_wait` are told of at once, one by one.
    alertmanager.post([stamped(json.loads(text), began=datetime.now(UTC)) for text in texts])
    [slack] = eventually(lambda: services.got("/slack", 1))
    [attachment] = slack["attachments"]
    first = attachment["text"].split("\n\n")[0]
    shown("Several alerts", f"{attachment['title']}\n\n{first}\n\n(and so on)")
    assert attachment["title_link"] == EXTREME["generatorURL"]
    assert attachment["text"].splitlines()[-1] == "and 3 more"
    assert not attachment.get("image_url")
    [page] = eventually(lambda: services.got("/pagerduty", 1))
    assert "images" not in page or page["images"] == []
    # What all of them have, and no label of a single one.
    [silence] = [one["href"] for one in page["links"] if one["text"] == "silence"]
    assert "instance" not in silence
    assert silence.endswith("alertname%3D%22AnomalyExtreme%22%2Cquery%3D%22cpu%22%2Cseverity%3D%22page%22%7D")


def test_receiver_of_teams_is_valid() -> None:
    if version() < (0, 28):
        pytest.skip("amtool is older than 0.28 and does not know Teams")
    assert "SUCCESS" in run("amtool", "check-config", FOLDER / "teams.yml")
