"""Dependencies that queries say, asked again on a schedule."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses
from exporter.correlation.topology import MOST_DEPENDENCIES, dependencies_in
from exporter.errors import PrometheusError
from exporter.evaluation.context import QueryApi
from exporter.exposition import SelfMetrics

__all__ = ["DependencyQueries"]

log = logging.getLogger(__name__)

_PATIENCE = 0.1
"""Share of the time between two queries after which a failed one is sent again."""


class DependencyQueries:
    """Asks the queries of `dependencies` and hands the answers to `RootCauses`.

    A query that fails changes nothing: what it said before holds.

    Parameters
    ----------
    timeout : float, seconds
    query_offset : float, seconds
        How long ago an instant must be before it is asked for.
    asks : callable
        Whether this client asks queries of a `source`.
    """

    def __init__(
        self,
        root_causes: RootCauses,
        metrics: SelfMetrics,
        api: QueryApi,
        *,
        timeout: float,
        query_offset: float,
        asks: Callable[[str | None], bool] = lambda _: True,
    ) -> None:
        self._root_causes, self._metrics, self._api = root_causes, metrics, api
        self._timeout, self._query_offset, self._asks = timeout, query_offset, asks
        self._next: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def run(self, at: float) -> None:
        """Ask the queries that are due at an instant, Unix seconds."""
        for settings in self._root_causes.queried:
            if not self._asks(settings.source):
                continue
            expr = settings.from_query or ""
            # Where the clock was set back, nothing is due for long.
            if not self._next.get(expr, -np.inf) - settings.refresh <= at < self._next.get(expr, -np.inf):
                failed = not self._ask(settings, expr, at)
                self._next[expr] = at + settings.refresh * (_PATIENCE if failed else 1.0)

    def _ask(self, settings: DependencySettings, expr: str, at: float) -> bool:
        try:
            frame = self._api.instant(expr, at - self._query_offset, timeout=self._timeout)
        except PrometheusError as error:
            self._metrics.dependency_queries_failed_total.inc()
            if self._errors.get(expr) != str(error):
                log.warning("dependencies cannot be read", extra={"expr": expr, "error": str(error)})
            self._errors[expr] = str(error)
            return False
        self._errors.pop(expr, None)
        edges = dependencies_in(settings, frame.keys, frame.values)
        if len(edges) == MOST_DEPENDENCIES:
            log.warning("only a part of the dependencies is used", extra={"expr": expr, "limit": MOST_DEPENDENCIES})
        if self._root_causes.discover(settings, edges):
            log.info("dependencies changed", extra={"expr": expr, "dependencies": len(edges)})
        self._metrics.dependencies.set(len(self._root_causes.graph))
        return True
