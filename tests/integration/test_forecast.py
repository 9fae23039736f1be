"""A disk that fills, from a real Prometheus to a real Alertmanager, over a reload and a restart."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.integration.daemon import Exporter, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

DAY = 86400.0
PATIENCE = 90.0


def disks(prometheus: Prometheus, now: float) -> None:
    """Write twelve days of a disk that is full in three, and of one that is cleaned every day."""
    at = np.concatenate([np.arange(now - 12 * DAY, now - 300, 300.0), np.arange(now - 300, now + 480, 10.0)])
    days = (at - now) / DAY
    rng = np.random.default_rng(1)
    columns = {"full": 0.95 + 0.03 * (days - 3.0), "cleaned": 0.5 + 0.4 * ((days + 0.3) % 1.0)}
    for name, values in columns.items():
        labels = {"__name__": "disk_used", "job": "node", "instance": name}
        prometheus.push([(labels, at, values + rng.normal(0, 0.0005, len(at)))])


def settings(prometheus: Prometheus, alertmanager: Alertmanager, **limit: Any) -> dict[str, Any]:
    config = configuration(prometheus.url, [alertmanager.url])
    config["global"]["interval"] = "2s"
    config["baseline"] = {"window": "11d", "backfill_step": "15m"}
    config["queries"] = [
        {
            "name": "disk",
            "expr": "disk_used",
            "unit": "ratio",
            "valid_range": [0, 1],
            "min_deviation": 1.0,
            "detection": {"detectors": ["zscore"], "quorum": 1, "missing_series": False, "never_zero": False},
            "forecast": {"horizons": ["1h", "1d"], "limit": {"within": "4d", **limit}},
            "alert": {"for": "2s"},
        }
    ]
    return config


def test_a_disk_that_fills_alerts_before_it_is_full(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    now = time.time()
    disks(prometheus, now)
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", settings(prometheus, alertmanager, above=0.95)))

    def left(instance: str) -> float | None:
        return exporter.sample("forecast_time_to_limit_seconds", instance=instance, quantile="0.5")

    eventually(lambda: left("full") is not None, PATIENCE, what="a time to the limit")
    assert left("full") == pytest.approx(3 * DAY, rel=0.15)
    assert left("cleaned") == float("inf")
    assert exporter.sample("forecast_value", instance="full", horizon="1d") == pytest.approx(0.89, abs=0.02)
    (alert,) = eventually(alertmanager.alerts, PATIENCE, what="the alert")
    assert alert["labels"]["instance"] == "full"
    assert "will reach 95" in alert["annotations"]["summary"]
    assert "probability" in alert["annotations"]["limit"]
    (series,) = exporter.ask('/api/v1/series?match[]=instance="full"').json()["data"]["series"]
    assert series["forecast"]["time_to_limit_seconds"]["0.5"] == pytest.approx(3 * DAY, rel=0.15)
    assert series["forecast"]["horizons"][1]["horizon"] == "1d"
    assert "In 1d" in exporter.ask("/graph?query=disk&instance=full").text

    exporter.stop()
    exporter.start()
    eventually(lambda: left("full") is not None, PATIENCE, what="a time to the limit after a restart")
    assert left("full") == pytest.approx(3 * DAY, rel=0.15)
    assert "learned state restored" in exporter.process.tail()

    exporter.write(settings(prometheus, alertmanager, above=0.99))
    assert exporter.reload().status_code == 200
    later = (3.0 + 4.0 / 3.0) * DAY
    eventually(lambda: (left("full") or 0.0) > 3.6 * DAY, PATIENCE, what="the time to the other limit")
    assert left("full") == pytest.approx(later, rel=0.15)


def test_a_backtest_has_its_alert_and_detect_its_forecast(
    prometheus: Prometheus, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    now = time.time()
    disks(prometheus, now)
    file, rows = tmp_path / "config.yaml", tmp_path / "rows.txt"
    config = settings(prometheus, alertmanager, above=0.95)
    config["global"]["interval"] = "15m"
    file.write_text(yaml.safe_dump(config))
    flags = [f"--config.file={file}", "--from=1d", f"--output.openmetrics={rows}"]
    command = [sys.executable, "-m", "exporter", "backtest", *flags]
    run = subprocess.run(command, capture_output=True, check=False, timeout=240, text=True)
    assert run.returncode == 0, run.stderr
    assert "will reach 95" in run.stdout
    assert "forecast_time_to_limit_seconds{" in rows.read_text()

    answer = prometheus.ask(
        "GET", "/api/v1/query_range", params={"query": "disk_used", "start": now - 10 * DAY, "end": now, "step": "15m"}
    )
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps(answer.json()))
    command = [sys.executable, "-m", "exporter", "detect", f"--input={samples}", "--forecast=1h", "--limit=above:0.95"]
    run = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True)
    results = {each["series"]["instance"]: each for each in json.loads(run.stdout)["results"]}
    assert results["full"]["time_to_limit_seconds"]["0.5"] == pytest.approx(3 * DAY, rel=0.15)
    assert results["cleaned"]["time_to_limit_seconds"]["0.5"] == "+Inf"
