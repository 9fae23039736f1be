"""The wall clock is set while an alert fires, by seconds and by decades: nobody hears of it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from exporter.app import Options, build
from tests.integration.daemon import Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

HOUR = 3600.0


class Clock:
    """The right time, or one that is wrong by `error` seconds."""

    def __init__(self) -> None:
        self.error = 0.0

    def __call__(self) -> float:
        return time.time() + self.error


def test_a_clock_that_is_set_resolves_nothing_and_repeats_nothing(
    prometheus: Prometheus, alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    feed = stack.enter_context(Feed(prometheus))
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(configuration(prometheus.url, [alertmanager.url], alerting={"resend_delay": "1s"})))
    clock = Clock()
    app = build(Options(file, tmp_path / "state", listen_address="127.0.0.1:0"), clock=clock)
    app.start()
    stack.callback(app.stop)

    def value(name: str) -> float:
        return app.metrics.registry.get_sample_value(f"anomaly_exporter_{name}", {"query": "load"}) or 0.0

    def heard() -> list[tuple[str, str]]:
        return [(status, labels["instance"]) for status, labels in webhook.alerts()]

    def judged() -> float:
        app.watch()
        return value("last_success_timestamp_seconds")

    eventually(lambda: judged() > 0, 60.0)
    feed.factor[1] = 3.0
    webhook.wait_for(lambda _: heard(), 60.0)
    for error in (HOUR, -HOUR, -1.79e9):
        clock.error = error
        app.watch()
        before = value("cycles_total")
        eventually(lambda before=before: value("cycles_total") > before + 1, 60.0)
        clock.error = 0.0
        now = time.time()
        eventually(lambda now=now: now < judged() <= time.time(), 60.0, what=f"a slot of now, after {error}")
        assert [alert["labels"]["instance"] for alert in alertmanager.alerts(active=True)] == ["host1:9100"]
    assert heard() == [("firing", "host1:9100")]
    feed.factor[1] = 1.0
    webhook.wait_for(lambda _: ("resolved", "host1:9100") in heard(), 60.0)
    assert heard() == [("firing", "host1:9100"), ("resolved", "host1:9100")]
    begun = {
        (alert["labels"]["instance"], alert["startsAt"]) for note in webhook.notifications for alert in note.alerts
    }
    assert len(begun) == 1
    events = [str(one.event) for one in reversed(app._parts.store.audit.page().entries)]
    assert events == ["open", "firing", "resolved"]
