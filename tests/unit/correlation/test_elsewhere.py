"""Causes and storms of other shards, as Alertmanagers list their alerts."""

from __future__ import annotations

from exporter.alerting.alert import AlertCandidate, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses, SlotCandidates

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
