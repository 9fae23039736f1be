"""Immutable snapshots of the current alerts of all queries, which every sender reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.alerting.alert import Alert, AlertState

__all__ = ["AlertSnapshots", "QueryAlerts", "Snapshot"]

_RETENTION = 3600.0
"""Seconds that resolved alerts are kept; longer than any is sent."""


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
    judged : bool
        Whether a slot was judged since the start: until then alerts are those of an earlier run.
    """

    alerts: Mapping[str, Alert]
    at: float
    interval: float
    published: float
    unresolved: int = 0
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The alerts of all queries at one instant.

    Attributes
    ----------
    by_query : mapping
        The alerts of each query.
    superseded : mapping
        By fingerprint: the resolved alert that a new episode has replaced.
    """

    by_query: Mapping[str, QueryAlerts] = field(default_factory=dict)
    superseded: Mapping[str, Alert] = field(default_factory=dict)

    def annotations(self, query: str, fingerprint: str) -> Mapping[str, str]:
        """Return the annotations of an alert; empty where there is none."""
        query_alerts = self.by_query.get(query)
        alert = None if query_alerts is None else query_alerts.alerts.get(fingerprint)
        return {} if alert is None else alert.annotations


class AlertSnapshots:
    """Takes the alerts of a query after every slot and notifies the senders. Safe for many threads.

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

    def publish(self, query: str, alerts: Mapping[str, Alert], *, interval: float, judged: bool = True) -> None:
        """Replace the alerts of a query, after every slot: successful, failed or repeated.

        To be called without changes too: a newer slot is what has a firing alert sent again.

        Parameters
        ----------
        query : str
        alerts : mapping
            All alerts of the query by fingerprint, durable already.
        interval : float
            Seconds between the slots of the query: firing alerts stay valid for at least four of them. Zero
            for a query that was removed.
        judged : bool
            Whether a slot was judged since the start.
        """
        slot = max((alert.evaluated_at for alert in alerts.values()), default=0.0)
        unresolved = sum(alert.is_open for alert in alerts.values())
        copy = MappingProxyType(dict(alerts))
        with self._lock:
            published = self._monotonic()
            before = self._snapshot
            old = before.by_query.get(query)
            superseded = _superseded(before.superseded, {} if old is None else old.alerts, copy, query, slot)
            others = ((name, alerts) for name, alerts in before.by_query.items() if name != query)
            by_query = {name: alerts for name, alerts in others if not _is_stale(alerts, published)}
            if copy:
                by_query[query] = QueryAlerts(copy, slot, interval, published, unresolved, judged)
            self._snapshot = Snapshot(by_query, superseded)
            listeners = self._listeners
        for notify in listeners:
            notify()

    def open_alerts(self, *, besides: str | None = None) -> int:
        """Return how many alerts are pending or firing in all queries, or in all but one."""
        return sum(alerts.unresolved for query, alerts in self._snapshot.by_query.items() if query != besides)

    def read(self) -> Snapshot:
        """Return the current snapshot; the same object until something is published."""
        return self._snapshot

    def subscribe(self, notify: Callable[[], None]) -> None:
        """Call `notify` after every `publish`, in the thread of the publisher."""
        with self._lock:
            self._listeners = (*self._listeners, notify)

    def unsubscribe(self, notify: Callable[[], None]) -> None:
        """Stop calling `notify`."""
        with self._lock:
            self._listeners = tuple(listener for listener in self._listeners if listener != notify)


def _superseded(
    before: Mapping[str, Alert], old: Mapping[str, Alert], new: Mapping[str, Alert], query: str, at: float
) -> Mapping[str, Alert]:
    # An Alertmanager that was down may still need the end of the last episode before the next one fires.
    replaced = {
        identity: alert
        for identity, alert in old.items()
        if alert.state is AlertState.RESOLVED and identity in new and new[identity].episode != alert.episode
    }
    kept = {identity: alert for identity, alert in before.items() if alert.query != query or _is_recent(alert, at)}
    return before if not replaced and len(kept) == len(before) else {**kept, **replaced}


def _is_recent(alert: Alert, at: float) -> bool:
    return alert.resolved_at is not None and abs(at - alert.resolved_at) <= _RETENTION


def _is_stale(alerts: QueryAlerts, now: float) -> bool:
    """Return whether the query was removed so long ago that none of its alerts is sent."""
    return now - alerts.published > _RETENTION and not alerts.unresolved
