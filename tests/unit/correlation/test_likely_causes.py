"""The likely causes of an alert, from verdicts of the query that measures the damage."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.causes import rank, simulated
from exporter.alerting.alert import AlertCandidate
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.root_cause import DependencyGraph
from exporter.alerting.settings import DependencySettings
from exporter.correlation.damage import DamageHistory, PastVerdicts
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.settings import CauseSettings
from exporter.engine.series import Labels, SeriesTable, key_of
from exporter.engine.verdict import Verdict, Verdicts

SERVICES = ("shop", "cart", "stock", "mail")
CALLS = [("shop", "cart"), ("cart", "stock"), ("shop", "mail")]
GRAPH = DependencyGraph([DependencySettings(caller={"service": a}, callee={"service": b}) for a, b in CALLS])
STEP = 60.0
USUAL = np.array([10.0, 4.0, 3.0, 1.0])


def table_of(names: tuple[str, ...] = SERVICES, *, pods: int = 1) -> SeriesTable:
    table = SeriesTable(10_000)
    table.find([key_of((("pod", str(pod)), ("service", name))) for name in names for pod in range(pods)])
    return table


def verdict(at: float, observed: np.ndarray, expected: np.ndarray, width: float = 0.1) -> Verdict:
    verdicts = Verdicts(np.array([at]), observed[None], 2)
    verdicts.expected[0] = expected
    verdicts.z[0] = (observed - expected) / width
    return verdicts[0]


class Shop:
    """Seconds spent by each service, slot by slot, and an alert of the shop's latency."""

    def __init__(self, **changes: object) -> None:
        self.settings = CauseSettings(alerts=["latency"], component=["service"], damage="seconds", **changes)
        self.causes = LikelyCauses()
        self.causes.configure([self.settings], {"seconds": "seconds"})
        self.table = table_of()
        self.at = 0.0
        self.began = 0.0
        self.rng = np.random.default_rng(0)
        self.kept: list[Verdict] = []

    def past(self, labels: list[Labels | None], at: float) -> PastVerdicts:
        """Return what was decided, as it is read from disk; the rows are in another order there."""
        own = {each: row for row, each in self.table.items()}
        rows = [own[each] for each in labels if each is not None]
        kept = [each for each in self.kept if each.at < at]
        z = np.array([np.abs(each.z)[rows] for each in kept])
        observed = np.array([each.observed[rows] for each in kept])
        expected = np.array([each.expected[rows] for each in kept])
        return np.array([each.at for each in kept]), observed, expected, 1.0 - 2.0 ** (-z / 3.0)

    def slots(self, count: int, *more: float, expected: np.ndarray = USUAL, query: str = "seconds") -> None:
        extra = np.array(more or [0.0] * 4)
        for _ in range(count):
            self.at += STEP
            self.kept.append(verdict(self.at, expected + extra + 0.02 * self.rng.normal(size=4), expected))
            self.causes.update(query, self.kept[-1], self.table)

    def text(self, graph: DependencyGraph = GRAPH, earlier: dict | None = None, **labels: str) -> str:
        labels = labels or {"service": "shop"}
        candidate = AlertCandidate(labels, Explanation({}), "", since=self.began)
        explained = self.causes.explain("latency", self.at, STEP, earlier or {}, {"f": candidate}, graph)
        return explained["f"].explanation.annotations.get("likely_causes", "")


def failing(*more: float, before: int = 40) -> Shop:
    shop = Shop()
    shop.slots(before)
    shop.began = shop.at + STEP
    shop.slots(5, *more)
    return shop


def test_the_callee_that_does_the_damage_comes_first() -> None:
    (line, *others) = failing(30.0, 29.5, 29.0, 0.0).text().splitlines()
    assert line.startswith("stock: 29 s of 30 s more than expected are its own (97 %), since ")
    assert not others


