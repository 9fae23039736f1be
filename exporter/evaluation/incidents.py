"""Times that are not learned, because a query says that something was wrong: chosen alerts, for example of an SLO."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from exporter.calendar import Occurrence, TimeWindow, parse_matcher
from exporter.calendar.entries import merged
from exporter.correlation.settings import IncidentSettings
from exporter.engine.series import labels_of
from exporter.errors import PrometheusError
from exporter.exposition import SelfMetrics
from exporter.prometheus import PrometheusApi

__all__ = ["Incidents"]

log = logging.getLogger(__name__)

_COARSE = 300.0
"""Seconds between instants of the past."""
_AGAIN = 900.0
"""Seconds that are read again each time."""
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Windows = dict[tuple[tuple[str, str], ...], list[TimeWindow]]


class Incidents:
    """Asks the queries of `incidents`: in the past before history is learned, and then on a schedule.

    Safe for many threads.

    Parameters
    ----------
    changed : callable
        Called with all times that are not learned, and whose series.
    timeout : float, seconds
    query_offset : float, seconds
        How long ago an instant must be before it is asked for.
    """

    def __init__(
        self,
        settings: Sequence[IncidentSettings],
        metrics: SelfMetrics,
        api: PrometheusApi,
        changed: Callable[[Sequence[Occurrence]], None],
        *,
        timeout: float,
        query_offset: float,
    ) -> None:
        self.settings = tuple(settings)
        self._metrics, self._api, self._changed = metrics, api, changed
        self._timeout, self._query_offset = timeout, query_offset
        self._lock = threading.Lock()
        self._read: dict[str, tuple[float, float]] = {}
        self._windows: dict[str, Windows] = {each.name: {} for each in self.settings}
        self._errors: dict[str, str] = {}

    def cover(self, start: float, end: float) -> None:
        """Know the incidents of a range of time, Unix seconds, before its samples are learned.

        Raises
        ------
        PrometheusError
            What was read so far is known.
        """
        if not self.settings:
            return
        with self._lock:
            for each in self.settings:
                first, last = self._read.get(each.name, (end, end))
                if start < first:
                    self._ask(each, start, first, max(each.refresh, _COARSE))
                if last < end:
                    self._ask(each, last, end, each.refresh)

    def run(self, at: float) -> None:
        """Ask the queries that are due at an instant, Unix seconds."""
        for each in self.settings:
            _, last = self._read.get(each.name, (at, -np.inf))
            # Where the clock was set back, nothing is due for long.
            if last <= at < last + each.refresh:
                continue
            try:
                with self._lock:
                    self._ask(each, max(last, at - 3600.0) - _AGAIN, at, each.refresh)
                self._errors.pop(each.name, None)
            except PrometheusError as error:
                self._metrics.incident_queries_failed_total.inc()
                if self._errors.get(each.name) != str(error):
                    log.warning("incidents cannot be read", extra={"incident": each.name, "error": str(error)})
                self._errors[each.name] = str(error)

    def _ask(self, settings: IncidentSettings, start: float, end: float, step: float) -> None:
        offset = self._query_offset
        last = (end - offset) // step * step
        first = last - max(0.0, (last - start + offset) // step) * step
        windows, before = self._windows[settings.name], len(self._all())
        for chunk in self._api.history(settings.expr, first, last, step, timeout=self._timeout, series=20):
            present = np.nan_to_num(chunk.values) != 0.0
            for column, key in enumerate(chunk.keys):
                labels = dict(labels_of(key))
                if any(name not in labels for name in settings.equal):
                    continue
                pairs = tuple((name, labels[name]) for name in settings.equal)
                # An instant stands for what is up to the next.
                new = [TimeWindow(at - step, at + step) for at in chunk.times[present[:, column]].tolist()]
                if new:
                    old = windows.get(pairs, [])
                    windows[pairs] = merged(sorted([*old, *new], key=lambda window: window.start))
        begin, until = self._read.get(settings.name, (start, end))
        self._read[settings.name] = (min(begin, start), max(until, end))
        every = self._all()
        if every or before:
            self._changed(every)

    def _all(self) -> list[Occurrence]:
        return [
            Occurrence(
                each.name,
                "unlearned",
                1.0,
                tuple(map(parse_matcher, [*_matchers(pairs), *(each.match or ())])),
                window,
            )
            for each in self.settings
            for pairs, windows in self._windows[each.name].items()
            for window in windows
        ]


def _matchers(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f'{name}="{value.translate(_QUOTED)}"' for name, value in pairs]
