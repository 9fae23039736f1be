"""Feedback on episodes, from the store to the metrics and to the evaluators that apply it."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from exporter.alerting.episode import Feedback
from exporter.alerting.explanation.why_input import VerdictsInput
from exporter.engine.false_alerts import JudgedAlerts
from exporter.errors import StateError
from exporter.exposition import SelfMetrics
from exporter.store import PendingFeedback, Store

__all__ = ["EpisodeFeedback"]

log = logging.getLogger(__name__)

_ENOUGH = 3
"""Verdicts on alerts of a series that say enough about it."""


class EpisodeFeedback:
    """Keeps the feedback that is to be applied, and its metrics. Safe for many threads.

    Feedback that changes a baseline is durable before it is answered, and pending until the evaluator of its query
    has applied it and written the state: after a crash in between it is applied again.
    """

    def __init__(self, store: Store, metrics: SelfMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._lock = threading.Lock()
        self._of_query: dict[str, Counter[Feedback]] = {}
        self._of_series: dict[tuple[str, str], Counter[Feedback]] = {}
        self._pending: dict[str, PendingFeedback] = {
            pending.episode: pending for pending in store.episodes.pending_feedback()
        }
        store.episodes.on_feedback(self._add)
        store.episodes.on_withdrawal(self._drop)
        self.count()

    def _add(self, feedback: PendingFeedback) -> None:
        with self._lock:
            self._pending.pop(feedback.episode, None)
            if feedback.verdict.changes_baseline:
                self._pending[feedback.episode] = feedback
        self._metrics.feedback_total.labels(query=feedback.query, verdict=str(feedback.verdict)).inc()
        self.count()

    def _drop(self, episode: str) -> None:
        with self._lock:
            self._pending.pop(episode, None)
        self.count()

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

    def deviation_of(self, pending: PendingFeedback) -> float | None:
        """Return how far from the expected an episode was when it was called normal; None where that is not known."""
        try:
            return self._store.episodes.deviation_of(pending)
        except StateError:
            return None

    def note_unlearned(self, pending: PendingFeedback, *, at: float, why: str) -> None:
        """Note in the audit why feedback is not learned."""
        try:
            self._store.episodes.note_unlearned(pending, at=at, why=why)
        except StateError as fault:
            more = {"query": pending.query, "episode": pending.episode, "error": str(fault)}
            log.warning("the audit does not say why feedback is not learned", extra=more)

    def verdicts(self, query: str, fingerprint: str) -> VerdictsInput:
        """Return the feedback on earlier alerts like this.

        Parameters
        ----------
        query : str
            Of the query; the name of its job for a group.
        fingerprint : str
            Of the alert; its own series is enough where three of its alerts were judged.
        """
        own = self._of_series.get((query, fingerprint), Counter())
        if own.total() >= _ENOUGH:
            return _input("of this series", own)
        kind = "group" if query.startswith("(group) ") else "query"
        return _input(f"of this {kind}", self._of_query.get(query, Counter()))

    def judged(self, query: str) -> JudgedAlerts:
        """Return how many alerts of a query were false alarms, and how many were confirmed."""
        counts = self._of_query.get(query, Counter())
        return JudgedAlerts(counts[Feedback.FALSE_ALARM], counts[Feedback.CONFIRMED])

    def count(self) -> None:
        """Update the metric of precision: the share of episodes with feedback that were no false alarm."""
        try:
            counted = self._store.episodes.count_feedback()
        except StateError:
            return  # The value of the last time is near enough.
        of_query: dict[str, Counter[Feedback]] = {}
        for (query, _), verdicts in counted.items():
            of_query.setdefault(query, Counter()).update(verdicts)
        # Assignments: another thread sees all of the old or all of the new.
        self._of_query, self._of_series = of_query, {key: Counter(verdicts) for key, verdicts in counted.items()}
        for query, verdicts in of_query.items():
            wrong = verdicts.get(Feedback.FALSE_ALARM, 0)
            ratio = 1.0 - wrong / sum(verdicts.values())
            self._metrics.precision_ratio.labels(query=query).set(ratio)


def _input(like: str, counts: Counter[Feedback]) -> VerdictsInput:
    return VerdictsInput(
        like,
        confirmed=counts[Feedback.CONFIRMED],
        false_alarms=counts[Feedback.FALSE_ALARM],
        expected=counts[Feedback.EXPECTED],
        accepted=counts[Feedback.NEW_NORMAL],
    )