def test_alerts_of_quick_slots_know_the_newest_one() -> None:
    shop = Shop()
    shop.slots(20)
    shop.began = shop.at + 1.0
    odd = USUAL + np.array([30.0, 30.0, 30.0, 0.0])
    shop.at += 1.0
    assert shop.text() == "", "nothing was judged since it began"
    for _ in range(3):
        shop.causes.update("seconds", verdict(shop.at, odd, USUAL), shop.table)
        line = shop.text()
        assert line.startswith("stock: all of 30 s more than expected are its own, since ")
        assert line.endswith(", as this alert")
        shop.at += 1.0


def test_after_a_restart_the_past_is_read_from_what_was_kept() -> None:
    before = failing(30.0, 29.5, 29.0, 0.0)
    after = Shop()
    after.causes = LikelyCauses(lambda query, labels, at: before.past(labels, at) if query == "seconds" else None)
    after.causes.configure([after.settings], {"seconds": "seconds"})
    after.at, after.began = before.at, before.began
    after.slots(1, 30.0, 29.5, 29.0, 0.0)
    assert after.text().partition("since")[2] == before.text().partition("since")[2]
    alone = Shop()
    alone.at, alone.began = before.at, before.began
    alone.slots(1, 30.0, 29.5, 29.0, 0.0)
    assert "5 min after this alert" in alone.text(), "nobody knows when it began"


def test_the_component_that_alerts_can_be_the_cause_itself() -> None:
    assert failing(20.0, 0.0, 0.0, 0.0).text().startswith("shop itself: ")


def test_without_dependencies_what_alerts_is_not_named_because_it_contains_the_rest() -> None:
    lines = failing(30.0, 29.5, 29.0, 0.0).text(DependencyGraph([])).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cart", "stock"]


def test_what_was_there_before_the_alert_is_no_cause_of_it() -> None:
    shop = Shop()
    shop.slots(40, 6.0, 0.0, 0.0, 6.0)
    shop.began = shop.at + STEP
    shop.slots(5, 12.0, 6.0, 6.0, 6.0)
    assert [line.partition(":")[0] for line in shop.text().splitlines()] == ["stock"]


def test_a_component_that_fails_much_later_is_an_effect() -> None:
    shop = failing(10.0, 0.0, 0.0, 10.0)
    shop.slots(3, 10.0, 0.0, 0.0, 10.0)
    shop.slots(8, 60.0, 50.0, 50.0, 10.0)
    assert [line.partition(":")[0] for line in shop.text().splitlines()] == ["mail"]


def test_a_quiet_shop_names_nobody_and_says_so() -> None:
    assert failing(0.0, 0.0, 0.0, 0.0).text().startswith("none of 4 components is likely: ")


def test_an_anomaly_of_a_trifle_is_no_cause() -> None:
    """Three deviations, and far less than what the others do all the time."""
    shop = Shop()
    shop.slots(40)
    shop.began = shop.at + STEP
    shop.slots(5, 30.0, 29.0, 29.0, 0.5)
    assert [line.partition(":")[0] for line in shop.text().splitlines()] == ["stock"]


def test_a_spike_of_one_slot_is_no_cause_once_others_lasted() -> None:
    shop = failing(10.0, 9.5, 9.5, 0.0)
    shop.slots(1, 60.0, 9.5, 9.5, 50.0)
    shop.slots(2, 10.0, 9.5, 9.5, 0.0)
    assert [line.partition(":")[0] for line in shop.text().splitlines()] == ["stock"]


def test_a_service_that_nobody_measures_hands_on_what_it_calls() -> None:
    calls = [("shop", "gateway"), ("gateway", "proxy"), ("proxy", "gateway"), ("proxy", "stock")]
    graph = DependencyGraph([DependencySettings(caller={"service": a}, callee={"service": b}) for a, b in calls])
    lines = failing(30.0, 0.0, 29.0, 0.0).text(graph).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["stock"]


