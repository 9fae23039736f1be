"""What the woken person reads, as it arrives: from a real Prometheus by way of a real Alertmanager."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

PUBLIC = "https://anomaly.example"


def test_an_alert_says_what_how_much_since_when_what_else_and_where_to_look(
    prometheus: Prometheus, alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    feed = stack.enter_context(Feed(prometheus))
    config = configuration(prometheus.url, [alertmanager.url])
    first = config["queries"][0]
    mine = {"runbook_url": "https://runbooks.example/#{{ labels.instance }}", "title": "{{ series }}: {{ deviation }}"}
    first |= {"unit": "bytes", "alert": {**first["alert"], "annotations": mine}}
    config["queries"] = [first, {**first, "name": "twice", "expr": "2 * load", "alert": {"for": "1h"}}]
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config, f"--web.external-url={PUBLIC}"))
    eventually(lambda: ask_scores(exporter) == {"load", "twice"}, 60.0, what="scores of both queries")
    feed.factor[1] = 3.0
    webhook.wait_for(lambda notes: any(alert["status"] == "firing" for note in notes for alert in note.alerts), 30.0)
    alert = webhook.notifications[0].alerts[0]
    notes = alert["annotations"]
    assert notes["summary"].startswith("load of instance=host1:9100 job=app is ")
    assert " times the expected " in notes["summary"]
    assert " B" in notes["observed"]
    assert notes["history"].startswith("past ")
    assert "unlike anything that this series has shown before" in notes["why"]
    assert notes["runbook_url"] == "https://runbooks.example/#host1:9100"
    assert notes["title"].endswith(notes["deviation"])
    assert {"expected", "band", "score", "since", "votes"} <= notes.keys()

    # What the others see of it at the same time, and nobody is told again because a text has changed.
    also = eventually(lambda: alertmanager.alerts()[0]["annotations"].get("also"), 20.0, what="what else turned")
    assert also.startswith("twice of ")
    lasted = alertmanager.alerts()[0]["annotations"].get("lasted")
    eventually(lambda: alertmanager.alerts()[0]["annotations"].get("lasted") != lasted, 20.0, what="newer annotations")
    assert len(webhook.notifications) == 1

    # The links lead here.
    page, image = (notes[name].removeprefix(PUBLIC) for name in ("chart_url", "chart_image"))
    assert (urlsplit(page).path, urlsplit(image).path) == ("/graph", "/chart.png")
    assert exporter.ask(page).status_code == 200
    drawn = exporter.ask(image)
    assert (drawn.status_code, drawn.headers["Content-Type"]) == (200, "image/png")


def ask_scores(exporter: Exporter) -> set[str]:
    return {dict(labels)["query"] for labels in exporter.samples("anomaly_score")}
