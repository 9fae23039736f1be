"""Several daemons over the same series: shards split them, replicas share them, and people are told once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

INSTANCES = 8


def told(notes: list[Notification]) -> list[tuple[str, str]]:
    return [(alert["status"], alert["labels"]["instance"]) for note in notes for alert in note.alerts]


def instances(exporter: Exporter) -> set[str]:
    return {dict(labels)["instance"] for labels in exporter.samples("anomaly_score")}


@pytest.mark.parametrize("flags", [[("0", "2"), ("1", "2")], [("0", "1"), ("0", "1")]], ids=["shards", "replicas"])
def test_two_processes_alert_once(
    flags: list[tuple[str, str]],
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    feed = stack.enter_context(Feed(prometheus, INSTANCES))
    config = configuration(prometheus.url, [alertmanager.url])
    both = [
        stack.enter_context(
            Exporter(tmp_path / f"exporter{number}", config, f"--shard.index={index}", f"--shard.count={count}")
        )
        for number, (index, count) in enumerate(flags)
    ]
    for exporter in both:
        exporter.wait_for_scores()
    one, two = map(instances, both)
    everyone = {f"host{number}:9100" for number in range(INSTANCES)}
    assert one | two == everyone
    assert (one & two) == (set() if flags[0][1] == "2" else everyone)
    assert one
    assert two

    feed.factor[1] = 3.0
    webhook.wait_for(lambda notes: ("firing", "host1:9100") in told(notes), 30.0)
    eventually(
        lambda: (
            sum(exporter.sample("anomaly_exporter_alerts", query="load", state="firing") or 0 for exporter in both)
            == (1 if flags[0][1] == "2" else 2)
        ),
        30.0,
        what="alerts of both",
    )
    assert len(alertmanager.alerts()) == 1
    feed.factor[1] = 1.0
    webhook.wait_for(lambda notes: ("resolved", "host1:9100") in told(notes), 30.0)
    time.sleep(5.0)  # The subject: within some resends and group intervals nothing more comes.
    assert told(webhook.notifications) == [("firing", "host1:9100"), ("resolved", "host1:9100")]
