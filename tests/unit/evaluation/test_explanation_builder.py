"""What the shell puts into an explanation: the past of this hour, what else turned, how long, and its cost."""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import replace

import numpy as np
import pytest

from exporter.alerting.explanation.input import ExplanationInput, HourStatistics
from exporter.alerting.settings import AlertSettings
from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config, QuerySettings
from exporter.config.plan import QueryPlan
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.engine.contract_samples import START, keys
from exporter.engine.detectors import DETECTORS, Collective, Detector, Iqr, IsolationForest, Novelty, Stl, ZScore
from exporter.engine.engine import Engine
from exporter.engine.row_details import RowDetails
from exporter.engine.verdict import Verdict
from exporter.evaluation.explanation_builder import ExplanationBuilder, votes_of
from tests.contexts import context_of

STEP = 900.0
DAYS = 21


class Told:
    """A query that has learned three weeks: nights at 100, days at 200, and Mondays from 14:00 to 15:00 at 500."""

    def __init__(self, count: int = 3, zone: str = "UTC") -> None:
        self.plan = _plan(zone)
        self.context = context_of(external_url="https://anomaly.example")
        self.engine, self.at = copy.deepcopy(_learned(count, zone))

    def slot(self, at: float, values: list[float]) -> Verdict:
        verdict = self.engine.step(at, np.array(values, float), STEP)
        self.context.ports.co_occurrence.update("q", verdict, self.engine.table)
        return verdict

    def says(self, verdict: Verdict, row: int = 0) -> dict[str, str]:
        return self.builder(verdict).explain(row, {}, self.since(verdict, row)).annotations

    def since(self, verdict: Verdict, row: int = 0) -> float:
        return self.context.ports.co_occurrence.since("q", row, verdict.at)

    def builder(self, verdict: Verdict) -> ExplanationBuilder:
        return ExplanationBuilder(self.plan, self.context, verdict, self.engine.table, self.engine.details)


@functools.cache
def _learned(count: int, zone: str) -> tuple[Engine, float]:
    """Return the engine, and the newest instant that it has learned."""
    engine = Engine(engine_settings(_plan(zone)))
    # A day before the first Monday: what the first day finds anomalous is not learned.
    times = START - 86400.0 + STEP * np.arange((DAYS + 1) * 96)
    local = times + 0.0 if zone == "UTC" else times + 7200.0  # Johannesburg, all year.
    hour, day = local / 3600.0 % 24, local // 86400.0 % 7
    level = np.where((hour >= 8) & (hour < 20), 200.0, 100.0)
    level = np.where((day == 4) & (hour >= 14) & (hour < 15), 500.0, level)  # 1970 began on a Thursday.
    noise = np.random.default_rng(0).normal(0.0, 5.0, (len(times), count))
    engine.run(times, engine.align(keys(count), level[:, None] + noise, times[0]).samples, STEP)
    return engine, float(times[-1])


def _plan(zone: str) -> QueryPlan:
    query = QuerySettings(name="q", expr="q", timezone=zone, alert=AlertSettings())
    return Config(queries=(query,)).plans()[0]


@pytest.mark.parametrize(("zone", "utc"), [("UTC", 14), ("Africa/Johannesburg", 12)])
def test_the_past_is_that_of_this_hour_of_the_week_in_the_zone_of_the_query(zone: str, utc: int) -> None:
    told = Told(zone=zone)
    monday = START + DAYS * 86400.0 + utc * 3600.0
    found = told.says(told.slot(monday, [900.0, 500.0, 500.0]))
    assert found["history"].startswith("past Mondays 14:00-15:00 were mostly ")
    low, high = (float(one) for one in found["history"].removeprefix("past Mondays 14:00-15:00 were mostly ")
                 .partition(",")[0].split(" to "))  # fmt: skip
    assert 480 < low < high < 520
    assert found["history"].endswith(f"(3 weeks, {zone})")
    assert "the mean of Mondays 14:00-15:00" in found["why"]


def test_since_and_level_shift_follow_the_series() -> None:
    told = Told()
    begin = told.at + STEP
    for index in range(30):
        verdict = told.slot(begin + STEP * index, [900.0, 100.0, 100.0])
    found = told.says(verdict)
    assert found["lasted"] == "7 h 15 min"
    assert found["summary"].endswith(", for 7 h 15 min")
    before, after = found["level_shift"].removeprefix("the level moved from ").partition(" at ")[0].split(" to ")
    assert float(before) == pytest.approx(100.0, abs=5.0)
    assert float(after) == 900.0


def test_a_level_shift_is_named_once_an_anomaly_lasts_for_an_hour() -> None:
    told = Told()
    verdict = told.slot(told.at + STEP, [900.0, 100.0, 100.0])
    shift = np.array([[100.0], [900.0], [3600.0]])

    def details(rows: np.ndarray) -> RowDetails:
        return replace(told.engine.details(rows), shift=shift)

    builder = ExplanationBuilder(told.plan, told.context, verdict, told.engine.table, details)
    assert "level_shift" not in builder.explain(0, {}, verdict.at - 3599.0).annotations
    assert "level_shift" in builder.explain(0, {}, verdict.at - 3600.0).annotations


def test_in_the_first_day_the_reason_is_what_the_series_has_shown() -> None:
    told = Told()
    verdict = told.slot(told.at + STEP, [900.0, 100.0, 100.0])
    first = replace(verdict, first_day=np.array([True, False, False]))
    assert told.says(first)["why"].startswith("first_day: far from all that it has shown in its first hours")
    assert "first_day" not in told.says(verdict)["why"]


