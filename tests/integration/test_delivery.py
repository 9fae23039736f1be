"""Alerts on their way to real Alertmanagers that come, go, lose answers and refuse."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

import pytest

from exporter.alerting.alert import AlertCandidate, AlertState, EvaluatedSlot, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.state_machine import evaluate
from exporter.delivery import AlertmanagerSettings
from exporter.errors import StateError
from tests.alerts import fp
from tests.integration.conftest import RunAlertmanager
from tests.integration.delivering import Delivering, DeliveryRecorder
from tests.integration.proxy import Proxy
from tests.integration.recorder import Recorder
from tests.integration.servers import Alertmanager, eventually
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration


def instances(alertmanager: Alertmanager) -> set[str]:
    return {alert["labels"]["instance"] for alert in alertmanager.alerts()}


def notified(webhook: Webhook) -> list[tuple[str, str]]:
    """``(status, instance)`` in order, without repetitions of the same."""
    found: list[tuple[str, str]] = []
    last: dict[str, str] = {}
    for status, labels in webhook.alerts():
        name = labels["instance"]
        if last.get(name) != status:
            found.append((status, name))
        last[name] = status
    return found


@pytest.fixture
def recorder(stack: ExitStack) -> Recorder:
    return stack.enter_context(Recorder())


def test_an_alert_is_notified_once_when_it_fires_and_once_when_it_ends(
    alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack
) -> None:
    daemon = stack.enter_context(Delivering(alertmanager.url))
    daemon.slot("a")
    webhook.wait_for(lambda notes: len(notes) == 1)
    [posted] = alertmanager.alerts()
    assert posted["labels"] == {"alertname": "AnomalyDetected", "instance": "a"}
    assert posted["annotations"] == {"summary": "text"}
    assert posted["generatorURL"] == "http://prom.example/graph?g0.expr=m&g0.tab=1"
    daemon.slot("a")
    daemon.slot()
    notes = webhook.wait_for(lambda notes: len(notes) == 2)
    assert [note.status for note in notes] == ["firing", "resolved"]
    assert notes[0].alerts[0]["startsAt"] == notes[1].alerts[0]["startsAt"]
    assert daemon.metric("alertmanager_up") == 1
    assert daemon.metric("alertmanager_sent_total") == 2
    assert daemon.metric("alertmanager_last_success_timestamp_seconds") == pytest.approx(time.time(), abs=30)


def test_an_alertmanager_that_was_away_hears_of_everything_that_still_fires(
    alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack
) -> None:
    daemon = stack.enter_context(Delivering(alertmanager.url))
    alertmanager.stop()
    daemon.slot("a", "gone")
    daemon.slot("a", "b")
    eventually(lambda: daemon.metric("alertmanager_errors_total", reason="refused") >= 2)
    assert daemon.metric("alertmanager_up") == 0
    assert daemon.metric("alertmanager_dirty") == 3
    assert daemon.metric("alertmanager_oldest_dirty_seconds") > 0
    alertmanager.start()
    webhook.wait_for(lambda notes: {"a", "b"} <= {one["labels"]["instance"] for n in notes for one in n.alerts}, 45)
    eventually(lambda: daemon.metric("alertmanager_dirty") == 0)
    # What came and went meanwhile is counted, and never shown as firing.
    assert daemon.metric("alerts_resolved_before_delivery_total") == 1
    assert ("firing", "gone") not in notified(webhook)
    assert daemon.metric("alertmanager_oldest_dirty_seconds") == 0


def test_an_answer_that_is_lost_costs_a_repetition_and_no_notification(
    alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack
) -> None:
    proxy = stack.enter_context(Proxy(alertmanager.address))
    daemon = stack.enter_context(Delivering(proxy.url))
    proxy.mode = "lose response"
    daemon.slot("a")
    eventually(lambda: proxy.lost >= 2)
    assert instances(alertmanager) == {"a"}
    assert daemon.metric("alertmanager_dirty") == 1
    proxy.mode = "pass"
    eventually(lambda: daemon.metric("alertmanager_dirty") == 0)
    webhook.wait_for(lambda notes: len(notes) == 1)
    daemon.slot()
    webhook.wait_for(lambda notes: notes[-1:] and notes[-1].status == "resolved")
    assert [note.status for note in webhook.notifications] == ["firing", "resolved"]


@pytest.mark.parametrize("mode", ["reset", "black hole"])
def test_a_connection_that_leads_nowhere_is_tried_again(
    alertmanager: Alertmanager, stack: ExitStack, mode: str
) -> None:
    proxy = stack.enter_context(Proxy(alertmanager.address))
    proxy.mode = mode
    daemon = stack.enter_context(Delivering(proxy.url, am_fields={"timeout": "1s"}))
    daemon.slot("a")
    eventually(lambda: proxy.accepted >= 2)
    proxy.mode = "pass"
    eventually(lambda: instances(alertmanager) == {"a"})


def test_an_alertmanager_that_was_killed_is_told_again(
    alertmanager: Alertmanager, webhook: Webhook, stack: ExitStack
) -> None:
    daemon = stack.enter_context(Delivering(alertmanager.url, resend_delay=0.5))
    daemon.slot("a")
    webhook.wait_for(lambda notes: len(notes) == 1)
    alertmanager.kill()
    alertmanager.start()
    assert instances(alertmanager) == set()

    def back() -> bool:
        daemon.slot("a")
        return instances(alertmanager) == {"a"}

    eventually(back)


def test_one_bad_alert_costs_the_others_nothing(
    run_alertmanager: RunAlertmanager, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    alertmanager = run_alertmanager()
    version = alertmanager.ask("GET", "/api/v2/status").json()["versionInfo"]["version"]
    if tuple(map(int, version.split(".")[:2])) >= (0, 27):
        alertmanager = run_alertmanager(flags=("--enable-feature=classic-mode",))
    # This Alertmanager does not take such names, but was said to.
    daemon = stack.enter_context(Delivering(alertmanager.url, am_fields={"utf8_labels": True}))
    names = [f"n{number:02}" for number in range(63)]
    labels = [{"alertname": "X", "instance": name} for name in names] + [{"alertname": "X", "gr\u00f6\u00dfe": "1"}]
    found = {fingerprint(one): AlertCandidate(one, Explanation({}), "") for one in labels}
    step = evaluate(daemon.rule, daemon.limits, "cpu", {}, EvaluatedSlot(time.time(), found))
    with caplog.at_level(logging.ERROR):
        daemon.alert_snapshots.publish("cpu", step.alerts, interval=1.0)
        eventually(lambda: daemon.metric("alerts_invalid_total") == 1)
        eventually(lambda: daemon.metric("alertmanager_sent_total") == 63)
    assert daemon.metric("alertmanager_requests_total") <= 8
    assert instances(alertmanager) == set(names)
    [record] = [one for one in caplog.records if "set apart" in one.message]
    assert "invalid name" in record.error or "taken without it" in record.error


def test_ten_thousand_alerts_arrive_within_half_a_minute(alertmanager: Alertmanager, stack: ExitStack) -> None:
    daemon = stack.enter_context(Delivering(alertmanager.url))
    names = [f"n{number:05}" for number in range(10_000)]
    daemon.slot(*names)
    eventually(lambda: daemon.metric("alertmanager_sent_total") >= 10_000, 30)
    assert daemon.metric("alertmanager_requests_total") == 40
    assert len(alertmanager.alerts()) == 10_000


def test_every_alertmanager_gets_every_alert_and_none_waits_for_another(
    run_alertmanager: RunAlertmanager, stack: ExitStack
) -> None:
    one, two = run_alertmanager(), run_alertmanager()
    proxy = stack.enter_context(Proxy("127.0.0.1:1"))
    proxy.mode = "black hole"
    daemon = stack.enter_context(Delivering(proxy.url, one.url, two.url))
    daemon.slot("a")
    eventually(lambda: instances(one) == instances(two) == {"a"}, 5)
    assert daemon.metric("alertmanager_dirty", alertmanager=proxy.url) == 1


class TestFaults:
    """What a real Alertmanager does not answer."""

    @pytest.mark.parametrize(
        ("status", "answer", "reason"),
        [
            (500, b"", "unavailable"),
            (503, b"busy", "unavailable"),
            (429, b"", "rate_limited"),
            (401, b"Unauthorized", "unauthorized"),
            (403, b"", "unauthorized"),
            (404, b"404 page not found", "http"),
            (405, b"", "http"),
            (415, b"", "http"),
            (302, b"", "redirect"),
            (307, b"", "redirect"),
            (200, b"<html>login</html>", "malformed"),
        ],
    )
    def test_the_alert_stays_due_and_the_trouble_is_told_once(
        self,
        recorder: Recorder,
        stack: ExitStack,
        caplog: pytest.LogCaptureFixture,
        status: int,
        answer: bytes,
        reason: str,
    ) -> None:
        recorder.status, recorder.answer = status, answer
        if status in (302, 307):
            recorder.extra = {"Location": recorder.url + "/elsewhere"}
        daemon = stack.enter_context(Delivering(recorder.url))
        with caplog.at_level(logging.INFO):
            daemon.slot("a")
            eventually(lambda: daemon.metric("alertmanager_errors_total", reason=reason) >= 1)
            assert daemon.metric("alertmanager_up") == 0
            assert daemon.metric("alertmanager_dirty") == 1
            recorder.status, recorder.answer, recorder.extra = 200, b"", {}
            # A reload is when somebody has mended it; credentials may be new.
            daemon.senders.apply([AlertmanagerSettings(url=recorder.url, timeout="9s")], daemon.limits)
            eventually(lambda: daemon.metric("alertmanager_up") == 1)
        assert daemon.metric("alertmanager_suspicious_responses_total") == (reason == "malformed")
        assert len([one for one in caplog.records if one.message == "alerts are not taken"]) == 1
        assert {request.path for request in recorder.requests} == {"/api/v2/alerts"}
        assert {request.method for request in recorder.requests} == {"POST"}

    @pytest.mark.parametrize(
        ("status", "answer", "extra"),
        [
            (201, b'{"status": "ok", "id": "4711"}', {"Content-Type": "application/json"}),
            (202, b"queued", {"Content-Type": "text/html"}),
            (204, b"", {}),
            (200, b"[" + b" " * 200_000 + b"]", {}),
            (200, b"not gzip", {"Content-Encoding": "gzip"}),
            (200, b"?", {"Content-Encoding": "br"}),
        ],
    )
    def test_every_success_is_a_delivery(
        self, recorder: Recorder, stack: ExitStack, status: int, answer: bytes, extra: dict[str, str]
    ) -> None:
        recorder.status, recorder.answer, recorder.extra = status, answer, extra
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        eventually(lambda: daemon.metric("alertmanager_up") == 1)
        assert daemon.metric("alertmanager_sent_total") == 1
        assert daemon.metric("alertmanager_dirty") == 0
        assert daemon.metric("alertmanager_suspicious_responses_total") == 0

    def test_attempts_go_on_while_it_answers_500(self, recorder: Recorder, stack: ExitStack) -> None:
        recorder.status = 500
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        recorder.wait_for(4)
        recorder.status = 200
        eventually(lambda: daemon.metric("alertmanager_up") == 1)
        # Built anew for each attempt, and always the same episode.
        requests = recorder.requests
        assert len({request.alerts[0]["startsAt"] for request in requests}) == 1
        assert len({request.alerts[0]["endsAt"] for request in requests}) == len(requests)

    def test_batches_that_are_too_large_are_halved(self, recorder: Recorder, stack: ExitStack) -> None:
        recorder.largest = 5000
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot(*[f"n{number}" for number in range(200)])
        eventually(lambda: daemon.metric("alertmanager_sent_total") == 200)
        assert daemon.metric("alertmanager_errors_total", reason="too_large") >= 1

    def test_the_clock_of_the_alertmanager_is_watched(self, recorder: Recorder, stack: ExitStack) -> None:
        recorder.extra = {"Date": "Fri, 15 Jan 1999 08:00:00 GMT"}
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        eventually(lambda: daemon.metric("alertmanager_clock_skew_seconds") < -600)


class TestEnd:
    def test_a_shutdown_refreshes_what_fires_and_resolves_nothing(self, recorder: Recorder, stack: ExitStack) -> None:
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a", "b")
        recorder.wait_for(1)
        eventually(lambda: daemon.metric("alertmanager_dirty") == 0)
        assert daemon.senders.drain(5.0) is True
        first, last = recorder.requests
        assert {one["labels"]["instance"] for one in last.alerts} == {"a", "b"}
        assert all(now["endsAt"] > then["endsAt"] for now, then in zip(last.alerts, first.alerts, strict=True))
        assert (
            daemon.registry.get_sample_value("anomaly_exporter_alertmanager_up", {"alertmanager": recorder.url}) is None
        )

    def test_a_shutdown_does_not_wait_for_a_black_hole(self, recorder: Recorder, stack: ExitStack) -> None:
        proxy = stack.enter_context(Proxy("127.0.0.1:1"))
        proxy.mode = "black hole"
        daemon = stack.enter_context(Delivering(proxy.url, recorder.url))
        daemon.slot("a")
        recorder.wait_for(1)
        eventually(lambda: proxy.accepted >= 1)
        began = time.monotonic()
        assert daemon.senders.drain(1.0) is False
        assert time.monotonic() - began < 8
        assert len(recorder.requests) == 2

    def test_a_shutdown_delivers_what_a_retry_was_waiting_for(self, recorder: Recorder, stack: ExitStack) -> None:
        recorder.status = 401
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        recorder.wait_for(1)
        recorder.status = 200
        assert daemon.senders.drain(5.0) is True
        assert len(recorder.requests) == 2


class TestReload:
    def test_one_that_is_added_gets_everything_that_fires_at_once(self, recorder: Recorder, stack: ExitStack) -> None:
        other = stack.enter_context(Recorder())
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a", "b")
        recorder.wait_for(1)
        daemon.senders.apply([*daemon.settings, AlertmanagerSettings(url=other.url)], daemon.limits)
        [request] = other.wait_for(1)
        assert {one["labels"]["instance"] for one in request.alerts} == {"a", "b"}
        # The one that stays is not bothered.
        assert len(recorder.requests) == 1

    def test_one_that_is_removed_is_told_what_is_due_and_no_more(self, recorder: Recorder, stack: ExitStack) -> None:
        recorder.status = 500
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        recorder.wait_for(1)
        recorder.status = 200
        daemon.senders.apply([], daemon.limits)
        eventually(lambda: recorder.requests[-1].alerts and len(recorder.requests) >= 2)
        daemon.slot("a", "b")
        eventually(lambda: daemon.metric("alertmanager_sent_total") == 0)
        assert {one["labels"]["instance"] for request in recorder.requests for one in request.alerts} == {"a"}

    def test_one_that_is_removed_and_back_is_told_everything(self, recorder: Recorder, stack: ExitStack) -> None:
        daemon = stack.enter_context(Delivering(recorder.url))
        daemon.slot("a")
        recorder.wait_for(1)
        daemon.senders.apply([], daemon.limits)
        daemon.senders.apply(daemon.settings, daemon.limits)
        assert len(recorder.wait_for(2)) == 2
        assert daemon.senders.alive

    def test_after_a_restart_only_news_is_news(self, recorder: Recorder, stack: ExitStack) -> None:
        deliveries = DeliveryRecorder()
        first = stack.enter_context(Delivering(recorder.url, deliveries=deliveries))
        first.slot("a")
        recorder.wait_for(1)
        eventually(lambda: deliveries.kept)
        first.senders.close()
        second = stack.enter_context(Delivering(recorder.url, deliveries=deliveries, alerts=first.alerts))
        second.slot("a", "b")
        requests = recorder.wait_for(2)
        assert [one["labels"]["instance"] for one in requests[1].alerts] == ["b"]
        eventually(lambda: deliveries.kept[recorder.url].get(fp("b")))
        assert deliveries.kept[recorder.url][fp("b")].state is AlertState.FIRING

    def test_a_ledger_that_fails_costs_no_alert(self, recorder: Recorder, stack: ExitStack) -> None:
        class Broken(DeliveryRecorder):
            def record(self, *_: object) -> None:
                raise StateError("disk full")

            def load(self, am_key: str) -> dict:
                raise StateError("disk full")

            def forget(self, am_key: str) -> None:
                raise StateError("disk full")

        daemon = stack.enter_context(Delivering(recorder.url, deliveries=Broken()))
        daemon.slot("a")
        recorder.wait_for(1)
        daemon.slot()
        requests = recorder.wait_for(2)
        assert [one["labels"]["instance"] for request in requests for one in request.alerts] == ["a", "a"]
        daemon.senders.apply([], daemon.limits)


def test_while_the_query_fails_what_fires_is_kept_alive(recorder: Recorder, stack: ExitStack) -> None:
    daemon = stack.enter_context(Delivering(recorder.url))
    at = time.time()
    daemon.slot("a", at=at)
    for minute in range(1, 6):
        recorder.wait_for(1 + (minute - 1) // 2)
        eventually(lambda: daemon.metric("alertmanager_dirty") == 0)
        daemon.slot(at=at + minute * 60, failed=True)
    # Slots a minute apart and a delay of a minute, strictly: every second slot.
    requests = recorder.wait_for(3)
    assert len(requests) == 3
    assert len({request.alerts[0]["startsAt"] for request in requests}) == 1
