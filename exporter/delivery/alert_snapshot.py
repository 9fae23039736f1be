"""What every sender reads: the current alerts of all queries, one immutable mapping each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.alerting.alert import Alert, AlertState

__all__ = ["AlertSnapshots", "QueryAlerts", "Snapshot"]

_MEMORY = 3600.0
"""Seconds; longer than any resolved alert is sent."""


@dataclass(frozen=True, slots=True)
class QueryAlerts:
    """The alerts of one query.

    Attributes
    ----------
    alerts : mapping
        By fingerprint.
    at : float
        The slot, Unix seconds. An alert is sent again when enough time lies between two slots, as in Prometheus.
    interval : float
        Seconds between slots.
    published : float
        Monotonic seconds.
    unresolved : int
        How many of them are pending or firing.
    """

    alerts: Mapping[str, Alert]
    at: float
    interval: float
    published: float
    unresolved: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sheets at one moment.

    Attributes
    ----------
    sheets : mapping
        By query.
    superseded : mapping
        By fingerprint: the resolved alert whose place a new episode has taken.
    """

    sheets: Mapping[str, QueryAlerts] = field(default_factory=dict)
    superseded: Mapping[str, Alert] = field(default_factory=dict)

    def annotations(self, query: str, fingerprint: str) -> Mapping[str, str]:
        """Return what an alert says; nothing where there is none."""
        sheet = self.sheets.get(query)
        alert = None if sheet is None else sheet.alerts.get(fingerprint)
        return {} if alert is None else alert.annotations


class AlertSnapshots:
    """Takes the alerts of a query after every slot and tells the senders. Safe for many threads.

    Parameters
    ----------
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self._listeners: tuple[Callable[[], None], ...] = ()

    def publish(self, query: str, alerts: Mapping[str, Alert], *, interval: float) -> None:
        """Replace the alerts of a query, after every slot: good, failed or seen before.

        Not only changes count: a slot is what makes a firing alert be sent again.

        Parameters
        ----------
        query : str
        alerts : mapping
            All alerts of the query by fingerprint, durable already.
        interval : float
            Seconds between the slots of the query: firing alerts are good for four of them at least. Zero
            for a query that is gone.
        """
        slot = max((alert.evaluated_at for alert in alerts.values()), default=0.0)
        unresolved = sum(alert.state is not AlertState.RESOLVED for alert in alerts.values())
        copy = MappingProxyType(dict(alerts))
        with self._lock:
            published = self._monotonic()
            before = self._snapshot
            old = before.sheets.get(query)
            superseded = _superseded(before.superseded, {} if old is None else old.alerts, copy, query, slot)
            others = ((name, sheet) for name, sheet in before.sheets.items() if name != query)
            sheets = {name: sheet for name, sheet in others if not _is_stale(sheet, published)}
            if copy:
                sheets[query] = QueryAlerts(copy, slot, interval, published, unresolved)
            self._snapshot = Snapshot(sheets, superseded)
            listeners = self._listeners
        for notify in listeners:
            notify()

    def open_alerts(self, *, besides: str | None = None) -> int:
        """Return how many alerts are pending or firing in all queries, or in all but one."""
        return sum(sheet.unresolved for query, sheet in self._snapshot.sheets.items() if query != besides)

    def read(self) -> Snapshot:
        """Return everything as of now; the same object for as long as nothing was published."""
        return self._snapshot

    def subscribe(self, notify: Callable[[], None]) -> None:
        """Call `notify` after every `publish`, in the thread of the publisher."""
        with self._lock:
            self._listeners = (*self._listeners, notify)

    def unsubscribe(self, notify: Callable[[], None]) -> None:
        """Call `notify` no longer."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != notify)


def _superseded(
    before: Mapping[str, Alert], old: Mapping[str, Alert], new: Mapping[str, Alert], query: str, at: float
) -> Mapping[str, Alert]:
    # An Alertmanager that was away may still have to hear that the last episode ended, before the next one fires.
    gone = {
        identity: alert
        for identity, alert in old.items()
        if alert.state is AlertState.RESOLVED and identity in new and new[identity].episode != alert.episode
    }
    kept = {identity: alert for identity, alert in before.items() if alert.query != query or _is_recent(alert, at)}
    return before if not gone and len(kept) == len(before) else {**kept, **gone}


def _is_recent(alert: Alert, at: float) -> bool:
    return alert.resolved_at is not None and abs(at - alert.resolved_at) <= _MEMORY


def _is_stale(sheet: QueryAlerts, now: float) -> bool:
    """Return whether the query was removed so long ago that nothing of it is sent."""
    return now - sheet.published > _MEMORY and not sheet.unresolved
