"""Several real servers in one file: queries of each, one that goes away, reloads, checks and backtests."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunPrometheus
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager

pytestmark = pytest.mark.integration


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *command], capture_output=True, check=False, timeout=240, text=True
    )


def test_a_source_that_is_down_takes_nothing_from_the_others(
    run_prometheus: RunPrometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path
) -> None:
    eu, us = run_prometheus(), run_prometheus()
    stack.enter_context(Feed(eu, instances=2))
    feed = stack.enter_context(Feed(us, instances=1))
    config: dict[str, Any] = configuration("", [alertmanager.url])
    del config["prometheus"]
    (query,) = config["queries"]
    sources = [{"name": "eu", "url": eu.url}, {"name": "us", "url": us.url}]
    both = [{**query, "name": "load_eu"}, {**query, "name": "load_us", "source": "us"}]
    one = config | {"sources": sources[:1], "queries": both[:1]}
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", one))
    exporter.wait_for_scores()
    two = config | {"sources": sources, "queries": both}
    exporter.write(two)
    assert exporter.reload().status_code == 200
    eventually(lambda: exporter.samples("anomaly_score", query="load_us"), 60.0, what="scores of the second source")
    assert len(exporter.samples("anomaly_score", query="load_eu")) == 2
    assert len(exporter.samples("anomaly_score", query="load_us")) == 1

    file = str(exporter.config_file)
    checked = run("check", "config", file, "--query-prometheus")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[:2] == ["load_eu: 2 series", "load_us: 1 series"]
    start = time.time()
    replayed = run("backtest", f"--config.file={file}", f"--from={start - 300:.0f}", f"--to={start - 30:.0f}")
    assert replayed.returncode == 0, replayed.stderr
    assert "load_us" in replayed.stdout

    eu.stop()
    up = "anomaly_exporter_source_up"
    eventually(lambda: exporter.sample(up, source="eu") == 0 and not exporter.samples("anomaly_score", query="load_eu"))
    feed.factor[0] = 3.0
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load_us", state="firing") == 1, 30.0)
    assert exporter.sample(up, source="us") == 1
    page = exporter.ask("/").text
    assert eu.url in page
    assert us.url in page
    eu.start()
    eventually(lambda: exporter.samples("anomaly_score", query="load_eu"), 30.0, what="scores again")

    exporter.write(one)
    assert exporter.reload().status_code == 200
    # The page holds the program's own metrics for a second.
    eventually(lambda: list(exporter.samples(up)) == [(("source", "eu"),)], 10.0, what="the source that is left")
