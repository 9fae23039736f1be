"""Settings that are proposed: chosen on one part of the past, reported on another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from exporter.backtest.incidents import Incident
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.seconds import DAY, WEEK
from exporter.tune import Evidence, Goal, TriedSettings, Tuned, as_text, evidence_of, tune, with_settings

STEP, START, COUNT = 300.0, 1_796_000_400.0, 4 * 2016


def plan_of(**fields: Any) -> QueryPlan:
    query = {"name": "requests", "expr": "requests", "alert": {"for": "5m"}, **fields}
    (plan,) = Config.model_validate({"queries": [query]}).plans()
    return plan


def evidence(**fields: Any) -> Evidence:
    """Four weeks of two series: a small deviation every day that is nothing, and a large one every five days."""
    times = START + STEP * np.arange(COUNT)
    deviation = np.random.default_rng(1).normal(0.0, 1.0, (COUNT, 2)).astype(np.float32)
    anomalous = np.zeros((COUNT, 2), np.bool_)
    for day in range(28):
        begin = day * 288 + 100
        anomalous[begin : begin + 6, 0] = True
        deviation[begin : begin + 6, 0] = 12.0
        if day % 5 == 2:
            anomalous[begin + 50 : begin + 70, 1] = True
            deviation[begin + 50 : begin + 70, 1] = -60.0
    votes = np.where(anomalous, 3.0, 0.0).astype(np.float32)
    expected = np.full((COUNT, 2), 100.0, np.float32)
    nothing, ready = np.zeros((COUNT, 2), np.bool_), np.ones((COUNT, 2), np.bool_)
    labels = [{"job": "a"}, {"job": "b"}]
    return Evidence(plan_of(**fields), labels, times, STEP, anomalous, nothing, votes, deviation, expected, ready)


DAYS = np.array([2, 7, 12, 17, 22, 27])
INCIDENTS = [Incident(at, at + 20 * STEP, labels={"job": "b"}) for at in START + STEP * (DAYS * 288 + 151.0)]


def tuned(goal: Goal, **fields: Any) -> Tuned:
    result = tune(evidence(**fields), goal)
    assert result is not None
    return result


def test_what_is_no_incident_raises_no_alert_on_weeks_that_were_not_searched() -> None:
    result = tuned(Goal(INCIDENTS))
    before, after = result.unseen
    assert (before.incidents, len(before.leads), len(after.leads)) == (3, 3, 3)
    assert after.alerts == 3
    assert before.alerts == 3 + 11
    low, high = after.interval
    assert low < after.a_week < high


def test_settings_leave_a_margin_to_the_incidents() -> None:
    result = tuned(Goal(INCIDENTS))
    assert result.after.min_relative_deviation * 100.0 * 1.25 <= 60.0
    assert result.after.min_deviation * 1.25 <= 60.0


def test_without_incidents_settings_are_as_near_to_the_goal_as_can_be() -> None:
    assert tuned(Goal([], alerts_a_week=20.0)).after == TriedSettings.of(plan_of())
    few = tuned(Goal([], alerts_a_week=2.0))
    assert few.searched[1].a_week <= 2.0
    assert few.searched[1].alerts > 0


def test_nothing_is_proposed_where_no_incident_shows_what_it_would_miss() -> None:
    missed = [replace(each, start=each.start + DAY / 2, end=each.end + DAY / 2) for each in INCIDENTS]
    result = tuned(Goal(missed))
    assert result.after == result.before
    assert "none of 3 incidents raised an alert" in as_text([result])


def test_incidents_of_others_are_not_counted() -> None:
    other = [replace(each, query="other") for each in INCIDENTS]
    foreign = [replace(each, labels={"job": "c"}) for each in INCIDENTS]
    assert tuned(Goal([*other, *foreign], alerts_a_week=20.0)).unseen[0].incidents == 0


def test_series_that_cannot_alert_have_no_proposal() -> None:
    young = replace(evidence(), ready=np.zeros((COUNT, 2), np.bool_))
    assert tune(young, Goal(INCIDENTS)) is None


def test_missing_series_are_no_question_of_size() -> None:
    seen = evidence()
    seen.certain[100:120, 0] = True
    strict = TriedSettings("above", 1e9, 10.0, 7, 0.0)
    assert len(strict.alerts(seen, slice(None))) == 1


def test_the_report_says_what_how_much_and_how_sure() -> None:
    text = as_text([tuned(Goal(INCIDENTS))])
    assert "  before: 8.8 alerts a week (" in text
    assert "3 of 3 incidents" in text
    assert "no change" in as_text([tuned(Goal([], alerts_a_week=20.0))])


CONFIG = """\
# Ours.
queries:
  - name: requests  # of all shops
    expr: requests
    direction: both
    alert:
      # Nobody is woken by less.
      for: 5m
"""


@pytest.mark.parametrize(
    "text",
    [
        CONFIG,
        CONFIG.replace("    direction: both\n", "").replace("      for: 5m\n", "      labels: {a: b}\n"),
        CONFIG.replace("alert:\n      # Nobody is woken by less.\n      for: 5m\n", "alert: {}\n"),
        CONFIG.replace("direction: both", "detection:\n      quorum: 3"),
        CONFIG.replace("direction: both", "min_deviation: 0.5"),
    ],
)
def test_a_file_is_edited_line_by_line(text: str) -> None:
    plan = plan_of()
    before = TriedSettings.of(plan)
    after = TriedSettings("above", 3.5, 0.2, 4, 600.0)
    result = Tuned(plan, before, after, (), ())  # type: ignore[arg-type]
    new, by_hand = with_settings(text, Path("config.yaml"), [result])
    assert by_hand == []
    (query,) = yaml.safe_load(new)["queries"]
    assert query["direction"] == "above"
    assert (query["min_deviation"], query["min_relative_deviation"]) == (3.5, 0.2)
    assert (query["detection"]["quorum"], query["alert"]["for"]) == (4, "10m")
    comments = [line for line in text.splitlines() if "#" in line]
    assert [line for line in new.splitlines() if "#" in line] == comments


@pytest.mark.parametrize("text", ["queries: [{name: requests, expr: a}]\n", "queries:\n  - preset: node\n"])
def test_what_is_not_a_line_each_is_left_to_a_person(text: str) -> None:
    after = TriedSettings("above", 0.0, 0.0, 3, 300.0)
    result = Tuned(plan_of(), TriedSettings.of(plan_of()), after, (), ())  # type: ignore[arg-type]
    assert with_settings(text, Path("config.yaml"), [result]) == (text, ["requests"])


def test_evidence_is_what_the_engine_says_whatever_the_settings() -> None:
    times = START + STEP * np.arange(10 * 288)
    values = (100.0 + np.random.default_rng(1).normal(0.0, 1.0, (len(times), 1))).astype(np.float32)
    values[-100:-90] = 40.0
    plan = plan_of(direction="above", min_deviation=1000.0)
    seen = evidence_of(plan, [{"job": "a"}], values, end=float(times[-1]), step=STEP)
    assert seen is not None
    assert seen.times[0] == times[0]
    assert seen.anomalous[-100:-90].all()
    assert seen.deviation[-95, 0] == pytest.approx(-60.0, abs=3.0)
    assert not seen.ready[: int(6 * DAY / STEP)].any()
    assert seen.ready[int(WEEK / STEP) + 1 :].all()
