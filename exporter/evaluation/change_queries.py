"""Queries whose increase marks a change, asked again on a schedule."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from exporter.correlation.changes import Change, ChangeLog, changes_in
from exporter.correlation.settings import ChangeSettings
from exporter.errors import PrometheusError
from exporter.exposition import SelfMetrics
from exporter.prometheus import PrometheusApi

__all__ = ["ChangeQueries"]

log = logging.getLogger(__name__)

_KEPT = 86400.0
"""Seconds of changes that are kept, and read after a start."""
_AGAIN = 3600.0
"""Seconds that are read again each time: a change may be scraped late."""


class ChangeQueries:
    """Asks the queries of `changes` and hands what they mark to the `ChangeLog`.

    Parameters
    ----------
    changed : callable
        Called when there are new changes.
    timeout : float, seconds
    query_offset : float, seconds
        How long ago an instant must be before it is asked for.
    asks : callable
        Whether this client asks queries of a `source`.
    """

    def __init__(
        self,
        changes: ChangeLog,
        metrics: SelfMetrics,
        api: PrometheusApi,
        changed: Callable[[], None],
        *,
        timeout: float,
        query_offset: float,
        asks: Callable[[str | None], bool] = lambda _: True,
    ) -> None:
        self._changes, self._metrics, self._api, self._changed = changes, metrics, api, changed
        self._timeout, self._query_offset, self._asks = timeout, query_offset, asks
        self._read: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def run(self, at: float) -> None:
        """Ask the queries that are due at an instant, Unix seconds."""
        for settings in self._changes.queried:
            last = self._read.get(settings.name, -np.inf)
            # Where the clock was set back, nothing is due for long.
            if self._asks(settings.source) and not last <= at < last + settings.refresh:
                self.read(settings, at - (_KEPT if last == -np.inf else _AGAIN), at)

    def read(self, settings: ChangeSettings, start: float, end: float) -> None:
        """Ask a query for a range of time, Unix seconds."""
        step = settings.refresh
        last = (end - self._query_offset) // step * step
        first = last - (last - start) // step * step
        changes: list[Change] = []
        try:
            for chunk in self._api.history(settings.expr, first, last, step, timeout=self._timeout, series=100):
                changes += changes_in(settings, chunk.times, chunk.keys, chunk.values)
        except PrometheusError as error:
            self._metrics.change_queries_failed_total.inc()
            if self._errors.get(settings.name) != str(error):
                log.warning("changes cannot be read", extra={"change": settings.name, "error": str(error)})
            self._errors[settings.name] = str(error)
            return
        self._errors.pop(settings.name, None)
        new = self._changes.add(settings.name, changes, before=min(start, end - _KEPT))
        if new and self._read.get(settings.name) is not None:
            log.info("something changed", extra={"change": settings.name, "what": new[-1].text, "count": len(new)})
        self._read[settings.name] = end
        if new:
            self._changed()
