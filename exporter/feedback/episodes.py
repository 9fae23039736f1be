"""Feedback on episodes: to the store, to the metrics, and to the evaluators that apply it."""

from __future__ import annotations

import threading

from exporter.alerting.episode import Episode, Feedback
from exporter.errors import StateError
from exporter.exposition import SelfMetrics
from exporter.store import AuditEntry, EpisodeChange, EpisodeCursor, EpisodeFilter, EpisodePage, PendingFeedback, Store

__all__ = ["EpisodeFeedback"]


class EpisodeFeedback:
    """Reads episodes from the store, and takes feedback on them. Safe for many threads.

    Feedback that changes a baseline is durable before it is answered, and pending until the evaluator of its query
    has applied it and written the state: after a crash in between it is applied again.

    Parameters
    ----------
    store : Store
    metrics : SelfMetrics
    """

    def __init__(self, store: Store, metrics: SelfMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._lock = threading.Lock()
        self._pending: dict[str, PendingFeedback] = {
            pending.episode: pending for pending in store.episodes.pending_feedback()
        }
        self.count()

    def episodes(
        self,
        filters: EpisodeFilter = EpisodeFilter(),  # noqa: B008 - frozen.
        *,
        after: EpisodeCursor | None = None,
        limit: int = 100,
    ) -> EpisodePage:
        """Return a page of episodes; see `Store.episodes`."""
        return self._store.episodes.page(filters, after=after, limit=limit)

    def episode(self, episode: str) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
        """Return an episode with its transitions; see `Store.episode`."""
        return self._store.episodes.get(episode)

    def acknowledge(self, episode: str, *, at: float, who: str, why: str) -> EpisodeChange:
        """Acknowledge an episode; see `Store.acknowledge`."""
        return self._store.episodes.acknowledge(episode, at=at, who=who, why=why)

    def give_feedback(self, episode: str, verdict: Feedback, *, at: float, who: str, comment: str) -> EpisodeChange:
        """Store the verdict of a person on an episode; see `Store.give_feedback`."""
        change = self._store.episodes.give_feedback(episode, verdict, at=at, who=who, comment=comment)
        if change.changed and change.episode is not None:
            query = change.episode.query
            with self._lock:
                self._pending.pop(episode, None)
                if verdict.changes_baseline:
                    self._pending[episode] = PendingFeedback(episode, query, change.episode.fingerprint, verdict, at)
            self._metrics.feedback_total.labels(query=query, verdict=str(verdict)).inc()
            self.count()
        return change

    def pending(self, query: str) -> list[PendingFeedback]:
        """Return the feedback that is to be applied to a query, oldest first; cheap."""
        if not self._pending:
            return []
        with self._lock:
            return sorted(
                (pending for pending in self._pending.values() if pending.query == query),
                key=lambda pending: pending.at,
            )

    def mark_applied(self, batch: list[PendingFeedback]) -> None:
        """Note that feedback was applied, and that the state is durable.

        Raises
        ------
        StateError
            It is applied again after a restart.
        """
        with self._lock:
            for pending in batch:
                if self._pending.get(pending.episode) == pending:
                    del self._pending[pending.episode]
        self._store.episodes.discard_feedback(batch)

    def count(self) -> None:
        """Update the metric of precision: the share of episodes with feedback that were no false alarm."""
        try:
            counted = self._store.episodes.count_feedback()
        except StateError:
            return  # The value of the last time is near enough.
        for query, verdicts in counted.items():
            wrong = verdicts.get(Feedback.FALSE_ALARM, 0)
            ratio = 1.0 - wrong / sum(verdicts.values())
            self._metrics.precision_ratio.labels(query=query).set(ratio)
