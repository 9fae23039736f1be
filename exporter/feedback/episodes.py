"""What people say of episodes: to the store, to the metrics, and to the baselines that it teaches."""

from __future__ import annotations

import threading

from exporter.alerting.episode import Episode, Feedback
from exporter.errors import StateError
from exporter.exposition import SelfMetrics
from exporter.store import AuditEntry, Change, EpisodeCursor, EpisodePage, PendingFeedback, Store, Wanted

__all__ = ["EpisodeFeedback"]


class EpisodeFeedback:
    """Stands before the store for those who ask about episodes. Safe for many threads.

    Feedback that teaches is durable before it is answered, and stays a lesson until the cycle of its query says that
    it was learned and written: a crash in between has it learned again.

    Parameters
    ----------
    store : Store
    metrics : SelfMetrics
    """

    def __init__(self, store: Store, metrics: SelfMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._lock = threading.Lock()
        self._lessons: dict[str, PendingFeedback] = {one.episode: one for one in store.lessons()}
        self.count()

    def episodes(
        self,
        wanted: Wanted = Wanted(),  # noqa: B008 - frozen.
        *,
        after: EpisodeCursor | None = None,
        limit: int = 100,
    ) -> EpisodePage:
        """Return a page of episodes; see `Store.episodes`."""
        return self._store.episodes(wanted, after=after, limit=limit)

    def episode(self, episode: str) -> tuple[Episode, tuple[AuditEntry, ...]] | None:
        """Return an episode with its transitions; see `Store.episode`."""
        return self._store.episode(episode)

    def acknowledge(self, episode: str, *, at: float, who: str, why: str) -> Change:
        """Note that somebody takes care of an episode; see `Store.acknowledge`."""
        return self._store.acknowledge(episode, at=at, who=who, why=why)

    def give_feedback(self, episode: str, verdict: Feedback, *, at: float, who: str, comment: str) -> Change:
        """Note what somebody says an episode was; see `Store.give_feedback`."""
        change = self._store.give_feedback(episode, verdict, at=at, who=who, comment=comment)
        if change.changed and change.episode is not None:
            query = change.episode.query
            with self._lock:
                self._lessons.pop(episode, None)
                if verdict.teaches:
                    self._lessons[episode] = PendingFeedback(episode, query, change.episode.fingerprint, verdict, at)
            self._metrics.feedback_total.labels(query=query, verdict=str(verdict)).inc()
            self.count()
        return change

    def lessons(self, query: str) -> list[PendingFeedback]:
        """Return what a query is still to be taught, oldest first; cheap."""
        if not self._lessons:
            return []
        with self._lock:
            return sorted((one for one in self._lessons.values() if one.query == query), key=lambda one: one.at)

    def learned(self, lessons: list[PendingFeedback]) -> None:
        """Note that lessons were learned, and that what came of them is durable.

        Raises
        ------
        StateError
            They stay lessons, and are learned again after a restart.
        """
        with self._lock:
            for lesson in lessons:
                if self._lessons.get(lesson.episode) == lesson:
                    del self._lessons[lesson.episode]
        self._store.forget_lessons(lessons)

    def count(self) -> None:
        """Count again which share of the episodes that people spoke of was no false alarm."""
        try:
            counted = self._store.feedback()
        except StateError:
            return  # What it was a moment ago is near enough.
        for query, verdicts in counted.items():
            wrong = verdicts.get(Feedback.FALSE_ALARM, 0)
            ratio = 1.0 - wrong / sum(verdicts.values())
            self._metrics.precision_ratio.labels(query=query).set(ratio)
