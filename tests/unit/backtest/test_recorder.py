"""Alerts that are noted in place of being kept and sent."""

from __future__ import annotations

from exporter.alerting.alert import Alert, AlertState, AlertTransition, AuditEvent, Observation, Step
from exporter.backtest.recorder import AlertRecorder, RecordedAlert
from exporter.calendar import SuppressionRule, parse_matcher

SILENCE = (SuppressionRule("silence", 1.0, (parse_matcher('service="a"'),), ""),)


def step(at: float, state: AlertState, *events: AuditEvent, service: str = "a", score: float = 0.7) -> Step:
    alert = Alert(
        "f",
        "q",
        {"service": service},
        {"summary": "bad"},
        "",
        state,
        "e",
        0.0,
        at,
        worst=Observation.of(at, score=score),
    )
    return Step({"f": alert}, tuple(AlertTransition("f", "q", "e", event, at, "") for event in events))


def run(record: AlertRecorder) -> RecordedAlert:
    record.commit("q", 60.0, step(60.0, AlertState.FIRING, AuditEvent.OPEN, AuditEvent.FIRING))
    record.commit("q", 120.0, step(120.0, AlertState.FIRING, score=0.9))
    record.commit("q", 180.0, step(180.0, AlertState.RESOLVED, AuditEvent.RESOLVED))
    (told,) = record.alerts
    return told


def test_an_alert_from_firing_to_resolved() -> None:
    told = run(AlertRecorder(lambda _: ()))
    assert (told.fired_at, told.notified_at, told.resolved_at) == (60.0, 60.0, 180.0)
    assert (told.summary, told.score) == ("bad", 0.9)


def test_one_under_a_silence_is_told_when_that_ends() -> None:
    assert run(AlertRecorder(lambda at: SILENCE if at < 100.0 else ())).notified_at == 120.0
    assert run(AlertRecorder(lambda _: SILENCE)).notified_at is None
    record = AlertRecorder(lambda _: SILENCE)
    record.commit("q", 60.0, step(60.0, AlertState.FIRING, AuditEvent.FIRING, service="b"))
    assert record.alerts[0].notified_at == 60.0


def test_a_slot_counts_once() -> None:
    record = AlertRecorder(lambda _: ())
    assert record.commit("q", 60.0, step(60.0, AlertState.FIRING, AuditEvent.FIRING))
    assert not record.commit("q", 60.0, step(60.0, AlertState.FIRING, AuditEvent.FIRING))
    assert len(record.alerts) == 1


def test_what_was_dropped_before_it_fired_is_no_alert() -> None:
    record = AlertRecorder(lambda _: ())
    record.commit("q", 60.0, Step({}, (AlertTransition("f", "q", "e", AuditEvent.DROPPED, 60.0, ""),)))
    assert record.alerts == []
