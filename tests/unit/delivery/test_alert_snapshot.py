"""What senders read."""

from __future__ import annotations

from exporter.alerting.alert import AlertState
from exporter.delivery.alert_snapshot import AlertSnapshots
from tests.alerts import T0, alert, fp, table

RESOLVED = AlertState.RESOLVED


class Clock:
    mono = 1000.0

    def __call__(self) -> float:
        return self.mono


def test_a_snapshot_stays_as_it_was() -> None:
    snapshots = AlertSnapshots(monotonic=Clock())
    alerts = dict(table([alert()]))
    snapshots.publish("cpu", alerts, interval=60.0)
    before = snapshots.read()
    alerts.clear()
    snapshots.publish("cpu", {}, interval=60.0)
    assert list(before.by_query["cpu"].alerts) == [fp()]
    assert snapshots.read().by_query == {}


def test_the_slot_of_a_sheet_is_the_newest_that_was_applied() -> None:
    snapshots = AlertSnapshots(monotonic=Clock())
    snapshots.publish("cpu", table([alert("a", evaluated_at=T0), alert("b", evaluated_at=T0 + 60)]), interval=30.0)
    sheet = snapshots.read().by_query["cpu"]
    assert (sheet.at, sheet.interval, sheet.published) == (T0 + 60, 30.0, 1000.0)


def test_open_alerts_are_counted() -> None:
    snapshots = AlertSnapshots(monotonic=Clock())
    snapshots.publish("cpu", table([alert("a"), alert("b", AlertState.PENDING), alert("c", RESOLVED)]), interval=60.0)
    snapshots.publish("disk", table([alert("d")]), interval=60.0)
    assert snapshots.open_alerts() == 3
    assert snapshots.open_alerts(besides="cpu") == 1


def test_listeners_are_told_after_the_change() -> None:
    snapshots = AlertSnapshots(monotonic=Clock())
    seen: list[int] = []

    def listen() -> None:
        seen.append(len(snapshots.read().by_query))

    snapshots.subscribe(listen)
    snapshots.publish("cpu", table([alert()]), interval=60.0)
    snapshots.unsubscribe(listen)
    snapshots.publish("disk", table([alert()]), interval=60.0)
    assert seen == [1]


def test_a_resolved_alert_whose_place_was_taken_is_remembered() -> None:
    snapshots = AlertSnapshots(monotonic=Clock())
    over = alert(state=RESOLVED, resolved_at=T0)
    snapshots.publish("cpu", table([over]), interval=60.0)
    snapshots.publish("cpu", table([alert(episode="episode-a-2", evaluated_at=T0 + 60)]), interval=60.0)
    assert snapshots.read().superseded == {fp(): over}
    snapshots.publish("disk", table([alert("d", evaluated_at=T0 + 9999)]), interval=60.0)
    assert snapshots.read().superseded == {fp(): over}
    snapshots.publish("cpu", table([alert(episode="episode-a-2", evaluated_at=T0 + 9999)]), interval=60.0)
    assert snapshots.read().superseded == {}


def test_a_query_that_is_gone_is_forgotten_when_nothing_of_it_is_sent() -> None:
    clock = Clock()
    snapshots = AlertSnapshots(monotonic=clock)
    snapshots.publish("gone", table([alert("g", RESOLVED)]), interval=0.0)
    snapshots.publish("stuck", table([alert("s")]), interval=60.0)
    clock.mono += 3601
    snapshots.publish("cpu", table([alert()]), interval=60.0)
    assert set(snapshots.read().by_query) == {"stuck", "cpu"}
