"""Cards of open anomalies."""

from __future__ import annotations

from exporter.views.anomalies import alert_card
from tests.faults.cycling import plan_of
from tests.store_values import an_alert

OWN = {"alertname": "A", "query": "load", "cluster": "eu", "team": "x", "severity": "page", "instance": "a"}


def test_before_the_first_slot_after_a_start_a_card_has_the_labels_of_its_series() -> None:
    alert, plan = an_alert(query="load", labels=OWN), plan_of(alert={"labels": {"severity": "page", "team": "x"}})
    assert alert_card(alert, plan, frozenset(), None, external=["cluster"]).labels == (("instance", "a"),)
    assert alert_card(alert, plan, frozenset({"instance"}), None, external=["cluster"]).labels == (("instance", "a"),)


def test_the_card_of_a_group_has_the_labels_of_its_entity() -> None:
    labels = {"alertname": "A", "query": "(group) shop", "pod": "a", "incident": "i1"}
    assert alert_card(an_alert(query="(group) shop", labels=labels), None, frozenset(), None).labels == (("pod", "a"),)
