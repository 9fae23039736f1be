"""An internal error in what a slot can do without takes neither its alerts nor its scores."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.alerting.alert import AlertState
from exporter.correlation.changes import ChangeLog
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.root_causes import RootCauses
from exporter.engine.row_details import RowDetails
from exporter.evaluation import evaluator, row_alerts, storm_candidates, why_now
from exporter.evaluation.budget_usage import BudgetUsage
from exporter.evaluation.containment import Containment
from exporter.evaluation.drift_metrics import DriftMetrics
from exporter.evaluation.explanation_builder import ExplanationBuilder
from exporter.evaluation.inquiries import Inquiries
from tests.faults.cycling import Source, World, plan_of

pytestmark = pytest.mark.parts_fail

FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED


NAMES = [f"host-{number}" for number in range(24)]
"""Each test takes another, as the same anomaly again and again is none."""


class InternalError(RuntimeError):
    pass


def fails(*_: object, **__: object) -> Any:
    raise InternalError


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory):
    note = {"runbook_url": "http://wiki/{{ labels.instance }}"}
    world = World(tmp_path_factory.mktemp("state"), Source(*NAMES), plan=plan_of(alert={"annotations": note}))
    assert world.prepare()
    yield world
    world.store.close()


@pytest.fixture
def source(learned: World) -> Source:
    learned.source.loud = set()
    return learned.source


@pytest.fixture
def name(next_names: Iterator[str]) -> str:
    """The series that becomes anomalous."""
    return next(next_names)


@pytest.fixture(scope="module")
def next_names() -> Iterator[str]:
    return iter(NAMES)


@pytest.fixture
def counted(learned: World) -> list[str]:
    """Every failure that was counted."""
    failures: list[str] = []
    learned.ports["containment"] = Containment(failures.append)
    return failures


@pytest.fixture
def world(learned: World, source: Source, counted: list[str]) -> World:
    learned.reload(learned.plan)
    learned.slot(3)
    assert not counted
    return learned


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (ExplanationBuilder, "explain"),
        (ExplanationBuilder, "prepare"),
        (RowDetails, "shape_of"),
        (CoOccurrence, "update"),
        (CoOccurrence, "near"),
        (CoOccurrence, "since"),
        (LikelyCauses, "update"),
        (LikelyCauses, "explain"),
        (RootCauses, "extend_traces"),
        (RootCauses, "explain"),
        (ChangeLog, "explain"),
        (Inquiries, "complete"),
        (BudgetUsage, "update"),
        (DriftMetrics, "update"),
        (evaluator, "apply_feedback"),
        (row_alerts, "taken_over"),
        (why_now, "_judged"),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)).rpartition(".")[2],
)
def test_a_part_that_fails_takes_nothing_else_with_it(
    world: World,
    source: Source,
    counted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    owner: Any,
    attribute: str,
) -> None:
    monkeypatch.setattr(owner, attribute, fails)
    source.loud = {name}
    world.slot(3)
    assert world.shown()[name] == FIRING
    assert world.scores() == len(NAMES)
    (alert,) = (alert for alert in world.cycle.alerts.alerts.values() if alert.is_open)
    assert alert.annotations["runbook_url"] == f"http://wiki/{name}"
    source.loud = set()
    world.slot()
    assert world.shown()[name] == RESOLVED
    assert world.sample("cycles_failed_total") == 0
    assert len(counted) >= 3
    # Once, with its traceback; the counter says how often.
    (record,) = [record for record in caplog.records if record.name == "exporter.evaluation.containment"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is InternalError


def test_an_alert_whose_explanation_fails_says_what_it_is_about(
    world: World, source: Source, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RowDetails, "shape_of", fails)
    source.loud = {name}
    world.slot()
    (alert,) = (alert for alert in world.cycle.alerts.alerts.values() if alert.is_open)
    assert alert.annotations == {
        "summary": f"load of instance={name} is anomalous",
        "runbook_url": f"http://wiki/{name}",
    }
    monkeypatch.undo()
    world.slot()
    (alert,) = (alert for alert in world.cycle.alerts.alerts.values() if alert.is_open)
    assert alert.annotations["summary"].startswith(f"load of instance={name} is 4")


def test_a_recovery_that_cannot_be_explained_is_a_recovery(
    world: World, source: Source, name: str, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source.loud = {name}
    world.slot()
    monkeypatch.setattr(row_alerts, "with_recovery", fails)
    source.loud = set()
    world.slot()
    assert world.shown()[name] == RESOLVED
    assert counted == ["load"]


def test_a_storm_that_cannot_be_explained_is_one_alert(
    world: World, source: Source, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storm_candidates, "StormInput", fails)
    source.loud = set(NAMES)
    world.slot()
    (alert,) = (alert for alert in world.cycle.alerts.alerts.values() if alert.is_open)
    assert "storm" in alert.labels
    assert alert.annotations["summary"]
    assert counted == ["load"]


def test_failures_of_several_kinds_are_logged_each(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    containment = Containment(counted.append)
    for _ in range(3):
        assert containment.run("page", "load", fails, 7) == 7
        assert containment.run("page", "cpu", lambda: 1 // 0, 7) == 7
        assert containment.run("page", "load", lambda: 8, 7) == 8
    assert counted == ["load", "cpu"] * 3
    assert [record.__dict__["query"] for record in caplog.records] == ["load", "cpu"]
