"""A deploy that Prometheus knows of, in the alert that follows it and on the chart of its series."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration


def test_an_alert_says_which_deploy_it_follows(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    now = time.time()
    at = np.arange(now - 7200.0, now + 300.0, 10.0)
    old, new = at[at < now - 720.0], at[at >= now - 720.0]
    build = {"__name__": "build_info", "service": "checkout"}
    other = ({"__name__": "build_info", "service": "mail", "version": "v9"}, at, np.ones(len(at)))
    prometheus.push(
        [
            ({**build, "version": "v1.4.1"}, old, np.ones(len(old))),
            ({**build, "version": "v1.4.2"}, new, np.ones(len(new))),
            other,
        ]
    )
    labels = [{"service": "checkout"}, {"service": "mail"}]
    feed = stack.enter_context(Feed(prometheus, labels=labels, days=2.0, step=300.0))
    config = configuration(
        prometheus.url,
        [alertmanager.url],
        baseline={"window": "2d", "min_history": "1d", "backfill_step": "5m"},
        detection={"detectors": ["zscore", "iqr"], "quorum": 2},
        changes=[
            {
                "name": "deploys",
                "expr": "max by (service, version) (build_info) > 0",
                "text": "deploy {{ labels.version }} of {{ labels.service }}",
                "refresh": "10s",
            }
        ],
    )
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()
    feed.factor[:] = [3.0, 3.0]

    def changes() -> dict[str, str]:
        return {alert["labels"]["service"]: alert["annotations"].get("change", "") for alert in alertmanager.alerts()}

    eventually(lambda: changes().get("checkout", "").endswith(" after deploy v1.4.2 of checkout"), 60.0, what="why")
    assert changes()["checkout"][:3] in ("11 ", "12 ", "13 ", "14 ")
    eventually(lambda: "mail" in changes(), 30.0, what="the other alert")
    assert changes()["mail"] == ""
    chart = exporter.ask("/chart.svg?query=load&service=checkout").text
    assert "deploy v1.4.2 of checkout" in chart
    assert "deploy" not in exporter.ask("/chart.svg?query=load&service=mail").text