def test_a_series_that_is_not_anomalous_has_turned_now() -> None:
    assert CoOccurrence().since("q", 0, 60.0) == 60.0
    told = Told()
    verdict = told.slot(told.at + STEP, [900.0, 100.0, 100.0])
    assert (
        told.context.ports.co_occurrence.since("q", 1, 60.0)
        == told.context.ports.co_occurrence.since("q", 99, 60.0)
        == 60.0
    )
    assert told.says(verdict, row=1)["summary"].startswith("q of series=1 is ")


def test_what_turned_at_the_same_time_is_told_the_others_first() -> None:
    told = Told(count=9)
    at = told.at + STEP
    verdict = told.slot(at, [900.0] * 8 + [100.0])
    other = replace(verdict, at=at - 540.0, score=np.r_[0.99, np.full(8, 0.1)])
    long_ago = replace(verdict, at=at - 700.0)
    told.context.ports.co_occurrence.update("errors", other, told.engine.table)
    told.context.ports.co_occurrence.update("elsewhere", long_ago, told.engine.table)
    lines = told.says(verdict)["also"].splitlines()
    assert lines[0].startswith("errors of series=0 since ")
    others = {line.partition(" since")[0] for line in lines[1:5]}
    assert len(others) == 4
    assert others < {f"q of series={index}" for index in range(1, 8)}
    assert lines[5] == "and 3 more series"
    told.context.ports.co_occurrence.keep({"q"})
    assert "errors" not in told.says(verdict)["also"]


def test_a_series_is_not_told_of_itself_and_not_of_what_is_over() -> None:
    told = Told()
    at = told.at + STEP
    assert "also" not in told.says(told.slot(at, [900.0, 100.0, 100.0]))
    told.context.ports.co_occurrence.update(
        "errors", replace(told.slot(at + STEP, [100.0] * 3), at=at), told.engine.table
    )
    assert "also" not in told.says(told.slot(at + 2 * STEP, [900.0, 100.0, 100.0]))


def test_ten_thousand_alerts_at_once_stay_within_a_slot() -> None:
    told = Told()
    verdict = told.slot(told.at + STEP, [900.0, 900.0, 900.0])
    telling = ExplanationBuilder(told.plan, told.context, verdict, told.engine.table, told.engine.details)
    since = told.context.ports.co_occurrence.since("q", 0, verdict.at)
    begin = time.process_time()
    for _ in range(1000):
        telling.explain(1, {}, since).annotations  # noqa: B018 - the texts are written here.
    assert time.process_time() - begin < 1.0  # A tenth of that on an idle machine.


CASE = ExplanationInput(
    "q", {}, {}, at=0.0, since=0.0, observed=9.0, expected=1.0, z=6.2, when="Mondays 14:00-15:00", unit="seconds"
)


@pytest.mark.parametrize(
    ("detector", "changes", "reason"),
    [
        (ZScore(), {}, "6.2 standard deviations above the mean of Mondays 14:00-15:00"),
        (ZScore(), {"z": -2000.0}, "over 100 standard deviations below the mean of Mondays 14:00-15:00"),
        (ZScore(), {"z": float("nan")}, "beyond its limit"),
        (ZScore(), {"when": ""}, "6.2 standard deviations above the mean of this time of the week"),
        (Iqr(), {"observed": 0.0}, "far below the middle half of Mondays 14:00-15:00"),
        (Iqr(), {"past": HourStatistics("week", 3.0, 0.2, 0.03, 0.18, 0.24)},
         "far above the middle half of Mondays 14:00-15:00, 0.18 s to 0.24 s"),
        (Iqr(), {"past": HourStatistics("day", 3.0, 0.2, 0.03, 0.18, 0.24)},
         "far above the middle half of this hour of the day, 14:00-15:00, 0.18 s to 0.24 s"),
        (Iqr(), {"past": HourStatistics("all", 3.0, 0.2, 0.03, 0.18, 0.24)},
         "far above the middle half of all values so far, 0.18 s to 0.24 s"),
        (Stl(), {}, "above what its trend and its daily and weekly rhythm give"),
        (Novelty(), {}, "unlike anything that this series has shown before"),
        (Collective(), {"observed": 0.0}, "hours a little below the usual have added up: a drift"),
        (IsolationForest(), {}, "easy to tell from usual samples by random cuts of deviation and change"),
    ],
)  # fmt: skip
def test_every_detector_brings_its_reason(detector: Detector, changes: dict[str, object], reason: str) -> None:
    (vote,) = votes_of([detector], [1.5], replace(CASE, **changes))
    assert (vote.kind, vote.severity, vote.votes, vote.reason) == (detector.kind, 1.5, detector.votes, reason)


def test_every_detector_has_words_of_its_own() -> None:
    votes = votes_of([kind() for kind in DETECTORS], [1.0] * len(DETECTORS), CASE)
    assert len({vote.reason for vote in votes} - {"beyond its limit"}) == len(DETECTORS)


def test_how_an_alert_began_stands_while_the_newest_samples_do_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    verdict = told.slot(told.at + STEP, [900.0, 5.0, 100.0])
    builder = told.builder(verdict)
    monkeypatch.setattr(RowDetails, "shape_of", lambda *_, **__: None)

    def shape(row: int, before: str) -> str:
        return builder.explain(row, {}, verdict.at, shape=before).annotations.get("shape", "")

    assert (shape(0, "jump"), shape(0, "build-up"), shape(1, "drop")) == ("jump", "build-up", "drop")
    # What is on the other side now began otherwise, and these are not how anything began.
    assert (shape(0, "drop"), shape(1, "jump"), shape(0, "noisier"), shape(0, "missing"), shape(0, "")) == ("",) * 5
