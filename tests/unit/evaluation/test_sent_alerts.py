"""A replica that was down goes on with what the other one has sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.alerting.alert import AlertState, fingerprint
from exporter.evaluation.sent_alerts import disagreement
from exporter.silences import SentAlert
from tests.alerts import T0, alert, fp
from tests.faults.cycling import Source, World, plan_of


class Listing:
    """What Alertmanagers list, and whether there is another exporter."""

    def __init__(self) -> None:
        self.sent: dict[str, SentAlert] = {}

    def add(self, labels: dict[str, str], since: float) -> None:
        self.sent[fingerprint(labels)] = SentAlert(labels, since, since)


@pytest.fixture
def listing() -> Listing:
    return Listing()


def world_of(folder: Path, listing: Listing, source: Source, **alert_settings: object) -> World:
    ports = {"sent_alerts": lambda: listing.sent, "paired": lambda: True}
    world = World(folder, source, plan=plan_of(alert=alert_settings), ports=ports)
    assert world.prepare()
    return world


@pytest.fixture
def source() -> Source:
    return Source(*[f"host{n}" for n in range(8)], "quiet")


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.store.close()


def labels_of(world: World) -> list[dict[str, str]]:
    alerts = world.alert_snapshots.read().by_query["load"].alerts.values()
    return [dict(one.labels) for one in alerts if one.state is AlertState.FIRING]


def test_an_alert_that_another_one_sends_goes_on_at_once_since_then(
    tmp_path: Path, listing: Listing, source: Source, worlds: list[World]
) -> None:
    first = world_of(tmp_path / "a", listing, source)
    worlds.append(first)
    first.slot(2)
    source.loud = {"host0"}
    first.slot(2)
    (labels,) = labels_of(first)
    listing.add(labels, first.now - 600.0)
    late = world_of(tmp_path / "b", listing, source, **{"for": "10m"})
    worlds.append(late)
    late.slot()
    (mine,) = late.alert_snapshots.read().by_query["load"].alerts.values()
    assert (dict(mine.labels), mine.fired_at) == (labels, first.now - 600.0)


@pytest.mark.parametrize(
    ("age", "running", "number", "expected"),
    [
        pytest.param(7200.0, False, "2", "2", id="started-in-the-middle-of-it"),
        pytest.param(7200.0, False, "70", "70", id="those-with-lower-numbers-are-over"),
        pytest.param(7200.0, False, "9" * 5000, "1", id="what-is-no-number"),
        pytest.param(60.0, True, "2", "2", id="the-other-one-began-it-just-now"),
        pytest.param(7200.0, True, "2", "1", id="another-storm-of-long-ago"),
        pytest.param(7200.0, True, "1", "2", id="another-storm-with-the-first-number"),
    ],
)
def test_a_storm_has_the_number_that_the_other_one_gave_it(
    tmp_path: Path,
    listing: Listing,
    source: Source,
    worlds: list[World],
    age: float,
    running: bool,
    number: str,
    expected: str,
) -> None:
    world = world_of(tmp_path / "a", listing, source)
    worlds.append(world)
    if running:
        world.slot(3)
    labels = {"alertname": "AnomalyDetected", "query": "load", "storm": number}
    listing.add(labels, world.now - age)
    source.loud = {f"host{n}" for n in range(8)}
    world.slot(2)
    assert [labels["storm"] for labels in labels_of(world)] == [expected]


def test_what_the_other_one_has_sent_one_by_one_is_no_storm_for_one_that_begins_in_the_middle_of_it(
    tmp_path: Path, listing: Listing, source: Source, worlds: list[World]
) -> None:
    world = world_of(tmp_path / "a", listing, source)
    worlds.append(world)
    sent = [{"alertname": "AnomalyDetected", "query": "load", "instance": f"host{n}"} for n in range(6)]
    for labels in sent:
        listing.add(labels, world.now - 7200.0)
    source.loud = {f"host{n}" for n in range(8)}
    world.slot(2)
    # The others are too few for one.
    alone = [{"alertname": "AnomalyDetected", "query": "load", "instance": f"host{n}"} for n in (6, 7)]
    assert sorted(labels_of(world), key=str) == sorted([*sent, *alone], key=str)


def test_disagreement_is_the_part_of_all_alerts_that_is_not_here() -> None:
    rows = {fp(name): np.array([0]) for name in ("a", "b", "c", "ended")}
    none = np.array([], np.intp)
    sent = {fp(name): SentAlert({"query": "cpu"}, T0, T0 + 60.0) for name in ("a", "b", "c", "elsewhere", "ended")}
    sent["group"] = SentAlert({"group": "cpu"}, T0, T0)
    alerts = {
        fp("a"): alert("a"),
        fp("d"): alert("d"),
        fp("ended"): alert("ended", AlertState.RESOLVED, resolved_at=T0 + 90.0),
    }

    def rows_of(identity: str) -> np.ndarray:
        return rows.get(identity, none)

    # Two of four: what ended here a moment ago is still listed, and another shard has its own.
    assert disagreement(alerts, sent, rows_of, ("query", "cpu")) == 0.5
    assert disagreement({}, {}, rows_of, ("query", "cpu")) == 0.0
