"""The cycles of groups: joined by labels, published, restored, withdrawn; a real store and page, verdicts by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from exporter.alerting.alert import Alert, Step
from exporter.alerting.episode import Feedback
from exporter.alerting.settings import AlertingSettings
from exporter.alerting.state_machine import restore
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots
from exporter.engine.multivariate import JointForest, entities_of
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdicts
from exporter.exposition import Exposition, SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.multivariate.groups import Groups
from exporter.store import Store
from tests.contexts import context_of
from tests.integration.process import eventually

QUERIES = ("cpu", "latency", "errors")
PODS = 12


class Stage:
    """Three queries of a few pods each, and the groups over them."""

    def __init__(self, directory: Path, *, reads: bool = False, **group: object) -> None:
        self.reads = reads
        self.store = Store.open(directory, clock=time.time)
        self.registry = CollectorRegistry()
        self.metrics = SelfMetrics(self.registry)
        self.exposition = Exposition(self.registry)
        self.feedback = EpisodeFeedback(self.store, self.metrics)
        self.progress = dict.fromkeys(QUERIES, 1.0)
        self.groups = Groups(self.progress.__getitem__)
        self.left: dict[str, Step] = {}
        self.alert: dict[str, object] | None = None
        self.ready = True
        self.tables = {query: SeriesTable(1000) for query in QUERIES}
        for query, table in self.tables.items():
            table.find([b'{"pod":"p%d","query":"%s"}' % (pod, query.encode()) for pod in range(PODS)])
        self.rng = np.random.default_rng(3)
        self.slot = 6000.0
        self.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES), **group})

    def apply(self, *groups: dict[str, object]) -> None:
        alert = {} if self.alert is None else {"alert": self.alert}
        queries = [{"name": name, "expr": "up", **alert} for name in QUERIES]
        config = Config.model_validate({"queries": queries, "groups": list(groups)})
        self.plans: dict[str, QueryPlan] = {plan.name: plan for plan in config.plans()}
        context = context_of(
            clock=time.time,
            store=self.store,
            exposition=self.exposition,
            alert_snapshots=AlertSnapshots(),
            metrics=self.metrics,
            feedback=self.feedback,
            groups=self.groups,
            needs_history=not self.reads,
            source_url="",
        )
        kept = {
            job: replace(restore(AlertingSettings(), alerts, at=self.slot), notes=self.store.alerts.notes().get(job))
            for job, alerts in self.store.alerts.load().items()
        }
        self.groups.apply(
            config.groups,
            self.plans,
            {"prometheus": context},
            at=self.slot,
            last_step=lambda job: kept.get(job, Step(alerts={})),
            removed=self.left.__setitem__,
        )

    def say(self, query: str, z: np.ndarray, *, past: bool = False) -> None:
        verdicts = Verdicts(np.array([self.slot]), (100.0 + 2.0 * z)[None], 1)
        verdicts.expected[0], verdicts.z[0], verdicts.ready[0] = 100.0, z, self.ready
        verdicts.score[0] = np.where(np.abs(z) > 10.0, 0.9, 0.1)
        verdict = verdicts[0]
        (self.groups.add_history if past else self.groups.add)(self.plans[query], verdict, self.tables[query])

    def remember(self, steps: int) -> None:
        """Have the past of the queries learned, query by query."""
        common = self.rng.standard_normal((steps, PODS))
        begin = self.slot
        for query in QUERIES:
            self.slot = begin
            for one in common:
                self.slot += 60.0
                self.say(query, 0.95 * one + 0.3 * self.rng.standard_normal(PODS), past=True)

    def step(
        self, steps: int = 1, odd: list[float] | None = None, silent: tuple[str, ...] = (), pods: tuple[int, ...] = (4,)
    ) -> None:
        for _ in range(steps):
            self.slot += 60.0
            common = self.rng.standard_normal(PODS)
            for index, query in enumerate(QUERIES):
                z = 0.95 * common + 0.3 * self.rng.standard_normal(PODS)
                if odd is not None:
                    z[list(pods)] = odd[index]
                if query not in silent:
                    self.say(query, z)
            for cycle in self.groups.evaluators.values():
                cycle.run(self.slot + 54.0)

    def page(self) -> dict[str, float]:
        text = b"".join(self.exposition.scrape().body).decode()
        return {
            sample.labels["pod"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "anomaly_group_score" and sample.labels["group"] == "api"
        }

    def alerts(self) -> list[Alert]:
        (cycle,) = self.groups.evaluators.values()
        return list(cycle.alerts.alert_store.alerts.values())

    def states(self) -> dict[str, str]:
        return {one.labels.get("pod", one.labels.get("storm", "")): str(one.state) for one in self.alerts()}

    def close(self) -> None:
        self.groups.close()
        self.store.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "data")
    yield stage
    stage.close()


def test_a_thing_whose_metrics_disagree_is_on_the_page(stage: Stage) -> None:
    stage.step(30)
    assert stage.page() == {}
    stage.step(90)
    assert len(stage.page()) == PODS
    stage.step(8, odd=[1.5, -1.5, 0.0])
    scores = stage.page()
    assert scores.pop("p4") >= 0.5
    assert max(scores.values()) < 0.5


def test_a_group_that_learned_the_past_of_its_queries_speaks_at_once(stage: Stage) -> None:
    stage.progress["errors"] = 0.5
    stage.remember(240)
    stage.step()
    assert stage.page() == {}
    stage.progress["errors"] = 1.0
    stage.step()
    assert len(stage.page()) == PODS
    (cycle,) = stage.groups.evaluators.values()
    assert cycle.group.arrays()["steps"].tolist() == [242.0]
    assert stage.groups.inputs.past("errors") == []
    stage.step(4, odd=[2.0, -2.0, 0.0])
    scores = stage.page()
    assert scores.pop("p4") >= 0.5
    assert max(scores.values()) < 0.5


def test_history_that_does_not_come_is_not_waited_for(stage: Stage) -> None:
    stage.progress["errors"] = 0.0
    stage.remember(240)
    stage.step(4)
    assert stage.page() == {}
    stage.step(3)
    assert len(stage.page()) == PODS


def test_the_past_is_not_learned_twice(stage: Stage, tmp_path: Path) -> None:
    begin = stage.slot
    stage.remember(100)
    stage.step(10)
    stage.groups.close()
    stage.store.close()
    stage.store, stage.groups = Store.open(tmp_path / "data", clock=time.time), Groups(lambda _: 1.0)
    stage.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES)})
    stage.slot = begin
    # Ten slots more than before: they were missed in between.
    stage.remember(120)
    stage.step()
    (cycle,) = stage.groups.evaluators.values()
    assert cycle.group.arrays()["steps"].tolist() == [121.0]


@pytest.mark.parametrize("group", [{}, {"detector": "isolation_forest"}], ids=["same", "another detector"])
def test_a_reload_while_history_is_read_loses_nothing(group: dict[str, object], stage: Stage) -> None:
    stage.progress["errors"] = 0.5
    stage.remember(240)
    stage.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES), **group})
    stage.step()
    stage.progress["errors"] = 1.0
    stage.step()
    (cycle,) = stage.groups.evaluators.values()
    assert cycle.group.arrays()["steps"][0] == 242.0


def read_past(stage: Stage, query: str, tables: dict[str, SeriesTable], steps: int) -> None:
    """Read the past of a query as a second learner does, whose rows are others."""
    begin, table = stage.slot, tables[query]
    common = np.random.default_rng(7).standard_normal((steps, PODS))
    own = np.random.default_rng(len(query)).standard_normal((steps, PODS))
    for index in range(steps):
        stage.slot = begin - (steps - index) * 60.0
        z = (0.95 * common[index] + 0.3 * own[index])[::-1]
        verdicts = Verdicts(np.array([stage.slot]), (100.0 + 2.0 * z)[None], 1)
        verdicts.expected[0], verdicts.z[0], verdicts.ready[0], verdicts.score[0] = 100.0, z, True, 0.1
        stage.groups.add_past(stage.plans[query], verdicts[0])
    stage.slot = begin
    stage.groups.end_past(stage.plans[query], table)


def test_a_group_that_a_reload_adds_reads_the_past_of_its_queries(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "data", reads=True)
    tables = {query: SeriesTable(1000) for query in QUERIES}
    for query, table in tables.items():
        table.find([b'{"pod":"p%d","query":"%s"}' % (pod, query.encode()) for pod in reversed(range(PODS))])
    stage.step(3)
    assert stage.page() == {}
    assert all(stage.groups.past_due(query) for query in QUERIES)
    stage.groups.past_goes_on("cpu", 0.5)
    for query in QUERIES:
        read_past(stage, query, tables, 200)
    assert not any(stage.groups.past_due(query) for query in QUERIES)
    stage.step()
    (cycle,) = stage.groups.evaluators.values()
    assert cycle.group.arrays()["steps"].tolist() == [201.0]
    assert len(stage.page()) == PODS
    stage.step(4, odd=[2.0, -2.0, 0.0])
    scores = stage.page()
    assert scores.pop("p4") >= 0.5
    assert max(scores.values()) < 0.5
    stage.close()


@pytest.mark.parametrize("refused", [True, False])
def test_a_past_that_does_not_come_is_not_waited_for(tmp_path: Path, refused: bool) -> None:
    stage = Stage(tmp_path / "data", reads=True)
    stage.step()
    for query in QUERIES if refused else ():
        stage.groups.end_past(stage.plans[query], None)
    stage.step(1 if refused else 7)
    (cycle,) = stage.groups.evaluators.values()
    assert cycle.begun
    assert not any(stage.groups.past_due(query) for query in QUERIES)
    stage.close()


def test_what_is_kept_of_the_past_is_bounded(stage: Stage) -> None:
    stage.tables["cpu"].find([b'{"pod":"x%d"}' % pod for pod in range(900)])
    for _ in range(2200):
        stage.slot += 60.0
        stage.say("cpu", np.zeros(PODS + 900), past=True)
    past = stage.groups.inputs.past("cpu")
    assert len(past) < 2_000_000 / 900
    assert past[-1].at == stage.slot
    assert len(past) == 2_000_000 // (PODS + 900)


def test_load_on_all_metrics_is_not_anomalous(stage: Stage) -> None:
    stage.step(120)
    for _ in range(8):
        stage.step(odd=[25.0, 25.0, 25.0])
        assert stage.page()["p4"] < 0.5


def test_the_worst_things_are_kept_for_those_who_look(stage: Stage) -> None:
    assert stage.groups.statuses() == []
    stage.step(120)
    stage.step(8, odd=[1.5, -1.5, 0.0])
    (said,) = stage.groups.statuses()
    assert (said.group, said.scored, said.anomalous) == ("api", PODS, 1)
    assert said.worst[0].labels == (("pod", "p4"),)
    assert [query for query, _ in said.worst[0].shares[:2]] in (["cpu", "latency"], ["latency", "cpu"])
    assert [one.score for one in said.worst] == sorted((one.score for one in said.worst), reverse=True)
    stage.step(60)
    stage.step(8, odd=[25.0, 25.0, 25.0])
    (said,) = stage.groups.statuses()
    (load,) = [one.load for one in said.worst if one.labels == (("pod", "p4"),)]
    assert load == pytest.approx(1.5)


def test_a_load_is_said_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    stage.remember(400)
    stage.step(60)
    assert "load" not in caplog.text
    for _ in range(4):
        stage.step(6, odd=[25.0, 25.0, 25.0])
        stage.step(6)
    assert caplog.text.count("all metrics up together: load") == 1
    stage.step(40)
    stage.step(6, odd=[25.0, 25.0, 25.0])
    assert caplog.text.count("all metrics up together: load") == 2


def test_a_query_that_says_nothing_is_missing_and_without_two_nothing_is_said(stage: Stage) -> None:
    stage.step(120)
    stage.step(4, silent=("errors",))
    assert len(stage.page()) == PODS
    stage.step(4, silent=("errors", "cpu"))
    assert stage.page() == {}


@pytest.mark.parametrize("how", ["restart", "reload"])
def test_what_was_learned_stays(how: str, stage: Stage, tmp_path: Path) -> None:
    stage.step(120)
    if how == "restart":
        stage.groups.close()
        stage.store.close()
        stage.store = Store.open(tmp_path / "data", clock=time.time)
        stage.groups = Groups(lambda _: 1.0)
    stage.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES)})
    stage.exposition.withdraw_group("api")
    stage.step()
    assert len(stage.page()) == PODS


def test_a_group_is_judged_when_its_last_query_is(stage: Stage) -> None:
    stage.step(120)
    stage.exposition.withdraw_group("api")
    stage.slot += 60.0
    for query in QUERIES:
        assert stage.page() == {}
        stage.say(query, np.zeros(PODS))
    assert len(stage.page()) == PODS


def test_load_that_one_query_has_not_seen_so_far_is_no_disagreement(stage: Stage) -> None:
    stage.step(120)
    stage.slot += 60.0
    for query in QUERIES[:2]:
        stage.say(query, np.full(PODS, 25.0))
    (cycle,) = stage.groups.evaluators.values()
    cycle.run(stage.slot + 54.0)
    assert max(stage.page().values()) < 0.5


def test_a_group_of_other_metrics_learns_anew(stage: Stage) -> None:
    stage.step(120)
    stage.apply({"name": "api", "by": ["pod"], "queries": ["cpu", "latency"]})
    stage.step()
    assert stage.page() == {}


def test_a_group_that_is_removed_leaves_the_page(stage: Stage) -> None:
    stage.step(120)
    stage.apply()
    assert stage.page() == {}
    stage.step()
    assert stage.page() == {}


def test_a_forest_is_trained_beside_the_slots(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "data", detector="isolation_forest")
    stage.step(60)

    def scored() -> bool:
        stage.step()
        return len(stage.page()) == PODS

    eventually(scored, 60.0, what="scores of a forest")
    stage.step(2, odd=[9.0, -9.0, 9.0])
    assert stage.page()["p4"] >= 0.5
    stage.close()


def test_a_forest_is_trained_again_after_a_week_and_when_its_scores_have_drifted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stage = Stage(tmp_path / "data", detector="isolation_forest")

    def trained(times: int) -> None:
        def enough() -> bool:
            stage.step()
            return caplog.text.count("a forest was trained") >= times

        eventually(enough, 60.0, what="a forest")

    (cycle,) = stage.groups.evaluators.values()
    assert isinstance(cycle.group.detector, JointForest)

    def whole() -> bool:
        stage.step()
        return (forest := cycle.group.detector.forest) is not None and forest.size >= 512

    stage.step(60)
    eventually(whole, 60.0, what="a forest of enough vectors")
    before = caplog.text.count("a forest was trained")
    stage.step(60)
    stage.slot += 8 * 86400.0
    trained(before + 1)
    first = cycle.group.detector.forest
    # Six hours are too soon, however much the scores have drifted.
    stage.step(60, odd=[4.0, -4.0, 4.0], pods=tuple(range(PODS)))
    assert cycle.group.detector.drift() > 0.2
    assert cycle.group.detector.forest is first
    stage.slot += 7 * 3600.0
    trained(before + 2)
    assert caplog.text.count("a forest was trained") == before + 2
    stage.close()


def test_a_fault_withdraws_the_group_and_is_not_passed_on(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.step(120)
    (cycle,) = stage.groups.evaluators.values()
    cycle.group.detector.judge = None  # type: ignore[method-assign]
    stage.step()
    assert stage.page() == {}
    assert "a group could not be judged" in caplog.text


def test_series_without_all_of_the_labels_belong_to_no_thing() -> None:
    table = SeriesTable(10)
    table.find([b'{"pod":"a","zone":"x"}', b'{"pod":"a"}', b'{"pod":"b","zone":"x","le":"1"}'])
    assert entities_of(table, ("zone", "pod")) == [b'{"pod":"a","zone":"x"}', None, b'{"pod":"b","zone":"x"}']
    assert entities_of(table, ()) == [b"{}"] * 3


def test_pods_that_come_later_are_things_too(stage: Stage) -> None:
    stage.step(120)
    for query, table in stage.tables.items():
        table.find([b'{"pod":"new","query":"%s"}' % query.encode()])
    (cycle,) = stage.groups.evaluators.values()
    for _ in range(52):
        stage.slot += 60.0
        for query in QUERIES:
            stage.say(query, stage.rng.standard_normal(PODS + 1))
        cycle.run(stage.slot + 1.0)
    assert len(stage.page()) == PODS + 1
    assert "new" in stage.page()


ALERTING = {"name": "api", "by": ["pod"], "queries": list(QUERIES), "alert": {"labels": {"severity": "page"}}}
ODD = [1.5, -1.5, 0.0]


@pytest.fixture
def alerting(stage: Stage) -> Stage:
    stage.apply(ALERTING)
    stage.step(120)
    return stage


def test_a_group_alerts_like_a_query_and_says_the_share_of_each_metric(alerting: Stage) -> None:
    alerting.step(8, odd=ODD)
    (alert,) = alerting.alerts()
    assert alert.labels == {"alertname": "AnomalyDetected", "group": "api", "pod": "p4", "severity": "page"}
    assert alert.state == "firing"
    labels = {"query": "(group) api", "state": "firing"}
    assert alerting.registry.get_sample_value("anomaly_exporter_alerts", labels) == 1
    assert alert.annotations["summary"].startswith("The metrics of pod=p4 (api) do not go together: ")
    assert alert.annotations["shape"] == "frozen", "all of its odd samples are equal"
    lines = alert.annotations["metrics"].splitlines()
    assert {line.split(":")[0] for line in lines} == set(QUERIES)
    assert "% of the score, 1.5 standard deviations above its mean, " in alert.annotations["metrics"]
    # What a thing says is smoothed, so it is well some slots after its metrics are.
    for _ in range(60):
        alerting.step()
        if alerting.page()["p4"] < 0.5:
            break
        assert alerting.states() == {"p4": "firing"}
    assert alerting.states() == {"p4": "resolved"}


def test_a_group_ends_with_the_alerts_of_its_queries(alerting: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    alerting.step()
    ends = {"p4": (alerting.slot, np.inf), "p5": (alerting.slot, np.inf)}
    monkeypatch.setattr(RootCauses, "recovered_beside", lambda _, labels: ends.get(labels["pod"]))
    alerting.step(8, odd=ODD, pods=(4, 5))
    assert alerting.states() == {}, "they have been told of"
    # What began before the queries alerted, or lasts for long, is news.
    ends["p5"] = (alerting.slot + 61.0, np.inf)
    ends["p4"] = (0.0, alerting.slot - 11 * 60.0)
    alerting.step(odd=ODD, pods=(4, 5))
    assert alerting.states() == {"p5": "firing"}
    assert b'reason="incident"' in b"".join(alerting.exposition.scrape().body)
    alerting.step(odd=ODD, pods=(4, 5))
    assert alerting.states() == {"p4": "firing", "p5": "firing"}
    ends["p4"] = ends["p5"] = (0.0, alerting.slot)
    alerting.step()
    assert alerting.page()["p4"] >= 0.5
    assert alerting.states() == {"p4": "resolved", "p5": "resolved"}


def test_a_group_without_alert_has_none_and_one_that_loses_it_ends_what_fires(alerting: Stage) -> None:
    alerting.step(8, odd=ODD)
    alerting.apply({**ALERTING, "alert": {"labels": {"severity": "ticket"}}})
    alerting.step(odd=ODD)
    assert sorted((one.labels["severity"], str(one.state)) for one in alerting.alerts()) == [
        ("page", "resolved"),
        ("ticket", "firing"),
    ]
    alerting.apply({name: value for name, value in ALERTING.items() if name != "alert"})
    alerting.step(3, odd=ODD)
    assert {str(one.state) for one in alerting.alerts()} == {"resolved"}


def test_while_the_queries_of_a_group_fail_its_alerts_are_held(alerting: Stage) -> None:
    alerting.step(8, odd=ODD)
    alerting.step(10, silent=QUERIES)
    assert alerting.states() == {"p4": "firing"}
    alerting.step(10, silent=QUERIES[:2])
    assert alerting.states() == {"p4": "firing"}
    alerting.step(12, silent=QUERIES)
    # Given up, and not resolved, after `source_hold`.
    assert alerting.states() == {"p4": "firing"}
    alerting.step(5, silent=QUERIES)
    assert alerting.states() == {}


def test_things_that_turn_together_are_a_storm(alerting: Stage) -> None:
    alerting.step(8, odd=[9.0, -9.0, 0.0], pods=(0, 1, 2, 3, 4, 5))
    (alert,) = alerting.alerts()
    assert alert.labels == {"alertname": "AnomalyDetected", "group": "api", "severity": "page", "storm": "1"}
    assert alert.annotations["members"] == "6 of 12 things"


def test_young_series_do_not_alert_in_a_group(alerting: Stage) -> None:
    alerting.ready = False
    alerting.step(8, odd=ODD)
    assert alerting.page()["p4"] >= 0.5
    assert alerting.states() == {}


def test_a_new_normal_is_accepted_and_outlives_a_restart(
    alerting: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    alerting.step(12, odd=ODD)
    (alert,) = alerting.alerts()
    alerting.store.episodes.give_feedback(alert.episode, Feedback.NEW_NORMAL, at=alerting.slot, who="alice", comment="")
    alerting.step(odd=ODD)
    assert caplog.text.count("the present level is the new normal") == 1
    alerting.step(2, odd=ODD)
    assert alerting.states() == {"p4": "resolved"}
    assert alerting.page()["p4"] < 0.5
    assert alerting.feedback.pending("(group) api") == []
    assert caplog.text.count("the present level is the new normal") == 1
    # Killed: what is on disk is what the lesson came to.
    alerting.groups = Groups(lambda _: 1.0)
    alerting.apply(ALERTING)
    alerting.step(8, odd=ODD)
    assert alerting.page()["p4"] < 0.5


def test_a_restart_goes_on_with_the_alerts_of_a_group(alerting: Stage, tmp_path: Path) -> None:
    alerting.step(8, odd=ODD)
    (before,) = alerting.alerts()
    alerting.groups.close()
    alerting.store.close()
    alerting.store = Store.open(tmp_path / "data", clock=time.time)
    alerting.groups = Groups(lambda _: 1.0)
    alerting.apply(ALERTING)
    alerting.step(odd=ODD)
    (after,) = alerting.alerts()
    assert (after.episode, after.fired_at) == (before.episode, before.fired_at)


def test_a_group_that_is_removed_leaves_its_alerts_to_be_ended(alerting: Stage) -> None:
    alerting.step(8, odd=ODD)
    alerting.apply()
    assert [str(one.state) for one in alerting.left["(group) api"].alerts.values()] == ["firing"]


def test_what_goes_with_a_load_is_held_by_the_rows_of_each_query(stage: Stage) -> None:
    stage.step(3)
    slot = stage.slot
    assert not stage.groups.loads("cpu", slot, PODS).held.any()
    # Long before there are scores: by the growths alone.
    stage.step(3, odd=[25.0, 25.0, 25.0])
    for query in QUERIES:
        assert np.flatnonzero(stage.groups.loads(query, stage.slot, PODS).held).tolist() == [4]
    assert b'anomaly_group_load_factor{group="api"' in b"".join(stage.exposition.scrape().body)
    assert stage.groups.loads("elsewhere", stage.slot, PODS) is None


@pytest.mark.parametrize("alerts", [True, False], ids=["its query alerts", "nobody would say so"])
def test_what_fails_under_a_load_has_one_alert(stage: Stage, alerts: bool) -> None:
    stage.alert = {} if alerts else None
    stage.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES), "alert": {}})
    stage.step(120)
    stage.step(8, odd=[50.0, 250.0, 50.0])
    held = [bool(stage.groups.loads(query, stage.slot, PODS).held[4]) for query in QUERIES]
    assert held == [alerts or stage.states() != {}, False, alerts or stage.states() != {}]
    # The alert of the group says it where no query does.
    assert ("p4" in stage.states()) == (not alerts)


def test_a_reload_that_changes_how_metrics_vote_keeps_what_was_learned(stage: Stage) -> None:
    stage.step(120)
    stage.step(4, odd=[25.0, -1.0, 1.0])
    assert stage.page()["p4"] >= 0.5
    stage.apply({"name": "api", "by": ["pod"], "queries": list(QUERIES), "votes": {"quorum": 3}})
    stage.step(odd=[25.0, -1.0, 1.0])
    scores = stage.page()
    assert len(scores) == PODS
    assert scores["p4"] < 0.5, "two of three agree"
