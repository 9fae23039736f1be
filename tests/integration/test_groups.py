"""A group of three queries in the daemon: metrics that disagree are found, load on all of them is not."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import bcrypt
import numpy as np
import pytest

from tests.integration.daemon import DAY, Exporter, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
QUERIES = ("cpu", "requests", "sent")
PODS = 20
RECENT = 2400.0


class Pods:
    """Writes three metrics of some pods, which go up and down together, into Prometheus."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._rng = np.random.default_rng(11)
        self.odd: tuple[float, ...] = (1.0, 1.0, 1.0)
        """Factors by which the metrics of pod p3 differ from what they would be."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _push(self, at: np.ndarray) -> None:
        common = self._rng.standard_normal((PODS, len(at)))
        series = []
        for pod in range(PODS):
            for metric, factor in zip(QUERIES, self.odd, strict=True):
                own = self._rng.standard_normal(len(at))
                level = 100.0 * (factor if pod == 3 else 1.0)
                # The noise does not grow with the load: what is tested is the load, not a noisier pod.
                values = level + 5.0 * (0.97 * common[pod] + 0.24 * own)
                series.append(({"__name__": metric, "pod": f"p{pod}"}, at, values))
        self._prometheus.push(series)

    def _feed(self) -> None:
        while not self._stopping.wait(0.5):
            with contextlib.suppress(OSError):
                # Ahead of time, so that three queries about one instant cannot see different writes.
                self._push(np.array([time.time() + 2.0]))

    def __enter__(self) -> Self:
        now = time.time()
        self._push(np.arange(now - 9 * DAY, now - RECENT, 300.0))
        # The group learns from these: as many slots as it is to know, as far apart as its slots are.
        self._push(np.arange(now - RECENT, now, 1.0))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


@pytest.fixture
def pods(prometheus: Prometheus, stack: ExitStack) -> Pods:
    return stack.enter_context(Pods(prometheus))


def test_metrics_that_disagree_are_found_and_load_on_all_is_not(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Webhook,
    pods: Pods,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    queries = [{"name": name, "expr": name, "alert": {"alertname": "Single", "for": "2s"}} for name in QUERIES]
    groups = [{"name": "api", "by": ["pod"], "queries": list(QUERIES), "alert": {"for": "3s"}, "contamination": 1e-5}]
    config = configuration(prometheus.url, [alertmanager.url], queries=queries, groups=groups)
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users: {{alice: {HASH}}}\n")
    flag = f"--web.config.file={web}"
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config, flag, auth=("alice", "secret")))

    def score(pod: str = "p3") -> float | None:
        return exporter.sample("anomaly_group_score", group="api", pod=pod)

    def told(notes: list[Notification]) -> list[dict[str, Any]]:
        """What Alertmanager said of the odd pod, each change once: one of the others may be odd by chance."""
        alerts = [
            alert
            for note in notes
            for alert in note.alerts
            if alert["labels"].get("pod") == "p3" and alert["labels"]["alertname"] != "Single"
        ]
        return [next(same) for _, same in groupby(alerts, key=lambda alert: alert["status"])]

    def says(*statuses: str) -> None:
        webhook.wait_for(lambda notes: [alert["status"] for alert in told(notes)] == list(statuses), 60.0)

    eventually(lambda: score() is not None, 60.0, what="a score of the group")
    assert len(exporter.samples("anomaly_group_score", group="api")) == PODS
    # It learned from history, and not from sixty live slots.
    assert re.search("learned from the past of its queries.* slots=1[34]", exporter.process.log.read_text())

    # Each metric alone stays inside what is usual: two and a half standard deviations.
    pods.odd = (1.12, 0.88, 1.0)
    eventually(lambda: (score() or 0.0) >= 0.5, 60.0, what="an anomalous group")
    says("firing")
    front = exporter.ask("/").text
    assert "Groups by score" in front
    assert re.search(r"\d of 20 anomalous", front)
    pods.odd = (1.0, 1.0, 1.0)
    eventually(lambda: (score() or 1.0) < 0.5, 60.0, what="a group that is well again")
    says("firing", "resolved")
    alert = told(webhook.notifications)[0]
    own = {"alertname": "AnomalyDetected", "cluster": "test", "group": "api", "pod": "p3"}
    assert alert["labels"] == own | {"incident": alert["labels"]["incident"], "incident_role": "root"}
    assert "% of the score" in alert["annotations"]["metrics"]

    pods.odd = (1.5, 1.5, 1.5)
    load = re.compile(r"all metrics up together.* factor=1\.[45].*p3")
    eventually(lambda: load.search(exporter.process.log.read_text()) is not None, 60.0, what="load")
    seen = []
    for _ in range(10):
        seen.append(score())
        time.sleep(0.5)
    assert np.median([value for value in seen if value is not None]) < 0.5
    says("firing", "resolved")
    # Nor do the queries alert, each of which is ten standard deviations up.
    assert exporter.sample("anomaly_group_load_factor", group="api", pod="p3") == pytest.approx(1.5, rel=0.1)
    single = [alert["labels"] for note in webhook.notifications for alert in note.alerts]
    assert not [labels for labels in single if labels["alertname"] == "Single" and labels["pod"] == "p3"]
    assert (exporter.sample("anomaly_score", query="cpu", pod="p3") or 0.0) >= 0.5

    # What somebody calls normal is usual at once, and what fires ends.
    pods.odd = (1.12, 0.88, 1.0)
    eventually(lambda: (score() or 0.0) >= 0.5, 60.0, what="an anomalous group")
    says("firing", "resolved", "firing")
    page = exporter.ask('/api/v1/anomalies?status=open&fired=true&match[]=pod="p3"').json()["data"]
    (one,) = page["anomalies"]
    said = {"verdict": "new normal", "comment": "it is used otherwise"}
    assert exporter.ask(f"/api/v1/anomalies/{one['id']}/feedback", "POST", json=said).status_code == 200
    says("firing", "resolved", "firing", "resolved")
    assert (score() or 1.0) < 0.5

    del config["groups"]
    exporter.write(config)
    assert exporter.reload().status_code == 200
    assert exporter.samples("anomaly_group_score") == {}

    # A group that is added to queries that have learned has their past: scores at once, and not after sixty slots.
    config["groups"] = [{**groups[0], "name": "late"}]
    exporter.write(config)
    assert exporter.reload().status_code == 200
    late = re.compile("learned from the past of its queries.*group=late.* slots=1[34]|slots=1[34].*group=late")
    eventually(lambda: late.search(exporter.process.log.read_text()) is not None, 60.0, what="a past that was read")
    eventually(lambda: len(exporter.samples("anomaly_group_score", group="late")) == PODS, 30.0, what="scores at once")
