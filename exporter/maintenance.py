"""Periodic maintenance: retention and the size of the store."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from time import monotonic

from exporter.errors import StateError
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.store import Store
from exporter.suppression.suppression import Suppression

__all__ = ["Maintenance"]

log = logging.getLogger(__name__)

_ROUND = 3600.0
"""Seconds between two deletions of what is old."""
_CONFIRMED = 3600.0
"""Seconds: nothing is deleted for its age unless a slot so recent was judged. The clock may be years wrong."""


class Maintenance:
    """Maintains the store."""

    def __init__(self, store: Store, feedback: EpisodeFeedback, suppression: Suppression, metrics: SelfMetrics) -> None:
        self._store = store
        self._feedback = feedback
        self._suppression = suppression
        self._metrics = metrics
        self._retained_at: float | None = None

    def run(self, at: float, retention: float, *, judged: Iterable[float]) -> None:
        """Do the maintenance that is due.

        Parameters
        ----------
        at : float, Unix seconds
        retention : float, seconds
            Older audit, episodes and events are deleted.
        judged : iterable of float, Unix seconds
            The newest slot of each query that was judged.
        """
        try:
            self._metrics.store_wal_bytes.set(self._store.wal_bytes())
            self._metrics.verdicts_bytes.set(self._store.verdicts.size_bytes())
            self._metrics.store_recovered.set(self._store.impaired)
            due = self._retained_at is None or monotonic() - self._retained_at >= _ROUND
            if due and any(abs(at - slot) < _CONFIRMED for slot in judged):
                self._retained_at = monotonic()
                self._store.retain(at - retention)
                self._feedback.count()
                self._suppression.events.forget(at - retention)
        except StateError as fault:
            log.error("the store failed", extra={"error": str(fault)})

    def delete_state_of_others(self, names: Collection[str]) -> None:
        """Delete the learned state of queries other than these; it can be learned again."""
        try:
            for name in set(self._store.learned_arrays.queries()) - set(names):
                self._store.learned_arrays.forget(name)
        except StateError as fault:
            log.warning("old state could not be removed", extra={"error": str(fault)})
