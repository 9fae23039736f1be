"""Canaries at run time: alerts, metrics and state over restarts and reloads; a real store and page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from exporter.alerting.alert import Alert, AlertState, Step
from exporter.alerting.episode import Feedback
from exporter.alerting.settings import AlertingSettings
from exporter.alerting.state_machine import restore
from exporter.canary.canaries import Canaries
from exporter.cli.check import nothing_compared
from exporter.config.model import Config
from exporter.delivery import AlertSnapshots
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdicts
from exporter.exposition import Exposition, SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.store import Store
from tests.contexts import context_of

OLD, NEW = 6, 3


class Rollout:
    """Pods of two versions, and the canary that compares them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.table = SeriesTable(100)
        self.rng = np.random.default_rng(3)
        self.slot = 1_800_000_000.0
        self.canary: dict[str, Any] | None = {"label": "version", "alert": {}}
        self.start()

    def start(self) -> None:
        self.store = Store.open(self.directory, clock=time.time)
        self.exposition = Exposition(CollectorRegistry())
        self.metrics = SelfMetrics(CollectorRegistry())
        self.feedback = EpisodeFeedback(self.store, self.metrics)
        self.canaries = Canaries()
        self.left: dict[str, Step] = {}
        self.apply()

    def apply(self) -> None:
        query: dict[str, Any] = {"name": "latency", "expr": "l", "unit": "seconds", "direction": "above"}
        if self.canary is not None:
            query["canary"] = self.canary
        plans = {plan.name: plan for plan in Config.model_validate({"queries": [query]}).plans()}
        self.plan = plans["latency"]
        context = context_of(
            clock=time.time,
            store=self.store,
            exposition=self.exposition,
            alert_snapshots=AlertSnapshots(),
            metrics=self.metrics,
            feedback=self.feedback,
            source_url="",
        )
        notes = self.store.alerts.notes()
        kept = {
            job: replace(restore(AlertingSettings(), alerts, at=self.slot), notes=notes.get(job))
            for job, alerts in self.store.alerts.load().items()
        }
        self.canaries.apply(
            plans,
            {"prometheus": context},
            at=self.slot,
            last_step=lambda job: kept.get(job, Step(alerts={})),
            removed=self.left.__setitem__,
        )

    def stop(self) -> None:
        self.canaries.retire()
        self.store.close()

    def step(self, slots: int, factor: float = 1.0, *, old: int = OLD, new: int = NEW, load: float = 1.0) -> None:
        keys = [b'{"pod":"a%d","version":"1.4.1"}' % pod for pod in range(OLD)]
        keys += [b'{"pod":"b%d","version":"1.4.2"}' % pod for pod in range(NEW)]
        for _ in range(slots):
            self.slot += 60.0
            values = 0.2 * load * np.exp(0.03 * self.rng.standard_normal(OLD + NEW))
            values[OLD:] *= factor
            values[old:OLD] = values[OLD + new :] = np.nan
            rows, _ = self.table.find(keys)
            samples = np.full(self.table.size, np.nan)
            samples[rows] = values
            self.canaries.add(self.plan, Verdicts(np.array([self.slot]), samples[None], 1)[0], self.table)

    @property
    def alerts(self) -> list[Alert]:
        return [alert for job in self.canaries.evaluators.values() for alert in job.alert_store.alerts.values()]

    def page(self) -> dict[str, float]:
        text = b"".join(self.exposition.scrape().body).decode()
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels.get("version") == "1.4.2"
        }


@pytest.fixture
def rollout(tmp_path: Path) -> Iterator[Rollout]:
    rollout = Rollout(tmp_path)
    yield rollout
    rollout.stop()


def test_a_worse_version_alerts_and_the_text_says_it(rollout: Rollout) -> None:
    rollout.step(25)
    assert rollout.alerts == []
    assert rollout.page()["anomaly_canary_score"] < 0.5
    rollout.step(60, 1.5)
    [alert] = rollout.alerts
    assert alert.state is AlertState.FIRING
    assert dict(alert.labels) == {"alertname": "CanaryDiffers", "query": "latency", "version": "1.4.2"}
    summary = alert.annotations["summary"]
    assert summary.startswith("latency: version=1.4.2 is ")
    assert "% above 1.4.1 since " in summary
    assert summary.endswith("p < 0.001") or "p < 1e-" in summary
    assert alert.annotations["compared"].startswith("the mean of 3 series of version=1.4.2 with that of 6 of 1.4.1")
    page = rollout.page()
    assert page["anomaly_canary_score"] >= 0.5
    assert page["anomaly_canary_p_value"] <= 0.001
    assert page["anomaly_canary_candidate_value"] / page["anomaly_canary_baseline_value"] == pytest.approx(1.5, rel=0.1)
    [status] = rollout.canaries.statuses()
    assert (status.comparisons[0].different, status.comparisons[0].series) == (True, (6, 3))


def test_load_on_both_versions_is_silent(rollout: Rollout) -> None:
    rollout.step(25)
    rollout.step(40, load=3.0)
    assert rollout.alerts == []


def test_the_alert_ends_with_the_rollout(rollout: Rollout) -> None:
    rollout.step(10)
    rollout.step(70, 1.6)
    assert [alert.state for alert in rollout.alerts] == [AlertState.FIRING]
    rollout.step(5, 1.6, new=0)
    assert [alert.state for alert in rollout.alerts] == [AlertState.RESOLVED]
    assert "anomaly_canary_score" not in rollout.page()
    rollout.step(70, old=OLD, new=0)
    assert rollout.canaries.statuses()[0].comparisons == ()


