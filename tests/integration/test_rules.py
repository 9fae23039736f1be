"""`anomaly-exporter rules export` with a real Prometheus: what it reads, and what it makes of the rules."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from tests.integration.servers import Prometheus, eventually

DAY = 86400.0


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", "rules", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def config_of(folder: Path, url: str, **queries: str) -> Path:
    file = folder / "config.yaml"
    entries = [{"name": name, "expr": expr, "interval": "2s", "alert": {"for": "0s"}} for name, expr in queries.items()]
    file.write_text(yaml.safe_dump({"prometheus": {"url": url}, "queries": entries}))
    return file


def test_rules_that_a_server_loads_alert_on_what_is_beyond_the_band(
    prometheus: Prometheus, run_prometheus: Callable[..., Prometheus], tmp_path: Path
) -> None:
    now = time.time()
    times = np.arange(now - 8 * DAY, now, 300.0)
    values = 100.0 + 30.0 * np.sin(times / DAY * 2 * np.pi) + np.random.default_rng(1).normal(0.0, 1.0, len(times))
    prometheus.push([({"__name__": "load", "job": "api"}, times, values)])
    config = config_of(tmp_path, prometheus.url, load="load", nothing="load{job='none'}")
    rules = tmp_path / "anomaly.rules.yml"
    result = export(f"--config.file={config}", "--query=load", f"--output={rules}")
    assert (result.returncode, result.stderr) == (0, "")
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True, capture_output=True)
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    edges = {rule["record"]: rule for rule in group["rules"] if "record" in rule}
    for name, side in (("anomaly_rule:expected_lower", -1.0), ("anomaly_rule:expected_upper", 1.0)):
        assert edges[name]["labels"] == {"job": "api", "query": "load"}
        (answer,) = prometheus.query(edges[name]["expr"])
        edge = float(answer["value"][1])
        hour = now // 3600 * 3600 + 1800.0
        expected = 100.0 + 30.0 * np.sin(hour / DAY * 2 * np.pi)
        assert 0.0 < side * (edge - expected) < 40.0
    other = run_prometheus(rules={"groups": [group]})
    firing = 'ALERTS{alertname="AnomalyDetected"}'

    other.push([({"__name__": "load", "job": "api"}, [time.time()], [500.0])])
    eventually(lambda: other.query(firing), what="an alert")
    assert other.query(firing)[0]["metric"]["job"] == "api"
    # While an exporter judges the query, it alerts itself.
    other.push([({"__name__": "anomaly_exporter_judged_ratio", "query": "load"}, [time.time()], [1.0])])
    eventually(lambda: not other.query(firing), what="no alert")


def test_a_query_of_which_nothing_is_known_is_said_and_the_others_are_written(
    prometheus: Prometheus, tmp_path: Path
) -> None:
    now = time.time()
    times = np.arange(now - 4 * DAY, now, 300.0)
    prometheus.push([({"__name__": "load", "query": "a"}, times, 1.0 + 0.0 * times)])
    config = config_of(tmp_path, prometheus.url, none="up == 7", taken="load", fine="sum(load)", finer="max(load)")
    result = export(f"--config.file={config}")
    assert result.returncode == 1
    assert "none: there is less than three days of history" in result.stderr
    assert "taken: its series have a label `query`" in result.stderr
    groups = yaml.safe_load(result.stdout)["groups"]
    assert [group["name"] for group in groups] == ["anomaly_rule_fine", "anomaly_rule_finer"]
    rules = tmp_path / "rules.yml"
    rules.write_text(result.stdout)
    subprocess.run(["promtool", "check", "rules", "--lint-fatal", str(rules)], check=True, capture_output=True)
    unknown = export(f"--config.file={config}", "--query=other")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "--query: there is no query 'other'; there are: fine, finer, none, taken\n",
    )
