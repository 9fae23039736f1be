"""The context of the alerts of one table, as the store keeps it with them: storms, traces of causes, naming."""

from __future__ import annotations

from exporter.alerting.saved_context import SavedContext, decode_context, encode_context
from exporter.alerting.storm import OpenStorm
from exporter.evaluation.alert_store import AlertStore

__all__ = ["StoredContext"]


class StoredContext:
    """What the newest step saved; decoded anew only where the notes of the store are others."""

    def __init__(self, alert_store: AlertStore) -> None:
        self._alert_store = alert_store
        self._saved, self._encoded = decode_context(alert_store.notes), alert_store.notes

    def read(self) -> SavedContext:
        """Return the context of the newest step."""
        if self._encoded is not self._alert_store.notes:
            self._saved, self._encoded = decode_context(self._alert_store.notes), self._alert_store.notes
        return self._saved

    def assume(self, saved: SavedContext) -> None:
        """Go on from another context until the next step is saved."""
        self._saved = saved

    def encode(self, saved: SavedContext) -> bytes:
        """Return a context as the notes of a step, and go on from it."""
        self._saved, self._encoded = saved, encode_context(saved)
        return self._encoded

    def open_storms(self) -> tuple[OpenStorm, ...]:
        """Return the storms whose alerts are open."""
        alerts = self._alert_store.alerts
        storms = self.read().storms
        return tuple(storm for storm in storms if storm.identity in alerts and alerts[storm.identity].is_open)
