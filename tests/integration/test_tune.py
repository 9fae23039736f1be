"""`anomaly-exporter tune` with a real Prometheus: what it proposes, and that its patch applies."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.main import parser
from exporter.cli.tune import run
from exporter.config.load import load
from tests.integration.servers import Prometheus

DAY = 86400.0
NOW = 1_772_323_200.0
"""Sunday 2026-03-01, midnight: what is found does not depend on the hour in which the test runs."""
CONFIG = """\
prometheus: {url: %s}
queries:
  - name: load # of all
    expr: load
    alert:
      for: 5m
"""


def tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", "tune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def config(prometheus: Prometheus, tmp_path: Path) -> Path:
    """Sixteen days until midnight with a harmless peak or an incident a day, by turns and at any time."""
    rng = np.random.default_rng(1)
    times = np.arange(NOW - 16 * DAY, NOW + 1.0, 300.0)
    values = 100.0 + rng.normal(0.0, 1.0, len(times))
    incidents = []
    for day in range(16):
        begin = day * 288 + int(rng.integers(0, 260))
        if day % 2:
            values[begin : begin + 20] = 200.0
            incidents.append((times[begin], times[begin + 20]))
        else:
            values[begin : begin + 4] += 40.0
    prometheus.push([({"__name__": "load", "job": "api"}, times, values)])
    with (tmp_path / "incidents.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("start", "end"), *incidents])
    file_ = tmp_path / "config.yaml"
    file_.write_text(CONFIG % prometheus.url)
    return file_


def test_a_patch_spares_alerts_and_no_incident(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patch = config.with_name("tune.patch")
    flags = [f"--config.file={config}", f"--incidents={config.with_name('incidents.csv')}", f"--output={patch}"]
    assert run(parser("tune").parse_args(["tune", *flags]), clock=lambda: NOW) == 0
    output = capsys.readouterr().out
    before, after = (line for line in output.splitlines() if "incidents" in line)
    incidents = before.split(", ")[1]
    assert int(incidents.split()[0]) >= 1
    assert incidents in after
    assert float(after.split()[1]) <= float(before.split()[1])
    searched = re.search(r"chosen on .* before: (\d+) -> (\d+) alerts", output)
    assert searched is not None
    assert int(searched[2]) < int(searched[1])
    subprocess.run(["patch", "--silent", str(config), str(patch)], check=True)
    (plan,) = load(config).config.plans()
    assert (plan.direction, plan.min_deviation, plan.min_relative_deviation, plan.detection.quorum) != (
        "both",
        0.0,
        0.0,
        3,
    )
    assert "name: load # of all" in config.read_text()


def test_what_is_good_has_to_be_said(config: Path) -> None:
    result = tune(f"--config.file={config}")
    assert result.returncode == 2
    assert "give --incidents, --against-alerts or --alerts-per-week" in result.stderr
