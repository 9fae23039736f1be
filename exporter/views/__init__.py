"""What people see of the running program: from cycles, alerts and Prometheus' history to the facts of the pages."""

from exporter.views.events import upcoming
from exporter.views.views import Program, Views

__all__ = ["Program", "Views", "upcoming"]
