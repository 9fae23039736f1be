"""Silences as acknowledgements: a silence that covers an alert acknowledges its episode."""

from __future__ import annotations

import logging
import re

from exporter.alerting.alert import Alert
from exporter.alerting.episode import Feedback
from exporter.delivery import AlertSnapshots
from exporter.errors import StateError
from exporter.silences import Silence, SilenceIndex
from exporter.store import EpisodeLog

__all__ = ["Acknowledger", "feedback_in"]

log = logging.getLogger(__name__)

_FEEDBACK = re.compile(r"\s*(false[ _-]?alarm|expected|new[ _-]normal)\b", re.IGNORECASE)


def feedback_in(comment: str) -> Feedback | None:
    """Return the feedback in the comment of a silence, by its first words.

    >>> feedback_in("New normal: twice the customers since Monday")
    <Feedback.NEW_NORMAL: 'new normal'>
    """
    match = _FEEDBACK.match(comment)
    if match is None:
        return None
    word = match[1].lower()
    if word == "expected":
        return Feedback.EXPECTED
    return Feedback.NEW_NORMAL if word.startswith("new") else Feedback.FALSE_ALARM


class Acknowledger:
    """Compares open alerts with silences, after every round of reading them."""

    def __init__(self, alert_snapshots: AlertSnapshots, episodes: EpisodeLog) -> None:
        self._alert_snapshots = alert_snapshots
        self._episodes = episodes
        self._done: dict[tuple[str, str], str] = {}

    def follow(self, silences: SilenceIndex, at: float) -> None:
        """Acknowledge the open episodes that silences cover, each once, and take their comments as feedback."""
        alive = [
            alert
            for query_alerts in self._alert_snapshots.read().by_query.values()
            for alert in query_alerts.alerts.values()
            if alert.is_open
        ]
        done: dict[tuple[str, str], str] = {}
        for alert in alive:
            for silence in silences.covering(alert.labels, at):
                key = (alert.episode, silence.id)
                if self._done.get(key) == silence.comment or self._acknowledge(alert, silence, at):
                    done[key] = silence.comment
        self._done = done

    def _acknowledge(self, alert: Alert, silence: Silence, at: float) -> bool:
        """Acknowledge the episode of an alert; return whether that is done with."""
        who, why = silence.author or "unknown", silence.comment
        try:
            change = self._episodes.acknowledge(alert.episode, at=at, who=who, why=why)
            verdict = None if silence.ours else feedback_in(silence.comment)
            if verdict is not None:
                self._episodes.give_feedback(alert.episode, verdict, at=at, who=who, comment=why)
        except StateError as fault:
            more = {"query": alert.query, "episode": alert.episode, "error": str(fault)}
            log.warning("an acknowledgement could not be written", extra=more)
            return False
        if change.changed:
            more = {"query": alert.query, "episode": alert.episode, "who": who, "silence": silence.id}
            log.info("a silence acknowledges an episode", extra=more)
        # An episode that the store does not have yet is tried again.
        return change.episode is not None
