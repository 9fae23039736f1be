"""The life of an anomaly from outside: what people do about it over HTTP, and what Alertmanager gets of that."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
ALICE = ("alice", "secret")


class Api:
    """The API as alice uses it."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter

    def __call__(self, path: str, status: int = 200, **body: Any) -> Any:
        options: dict[str, Any] = {"method": "POST", "json": body} if body else {}
        answer = self.exporter.ask(f"/api/v1/{path}", **options)
        assert answer.status_code == status, answer.text
        return answer.json().get("data", answer.json())

    def anomaly(self) -> dict[str, Any]:
        """The one episode of host1 that people were told of."""
        found = self('anomalies?fired=true&match[]=instance="host1:9100"')["anomalies"]
        assert len(found) == 1, found
        one: dict[str, Any] = found[0]
        return one

    def events(self, episode: str) -> list[tuple[str, str, str]]:
        """(event, who, why) of everything that happened to it."""
        return [(step["event"], step["who"], step["why"]) for step in self(f"anomalies/{episode}")["transitions"]]


@pytest.fixture
def feed(prometheus: Prometheus, stack: ExitStack) -> Feed:
    return stack.enter_context(Feed(prometheus))


@pytest.fixture
def exporter(prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, stack: ExitStack, tmp_path: Path):
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users: {{alice: {HASH}}}\n")
    config = configuration(prometheus.url, [alertmanager.url])
    flag = f"--web.config.file={web}"
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config, flag, auth=ALICE))
    exporter.wait_for_scores()
    return exporter


@pytest.fixture
def api(exporter: Exporter) -> Api:
    return Api(exporter)


def told(webhook: Webhook) -> list[tuple[str, str]]:
    return [(alert["status"], alert["labels"]["instance"]) for note in webhook.notifications for alert in note.alerts]


def fires(webhook: Webhook) -> None:
    eventually(lambda: ("firing", "host1:9100") in told(webhook), 30.0)


def resolves(webhook: Webhook) -> None:
    eventually(lambda: ("resolved", "host1:9100") in told(webhook), 30.0)


def test_an_anomaly_is_acknowledged_and_resolves_over_a_crash(
    exporter: Exporter, api: Api, feed: Feed, webhook: Webhook, alertmanager: Alertmanager
) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    one = api.anomaly()
    assert (one["status"], one["query"], one["acknowledged"]) == ("open", "load", None)
    assert one["observed"] > 2 * one["expected"]
    assert one["opened_at"] <= min(one["fired_at"], one["worst_at"])
    before = alertmanager.alerts()[0]

    said = api(f"anomalies/{one['id']}/acknowledge", comment="restarting the pool")
    assert (said["status"], said["acknowledged"]["by"]) == ("acknowledged", "alice")
    exporter.kill()
    exporter.start()
    exporter.wait_for_scores()
    assert api.anomaly()["acknowledged"] == said["acknowledged"]
    # To Alertmanager it is the same alert as before.
    after = alertmanager.alerts()[0]
    assert (after["labels"], after["startsAt"]) == (before["labels"], before["startsAt"])

    feed.factor[1] = 1.0
    resolves(webhook)
    over = api.anomaly()
    assert (over["id"], over["status"], over["resolved_why"]) == (one["id"], "resolved", "normal")
    assert api.events(one["id"]) == [
        ("open", "exporter", "anomalous"),
        ("firing", "exporter", "anomalous"),
        ("acknowledged", "alice", "restarting the pool"),
        ("resolved", "exporter", "normal"),
    ]
    assert told(webhook) == [("firing", "host1:9100"), ("resolved", "host1:9100")]

    api(f"anomalies/{one['id']}/feedback", verdict="confirmed", comment="the pool was empty")
    assert exporter.sample("anomaly_exporter_precision_ratio", query="load") == 1.0
    assert exporter.sample("anomaly_exporter_feedback_total", query="load", verdict="confirmed") == 1


def test_a_new_normal_is_learned_although_the_exporter_is_killed_at_once(
    exporter: Exporter, api: Api, feed: Feed, webhook: Webhook
) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    one = api.anomaly()
    api(f"anomalies/{one['id']}/feedback", verdict="new normal", comment="it has more to do now")
    exporter.kill()
    exporter.start()
    resolves(webhook)
    assert told(webhook) == [("firing", "host1:9100"), ("resolved", "host1:9100")]
    assert api.events(one["id"])[-2:] == [
        ("feedback", "alice", "it has more to do now"),
        ("resolved", "exporter", "normal"),
    ]
    (series,) = api('series?match[]=instance="host1:9100"')["series"]
    assert series["expected"] == pytest.approx(series["observed"], rel=0.2)
    assert not series["anomalous"]


def test_whoever_is_on_this_machine_may_act_without_a_login(
    prometheus: Prometheus, feed: Feed, stack: ExitStack, tmp_path: Path
) -> None:
    exporter = stack.enter_context(Exporter(tmp_path / "open", configuration(prometheus.url, [])))
    api = Api(exporter)
    assert api("anomalies") == {"anomalies": [], "next_cursor": None}
    assert api("anomalies/some/acknowledge", 404, comment="x")["errorType"] == "not_found"
