"""What Alertmanagers make of alerts, as those who look at an anomaly see it: told, silenced, inhibited."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunAlertmanager
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

PATIENCE = 60.0
ROUTES = {
    "route": {"receiver": "pager", "group_by": ["alertname"]},
    "receivers": [{"name": "pager"}],
    "inhibit_rules": [{"source_matchers": ['alertname="RackDown"'], "target_matchers": ['instance="host2:9100"']}],
}


def test_silenced_in_a_cluster_inhibited_everywhere_and_told_where_nobody_spoke(
    prometheus: Prometheus,
    run_alertmanager: RunAlertmanager,
    run_cluster: Callable[..., list[Alertmanager]],
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    cluster, alone = run_cluster(config=ROUTES), run_alertmanager(config=ROUTES)
    everyone = [*cluster, alone]
    feed = stack.enter_context(Feed(prometheus))
    config = configuration(prometheus.url, [one.url for one in everyone], silences={"interval": "1s"})
    config["queries"][0]["alert"] |= {"for": "0s", "storm": {"enabled": False}}
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()
    feed.factor[1] = feed.factor[2] = 3.0
    begins, ends = (datetime.fromtimestamp(time.time() + after, UTC).isoformat() for after in (0.5, 3600.0))
    matchers = {"instance": "host1:9100"}
    silence = cluster[0].silence(matchers, starts_at=begins, ends_at=ends, created_by="bob", comment="deploy")
    for one in everyone:
        one.post([{"labels": {"alertname": "RackDown"}}])

    def standing(host: str) -> dict[str, dict[str, Any]]:
        """What the API says of the one alert of a host, by Alertmanager."""
        path = f'/api/v1/anomalies?fired=true&match[]=instance="{host}:9100"'
        (found,) = exporter.ask(path).json()["data"]["anomalies"] or [{"alertmanagers": []}]
        return {one["alertmanager"]: one for one in found["alertmanagers"]}

    def states(host: str) -> list[str | None]:
        found = standing(host)
        return [found.get(one.url, {}).get("state") for one in everyone]

    eventually(lambda: states("host1") == ["suppressed", "suppressed", "active"], PATIENCE)
    eventually(lambda: states("host2") == ["suppressed"] * 3, PATIENCE)
    seen = standing("host1")
    for one in cluster:
        (by,) = seen[one.url]["silenced_by"]
        assert (by["id"], by["by"], by["comment"]) == (silence, "bob", "deploy")
        assert by["ends_at"] == pytest.approx(datetime.fromisoformat(ends).timestamp(), abs=0.01)
    assert seen[alone.url]["receivers"] == ["pager"]
    (by,) = standing("host2")[alone.url]["inhibited_by"]
    assert by["fingerprint"]
    count = {"alertmanager": alone.url}
    eventually(lambda: exporter.sample("anomaly_exporter_alertmanager_alerts", state="active", **count) == 1, PATIENCE)
    assert exporter.sample("anomaly_exporter_alertmanager_alerts", state="suppressed", **count) == 1

    page = exporter.ask("/").text
    assert f"Alertmanager {cluster[0].url}, {cluster[1].url}: silenced by bob; pager is not notified." in page
    assert f"Alertmanager {alone.url}: notifies pager." in page
    assert "inhibited by another alert; pager is not notified." in page

    # One that does not answer is not spoken for.
    cluster[1].kill()
    eventually(lambda: states("host1") == ["suppressed", None, "active"], PATIENCE)
    gone = {"alertmanager": cluster[1].url, "state": "active"}
    # The program's own metrics are at most a second old.
    eventually(lambda: exporter.sample("anomaly_exporter_alertmanager_alerts", **gone) is None, PATIENCE)
