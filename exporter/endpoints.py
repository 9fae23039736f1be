"""The API of the program: what is behind each path below ``/api/v1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporter.suppression.suppression import Suppression
from exporter.views import Program, Views
from exporter.views.listing import list_series
from exporter.web.api import Endpoint, anomaly_endpoints, event_endpoints, github_endpoint, series_endpoint

__all__ = ["endpoints"]


def endpoints(program: Program, views: Views, suppression: Callable[[], Suppression]) -> tuple[Endpoint[Any, Any], ...]:
    """Return all endpoints; `suppression` is asked for when one of them is, because it comes with the store."""
    clock, episodes = program.clock, program.episodes
    return (
        *anomaly_endpoints(episodes, clock, program.told, lambda *alert: program.board.read().annotations(*alert)),
        series_endpoint(lambda asked: list_series(views.known(), asked)),
        *event_endpoints(lambda: suppression().events, lambda: suppression().calendar, clock),
        github_endpoint(lambda: suppression().events, lambda: program.config().webhooks.github, clock),
    )
