"""A disk that fills: from the samples to the alert, the page, and a restart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alert import Alert, AlertState
from tests.faults.cycling import START, Source, World, plan_of

HOUR, DAY = 3600.0, 86400.0
FORECAST = {"horizons": ["1h", "1d"], "limit": {"above": 0.95, "within": "4d"}}


class Disks(Source):
    """`full` is at 95 % three days after `START`; `cleaned` is at 90 % every evening; `shrinks` is cleaned for good."""

    def __init__(self) -> None:
        super().__init__("cleaned", "full", labels={"job": "node"})
        self.stopped = False

    def value(self, name: str, at: float) -> float:
        days = (at - START) / DAY
        noise = 0.0005 * math.sin(at * 12.9898 + len(name))
        if name == "cleaned":
            return 0.5 + 0.4 * (days % 1.0) + noise
        return (0.5 if self.stopped else 0.95 + 0.03 * (days - 3.0)) + noise


class Disk(World):
    def __init__(self, directory: Path, source: Disks, **query: Any) -> None:
        fields = {
            "name": "disk",
            "interval": "15m",
            "unit": "ratio",
            "valid_range": [0, 1],
            "baseline": {"window": "10d", "backfill_step": "15m", "min_history": "1d"},
            "alert": {"for": "15m", "keep_firing_for": "0"},
            "forecast": FORECAST,
            # Only what is ahead is looked at here.
            "min_deviation": 1.0,
            **query,
        }
        super().__init__(directory, source, plan=plan_of(**fields), start=START)
        assert self.prepare()

    def slots(self, count: int) -> None:
        for _ in range(count):
            self.slot()

    def firing(self) -> list[Alert]:
        return [alert for alert in self.cycle.alerts.alerts.values() if alert.state is AlertState.FIRING]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    disk = Disk(tmp_path_factory.mktemp("disk"), Disks())
    disk.slots(3)
    return disk


def test_the_disk_that_fills_alerts_and_says_when(world: Disk) -> None:
    (alert,) = world.firing()
    assert alert.labels["instance"] == "full"
    texts = alert.annotations
    assert "will reach 95" in texts["summary"]
    assert "in about 3 days" in texts["summary"] or "in 2 to 3 days" in texts["summary"], texts["summary"]
    assert "probability" in texts["limit"]
    assert texts["shape"] == "limit ahead"
    assert texts["votes"] == "limit, which decides alone"
    assert "within 4 d" in texts["why"]


def test_the_page_has_its_forecasts(world: Disk) -> None:
    page = b"".join(world.exposition.scrape().body).decode()
    rows = {row.split(" ")[0]: float(row.split(" ")[1]) for row in page.splitlines() if row.startswith("forecast_")}
    full = {row: value for row, value in rows.items() if 'instance="full"' in row}
    (middle,) = (value for row, value in full.items() if "seconds" in row and 'quantile="0.5"' in row)
    assert middle == pytest.approx(3 * DAY, rel=0.15)
    (tomorrow,) = (value for row, value in full.items() if row.startswith("forecast_value{") and 'horizon="1d"' in row)
    assert tomorrow == pytest.approx(0.95 - 0.06, abs=0.01)
    cleaned = [value for row, value in rows.items() if 'instance="cleaned"' in row and "seconds" in row]
    assert cleaned == [float("inf")] * 3


def test_what_is_cleaned_for_good_ends_its_alert(tmp_path: Path) -> None:
    source = Disks()
    world = Disk(tmp_path, source)
    world.slots(3)
    assert world.firing()
    source.stopped = True
    world.slots(6)  # It is computed anew once an hour.
    assert not world.firing()
