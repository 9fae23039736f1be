"""Cause and effect by hand: which anomaly explains which, and what belongs to one incident."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exporter.alerting.root_cause import (
    DependencyGraph,
    IncidentLink,
    OpenAnomaly,
    SeverityTrace,
    agreement,
    extended,
    link_incidents,
)
from exporter.alerting.settings import DependencySettings
from tests.alerts import T0

MINUTE = 60.0


def calls(caller: str, callee: str, *equal: str) -> DependencySettings:
    return DependencySettings(caller={"service": caller}, callee={"service": callee}, equal=equal)


def anomaly(
    service: str, onset: float, severities: Sequence[float] = (3.0,), *, interval: float = MINUTE, **fields
) -> OpenAnomaly:
    """One that turned `onset` minutes after `T0`."""
    labels = {"service": service, **fields.pop("labels", {})}
    began = T0 + onset * MINUTE
    times = tuple(began + interval * number for number in range(len(severities)))
    identity = (service * 32)[:32]
    return OpenAnomaly(identity, began, interval, SeverityTrace(labels, times, tuple(severities)), **fields)


def links(graph: DependencyGraph, *anomalies: OpenAnomaly) -> dict[str, IncidentLink]:
    found = link_incidents(graph, anomalies, [one.identity for one in anomalies])
    return {one.labels["service"]: found[one.identity] for one in anomalies}


def links_of(graph: DependencyGraph, anomaly: OpenAnomaly, *others: OpenAnomaly) -> IncidentLink:
    return link_incidents(graph, [anomaly, *others], [anomaly.identity])[anomaly.identity]


def incidents(graph: DependencyGraph, *anomalies: OpenAnomaly) -> dict[str, str]:
    """The root of each, by the letter that its incident is made of."""
    return {name: one.incident[0] for name, one in links(graph, *anomalies).items()}


CHAIN = DependencyGraph([calls("a", "b"), calls("b", "c")])
CIRCLE = DependencyGraph([calls("a", "b"), calls("b", "c"), calls("c", "a")])


def test_a_callee_that_began_first_explains_its_caller() -> None:
    found = links(CHAIN, anomaly("a", 2, [3, 3]), anomaly("b", 0, [4, 4, 4, 4]))
    assert found["b"] == IncidentLink("b" * 12, False, None, found["b"].root)
    assert found["a"].root == found["b"].root
    assert found["a"].incident == "b" * 12
    assert found["a"].effect
    assert found["a"].cause.labels == {"service": "b"}


@pytest.mark.parametrize(
    ("ahead", "explained"),
    [(-2, False), (-1, True), (0, True), (3, True), (6, True), (7, False), (600, False)],
    ids=lambda value: str(value),
)
def test_a_cause_begins_at_most_five_minutes_before_give_or_take_an_interval(ahead: int, explained: bool) -> None:
    found = links(CHAIN, anomaly("a", ahead), anomaly("b", 0))
    assert found["a"].effect is explained


def test_an_anomaly_of_the_caller_explains_nothing_of_the_callee() -> None:
    assert incidents(CHAIN, anomaly("a", 0), anomaly("b", 3)) == {"a": "a", "b": "b"}


def test_what_does_not_depend_on_each_other_stays_apart() -> None:
    assert incidents(CHAIN, anomaly("a", 0), anomaly("c", 0), anomaly("d", 0)) == {"a": "a", "c": "c", "d": "d"}


def test_a_chain_has_one_root() -> None:
    found = links(CHAIN, anomaly("a", 2), anomaly("b", 1), anomaly("c", 0))
    assert {name: one.incident for name, one in found.items()} == dict.fromkeys("abc", "c" * 12)
    assert {name: one.cause and one.cause.labels["service"] for name, one in found.items()} == {
        "a": "b", "b": "c", "c": None
    }  # fmt: skip


def test_siblings_belong_to_one_incident() -> None:
    graph = DependencyGraph([calls("a", "c"), calls("b", "c")])
    assert incidents(graph, anomaly("a", 1), anomaly("b", 2), anomaly("c", 0)) == {"a": "c", "b": "c", "c": "c"}


@pytest.mark.parametrize("order", ["abc", "bca", "cab", "cba"])
def test_a_circle_has_its_root_where_it_began_whatever_the_order(order: str) -> None:
    onsets = {"a": 1, "b": 0, "c": 1}
    found = links(CIRCLE, *(anomaly(name, onsets[name]) for name in order))
    assert {one.incident[0] for one in found.values()} == {"b"}
    assert [name for name, one in found.items() if not one.effect] == ["b"]
    assert found["b"].cause is None


def test_a_service_that_calls_itself_explains_nothing() -> None:
    graph = DependencyGraph([DependencySettings(caller={"service": "a"}, callee={"job": "x"})])
    assert not links(graph, anomaly("a", 0, labels={"job": "x"}))["a"].effect


def test_labels_that_must_be_equal_keep_clusters_apart() -> None:
    graph = DependencyGraph([calls("a", "b", "cluster")])
    here, there = {"cluster": "one"}, {"cluster": "two"}
    assert links(graph, anomaly("a", 1, labels=here), anomaly("b", 0, labels=here))["a"].effect
    assert not links(graph, anomaly("a", 1, labels=here), anomaly("b", 0, labels=there))["a"].effect


def test_of_two_causes_the_one_that_agrees_better_is_named() -> None:
    graph = DependencyGraph([calls("a", "b"), calls("a", "c")])
    wave = [2, 8, 2, 9, 2, 8, 2]
    found = links(
        graph, anomaly("a", 2, wave), anomaly("b", 0, [*wave, 2, 9]), anomaly("c", 1, [2, 2, 2, 2, 9, 9, 9, 2])
    )
    assert found["a"].cause.labels["service"] == "b"


def test_severities_that_lead_the_other_way_are_no_cause() -> None:
    # Both began together, but the caller rises and falls three minutes before the callee.
    early = [2, 2, 9, 9, 2, 2, 2, 2, 2, 2]
    late = [2, 2, 2, 2, 2, 9, 9, 2, 2, 2]
    assert agreement(anomaly("a", 0, early), anomaly("b", 0, late))[1] == -3 * MINUTE
    assert not links(CHAIN, anomaly("a", 0, early), anomaly("b", 0, late))["a"].effect
    assert links(CHAIN, anomaly("a", 0, late), anomaly("b", 0, early))["a"].effect


def test_what_was_decided_when_an_alert_fired_stays() -> None:
    fired = anomaly("b", 0, incident="b" * 12)
    found = links(CHAIN, anomaly("a", 1), fired, anomaly("c", 0))
    assert found["b"].incident == "b" * 12
    assert not found["b"].effect
    assert found["b"].cause.labels == {"service": "c"}  # It is named all the same.
    assert found["a"].incident == "b" * 12
    effect = anomaly("b", 0, incident="c" * 12, effect=True)
    found = links(CHAIN, anomaly("a", 1), effect)
    assert found["a"].incident == "c" * 12
    assert found["b"] == IncidentLink("c" * 12, True, None, found["b"].root)


def test_slots_of_different_lengths_are_compared() -> None:
    slow = anomaly("b", 0, [4.0] * 3, interval=300.0)
    fast = anomaly("a", -3, [4.0] * 60, interval=15.0)
    assert links(CHAIN, slow, fast)["a"].effect


def test_a_trace_keeps_its_beginning_and_not_every_second() -> None:
    trace = SeverityTrace({})
    for number in range(2000):
        trace = extended(trace, T0 + number, 2.0, {})
    assert len(trace.times) == 64
    assert trace.times[:3] == (T0, T0 + 10, T0 + 20)


def test_a_trace_that_is_not_known_lets_the_onsets_speak() -> None:
    assert links(CHAIN, anomaly("a", 2, ()), anomaly("b", 0, ()))["a"].effect


def test_many_anomalies_are_linked_without_comparing_all_with_all() -> None:
    graph = DependencyGraph([calls(f"s{n}", f"s{n + 1}") for n in range(600)])
    chain = [
        OpenAnomaly(f"{n:032}", T0 - n, MINUTE, SeverityTrace({"service": f"s{n}"}, (T0,), (3.0,))) for n in range(200)
    ]
    found = link_incidents(graph, chain, [one.identity for one in chain])
    assert {one.incident for one in found.values()} == {chain[-1].own_incident}


@pytest.mark.parametrize(
    ("severities", "peak", "explained"),
    [([5, 1, 1, 5, 9, 9, 2, 1], 0.45, False), ([9, 5, 2, 1, 5, 1, 2, 5], 0.55, True)],
)
def test_severities_agree_from_a_correlation_of_a_half(severities: list[float], peak: float, explained: bool) -> None:
    effect, cause = anomaly("a", 1, [2, 8, 2, 9, 2, 8, 2, 9]), anomaly("b", 0, severities)
    assert agreement(effect, cause)[0] == pytest.approx(peak, abs=0.01)
    assert links(CHAIN, effect, cause)["a"].effect is explained


def test_three_slots_can_contradict_the_onsets_and_two_cannot() -> None:
    effect, cause = [9, 0.1, 0.1], [0.1, 9, 0.1]
    assert links(CHAIN, anomaly("a", 0, effect[:2]), anomaly("b", 1, cause[:2]))["a"].effect
    assert not links(CHAIN, anomaly("a", 0, effect), anomaly("b", 1, cause))["a"].effect


def test_of_many_causes_the_sixteen_closest_are_compared() -> None:
    graph = DependencyGraph([DependencySettings(caller={"service": "a"}, callee={"job": "x"})])
    effect = anomaly("a", 5)
    causes = [
        OpenAnomaly(f"{number:02}", effect.onset - 10.0 * number, MINUTE, SeverityTrace({"job": "x"}))
        for number in range(1, 21)
    ]
    # All agree equally, so the earliest of those that are compared is named.
    assert links_of(graph, effect, *causes).cause.identity == "16"


def test_the_lead_of_a_long_trace_is_as_exact_as_its_slots() -> None:
    severities = [2.0 + (number * number) % 7 for number in range(60)]
    assert agreement(anomaly("a", 2, severities), anomaly("b", 0, severities)) == (pytest.approx(0.94, abs=0.01), 120.0)


def test_levels_are_counted_as_far_as_it_matters() -> None:
    chain = DependencyGraph([calls("a", "b"), calls("a", "d"), calls("b", "c"), calls("c", "d"), calls("d", "e")])
    assert [chain.levels({"service": name}) for name in "abcdex"] == [3, 3, 2, 1, 0, 0]
    assert CIRCLE.levels({"service": "a"}) == 3
