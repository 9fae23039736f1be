"""Cause and effect between queries: labels that are fixed when an alert fires, and what its explanation says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.alerting.alert import fingerprint
from exporter.alerting.incident_groups import GroupMembers
from exporter.alerting.saved_context import decode_context
from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses
from tests.storms import INTERVAL, Stage

SERVICES = {name: {"service": name, "instance": name} for name in ("checkout", "payments", "search")}
EDGE = DependencySettings(caller={"service": "checkout"}, callee={"service": "payments"})


class Pair:
    """Two queries with the same services; the second has its slots half an interval later."""

    def __init__(self, **changes: object) -> None:
        self.causes = RootCauses([EDGE])
        self.latency = Stage(SERVICES, name="latency", causes=self.causes, **changes)
        self.errors = Stage(SERVICES, name="errors", causes=self.causes, **changes)
        self.errors.at += INTERVAL / 2

    def slot(self, latency: tuple[str, ...] = (), errors: tuple[str, ...] = ()) -> None:
        self.latency.slot(latency)
        self.errors.slot(errors)

    sources: tuple[str, ...] = ("latency", "errors")
    members: tuple[GroupMembers, ...] = ()

    def crash(self) -> None:
        self.causes = RootCauses()
        self.causes.configure([EDGE], self.sources, self.members)
        for stage in (self.latency, self.errors):
            stage.causes = self.causes
            stage.crash()

    def alert(self, query: str, service: str):
        stage: Stage = getattr(self, query)
        (found,) = (one for one in stage.alert_store.alerts.values() if one.labels["service"] == service)
        return found


def incident(alert) -> tuple[str, str]:
    return alert.labels.get("incident", ""), alert.labels.get("incident_role", "")


def root_of(alert) -> str:
    return alert.fingerprint[:12]


@pytest.mark.parametrize("killed", [False, True])
def test_a_cascade_is_one_incident_that_names_its_cause(killed: bool) -> None:
    pair = Pair(for_=120.0)
    pair.slot(errors=("payments",))
    pair.slot(latency=("checkout",), errors=("payments",))
    if killed:
        pair.crash()
    for _ in range(3):
        pair.slot(latency=("checkout",), errors=("payments",))
    cause, effect = pair.alert("errors", "payments"), pair.alert("latency", "checkout")
    assert incident(cause) == (root_of(cause), "root")
    assert incident(effect) == (root_of(cause), "effect")
    assert effect.annotations["suspected_cause"].startswith("errors of instance=payments service=payments, ")
    assert effect.annotations["suspected_cause"].endswith(", 30 s before this")
    assert "suspected_cause" not in cause.annotations
    assert cause.annotations["suspected_effects"] == "latency of instance=checkout service=checkout"


def test_a_template_may_name_the_cause() -> None:
    pair = Pair(annotations={"note": "first look at {{ suspected_cause }}", "follows": "{{ suspected_effects }}"})
    pair.slot(errors=("payments",))
    for _ in range(2):
        pair.slot(latency=("checkout",), errors=("payments",))
    cause, effect = pair.alert("errors", "payments"), pair.alert("latency", "checkout")
    assert effect.annotations["note"] == f"first look at {effect.annotations['suspected_cause']}"
    assert cause.annotations["follows"] == cause.annotations["suspected_effects"] != ""
    assert cause.annotations["note"] == "first look at "
    pair.slot(latency=("checkout",))  # The cause is over, and its text stays.
    assert pair.alert("latency", "checkout").annotations["note"] == effect.annotations["note"]


def test_unrelated_anomalies_are_two_incidents_and_strangers_have_none() -> None:
    pair = Pair()
    pair.slot(latency=("payments", "search"), errors=())
    pair.slot(latency=("payments", "search"))
    assert incident(pair.alert("latency", "search")) == ("", "")
    assert incident(pair.alert("latency", "payments"))[1] == "root"
    assert "suspected_cause" not in pair.alert("latency", "payments").annotations


def test_labels_do_not_change_once_an_alert_fires() -> None:
    pair = Pair()
    pair.slot(latency=("checkout",), errors=())
    before = pair.alert("latency", "checkout")
    assert incident(before) == (root_of(before), "root")
    pair.slot(latency=("checkout",), errors=("payments",))
    pair.slot(latency=("checkout",), errors=("payments",))
    after = pair.alert("latency", "checkout")
    assert after.labels == before.labels
    # The cause was seen half an interval later, which is not later at all.
    assert pair.alert("errors", "payments").labels["incident_role"] == "root"
    pair.slot(latency=("checkout",), errors=("payments",))


def test_both_in_one_slot_of_one_query_are_one_incident_without_waiting() -> None:
    pair = Pair()
    pair.slot(latency=("checkout", "payments"))
    cause = pair.alert("latency", "payments")
    assert incident(pair.alert("latency", "checkout")) == (root_of(cause), "effect")
    assert incident(cause) == (root_of(cause), "root")
    assert pair.alert("latency", "checkout").annotations["suspected_cause"].endswith(", at the same time")


def test_the_identity_of_an_alert_is_that_of_its_labels_without_the_incident() -> None:
    pair = Pair()
    pair.slot(latency=("checkout", "payments"))
    for alert in pair.latency.alert_store.alerts.values():
        plain = {name: value for name, value in alert.labels.items() if not name.startswith("incident")}
        assert alert.fingerprint == fingerprint(plain)


def test_the_next_episode_is_decided_anew() -> None:
    pair = Pair()
    pair.slot(latency=("checkout", "payments"))
    pair.slot()
    pair.slot(latency=("checkout",))
    assert incident(pair.alert("latency", "checkout"))[1] == "root"


def test_when_the_cause_is_over_the_effect_still_says_what_it_was() -> None:
    pair = Pair()
    pair.slot(latency=("checkout", "payments"))
    said = pair.alert("latency", "checkout").annotations["suspected_cause"]
    pair.slot(latency=("checkout",))
    pair.crash()
    pair.slot(latency=("checkout",))
    assert pair.alert("latency", "checkout").annotations["suspected_cause"] == said
    assert incident(pair.alert("latency", "checkout"))[1] == "effect"


def test_a_replica_that_saw_less_takes_the_incident_under_which_the_other_sent_its_alerts() -> None:
    first = Pair(for_=60.0)
    first.slot(errors=("payments",))
    for _ in range(3):
        first.slot(latency=("checkout",), errors=("payments",))
    fixed = {
        alert.fingerprint: {name: value for name, value in alert.labels.items() if name.startswith("incident")}
        for alert in (first.alert("latency", "checkout"), first.alert("errors", "payments"))
    }
    # It began when both were anomalous, and the effect has the first slot.
    alone, second = Pair(for_=60.0), Pair(for_=60.0)
    second.causes._sent_labels = lambda identity: fixed.get(identity, {})
    for pair in (alone, second):
        pair.latency.slot(["checkout"])
        for _ in range(6):
            pair.latency.slot(["checkout"])
        for _ in range(3):
            pair.slot(latency=("checkout",), errors=("payments",))
    assert incident(alone.alert("latency", "checkout"))[1] == "root"
    for query, service in (("latency", "checkout"), ("errors", "payments")):
        assert second.alert(query, service).labels == first.alert(query, service).labels
    # The next episode follows from itself, although the list may be as old as the last.
    second.slot()
    second.slot(latency=("checkout",))
    assert second.alert("latency", "checkout").labels.get("incident_role", "root") == "root"


def test_an_onset_is_that_of_the_trace_where_a_restart_made_the_alert_wait() -> None:
    pair = Pair(for_=600.0)
    pair.slot(errors=("payments",))
    trace = pair.causes._anomalies["errors"][0].trace
    alert = replace(pair.alert("errors", "payments"), active_at=trace.times[0] + 900.0)
    pair.causes.update("errors", {alert.fingerprint: alert}, {alert.fingerprint: trace}, INTERVAL)
    assert pair.causes._anomalies["errors"][0].onset == trace.times[0]


def test_a_storm_is_a_cause_by_what_most_of_its_members_share() -> None:
    pods = {f"p{n}": {"service": "payments", "pod": f"p{n}"} for n in range(8)}
    pods |= {f"o{n}": {"service": f"other{n}", "pod": f"o{n}"} for n in range(8)}
    causes = RootCauses([EDGE])
    cpu = Stage(pods, name="cpu", causes=causes)
    latency = Stage(SERVICES, name="latency", causes=causes)
    cpu.slot([f"p{n}" for n in range(8)] + ["o1"])
    latency.at += 10.0
    latency.slot(["checkout"])
    storm = cpu.storm()
    assert "service" not in storm.labels
    assert incident(storm) == (root_of(storm), "root")
    (effect,) = latency.alert_store.alerts.values()
    assert incident(effect) == (root_of(storm), "effect")
    assert "storm=1" in effect.annotations["suspected_cause"]


@pytest.mark.parametrize(("payments", "role"), [(8, "root"), (7, "")])
def test_four_fifths_of_a_storm_must_share_a_label(payments: int, role: str) -> None:
    pods = {f"p{n}": {"service": "payments" if n < payments else f"other{n}", "pod": f"p{n}"} for n in range(10)}
    cpu = Stage({**pods, "calm": {"service": "calm", "pod": "calm"}}, name="cpu", causes=RootCauses([EDGE]))
    cpu.slot(list(pods))
    assert incident(cpu.storm())[1] == role


def test_an_effect_that_waits_goes_with_a_cause_that_waits() -> None:
    pair = Pair()
    pair.errors.rule = pair.errors.rule.model_copy(update={"for_": 600.0})
    pair.errors.crash()
    pair.slot(errors=("payments",))
    pair.slot(latency=("checkout",), errors=("payments",))
    assert pair.alert("errors", "payments").state == "pending"
    assert "incident" not in pair.alert("errors", "payments").labels
    assert incident(pair.alert("latency", "checkout")) == (root_of(pair.alert("errors", "payments")), "effect")


def test_without_dependencies_nothing_is_added_and_nothing_remembered() -> None:
    stage = Stage(SERVICES)
    stage.slot(["checkout", "payments"])
    assert not decode_context(stage.alert_store.notes).traces
    assert all("incident" not in alert.labels for alert in stage.alert_store.alerts.values())


def test_a_reload_with_other_dependencies_leaves_what_fires_alone() -> None:
    pair = Pair()
    pair.slot(latency=("checkout", "payments"))
    before = pair.alert("latency", "checkout").labels
    pair.causes.configure([], ["latency"])
    pair.slot(latency=("checkout", "payments"))
    assert pair.alert("latency", "checkout").labels == before
    assert not decode_context(pair.latency.alert_store.notes).traces


class Grouped(Pair):
    """The two queries as members of a group by service, which alerts by itself."""

    def __init__(self, **changes: object) -> None:
        super().__init__(**changes)
        services = {name: {"service": name} for name in SERVICES}
        self.joint = Stage(services, name="shop", kind="group", causes=self.causes, **changes)
        self.joint.at += INTERVAL / 4
        self.causes.configure([EDGE], self.sources, self.members)

    sources = ("latency", "errors", "shop")
    members = (GroupMembers("shop", ("service",), ("latency", "errors")),)

    def crash(self) -> None:
        super().crash()
        self.joint.causes = self.causes
        self.joint.crash()

    def slot(self, latency: tuple[str, ...] = (), errors: tuple[str, ...] = (), joint: tuple[str, ...] = ()) -> None:
        super().slot(latency, errors)
        self.joint.slot(joint)


@pytest.mark.parametrize("killed", [False, True])
def test_queries_of_a_group_and_the_group_itself_are_one_incident(killed: bool) -> None:
    group = Grouped()
    group.slot(latency=("search",))
    if killed:
        group.crash()
    for _ in range(3):
        group.slot(latency=("search",), joint=("search",))
    # A late member joins.
    group.slot(latency=("search",), errors=("search",), joint=("search",))
    group.slot(latency=("search",), errors=("search",), joint=("search",))
    first = group.alert("latency", "search")
    assert incident(first) == (root_of(first), "root")
    for part in (group.alert("joint", "search"), group.alert("errors", "search")):
        assert incident(part) == (root_of(first), "effect")
        assert part.annotations["same_incident"].startswith("latency")
        assert ", anomalous since 20" in part.annotations["same_incident"]
        assert "suspected_cause" not in part.annotations
    assert first.annotations["same_incident"] == "errors; shop"
    assert "suspected_effects" not in first.annotations
    # The first is over, and who comes now is still part of it.
    group.slot(errors=("search",), joint=("search",))
    assert group.alert("errors", "search").annotations["same_incident"] != ""
    beside = {"group": "shop", "service": "search"}
    assert group.causes.recovered_beside(beside) is None, "the other one goes on"
    group.slot(joint=("search",))
    # As one: they overlapped.
    assert group.causes.recovered_beside(beside) == (first.active_at, group.alert("errors", "search").resolved_at)
    assert group.causes.recovered_beside({**beside, "service": "payments"}) is None
    ends = group.causes.recovered_beside(beside)
    group.crash()
    assert group.causes.recovered_beside(beside) == ends


def test_other_things_and_later_days_are_other_incidents() -> None:
    group = Grouped()
    group.slot(latency=("search",))
    group.slot(latency=("search",), errors=("payments",))
    assert incident(group.alert("errors", "payments"))[1] == "root"
    for _ in range(70):
        group.slot(latency=("search",), errors=("payments",))
    group.slot(latency=("search",), errors=("payments", "search"))
    late = group.alert("errors", "search")
    assert incident(late) == (root_of(late), "root")


def test_what_is_explained_takes_the_others_about_the_same_thing_along() -> None:
    group = Grouped(for_=120.0)
    group.slot(joint=("checkout",), errors=("payments",))
    for _ in range(4):
        group.slot(latency=("checkout",), joint=("checkout",), errors=("payments",))
    cause = group.alert("errors", "payments")
    assert incident(cause) == (root_of(cause), "root")
    for query in ("latency", "joint"):
        assert incident(group.alert(query, "checkout")) == (root_of(cause), "effect")


def test_storms_of_queries_of_a_group_are_one_incident() -> None:
    names = {f"s{number}": {"service": f"s{number}", "instance": "x"} for number in range(6)}
    causes = RootCauses()
    causes.configure([], ["latency", "errors"], Grouped.members)
    latency, errors = (Stage(names, name=name, causes=causes) for name in ("latency", "errors"))
    latency.slot(names)
    errors.at += INTERVAL / 2
    errors.slot(names)
    first, second = latency.storm(), errors.storm()
    assert incident(first) == (root_of(first), "root")
    assert incident(second) == (root_of(first), "effect")
