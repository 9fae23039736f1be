"""Two exporters that do the same work and two Alertmanagers that know each other: people are told once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

PATIENCE = 90.0


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
