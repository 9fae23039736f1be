"""Series that are away: what the daemon says of them, and what becomes of their alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alert import AlertState
from tests.faults.cycling import Source, World, plan_of

BASELINE = {"window": "10d", "min_history": "7d"}


def world(directory: Path, **query: Any) -> World:
    one = World(directory, Source("a", "b", "c"), plan=plan_of(baseline=BASELINE, **query))
    assert one.prepare()
    one.slot(3)
    return one


def alert(one: World) -> Any:
    (found,) = [alert for alert in one.cycle.alerts.alerts.values() if alert.labels["instance"] == "a"]
    return found


def absent(one: World) -> float | None:
    return one.metrics.registry.get_sample_value("anomaly_exporter_series_absent", {"query": "load"})


def test_a_series_that_is_missing_is_an_alert_that_says_since_when(tmp_path: Path) -> None:
    one = world(tmp_path)
    one.source.gone = {"a"}
    one.slot(4)
    assert one.states() == {}
    one.slot()
    assert one.states() == {"a": AlertState.FIRING}
    said = alert(one).annotations
    assert said["observed"] == f"missing since {said['since']}"
    assert said["summary"].startswith(f"load of instance=a is missing since {said['since']}, ")
    assert said["summary"].endswith(f", for {said['lasted']}")
    assert said["votes"] == "missing_series, which decides alone"
    assert "nearly all past instants" in said["why"]
    assert 80.0 < float(said["expected"]) < 120.0
    assert absent(one) == 1.0
    page = b"".join(one.exposition.scrape().body).decode()
    assert 'anomaly_score{query="load",instance="a",job=""} 0.5' in page
    assert 'observed_value{query="load",instance="a",job=""}' not in page
    one.source.gone = set()
    one.slot()
    assert one.states() == {"a": AlertState.RESOLVED}
    assert absent(one) == 0.0
    one.end()


def test_an_alert_whose_series_goes_away_goes_on_as_one_episode(tmp_path: Path) -> None:
    one = world(tmp_path)
    one.source.loud = {"a"}
    one.slot(2)
    episode = alert(one).episode
    one.source.gone = {"a"}
    for _ in range(8):
        one.slot()
        assert one.states() == {"a": AlertState.FIRING}
    assert alert(one).episode == episode
    assert alert(one).annotations["observed"].startswith("missing since")
    one.end()


@pytest.mark.parametrize("query", [{"alert": {"no_data": "resolve"}}, {"detection": {"missing_series": False}}])
def test_what_was_asked_to_end_ends(tmp_path: Path, query: dict[str, Any]) -> None:
    one = world(tmp_path, **query)
    one.source.loud = {"a"}
    one.slot(2)
    one.source.gone = {"a"}
    one.slot(4)
    assert one.states() == {"a": AlertState.RESOLVED}
    one.end()


def test_a_partial_answer_or_none_at_all_says_nothing(tmp_path: Path) -> None:
    one = world(tmp_path)
    one.source.gone = {"a"}
    one.source.warnings = ("a store is not reachable",)
    one.slot(8)
    assert absent(one) == 0.0
    one.source.warnings = ()
    one.source.down = RuntimeError("no answer")
    one.slot(2)
    one.source.down = None
    # What was missed is read back: that the others were there meanwhile counts.
    one.slot(2)
    assert one.states() == {}
    one.end()


def test_an_absence_outlasts_a_restart(tmp_path: Path) -> None:
    one = world(tmp_path)
    one.source.gone = {"a"}
    one.slot(6)
    since = alert(one).annotations["observed"]
    episode = alert(one).episode
    one.restart()
    one.prepare()
    one.slot(2)
    assert one.states() == {"a": AlertState.FIRING}
    assert (alert(one).episode, alert(one).annotations["observed"]) == (episode, since)
    one.end()


def test_a_query_without_any_answer_left_is_missed(tmp_path: Path) -> None:
    one = world(tmp_path)
    one.source.gone = {"a", "b", "c"}
    one.slot(5)
    assert one.states() == dict.fromkeys("abc", AlertState.FIRING)
    one.end()
