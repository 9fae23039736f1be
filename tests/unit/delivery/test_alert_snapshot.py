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
    board = AlertSnapshots(monotonic=Clock())
    alerts = dict(table([alert()]))
    board.publish("cpu", alerts, interval=60.0)
    before = board.read()
    alerts.clear()
    board.publish("cpu", {}, interval=60.0)
    assert list(before.sheets["cpu"].alerts) == [fp()]
    assert board.read().sheets == {}


def test_the_slot_of_a_sheet_is_the_newest_that_was_applied() -> None:
    board = AlertSnapshots(monotonic=Clock())
    board.publish("cpu", table([alert("a", evaluated_at=T0), alert("b", evaluated_at=T0 + 60)]), interval=30.0)
    sheet = board.read().sheets["cpu"]
    assert (sheet.at, sheet.interval, sheet.published) == (T0 + 60, 30.0, 1000.0)


def test_open_alerts_are_counted() -> None:
    board = AlertSnapshots(monotonic=Clock())
    board.publish("cpu", table([alert("a"), alert("b", AlertState.PENDING), alert("c", RESOLVED)]), interval=60.0)
    board.publish("disk", table([alert("d")]), interval=60.0)
    assert board.open_alerts() == 3
    assert board.open_alerts(besides="cpu") == 1


def test_listeners_are_told_after_the_change() -> None:
    board = AlertSnapshots(monotonic=Clock())
    seen: list[int] = []

    def listen() -> None:
        seen.append(len(board.read().sheets))

    board.subscribe(listen)
    board.publish("cpu", table([alert()]), interval=60.0)
    board.unsubscribe(listen)
    board.publish("disk", table([alert()]), interval=60.0)
    assert seen == [1]


def test_a_resolved_alert_whose_place_was_taken_is_remembered() -> None:
    board = AlertSnapshots(monotonic=Clock())
    over = alert(state=RESOLVED, resolved_at=T0)
    board.publish("cpu", table([over]), interval=60.0)
    board.publish("cpu", table([alert(episode="episode-a-2", evaluated_at=T0 + 60)]), interval=60.0)
    assert board.read().superseded == {fp(): over}
    board.publish("disk", table([alert("d", evaluated_at=T0 + 9999)]), interval=60.0)
    assert board.read().superseded == {fp(): over}
    board.publish("cpu", table([alert(episode="episode-a-2", evaluated_at=T0 + 9999)]), interval=60.0)
    assert board.read().superseded == {}


def test_a_query_that_is_gone_is_forgotten_when_nothing_of_it_is_sent() -> None:
    clock = Clock()
    board = AlertSnapshots(monotonic=clock)
    board.publish("gone", table([alert("g", RESOLVED)]), interval=0.0)
    board.publish("stuck", table([alert("s")]), interval=60.0)
    clock.mono += 3601
    board.publish("cpu", table([alert()]), interval=60.0)
    assert set(board.read().sheets) == {"stuck", "cpu"}
