"""The data of pages and API: from verdicts, alerts and Prometheus' history to plain values."""

from exporter.views.health import events_between, upcoming_events
from exporter.views.program import Program
from exporter.views.views import Views

__all__ = ["Program", "Views", "events_between", "upcoming_events"]
