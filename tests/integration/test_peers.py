"""A pod that is unlike its siblings, from a real Prometheus to a real Alertmanager, over a restart."""

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
PODS = 8


def fleet(prometheus: Prometheus, now: float, slow: str, until: float | None = None) -> None:
    """Write five days of pods, one always 30 % slower; `slow` is so from now on."""
    soon = np.arange(now - 300, now + 480, 5.0) if until is None else np.arange(now - 300, until, 300.0)
    at = np.concatenate([np.arange(now - 5 * DAY, now - 300, 300.0), soon])
    rng = np.random.default_rng(1)
    load = 1.0 + 0.5 * np.sin(2.0 * np.pi * at / DAY)
    for index in range(PODS):
        values = 0.1 * load * (1.3 if index == 0 else 1.0) * (1.0 + 0.02 * rng.standard_normal(len(at)))
        name = f"api-{index}"
        if name == slow:
            values = np.where(at >= now, 1.6 * values, values)
        prometheus.push([({"__name__": "latency", "job": "api", "pod": name}, at, values)])


def settings(prometheus: Prometheus, alertmanager: Alertmanager) -> dict[str, Any]:
    config = configuration(prometheus.url, [alertmanager.url])
    config["global"]["interval"] = "2s"
    config["baseline"] = {"window": "4d", "min_history": "4d", "backfill_step": "5m"}
    config["queries"] = [
        {
            "name": "latency",
            "expr": "latency",
            "unit": "seconds",
            "peers": {"by": ["job"]},
            # Only the siblings are to decide here.
            "detection": {"detectors": [{"kind": "zscore", "threshold": 100}], "quorum": 1, "never_zero": False},
            "alert": {"for": "2s"},
        }
    ]
    return config


def test_a_pod_that_is_unlike_its_siblings_alerts_and_one_that_always_was_does_not(
    prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    now = time.time()
    fleet(prometheus, now, "api-3")
    config = settings(prometheus, alertmanager)
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    (alert,) = eventually(alertmanager.alerts, PATIENCE, what="the alert")
    assert alert["labels"]["pod"] == "api-3"
    assert f"unlike its siblings: the median of the {PODS} is " in alert["annotations"]["why"]
    assert alert["annotations"]["votes"].startswith("peers")
    (series,) = exporter.ask('/api/v1/series?match[]=pod="api-3"').json()["data"]["series"]
    assert series["peers"]["size"] == PODS
    assert series["peers"]["severity"] >= 1.0
    assert series["expected"] == pytest.approx(series["peers"]["median"], rel=0.15)
    assert (exporter.sample("anomaly_score", pod="api-0") or 0.0) < 0.5
    assert "peers" in exporter.ask("/graph?query=latency&pod=api-3").text

    exporter.stop()
    again = stack.enter_context(Exporter(tmp_path / "exporter", config))
    eventually(lambda: (again.sample("anomaly_score", pod="api-3") or 0.0) >= 0.5, PATIENCE, what="a score")
    assert {alert["labels"]["pod"] for alert in alertmanager.alerts()} == {"api-3"}


def test_detect_and_backtest_call_it_so_too(prometheus: Prometheus, alertmanager: Alertmanager, tmp_path: Path) -> None:
    now = time.time() - 0.5 * DAY
    fleet(prometheus, now, "api-3", until=now + 0.5 * DAY)
    file, samples = tmp_path / "config.yaml", tmp_path / "samples.json"
    config = settings(prometheus, alertmanager)
    config["global"]["interval"] = "5m"
    file.write_text(yaml.safe_dump(config))

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "exporter", *words, f"--config.file={file}"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=240, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    report = run("backtest", "--from=1d")
    assert "api-3" in report
    assert "api-0" not in report

    answer = prometheus.ask(
        "GET",
        "/api/v1/query_range",
        params={"query": "latency", "start": now - 4 * DAY, "end": now + 3600, "step": "5m"},
    )
    samples.write_text(json.dumps(answer.json()))
    results = {each["series"]["pod"]: each for each in json.loads(run("detect", f"--input={samples}"))["results"]}
    assert results["api-3"]["detectors"]["peers"]["severity"] >= 1.0
    assert results["api-0"]["detectors"]["peers"]["severity"] < 1.0
