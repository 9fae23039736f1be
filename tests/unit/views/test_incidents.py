"""Incident pages: what is left of an alert when it is over."""

from __future__ import annotations

from dataclasses import replace

from exporter.alerting.alert import AuditEvent
from exporter.store import AuditEntry
from exporter.views.incidents import firing_annotations

FIRED = AuditEntry(1, 60.0, "q", "f", "e", AuditEvent.FIRING, "", "anomalous", {"shape": "jump"}, 1, intact=True)
OPEN = replace(FIRED, event=AuditEvent.OPEN, details={"labels": "{}"})
OVER = replace(FIRED, event=AuditEvent.RESOLVED, details={})


def test_what_an_alert_said_when_it_fired_stays() -> None:
    labelled = replace(FIRED, details={"shape": "drop", "alert.labels": "{}"})
    assert firing_annotations([OPEN, FIRED, labelled, OVER]) == {"shape": "drop"}


def test_what_did_not_fire_or_is_damaged_said_nothing() -> None:
    assert firing_annotations([OPEN, OVER]) == {}
    assert firing_annotations([replace(FIRED, intact=False)]) == {}