def test_a_query_that_fails_holds_the_alert(rollout: Rollout) -> None:
    rollout.step(70, 1.6)
    rollout.canaries.hold(rollout.plan, rollout.slot + 60.0)
    assert [alert.state for alert in rollout.alerts] == [AlertState.FIRING]
    assert rollout.page() == {}


def test_a_restart_neither_ends_the_alert_nor_loses_evidence(rollout: Rollout) -> None:
    rollout.step(70, 1.6)
    [before] = rollout.alerts
    score = rollout.page()["anomaly_canary_score"]
    rollout.stop()
    rollout.table = SeriesTable(100)
    rollout.start()
    rollout.step(1, 1.6)
    [after] = rollout.alerts
    assert (after.episode, after.fired_at, after.state) == (before.episode, before.fired_at, AlertState.FIRING)
    assert rollout.page()["anomaly_canary_score"] == pytest.approx(score, abs=0.05)


def test_a_crash_does_not_end_the_alert(rollout: Rollout) -> None:
    while not rollout.alerts:
        rollout.step(1, 1.6)
    [before] = rollout.alerts
    # Nothing is written at the end, and the next checkpoint was not due.
    rollout.store.close()
    rollout.table = SeriesTable(100)
    rollout.start()
    rollout.step(1, 1.6)
    [after] = rollout.alerts
    assert (after.episode, after.state) == (before.episode, AlertState.FIRING)


def test_a_reload_keeps_evidence_and_another_name_ends_the_alert(rollout: Rollout) -> None:
    rollout.step(70, 1.6)
    [before] = rollout.alerts
    rollout.canary = {"label": "version", "alpha": 0.01, "alert": {"for": "5m"}}
    rollout.apply()
    rollout.step(1, 1.6)
    assert [alert.episode for alert in rollout.alerts] == [before.episode]
    rollout.canary = {"label": "version"}
    rollout.apply()
    rollout.step(1, 1.6)
    assert [alert.state for alert in rollout.alerts] == [AlertState.RESOLVED]
    assert rollout.page()["anomaly_canary_score"] >= 0.5


def test_a_canary_that_is_removed_leaves_its_alerts_to_be_resolved(rollout: Rollout) -> None:
    rollout.step(70, 1.6)
    rollout.canary = None
    rollout.apply()
    assert [alert.state for alert in rollout.left["(canary) latency"].alerts.values()] == [AlertState.FIRING]
    assert rollout.page() == {}


def test_a_difference_that_is_the_new_normal_ends_and_a_larger_one_alerts(rollout: Rollout) -> None:
    rollout.step(25)
    rollout.step(60, 1.6)
    [alert] = rollout.alerts
    rollout.store.episodes.give_feedback(
        alert.episode, Feedback.NEW_NORMAL, at=rollout.slot, who="alice", comment="it does more"
    )
    rollout.step(1, 1.6)
    assert rollout.feedback.pending("(canary) latency") == []
    # Also under another load, and after a crash: what was accepted is a part of the baseline, and on disk.
    rollout.store.close()
    rollout.table = SeriesTable(100)
    rollout.start()
    rollout.step(3, 1.6, load=2.0)
    assert [alert.state for alert in rollout.alerts] == [AlertState.RESOLVED]
    rollout.step(100, 1.6, load=2.0)
    assert rollout.alerts == []
    assert rollout.page()["anomaly_canary_score"] < 0.5
    rollout.step(100, 2.4, load=2.0)
    assert AlertState.FIRING in [alert.state for alert in rollout.alerts]


def test_state_from_before_differences_could_be_accepted_goes_on(rollout: Rollout) -> None:
    rollout.step(70, 1.6)
    [before] = rollout.alerts
    rollout.canaries.retire()
    [canary] = rollout.canaries.evaluators.values()
    stored = rollout.store.learned_arrays.load(canary.job, canary.identity)
    assert stored is not None
    rollout.store.learned_arrays.forget(canary.job)
    parts = {name: part for name, part in stored.parts.items() if name != "canary/accepted"}
    rollout.store.learned_arrays.save(canary.job, canary.identity, stored.at, parts, stored.series)
    rollout.store.close()
    rollout.table = SeriesTable(100)
    rollout.start()
    rollout.step(1, 1.6)
    assert [alert.episode for alert in rollout.alerts] == [before.episode]
    assert rollout.canaries.statuses()[0].comparisons[0].slots > 1


def test_check_config_says_where_nothing_is_compared(rollout: Rollout) -> None:
    pods = [b'{"pod":"a","version":"1"}', b'{"pod":"b","version":"2"}']
    assert list(nothing_compared(rollout.plan, pods)) == []
    text = "canary: there are no series with two values of version, so nothing is compared now"
    assert list(nothing_compared(rollout.plan, pods[:1])) == [text]


def test_state_that_cannot_be_read_begins_anew(rollout: Rollout, caplog: pytest.LogCaptureFixture) -> None:
    rollout.step(70, 1.6)
    rollout.canaries.retire()
    canary = rollout.canaries.evaluators["(canary) latency"]
    broken = {"roles": np.frombuffer(json.dumps([1]).encode(), np.uint8).copy()}
    rollout.store.learned_arrays.save(canary.job, canary.identity, rollout.slot, broken)
    rollout.store.close()
    rollout.start()
    assert "begins anew" in caplog.text
    rollout.step(1, 1.6)
    assert rollout.canaries.statuses()[0].comparisons[0].slots == 1
