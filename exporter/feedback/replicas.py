"""Other exporters with the same Alertmanagers: what people do at one of them reaches the others.

Feedback, acknowledgements and announced events are messages (`exporter.silences.messages`). They are made from the
store, so a crash loses none, and are taken as often as they are listed: each changes something once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from exporter.alerting.alert import AuditEvent
from exporter.alerting.episode import Episode, Feedback
from exporter.alerting.identity import clean_value
from exporter.calendar import MatcherError
from exporter.calendar.events import AnnouncedEvent
from exporter.errors import StateError
from exporter.silences import Message
from exporter.silences.settings import SilenceSettings
from exporter.store import EpisodeFilter, PendingFeedback, SilenceComment, Store
from exporter.store.feedback_rows import ADOPTED

__all__ = ["EventChanges", "Replicas"]

log = logging.getLogger(__name__)

_KEPT = 4 * 86400.0
"""Seconds that messages are sent again where they are not listed: less than the 5 days that Alertmanager keeps them."""
_ALIVE, _RENEWED = 26 * 3600.0, 12 * 3600.0
"""Seconds after which another exporter is not reckoned with any more; and until this one says again that it runs."""
_MOST_EVENTS = 200
_OVERLAP = 300.0
"""Seconds of the audit that are read again."""
_BEHIND = 180.0
"""Seconds that an anomaly may begin later at one exporter than at another."""
_AHEAD = 3600.0
"""Seconds that the clock of another exporter may be ahead."""


_KINDS = {
    AuditEvent.FEEDBACK: "feedback",
    AuditEvent.ACKNOWLEDGED: "acknowledgement",
    AuditEvent.FEEDBACK_WITHDRAWN: "withdrawn_feedback",
    AuditEvent.UNACKNOWLEDGED: "withdrawn_acknowledgement",
}


@dataclass(frozen=True)
class _Given:
    """Feedback of a person on an anomaly; `opened_at` is when it began there, Unix seconds."""

    query: str
    fingerprint: str
    opened_at: float
    who: str = ""
    why: str = ""
    verdict: str = ""


class _Presence(msgspec.Struct):
    """That an exporter runs, and which shard it has."""

    exporter: str
    shard: str


@dataclass(frozen=True)
class EventChanges:
    """The announced events, as far as other exporters hear of them.

    Attributes
    ----------
    all : callable
        Returns every event.
    removed : callable
        Returns when each event that was removed here was removed, by name.
    put, remove : callable
        Take what another exporter did: an event; or its name, when, and by whom.
    """

    all: Callable[[], Sequence[AnnouncedEvent]]
    removed: Callable[[], Mapping[str, tuple[float, str]]]
    put: Callable[[AnnouncedEvent], object]
    remove: Callable[[str, float, str], object]


class Replicas:
    """Messages to and from the other exporters; used by the thread that reads silences.

    Parameters
    ----------
    store : Store
    shard : tuple of int
        (index, count).
    settings : callable
        Returns the settings of silences in force.
    events : EventChanges
    firing_since : callable
        Returns since when an Alertmanager has an active alert, by fingerprint; None where none has it.
    """

    def __init__(
        self,
        store: Store,
        *,
        shard: tuple[int, int],
        settings: Callable[[], SilenceSettings],
        events: EventChanges,
        firing_since: Callable[[str], float | None],
    ) -> None:
        self._store, self._settings, self._events = store, settings, events
        self._firing_since = firing_since
        self._shard = "/".join(map(str, shard))
        self._identity = store.alerts.identity()
        # Feedback of after these slots was given while this exporter was not running.
        self._judged = store.alerts.watermarks()
        self._handled: set[str] = set()
        self._given: dict[int, Message] = {}
        self._read_at: float | None = None
        self._present_at: float | None = None
        self._others: dict[str, tuple[float, str]] = {}
        # Not known before an Alertmanager has answered: until then, what was there may still be.
        self._paired: bool | None = None

    def paired(self) -> bool:
        """Return whether another exporter may send the same alerts; cheap."""
        return self._settings().share and self._paired is not False

    # ------------------------------------------------------------------ to the others

    def pending(self, at: float) -> list[Message]:
        """Return the messages that every Alertmanager should list."""
        messages = [self._presence(at)]
        messages += self._given_here(at)
        recent = sorted(self._events.all(), key=lambda event: -event.updated_at)[:_MOST_EVENTS]
        for event in recent:
            if event.updated_at > at - _KEPT and event.ends_at > at:
                name = f"{event.id}-{event.updated_at:.3f}"
                messages.append(self._message("event", name, event.updated_at, msgspec.to_builtins(event)))
        for name, (removed_at, who) in self._events.removed().items():
            body = {"name": name, "who": who}
            messages.append(self._message("removed_event", f"{name}-{removed_at:.3f}", removed_at, body))
        return messages

    def _given_here(self, at: float) -> list[Message]:
        """Return messages about feedback and acknowledgements at this exporter; only new entries are read."""
        # The clock may have been set back, but not by this.
        since = at - _KEPT if self._read_at is None else min(self._read_at, at) - _OVERLAP
        self._given = {number: message for number, message in self._given.items() if message.at > at - _KEPT}
        # The next round tries again what fails.
        with suppress(StateError):
            for entry in self._store.episodes.given_here(max(since, at - _KEPT)):
                episode = None if entry.id in self._given else self._store.episodes.get(entry.episode)
                if episode is not None:
                    verdict, opened_at = entry.details.get("verdict", ""), episode[0].opened_at
                    given = _Given(entry.query, entry.fingerprint, opened_at, entry.who, entry.why, verdict)
                    kind = _KINDS[AuditEvent(entry.event)]
                    message = self._message(kind, f"{entry.id}", entry.at, msgspec.to_builtins(given))
                    self._given[entry.id] = message
            self._read_at = at
        return list(self._given.values())

    def _presence(self, at: float) -> Message:
        if self._present_at is None or not 0.0 <= at - self._present_at < _RENEWED:
            self._present_at = at
        body = msgspec.to_builtins(_Presence(self._identity, self._shard))
        return self._message("here", f"{self._present_at:.0f}", self._present_at, body)

    def _message(self, kind: str, name: str, at: float, body: Mapping[str, object]) -> Message:
        own = "" if kind == "event" else f"{self._identity}-"
        return msgspec.convert({"kind": kind, "id": f"{kind}-{own}{name}", "at": at, "body": dict(body)}, Message)

    # ------------------------------------------------------------------ from the others

    def take(self, messages: Sequence[Message], at: float) -> None:
        """Take all messages that are listed."""
        current = [message for message in messages if message.at <= at + _AHEAD]
        self._follow_presence(current, at)
        new = [message for message in current if message.id not in self._handled]
        for message in sorted(new, key=lambda message: message.at):
            try:
                self._apply(message)
            except StateError as fault:
                log.warning("a message of another exporter is not noted yet", extra={"error": str(fault)})
                continue
            except (msgspec.ValidationError, TypeError, ValueError, LookupError, MatcherError) as fault:
                log.warning("a message of another exporter is not understood", extra={"error": repr(fault)})
            self._handled.add(message.id)
        self._handled &= {message.id for message in messages}

    def _follow_presence(self, messages: Sequence[Message], at: float) -> None:
        newest = {name: seen for name, seen in self._others.items() if seen[0] > at - _ALIVE}
        for message in messages:
            if message.kind == "here" and message.at > at - _ALIVE:
                try:
                    presence = msgspec.convert(message.body, _Presence)
                except msgspec.ValidationError:
                    continue
                newest[presence.exporter] = max(newest.get(presence.exporter, (0.0, "")), (message.at, presence.shard))
        own_at, own_shard = newest.pop(self._identity, (0.0, ""))
        if self._present_at is None and own_shard == self._shard:
            # A restart is no news.
            self._present_at = own_at
        self._others = newest
        paired = any(shard == self._shard for _, shard in newest.values())
        if paired is not bool(self._paired):
            log.info(f"{'another' if paired else 'no other'} exporter of the same shard sends to these Alertmanagers")
        self._paired = paired

    def _apply(self, message: Message) -> None:
        if message.id.startswith(f"{message.kind}-{self._identity}-"):
            return
        match message.kind:
            case "feedback" | "acknowledgement" | "withdrawn_feedback" | "withdrawn_acknowledgement":
                given = msgspec.convert(message.body, _Given)
                self._hear(message, replace(given, who=clean_value(given.who), why=clean_value(given.why)))
            case "event":
                event = msgspec.convert(message.body, AnnouncedEvent)
                self._events.put(replace(event, who=clean_value(event.who), comment=clean_value(event.comment)))
            case "removed_event":
                self._events.remove(str(message.body["name"]), message.at, str(message.body.get("who", "")))

    def _hear(self, message: Message, given: _Given) -> None:
        """Take feedback on an episode: here it is the one that was open when that began, or began soon after."""
        episodes = self._store.episodes
        filters = EpisodeFilter(fingerprint=given.fingerprint, since=given.opened_at, until=given.opened_at + _BEHIND)
        match = next(reversed(episodes.page(filters, limit=10).episodes), None)
        more = {"query": given.query, "who": given.who, "message": message.id}
        if message.kind != "feedback":
            if match is not None:
                self._follow(message, given, match)
            return
        # Like the comment of a silence it may come from anybody.
        if not self._settings().feedback:
            return
        verdict = Feedback(given.verdict)
        if match is not None:
            remark = SilenceComment(message.id, message.at)
            change = episodes.give_feedback(
                match.id, verdict, at=message.at, who=given.who, comment=given.why, remark=remark
            )
            if change.changed:
                log.info("another exporter was given feedback", extra={**more, "verdict": str(verdict)})
        elif verdict.changes_baseline and self._was_away(given, message):
            pending = PendingFeedback(ADOPTED + message.id, given.query, given.fingerprint, verdict, message.at)
            episodes.adopt(pending)
            log.info("another exporter was given feedback meanwhile", extra={**more, "verdict": str(verdict)})

    def _follow(self, message: Message, given: _Given, episode: Episode) -> None:
        """Take an acknowledgement, or what was taken back, unless something newer was said of it here."""
        episodes, who, why, at = self._store.episodes, given.who, given.why, message.at
        if message.kind == "acknowledgement":
            episodes.acknowledge(episode.id, at=at, who=who, why=why, silence=message.id)
            return
        of_feedback = message.kind == "withdrawn_feedback"
        since = episode.feedback_at if of_feedback else episode.acknowledged_at
        if since is not None and since <= at and (self._settings().feedback or not of_feedback):
            event = AuditEvent.FEEDBACK_WITHDRAWN if of_feedback else AuditEvent.UNACKNOWLEDGED
            episodes.take_back(episode.id, event, at=at, who=who, why=why, silence=message.id)

    def _was_away(self, given: _Given, message: Message) -> bool:
        """Return whether feedback was given while this exporter was not running, on a level that still is that."""
        judged = self._judged.get(given.query)
        since = self._firing_since(given.fingerprint)
        return judged is not None and judged < message.at and (since is None or since < message.at)
