"""The API of the program: what is behind each path below ``/api/v1``."""

from __future__ import annotations

from typing import Any

from exporter.suppression.suppression import Suppression
from exporter.views import Program, Views
from exporter.views.series import list_series
from exporter.web.api import Endpoint, anomaly_endpoints, event_endpoints, github_endpoint, series_endpoint

__all__ = ["endpoints"]


def endpoints(program: Program, views: Views, suppression: Suppression) -> tuple[Endpoint[Any, Any], ...]:
    """Return all endpoints."""
    clock, episodes = program.clock, program.episodes
    return (
        *anomaly_endpoints(
            episodes, clock, program.alert_status, lambda *alert: program.alert_snapshots.read().annotations(*alert)
        ),
        series_endpoint(lambda request: list_series(views.latest(), request)),
        *event_endpoints(lambda: suppression.events, lambda: suppression.calendar, clock),
        github_endpoint(lambda: suppression.events, lambda: program.config().webhooks.github, clock),
    )
