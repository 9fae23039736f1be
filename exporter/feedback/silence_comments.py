"""Silences as acknowledgements: a silence that covers an alert acknowledges its episode.

Its comment may be feedback, too. Alertmanager has no login, so whoever reaches it could give feedback on everything;
therefore a comment counts only for the few episodes that the silence matched when it was made.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from exporter.alerting.alert import Alert
from exporter.alerting.episode import Feedback
from exporter.alerting.identity import with_plain
from exporter.delivery import AlertSnapshots
from exporter.errors import StateError
from exporter.silences import Silence, SilenceIndex
from exporter.silences.settings import SilenceSettings
from exporter.store import EpisodeCursor, EpisodeFilter, EpisodeLog, SilenceComment

__all__ = ["Acknowledger", "feedback_in"]

log = logging.getLogger(__name__)

_FEEDBACK = re.compile(
    r"\s*(?:(?P<expected>expected)|(?P<false>false[ _-]?alarm)|(?P<new>new[ _-]normal))"
    # Not the beginning of another sentence, such as "Expected to be back at noon", and no question.
    r"(?=\s*$|\s*[,:;.!(\[\n]|\s+[-/\u2013\u2014]|\s+because\b|\s+due to\b|(?(expected)(?!)|\s+since\b))",
    re.IGNORECASE,
)


def feedback_in(comment: str) -> Feedback | None:
    """Return the feedback that the comment of a silence begins with, as a phrase of its own.

    >>> feedback_in("New normal: twice the customers since Monday")
    <Feedback.NEW_NORMAL: 'new normal'>
    >>> feedback_in("Expected to be back at noon")
    """
    match = _FEEDBACK.match(comment)
    if match is None:
        return None
    if match["expected"]:
        return Feedback.EXPECTED
    return Feedback.NEW_NORMAL if match["new"] else Feedback.FALSE_ALARM


@dataclass(frozen=True, slots=True)
class _Scope:
    """When a comment was written, the episodes that its silence matched then, and why it does not count at all."""

    written_at: float
    episodes: Collection[str]
    declined: str = ""


class Acknowledger:
    """Compares open alerts with silences, after every round of reading them.

    Parameters
    ----------
    settings : callable
        Returns the settings in force.
    listed : callable
        Returns how many of our alerts, those of other processes included, an Alertmanager lists under a silence, by
        its id.
    """

    def __init__(
        self,
        alert_snapshots: AlertSnapshots,
        episodes: EpisodeLog,
        settings: Callable[[], SilenceSettings] = SilenceSettings,
        listed: Callable[[str], int] = lambda silence: 0,  # noqa: ARG005
    ) -> None:
        self._alert_snapshots = alert_snapshots
        self._episodes = episodes
        self._settings = settings
        self._listed = listed
        self._done: dict[tuple[str, str], str] = {}
        self._first: dict[str, str] = {}
        self._scopes: dict[str, tuple[str, _Scope]] = {}

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
                self._first.setdefault(silence.id, silence.comment)
                if self._done.get(key) == silence.comment or self._acknowledge(alert, silence, at):
                    done[key] = silence.comment
        self._done = done
        current = {silence.id for silence in silences.at(at)}
        self._first = {key: comment for key, comment in self._first.items() if key in current}
        self._scopes = {key: scope for key, scope in self._scopes.items() if key in current}

    def _acknowledge(self, alert: Alert, silence: Silence, at: float) -> bool:
        """Acknowledge the episode of an alert; return whether that is done with."""
        who, why = silence.author or "unknown", silence.comment
        try:
            change = self._episodes.acknowledge(alert.episode, at=at, who=who, why=why, silence=silence.id)
            verdict = None if silence.ours or not self._settings().feedback else feedback_in(silence.comment)
            if verdict is not None:
                remark = self._remark(silence, alert)
                self._episodes.give_feedback(alert.episode, verdict, at=at, who=who, comment=why, remark=remark)
        except StateError as fault:
            more = {"query": alert.query, "episode": alert.episode, "error": str(fault)}
            log.warning("an acknowledgement could not be written", extra=more)
            return False
        if change.changed:
            more = {"query": alert.query, "episode": alert.episode, "who": who, "silence": silence.id}
            log.info("a silence acknowledges an episode", extra=more)
        # An episode that the store does not have yet is tried again.
        return change.episode is not None

    def _remark(self, silence: Silence, alert: Alert) -> SilenceComment:
        """Return what the comment of a silence counts for the episode of an alert."""
        scope = self._scope(silence)
        declined = scope.declined
        if not declined and alert.episode not in scope.episodes:
            declined = "the anomaly began after the silence was made"
        return SilenceComment(silence.id, scope.written_at, declined)

    def _scope(self, silence: Silence) -> _Scope:
        comment, scope = self._scopes.get(silence.id, ("", None))
        if scope is None or comment != silence.comment:
            changed = self._first[silence.id] != silence.comment
            # A comment that was changed is newer than its silence.
            written_at = silence.updated_at if changed and silence.updated_at is not None else silence.made_at
            scope = self._matched(silence, written_at)
            self._scopes[silence.id] = (silence.comment, scope)
        return scope

    def _matched(self, silence: Silence, written_at: float) -> _Scope:
        """Count what a silence matched: the same after a restart, and however many are over by now."""
        limit = self._settings().feedback_limit
        cursor: EpisodeCursor | None = None
        filters = EpisodeFilter(
            since=written_at, until=written_at, labels=lambda labels: silence.covers(with_plain(labels))
        )
        episodes: set[str] = set()
        while len(episodes) <= limit:
            page = self._episodes.page(filters, after=cursor, limit=limit + 1)
            episodes.update(episode.id for episode in page.episodes)
            cursor = page.next
            if cursor is None:
                break
        matched = max(len(episodes), self._listed(silence.id))
        if matched <= limit:
            return _Scope(written_at, episodes)
        return _Scope(written_at, (), f"the silence matches more than {limit} anomalies (silences.feedback_limit)")
