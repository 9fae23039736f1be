"""The metrics that `python -m benchmarks.from_nothing` makes, and how it counts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fleet import DAY, Fleet, Incident
from benchmarks.from_nothing import SIGNALS, verdict
from exporter.presets import preset, preset_names

NOW = 1_796_025_960.0


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(NOW - 8 * DAY, NOW + 3600.0, NOW, step=300.0, jobs=("traefik", "redis"))


def test_a_scrape_goes_on_where_the_history_ends(fleet: Fleet, tmp_path: Path) -> None:
    count = fleet.history(tmp_path / "history.om")
    text = (tmp_path / "history.om").read_text()
    assert (text.count("\n") - 1, text.endswith("# EOF\n")) == (count, True)
    (last,) = re.findall(rf"^redis_memory_used_bytes\{{.*\}} (\S+) {NOW - 300:.0f}$", text, re.MULTILINE)
    assert f"redis_memory_used_bytes {last}\n" in fleet.page("redis", NOW - 1.0)


def test_counters_only_grow(fleet: Fleet) -> None:
    for row in fleet.rows["traefik"]:
        if row.name.endswith(("_total", "_count", "_bucket")):
            assert np.all(np.diff(row.values) >= 0), row.name


@pytest.mark.parametrize("exporter", SIGNALS)
def test_presets_cover_the_golden_signals(exporter: str) -> None:
    exprs = [" ".join(query.fields["expr"].split()) for name in preset_names() for query in preset(name).queries]
    assert [signal for signal in SIGNALS[exporter] if not any(re.search(signal, expr) for expr in exprs)] == []


def test_alerts_are_about_an_incident_or_false() -> None:
    incidents = (Incident("slow", 1000.0, 2000.0), Incident("stuck", 9000.0, 10_000.0))
    alerts = [
        {"query": "latency", "labels": {}, "notified_at": 1600.0},
        {"query": "disk", "labels": {"instance": "a"}, "notified_at": 7000.0},
        {"query": "silenced", "labels": {}, "notified_at": None},
    ]
    assert list(verdict(alerts, incidents)) == [
        "slow: 1 alerts (latency), first after 10 min",
        "stuck: 0 alerts (MISSED)",
        "false alarms: 1\n  disk {'instance': 'a'}",
    ]
