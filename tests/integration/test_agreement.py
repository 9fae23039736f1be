"""Several daemons speak with one voice: what is said at one of a pair, storms and causes over shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from tests.integration.conftest import RunAlertmanager
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

PATIENCE = 120.0
SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "alertmanager" / "alertmanager.yml"
ALICE = ("alice", "secret")
FIRING = {"query": "load", "state": "firing"}


def judged(exporter: Exporter, more: int) -> None:
    """Wait until an exporter has judged some more slots."""
    name = "anomaly_exporter_cycles_total"
    enough = (exporter.sample(name, query="load") or 0.0) + more
    eventually(lambda: (exporter.sample(name, query="load") or 0.0) >= enough, PATIENCE)


@pytest.mark.timeout(600)
def test_what_is_called_normal_at_one_of_a_pair_is_normal_at_the_other(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], group_wait="2s")
    feed = stack.enter_context(Feed(prometheus))
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users: {{alice: {bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}}}\n")
    config = configuration(prometheus.url, [one.url for one in cluster], silences={"interval": "1s"})
    first, second = (
        stack.enter_context(Exporter(tmp_path / name, config, f"--web.config.file={web}", auth=ALICE))
        for name in ("first", "second")
    )
    for one in (first, second):
        one.wait_for_scores(PATIENCE)

    def notified() -> list[tuple[str, str]]:
        return [(status, labels["instance"]) for status, labels in webhook.alerts()]

    def call_normal(exporter: Exporter) -> None:
        (open_one,) = exporter.ask("/api/v1/anomalies?status=open").json()["data"]["anomalies"]
        body = {"verdict": "new normal", "comment": "twice the customers"}
        assert exporter.ask(f"/api/v1/anomalies/{open_one['id']}/feedback", "POST", json=body).status_code == 200

    feed.factor[1] = 3.0
    for one in (first, second):
        eventually(lambda one=one: one.sample("anomaly_exporter_alerts", **FIRING) == 1.0, PATIENCE)
    webhook.wait_for(lambda _: ("firing", "host1:9100") in notified(), PATIENCE)
    assert first.sample("anomaly_exporter_pair_disagreement_ratio", query="load") is not None
    call_normal(first)
    for one in (first, second):
        eventually(lambda one=one: one.sample("anomaly_exporter_alerts", **FIRING) == 0.0, PATIENCE)
    webhook.wait_for(lambda _: ("resolved", "host1:9100") in notified(), PATIENCE)

    # One of them is down while another level is accepted.
    second.kill()
    feed.factor[2] = 3.0
    webhook.wait_for(lambda _: ("firing", "host2:9100") in notified(), PATIENCE)
    call_normal(first)
    webhook.wait_for(lambda _: ("resolved", "host2:9100") in notified(), PATIENCE)
    second.start()
    second.wait_for_scores(PATIENCE)
    judged(second, 5)
    assert second.sample("anomaly_exporter_alerts", **FIRING) == 0.0
    assert second.sample("anomaly_exporter_feedback_total", query="load", verdict="new normal") == 1.0
    assert notified() == [(status, f"host{number}:9100") for number in (1, 2) for status in ("firing", "resolved")]


def shipped(webhook: str) -> dict[str, Any]:
    """The configuration that is shipped, quicker, and with one pager that can be read."""
    config = yaml.safe_load(SHIPPED.read_text())

    def quick(route: dict[str, Any]) -> None:
        route.pop("mute_time_intervals", None)
        route |= {"group_wait": "6s", "group_interval": "2s", "repeat_interval": "1h"}
        for each in route.get("routes", ()):
            quick(each)

    def receivers() -> Iterator[Mapping[str, Any]]:
        for receiver in config["receivers"]:
            hooks = [{"url": webhook, "send_resolved": True}] if receiver["name"] == "pager" else []
            yield {"name": receiver["name"], "webhook_configs": hooks}

    quick(config["route"])
    return {
        "route": config["route"],
        "receivers": list(receivers()),
        "inhibit_rules": config["inhibit_rules"],
    }


@pytest.mark.timeout(600)
def test_a_cascade_and_a_storm_over_shards_are_one_notification_each(
    prometheus: Prometheus,
    run_alertmanager: RunAlertmanager,
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    alertmanager = run_alertmanager(config=shipped(webhook.url))
    services = [f"service{number}" for number in range(16)]
    feed = stack.enter_context(Feed(prometheus, labels=[{"service": name} for name in services]))
    config = configuration(prometheus.url, [alertmanager.url], silences={"interval": "1s"})
    shards = [
        stack.enter_context(Exporter(tmp_path / f"shard{index}", config, f"--shard.index={index}", "--shard.count=3"))
        for index in range(3)
    ]
    parts = []
    for one in shards:
        one.wait_for_scores(PATIENCE)
        parts.append(sorted(dict(labels)["service"] for labels in one.samples("anomaly_score")))
    assert sorted(name for part in parts for name in part) == sorted(services)
    # A caller and what it calls, in two of the shards.
    callee, caller = parts[0][0], parts[1][0]
    depends = [{"caller": {"service": caller}, "callee": {"service": callee}}]
    for one in shards:
        one.write({**config, "dependencies": depends})
        assert one.ask("/-/reload", "POST").status_code == 200
        one.wait_for_scores(PATIENCE)

    def set_factor(names: list[str], factor: float) -> None:
        feed.factor[:] = [factor if name in names else was for name, was in zip(services, feed.factor, strict=True)]

    def listed() -> dict[str, dict[str, str]]:
        return {alert["labels"].get("service", ""): alert["labels"] for alert in alertmanager.alerts()}

    def linked() -> None:
        cause, effect = listed()[callee], listed()[caller]
        assert (cause["incident_role"], effect["incident_role"]) == ("root", "effect")
        assert cause["incident"] == effect["incident"]

    def end_of_cascade() -> None:
        set_factor([caller, callee], 1.0)
        eventually(lambda: listed() == {}, PATIENCE)
        webhook.wait_for(lambda notes: notes[-1].status == "resolved", PATIENCE)
        assert [note.status for note in webhook.notifications].count("firing") == 1
        webhook.clear()

    set_factor([callee], 3.0)
    eventually(lambda: set(listed()) == {callee}, PATIENCE)
    set_factor([caller], 3.0)
    eventually(lambda: set(listed()) == {callee, caller}, PATIENCE)
    linked()
    webhook.wait_for(lambda notes: notes, PATIENCE)
    end_of_cascade()

    # Both turn in one slot: the effect waits until the cause can be listed.
    set_factor([callee, caller], 3.0)
    eventually(lambda: set(listed()) == {callee, caller}, PATIENCE)
    linked()
    end_of_cascade()

    # More than `storm.members` together, and less in any shard.
    many = [name for part in parts for name in part[1:5] if name not in (caller, callee)][:12]
    set_factor(many, 3.0)
    webhook.wait_for(lambda notes: notes, PATIENCE)
    for one in shards:
        judged(one, 5)
    time.sleep(3.0)  # Nothing more comes.
    (note,) = webhook.notifications
    assert note.status == "firing"
    storms = [alert["labels"]["storm"] for alert in note.alerts if "storm" in alert["labels"]]
    assert len(storms) == len(set(storms)) == sum(len(set(part) & set(many)) > 1 for part in parts)
    assert len(note.alerts) <= 3
    set_factor(many, 1.0)
    webhook.wait_for(lambda notes: notes[-1].status == "resolved", PATIENCE)


@pytest.mark.timeout(600)
def test_a_broad_silence_of_anybody_teaches_nothing(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    feed = stack.enter_context(Feed(prometheus, 7))
    config = configuration(prometheus.url, [alertmanager.url], silences={"interval": "1s"})
    config["queries"][0]["alert"] |= {"storm": {"enabled": False}}
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores(PATIENCE)
    feed.factor[:6] = [3.0] * 6
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", **FIRING) == 6.0, PATIENCE)
    words = ("false alarm", "expected: we know", "new normal")
    start, end = (f"{datetime.fromtimestamp(time.time() + after, UTC):%Y-%m-%dT%H:%M:%SZ}" for after in (0, 3600))
    for word in words:
        alertmanager.silence(
            {"alertname": "AnomalyDetected"}, starts_at=start, ends_at=end, comment=word, created_by="mallory"
        )

    def anomalies() -> list[dict[str, Any]]:
        return list(exporter.ask("/api/v1/anomalies").json()["data"]["anomalies"])

    def declined(anomaly: dict[str, Any]) -> list[tuple[str, str, str]]:
        answer = exporter.ask(f"/api/v1/anomalies/{anomaly['id']}").json()["data"]
        return sorted(
            (one["details"]["comment"], one["who"], one["why"])
            for one in answer["transitions"]
            if one["event"] == "feedback_declined"
        )

    why = "the silence matches more than 5 anomalies (silences.feedback_limit)"
    expected = sorted((word, "mallory", why) for word in words)
    eventually(lambda: all(declined(one) == expected for one in anomalies()), PATIENCE)
    judged(exporter, 3)
    assert {one["status"] for one in anomalies()} == {"acknowledged"}
    assert {one["feedback"] for one in anomalies()} == {None}
    assert exporter.sample("anomaly_exporter_alerts", **FIRING) == 6.0
