"""Events that are announced at run time: kept in the store, and part of the calendar at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from exporter.calendar.entries import recurring_entry
from exporter.calendar.events import AnnouncedEvent, TimeWindow, TooManyEventsError, event_id
from exporter.schedule import wall_clock
from exporter.store import EventLog
from exporter.suppression.active_events import ActiveEvents

__all__ = ["AnnouncedEvents"]

log = logging.getLogger(__name__)

_MOST = 10_000
"""Events that are not over."""


class AnnouncedEvents:
    """The announced events. Durable when a call returns; calls raise `StoreError`.

    Parameters
    ----------
    log : EventLog
    active : ActiveEvents
        Updated with every change.
    changed : callable
        Called after every change.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        log: EventLog,
        active: ActiveEvents,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        self._log = log
        self._active = active
        self._changed = changed
        self._lock = threading.Lock()
        self._clock = clock
        self._events: dict[str, AnnouncedEvent] = {}
        self._removed: dict[str, tuple[float, str]] = {}

    def load(self) -> None:
        """Read the events of earlier runs."""
        with self._lock:
            self._events = {event.id: event for event in self._log.load()}
            self._announce()

    def all(self) -> list[AnnouncedEvent]:
        """Return every event, by start."""
        return sorted(self._events.values(), key=lambda event: (event.starts_at, event.name))

    def get(self, name_or_id: str) -> AnnouncedEvent | None:
        """Return an event by its name or id."""
        events = self._events
        return events.get(name_or_id) or events.get(event_id(name_or_id))

    def put(self, event: AnnouncedEvent, *, at: float) -> AnnouncedEvent:
        """Add an event, or change the one of the same name; return it as it is stored.

        An older revision changes nothing, and neither does an equal event.

        Raises
        ------
        TooManyEventsError
        """
        with self._lock:
            old = self._events.get(event.id)
            if old is not None:
                if event.revision < old.revision:
                    return old
                same = replace(event, created_at=old.created_at, updated_at=old.updated_at, who=old.who)
                if same == old:
                    return old
                event = replace(event, created_at=old.created_at)
            elif sum(other.ends_at > at for other in self._events.values()) >= _MOST:
                raise TooManyEventsError
            self._log.put(event)
            self._replace({**self._events, event.id: event})
        more = {"event": event.name, "action": event.action, "who": event.who, "source": event.source}
        log.info("an event was announced" if old is None else "an event was changed", extra=more)
        self._changed()
        return event

    def remove(self, name_or_id: str, *, who: str) -> AnnouncedEvent | None:
        """Remove an event; return it, or None where there is none."""
        with self._lock:
            event = self.get(name_or_id)
            if event is None:
                return None
            self._drop(event, self._clock(), who)
        log.info("an event was removed", extra={"event": event.name, "who": who})
        self._changed()
        return event

    def removed(self) -> dict[str, tuple[float, str]]:
        """Return when each event that was removed since the start was removed, Unix seconds, and by whom, by name."""
        return dict(self._removed)

    def take(self, event: AnnouncedEvent) -> None:
        """Take an event that another exporter has, unless it is changed or removed here since."""
        with self._lock:
            old = self._events.get(event.id)
            gone = self._removed.get(event.name, (0.0, ""))[0]
            if event.id != event_id(event.name) or gone >= event.updated_at or len(self._events) >= _MOST:
                return
            if old is not None and old.updated_at >= event.updated_at:
                return
            # Before anything is written: a message may come from anybody.
            _ = recurring_entry(event) if event.cron else event.occurrence
            self._log.put(event)
            self._replace({**self._events, event.id: event})
        log.info("an event was announced at another exporter", extra={"event": event.name, "who": event.who})
        self._changed()

    def take_removal(self, name: str, at: float, who: str) -> None:
        """Remove an event that was removed at another exporter at an instant, unless it is changed here since."""
        with self._lock:
            event = self._events.get(event_id(name))
            if event is None or event.updated_at >= at:
                return
            self._drop(event, at, who)
        log.info("an event was removed at another exporter", extra={"event": name, "who": who})
        self._changed()

    def _drop(self, event: AnnouncedEvent, at: float, who: str) -> None:
        self._log.remove(event.id)
        self._removed[event.name] = (at, who)
        self._replace({identity: kept for identity, kept in self._events.items() if identity != event.id})

    def forget(self, before: float) -> None:
        """Forget the events that ended before an instant, as the store does."""
        with self._lock:
            if any(event.ends_at < before for event in self._events.values()):
                self._replace({identity: kept for identity, kept in self._events.items() if kept.ends_at >= before})

    def _replace(self, events: dict[str, AnnouncedEvent]) -> None:
        self._events = events
        self._announce()

    def _announce(self) -> None:
        events = self._events.values()
        again = [(recurring_entry(event), TimeWindow(event.starts_at, event.ends_at)) for event in events if event.cron]
        self._active.announce((event.occurrence for event in events if not event.cron), again)
