"""The data of pages and API: from verdicts, alerts and Prometheus' history to plain values."""

from exporter.views.health import upcoming_events
from exporter.views.views import Program, Views

__all__ = ["Program", "Views", "upcoming_events"]
