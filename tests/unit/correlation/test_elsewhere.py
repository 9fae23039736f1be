"""Causes and storms of other shards, as Alertmanagers list their alerts."""

from __future__ import annotations

from exporter.alerting.alert import AlertCandidate, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses, SlotCandidates
from tests.storms import Stage

T0 = 1_800_000_000.0
DEPENDS = DependencySettings(caller={"service": "checkout"}, callee={"service": "payments"})


def candidate(**labels: str) -> AlertCandidate:
    return AlertCandidate({"alertname": "A", **labels}, Explanation({}), "http://prometheus")


def explained(root_causes: RootCauses, found: AlertCandidate, **more: object) -> dict[str, str]:
    """The labels of its incident that an alert would get."""
    identity = fingerprint(found.labels)
    slot = SlotCandidates("latency", T0, 60.0, {}, {identity: found}, {identity: 0.9}, {}, (), **more)
    traces = root_causes.extend_traces(slot, {})
    return dict(root_causes.explain(slot, traces)[identity].firing_labels)


def test_the_effect_of_a_cause_in_another_shard_joins_its_incident() -> None:
    payments = {"alertname": "A", "query": "latency", "service": "payments", "incident": "i", "incident_role": "root"}
    listed = [(fingerprint({"service": "payments"}), T0 - 60.0, payments)]
    root_causes = RootCauses([DEPENDS], elsewhere=lambda: listed)
    checkout = candidate(query="latency", service="checkout")
    assert explained(root_causes, checkout) == {"incident": "i", "incident_role": "effect"}
    # What nobody depends on is none.
    assert explained(root_causes, candidate(query="latency", service="search")) == {}
    listed.clear()
    assert explained(root_causes, checkout)["incident_role"] == "root"


def test_what_began_long_before_is_no_cause() -> None:
    payments = {"alertname": "A", "service": "payments", "incident": "i", "incident_role": "root"}
    root_causes = RootCauses([DEPENDS], elsewhere=lambda: [("f", T0 - 3600.0, payments)])
    assert explained(root_causes, candidate(service="checkout"))["incident"] != "i"


def test_the_parts_of_a_storm_are_one_incident() -> None:
    incidents = set()
    for storm in ("0-1", "1-1"):
        part = candidate(query="latency", service="payments", storm=storm)
        more = {"incidents": {fingerprint(part.labels): "stormy"}}
        incidents.add(explained(RootCauses([DEPENDS]), part, **more)["incident"])
    assert incidents == {"stormy"}


# ---------------------------------------------------------------- what begins in one slot of two shards

SERVICES = {name: {"service": name, "instance": name} for name in ("shop", "checkout", "payments", "search")}
CHAIN = [DependencySettings(caller={"service": "shop"}, callee={"service": "checkout"}), DEPENDS]


class OneShard:
    """One shard of a chain of services; `listed` is what Alertmanagers have from the others, after 25 s at most."""

    def __init__(self, **more: object) -> None:
        self.listed: list[tuple[str, float, dict[str, str]]] = []
        self.causes = RootCauses(CHAIN, elsewhere=lambda: self.listed, **more)
        self.causes.configure(CHAIN, ["latency"], patience=25.0)
        self.stage = Stage(SERVICES, name="latency", causes=self.causes)

    def fires(self, service: str) -> dict[str, str] | None:
        """Judge a slot in which only this one is anomalous; return the labels of its incident once it fires."""
        self.stage.slot((service,))
        (alert,) = self.stage.open()
        return {name: alert.labels[name] for name in ("incident", "incident_role")} if alert.fired_at else None

    def lists(self, service: str, incident: str, role: str) -> None:
        labels = {"alertname": "A", "service": service, "incident": incident, "incident_role": role}
        self.listed = [(fingerprint({"service": service}), self.stage.at, labels)]


def test_an_effect_waits_for_a_cause_that_began_in_the_same_slot() -> None:
    shard = OneShard()
    assert shard.fires("checkout") is None
    shard.lists("payments", "i", "root")
    assert shard.fires("checkout") == {"incident": "i", "incident_role": "effect"}


def test_each_level_waits_for_the_one_below() -> None:
    shard = OneShard()
    shard.causes.configure(CHAIN, ["latency"], patience=45.0)
    # Of checkout nothing is listed yet: it waits itself, for payments.
    assert [shard.fires("shop"), shard.fires("shop")] == [None, None]
    shard.lists("checkout", "i", "effect")
    assert shard.fires("shop") == {"incident": "i", "incident_role": "effect"}


def test_who_calls_nobody_does_not_wait() -> None:
    for service in ("payments", "search"):
        shard = OneShard()
        shard.stage.slot((service,))
        assert [alert.fired_at is not None for alert in shard.stage.open()] == [True]


def test_nothing_waits_where_all_series_are_here() -> None:
    shard = OneShard()
    shard.causes.configure(CHAIN, ["latency"])
    assert shard.fires("checkout") is not None


def test_what_another_replica_has_sent_does_not_wait() -> None:
    shard = OneShard(sent_labels=lambda identity: {"incident": "i", "incident_role": "effect"})
    assert shard.fires("checkout") == {"incident": "i", "incident_role": "effect"}
