"""One of a pair is back after six hours in which its pair has gone on.

Its first life has a clock that is six hours behind: every time in its store is that old, and the source answers as of
then. What Alertmanager has from the time in between is posted with the times that it would have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
import yaml

from exporter.app import Options, build
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.dialects import Dialect, Refusal, Request
from tests.integration.process import eventually
from tests.integration.proxy import Proxy
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

PATIENCE = 120.0
HOUR = 3600.0
CASCADE = ("payments", "checkout")
STORMY = tuple(f"shop{number}" for number in range(6))
CALM = ("search", "mail", "cart")
FIRING = {"query": "load", "state": "firing"}
COMMON = {"alertname": "AnomalyDetected", "cluster": "test", "job": "app", "query": "load", "severity": "page"}


@dataclass
class SixHoursAgo(Dialect):
    """A server whose clock is six hours behind, with the data of another."""

    upstream: str = ""
    ahead: float = -6 * HOUR

    def answer(self, request: Request) -> Refusal:
        answer = requests.post(self.upstream + request.path, data=dict(request.form), timeout=20.0)
        return answer.status_code, answer.json()


def rfc3339(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_a_replica_that_was_down_for_six_hours_goes_on_with_what_its_pair_has_sent(
    prometheus: Prometheus, alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    services = [*CASCADE, *STORMY, *CALM]
    labels = [{"job": "app", "service": name} for name in services]
    # A cascade that is older than the time of being down, and a storm in it.
    since = {0: 6.6 * HOUR, 1: 6.58 * HOUR} | dict.fromkeys(range(2, 2 + len(STORMY)), 5.0 * HOUR)
    stack.enter_context(Feed(prometheus, labels=labels, since=since))
    proxy = stack.enter_context(Proxy(alertmanager.address))
    depends = {"caller": {"service": "checkout"}, "callee": {"service": "payments"}}
    # So much may the other one be late, on a busy machine, before what it sends counts as over.
    changes = {"silences": {"interval": "1s"}, "dependencies": [depends], "alerting": {"resend_delay": "8s"}}
    config = configuration(prometheus.url, [alertmanager.url], **changes)
    own = {**config, "alertmanagers": [{"url": proxy.url, "timeout": "2s"}]}
    server = stack.enter_context(SixHoursAgo(upstream=prometheus.url).run())
    back = Exporter(tmp_path / "back", {**own, "prometheus": {"url": server.url}})

    proxy.mode = "reset"
    options = Options(back.config_file, back.directory / "data", listen_address="127.0.0.1:0")
    before = build(options, clock=lambda: time.time() - 6 * HOUR)
    before.start()

    def fires() -> float | None:
        before.watch()
        return before.metrics.registry.get_sample_value("anomaly_exporter_alerts", FIRING)

    eventually(lambda: fires() == 2.0, PATIENCE, what="the cascade, six hours ago")
    before.stop()
    proxy.mode = "pass"
    back.write(own)

    # What the other one has sent since.
    now = time.time()
    sent: list[tuple[Mapping[str, str], float]] = [
        ({"service": "payments", "incident": "cafe", "incident_role": "root"}, now - 6.5 * HOUR),
        ({"service": "checkout", "incident": "cafe", "incident_role": "effect"}, now - 6.5 * HOUR),
        ({"storm": "7"}, now - 5.0 * HOUR),
    ]
    more = {"annotations": {}, "endsAt": rfc3339(now + 600.0), "generatorURL": prometheus.url}
    alertmanager.post([{"labels": COMMON | own, "startsAt": rfc3339(at), **more} for own, at in sent])
    seeded = listed(alertmanager)
    assert len(seeded) == 3
    other = stack.enter_context(Exporter(tmp_path / "other", config))
    eventually(lambda: other.sample("anomaly_exporter_alerts", **FIRING) == 3.0, PATIENCE, what="alerts of the other")

    stack.enter_context(back)
    eventually(lambda: back.sample("anomaly_exporter_alerts", **FIRING) == 3.0, PATIENCE, what="alerts of who is back")
    disagreement = "anomaly_exporter_pair_disagreement_ratio"
    eventually(lambda: back.sample(disagreement, query="load") == 0.0, PATIENCE)
    sent_total = "anomaly_exporter_alertmanager_sent_total"
    eventually(lambda: (back.sample(sent_total, alertmanager=proxy.url) or 0.0) >= 6.0, PATIENCE)
    # Start, incident and number of the storm are those that Alertmanager has, and nothing is over.
    assert listed(alertmanager) == seeded
    assert {status for status, _ in webhook.alerts()} == {"firing"}
    assert len(webhook.alerts()) == 3
    # What was missed is read.
    series = back.ask("/api/v1/series?query=load").json()["data"]
    assert {one["labels"]["service"] for one in series["series"]} == set(services)
    assert "history" in (back.directory / "log").read_text()

    # It comes to find all of this normal, and its pair does not: it tells nobody that it is over.
    wider = yaml.safe_load(back.config_file.read_text())
    wider["queries"][0]["min_relative_deviation"] = 9.0
    back.write(wider)
    assert back.reload().status_code == 200
    eventually(lambda: back.sample("anomaly_exporter_alerts", **FIRING) == 0.0, PATIENCE, what="all is normal here")
    eventually(lambda: back.sample(disagreement, query="load") == 1.0, PATIENCE)
    time.sleep(15.0)  # The subject: nothing comes.
    assert listed(alertmanager) == seeded
    assert {status for status, _ in webhook.alerts()} == {"firing"}


def listed(alertmanager: Alertmanager) -> dict[frozenset[tuple[str, str]], str]:
    """Return the start of each active alert by its labels."""
    return {frozenset(alert["labels"].items()): alert["startsAt"] for alert in alertmanager.alerts()}