def test_an_alert_of_another_query_says_nothing() -> None:
    shop = failing(30.0, 0.0, 29.0, 0.0)
    candidate = AlertCandidate({"service": "shop"}, Explanation({}), "")
    assert shop.causes.explain("errors", shop.at, STEP, {}, {"f": candidate}, GRAPH) == {"f": candidate}


def test_a_component_without_history_is_judged_by_what_changed() -> None:
    shop = Shop()
    unknown = np.full(4, np.nan)
    for slot in range(45):
        shop.at += STEP
        observed = USUAL + (np.array([30.0, 29.0, 29.0, 0.0]) if slot >= 40 else 0.0)
        shop.causes.update("seconds", verdict(shop.at, observed, unknown), shop.table)
    shop.began = 41 * STEP
    assert shop.text().startswith("stock: 29 s")


def test_a_latency_counts_as_often_as_it_is_waited_for() -> None:
    """The mail takes ten times longer, and nobody sends mail; stock takes a bit longer for everybody."""
    shop = Shop(times="requests")
    shop.causes.configure([shop.settings], {})
    requests = np.array([1000.0, 1000.0, 1000.0, 1.0])
    for slot in range(45):
        shop.at += STEP
        late = slot >= 40
        latency = np.array([0.1, 0.05, 0.02, 0.1]) + (np.array([0.03, 0.03, 0.03, 0.9]) if late else 0.0)
        expected = np.array([0.1, 0.05, 0.02, 0.1])
        shop.causes.update("seconds", verdict(shop.at, latency, expected, width=0.001), shop.table)
        shop.causes.update("requests", verdict(shop.at, requests, requests), shop.table)
    shop.began = 41 * STEP
    assert shop.text().startswith("stock: 30.0 of 30.9 more than expected are its own (97 %)")


def test_an_alert_of_hours_ago_keeps_what_it_said() -> None:
    shop = failing(30.0, 29.0, 29.0, 0.0)
    before = shop.text()
    shop.slots(300)

    class Open:
        is_open, active_at, annotations = True, shop.began, {"likely_causes": before}

    assert shop.text(earlier={"f": Open()}) == before
    assert before.startswith("stock: ")


def test_series_of_one_component_are_added_up_and_averages_are_not() -> None:
    table = table_of(pods=3)
    observed, expected = np.full(12, 4.0), np.full(12, 1.0)
    for mean, total in ((False, 9.0), (True, 3.0)):
        history = DamageHistory(["service"], mean=mean)
        for at in (60.0, 120.0):
            history.add(verdict(at, observed, expected), table)
        assert history.since(60.0).excess.tolist() == [total] * 4


def test_components_that_are_gone_make_room_for_new_ones() -> None:
    history = DamageHistory(["service"])
    for round_ in range(4):
        names = tuple(f"{round_}-{number}" for number in range(2400))
        table = table_of(names)
        for slot in range(129):
            at = STEP * (round_ * 129 + slot + 1)
            history.add(verdict(at, np.ones(2400), np.ones(2400)), table)
        assert set(history.since(at).components) >= {(name,) for name in names}
    assert len(history.since(at).components) <= 5000


@pytest.mark.parametrize("side", ["above", "below"])
def test_damage_is_on_the_side_that_is_worse(side: str) -> None:
    history, table = DamageHistory(["service"]), table_of()
    sign = 1.0 if side == "above" else -1.0
    history.add(verdict(60.0, USUAL + sign * np.array([0.0, 3.0, 0.0, -3.0]), USUAL), table)
    assert history.since(60.0, worse=side).excess.tolist() == [0.0, 3.0, 0.0, -3.0]


def test_faults_in_41_services_are_found_and_quiet_ones_name_hardly_anybody() -> None:
    faults = list(simulated(10))
    first = [fault.components[rank(fault, graph=True, until=600.0).order[0]] for fault in faults]
    assert first == [fault.cause for fault in faults]
    begins = [(fault, begin) for fault in faults for begin in (40, 90, 160)]
    assert sum(rank(fault, graph=True, until=0.0, quiet=begin).likely.any() for fault, begin in begins) <= 1
