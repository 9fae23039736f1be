"""The main job, from outside: a real Prometheus in, a real Alertmanager and its webhook out."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import RunAlertmanager, RunPrometheus
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import binary, eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

BAD_FILES = sorted((Path(__file__).parent.parent / "bad_configs").rglob("*.yaml"))


@pytest.fixture
def feed(prometheus: Prometheus, stack: ExitStack) -> Feed:
    return stack.enter_context(Feed(prometheus))


@pytest.fixture
def exporter(prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, stack: ExitStack, tmp_path: Path):
    config = configuration(prometheus.url, [alertmanager.url])
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores()
    return exporter


def told(notes: list[Notification]) -> list[tuple[str, str]]:
    """What the people were told: (status, instance), in order."""
    return [(alert["status"], alert["labels"]["instance"]) for note in notes for alert in note.alerts]


def fires(webhook: Webhook, instance: str = "host1:9100", timeout: float = 30.0) -> None:
    webhook.wait_for(lambda notes: ("firing", instance) in told(notes), timeout)


def resolves(webhook: Webhook, instance: str = "host1:9100", timeout: float = 30.0) -> None:
    webhook.wait_for(lambda notes: ("resolved", instance) in told(notes), timeout)


def assert_told_once(webhook: Webhook) -> None:
    """Nothing more comes within some resends and group intervals."""
    time.sleep(5.0)
    assert told(webhook.notifications) == [("firing", "host1:9100"), ("resolved", "host1:9100")]


def test_an_anomaly_is_one_firing_and_one_resolved(exporter: Exporter, feed: Feed, webhook: Webhook) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    feed.factor[1] = 1.0
    resolves(webhook)
    assert_told_once(webhook)
    alert = webhook.notifications[0].alerts[0]
    assert alert["labels"] == {
        "alertname": "AnomalyDetected",
        "cluster": "test",
        "exported_query": "mine",
        "instance": "host1:9100",
        "job": "app",
        "query": "load",
        "severity": "page",
    }
    notes = alert["annotations"]
    assert notes["votes"].startswith("zscore, iqr, novelty (2)")
    assert notes["votes"].endswith(" votes, 3 are enough")
    assert float(notes["observed"]) > 2 * float(notes["expected"])
    assert {"summary", "band", "deviation", "history", "score", "since", "why"} <= notes.keys()
    assert "g0.expr=load" in alert["generatorURL"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_while_it_fires_adds_no_notification(
    end: str, exporter: Exporter, feed: Feed, webhook: Webhook, alertmanager: Alertmanager
) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    begun = alertmanager.alerts()[0]["startsAt"]
    getattr(exporter, end)()
    exporter.start()
    exporter.wait_for_scores()
    assert alertmanager.alerts()[0]["startsAt"] == begun
    feed.factor[1] = 1.0
    resolves(webhook)
    assert_told_once(webhook)


def test_alertmanager_down_for_a_while_loses_nothing(
    exporter: Exporter, feed: Feed, webhook: Webhook, alertmanager: Alertmanager
) -> None:
    alertmanager.stop()
    feed.factor[1] = 3.0
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1, 30.0)
    eventually(lambda: exporter.sample("anomaly_exporter_alertmanager_up") == 0, 30.0)
    alertmanager.start()
    fires(webhook, timeout=45.0)
    time.sleep(1.0)  # What it has sent is noted once the receiver has answered.
    alertmanager.stop()
    feed.factor[1] = 1.0
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 0, 30.0)
    alertmanager.start()
    resolves(webhook, timeout=45.0)
    assert_told_once(webhook)


def test_while_prometheus_is_down_nothing_is_resolved_and_nothing_stale_is_served(
    exporter: Exporter, feed: Feed, webhook: Webhook, prometheus: Prometheus, alertmanager: Alertmanager
) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    prometheus.stop()
    eventually(lambda: not exporter.samples("anomaly_score"), 20.0, what="no score")
    for name in ("expected_value", "expected_value_lower", "expected_value_upper", "observed_value", "anomaly_votes"):
        assert not exporter.samples(name)
    # The page holds the program's own metrics for a second; and a server that stops still answers for a moment.
    eventually(lambda: exporter.sample("anomaly_exporter_source_up") == 0, 10.0, what="the source is down")
    eventually(lambda: exporter.samples("anomaly_exporter_query_errors_total", query="load", reason="refused"), 10.0)
    time.sleep(8.0)  # several slots and resends
    assert exporter.ask("/-/healthy").status_code == 200
    assert [alert["status"]["state"] for alert in alertmanager.alerts()] == ["active"]
    prometheus.start()
    eventually(lambda: exporter.samples("anomaly_score"), 30.0, what="scores again")
    assert told(webhook.notifications) == [("firing", "host1:9100")]
    feed.factor[1] = 1.0
    resolves(webhook)
    assert_told_once(webhook)


def test_prometheus_scrapes_scores_and_bands_of_every_series(
    run_prometheus: RunPrometheus, exporter: Exporter, tmp_path: Path
) -> None:
    page = exporter.ask("/metrics").content
    lint = subprocess.run([binary("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")

    job = {"job_name": "exporter", "honor_labels": True, "scrape_interval": "1s"}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{exporter.port}"]}]
    scraper = run_prometheus(config={"scrape_configs": [job]})
    eventually(lambda: scraper.query("anomaly_score"), 30.0)
    for name in ("anomaly_score", "expected_value", "expected_value_upper", "observed_value", "anomaly_votes"):
        own = {(row["metric"]["job"], row["metric"]["instance"]) for row in scraper.query(name)}
        assert own == {("app", f"host{i}:9100") for i in range(3)}, name
    # Only upward deviations count, so the band has no lower edge.
    assert scraper.query("expected_value_lower") == []
    for row in scraper.query("expected_value"):
        assert 70 < float(row["value"][1]) < 130
    assert scraper.query("sum(anomaly_exporter_series{state='scored'})")[0]["value"][1] == "3"


def test_a_broken_configuration_is_refused_and_the_old_one_stays(exporter: Exporter) -> None:
    good = exporter.config_file.read_text()
    shown = exporter.ask("/api/v1/status/config").json()
    assert len(BAD_FILES) >= 100
    for bad in BAD_FILES:
        shutil.copy(bad, exporter.config_file)
        answer = exporter.reload()
        assert answer.status_code == 500, bad
        assert "config.yaml" in answer.text, bad
    eventually(lambda: exporter.sample("anomaly_exporter_config_last_reload_successful") == 0, 5.0)
    assert exporter.ask("/api/v1/status/config").json() == shown
    assert exporter.samples("anomaly_score")
    exporter.config_file.write_text(good)
    assert exporter.reload().status_code == 200
    eventually(lambda: exporter.sample("anomaly_exporter_config_last_reload_successful") == 1, 5.0)


def test_a_configmap_that_changes_is_loaded_by_itself_and_a_wrong_one_keeps_the_old(
    prometheus: Prometheus, feed: Feed, stack: ExitStack, tmp_path: Path
) -> None:
    config = configuration(prometheus.url, [])
    exporter = Exporter(tmp_path / "exporter", config, "--config.auto-reload")
    folder = exporter.directory

    def swap(number: int, text: str) -> None:
        """Change the file as the kubelet does it."""
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "config.yaml").write_text(text)
        (folder / "..data_tmp").symlink_to(f"..{number}")
        (folder / "..data_tmp").replace(folder / "..data")

    def loaded() -> float | None:
        return exporter.sample("anomaly_exporter_config_last_reload_successful")

    good = exporter.config_file.read_text()
    swap(1, good)
    exporter.config_file.unlink()
    exporter.config_file.symlink_to("..data/config.yaml")
    stack.enter_context(exporter)
    exporter.wait_for_scores()
    config["queries"].append({"name": "sum", "expr": "sum(load)"})
    swap(2, yaml.safe_dump(config))
    eventually(lambda: exporter.samples("anomaly_score", query="sum"), 60.0)
    assert exporter.ask("/-/ready").text == "Anomaly Exporter is Ready.\n"
    swap(3, good.replace("queries:", "querys:"))
    eventually(lambda: loaded() == 0.0, 30.0)
    assert exporter.samples("anomaly_score", query="sum")
    assert exporter.ask("/-/ready").status_code == 200
    # Nor does it stop a start: the exporter may be in the pod of a Prometheus.
    exporter.kill()
    exporter.start()
    eventually(lambda: exporter.samples("anomaly_score", query="sum"), 60.0)
    assert loaded() == 0.0
    swap(4, good)
    eventually(lambda: loaded() == 1.0, 30.0)
    eventually(lambda: not exporter.samples("anomaly_score", query="sum"), 30.0)


def test_a_reload_keeps_what_was_learned_and_what_fires(
    exporter: Exporter, feed: Feed, webhook: Webhook, prometheus: Prometheus, alertmanager: Alertmanager
) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    config = configuration(prometheus.url, [alertmanager.url])
    config["queries"][0]["min_deviation"] = 1.0
    config["queries"].append({"name": "sum", "expr": "sum(load)"})
    exporter.write(config)
    exporter.hang_up()
    eventually(lambda: exporter.samples("anomaly_score", query="sum"), 60.0)
    assert exporter.samples("anomaly_score", query="load")
    del config["queries"][1]
    exporter.write(config)
    assert exporter.reload().status_code == 200
    assert not exporter.samples("anomaly_score", query="sum")
    # The page holds the program's own metrics for a second.
    eventually(lambda: not exporter.samples("anomaly_exporter_cycles_total", query="sum"), 5.0)
    feed.factor[1] = 1.0
    resolves(webhook)
    assert_told_once(webhook)


def test_removing_the_query_resolves_its_alert(exporter: Exporter, feed: Feed, webhook: Webhook) -> None:
    feed.factor[1] = 3.0
    fires(webhook)
    config = exporter.config_file.read_text().replace("load", "other")
    exporter.config_file.write_text(config)
    assert exporter.reload().status_code == 200
    resolves(webhook)
    assert_told_once(webhook)


def test_an_end_is_quick_with_a_black_hole_and_many_signals(exporter: Exporter, feed: Feed, webhook: Webhook) -> None:
    for _ in range(200):
        exporter.hang_up()
    feed.factor[1] = 3.0
    fires(webhook)
    exporter.signal(signal.SIGTERM)
    eventually(lambda: not exporter.process.alive, 12.0, what="the end")
    assert "Traceback" not in exporter.process.log.read_text()


def test_what_cannot_start_says_why(tmp_path: Path, run_alertmanager: RunAlertmanager) -> None:
    exporter = Exporter(tmp_path / "exporter", {"queries": [{"name": "a", "exprr": "up"}]})
    with pytest.raises(RuntimeError, match=r"config.yaml:\d+:\d+: queries\[0\].exprr: unknown field; did you mean"):
        exporter.start()
