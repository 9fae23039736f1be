"""``/api/v1/events``: the calendar, and announced events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
from pydantic import ValidationError

from exporter.calendar import Action, Calendar, CalendarEntry
from exporter.calendar.entries import recurring_entry
from exporter.calendar.events import AnnouncedEvent, TimeWindow, TooManyEventsError, event_id
from exporter.settings import format_duration
from exporter.web.api.endpoint import ApiRequest, Endpoint, Instant, NoParameters
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["EventRegistry", "EventEntry", "event_endpoints", "event_entry"]

_AHEAD = 7 * 86400.0
"""Seconds in which entries of the configuration are looked for."""
_LATEST = 1e11
"""Unix seconds: what is later was meant in milliseconds."""
_LONGEST = 366 * 86400.0
_LONGEST_RECURRING = 5 * _LONGEST


class EventRegistry(Protocol):
    """The announced events."""

    def all(self) -> list[AnnouncedEvent]:
        """Return every event, by start."""

    def get(self, name_or_id: str) -> AnnouncedEvent | None:
        """Return an event."""

    def put(self, event: AnnouncedEvent, *, at: float) -> AnnouncedEvent:
        """Add an event, or change the one of the same name."""

    def remove(self, name_or_id: str, *, who: str) -> AnnouncedEvent | None:
        """Remove an event."""


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event to be announced. Announced again under the same name, it is changed."""

    name: Annotated[str, msgspec.Meta(description="Unique; letters, digits and `_ . : / # -`.", max_length=128)]
    action: Annotated[Action, msgspec.Meta(description="As in the calendar of the configuration.")]
    match: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=4096)], ...],
        msgspec.Meta(description="Matchers as in Alertmanager; all must hold.", min_length=1, max_length=50),
    ]
    multiplier: Annotated[float | None, msgspec.Meta(description="For `expect`: how many times the usual value.")] = (
        None
    )
    starts_at: Annotated[
        Instant | None,
        msgspec.Meta(description="Default: now; for an event that is known, its start stays."),
    ] = None
    ends_at: Annotated[Instant | None, msgspec.Meta(description="Give this or `duration`.")] = None
    duration: Annotated[str | None, msgspec.Meta(description="From the start on, such as `15m`.")] = None
    comment: Annotated[str, msgspec.Meta(description="For people.", max_length=500)] = ""
    cron: Annotated[
        Annotated[str, msgspec.Meta(max_length=200)] | None,
        msgspec.Meta(
            description="It comes again: when it begins, as in the calendar, each time for `duration`; `starts_at` and "
            "`ends_at` are when that begins and ends, five years later unless given.",
        ),
    ] = None
    timezone: Annotated[str | None, msgspec.Meta(description="Of `cron`. Default: `global.timezone`.")] = None


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are listed."""

    active: Annotated[bool | None, msgspec.Meta(description="Only those in effect now, or only the others.")] = None
    source: Annotated[
        Literal["configuration", "api", "github"] | None, msgspec.Meta(description="Only those from there.")
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most so many.")] = 100
    offset: Annotated[int, msgspec.Meta(ge=0, le=1_000_000, description="Leave out so many.")] = 0


class EventId(msgspec.Struct, frozen=True):
    """An event."""

    id: Annotated[str, msgspec.Meta(description="Its id or its name.")]


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event, or an entry of the configuration with its present or next window."""

    id: str | None
    name: str
    source: str
    action: str
    multiplier: float
    match: tuple[str, ...]
    starts_at: float
    ends_at: float
    active: bool
    comment: str
    who: str | None
    created_at: float | None
    updated_at: float | None
    cron: str | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, by start; `total` is how many there are on all pages."""

    events: list[EventEntry]
    total: int


def event_endpoints(
    events: EventRegistry, calendar: Callable[[], Calendar], clock: Callable[[], float]
) -> tuple[Endpoint[Any, Any], ...]:
    """Make the endpoints.

    Parameters
    ----------
    events : EventRegistry
        The announced events.
    calendar : callable
        Returns the calendar in force.
    clock : callable
        Unix seconds.
    """

    def list_events(request: ApiRequest[EventFilters, None]) -> EventPage:
        filters, now = request.parameters, clock()
        entries = [*_configured(calendar(), now), *(event_entry(event, now) for event in events.all())]
        selected = [
            entry
            for entry in entries
            if filters.active in (None, entry.active) and filters.source in (None, entry.source)
        ]  # fmt: skip
        selected.sort(key=lambda entry: (entry.starts_at, entry.name))
        return EventPage(selected[filters.offset : filters.offset + filters.limit], len(selected))

    def announce(request: ApiRequest[Any, Announcement]) -> EventEntry:
        now = clock()
        announcement = request.body
        if any(entry.name == announcement.name for entry in calendar().entries):
            raise ApiError(
                ErrorType.CONFLICT, f"name: the configuration has an entry {announcement.name!r}; take another name"
            )
        event = _event(announcement, events.get(announcement.name), now, request.who or "", calendar().zone)
        try:
            return event_entry(events.put(event, at=now), now)
        except TooManyEventsError:
            raise ApiError(ErrorType.CONFLICT, "there are too many events that are not over; remove some") from None

    def remove(request: ApiRequest[EventId, None]) -> EventEntry:
        event = events.remove(request.parameters.id, who=request.who or "")
        if event is None:
            raise ApiError(ErrorType.NOT_FOUND, f"there is no announced event {request.parameters.id[:128]!r}")
        return event_entry(event, clock())

    nothing = type(None)
    return (
        Endpoint(
            "GET", "/events", "The calendar, and announced events.", list_events, EventPage, EventFilters, nothing
        ),
        Endpoint(
            "POST",
            "/events",
            "Announce an event, or change one of the same name.",
            announce,
            EventEntry,
            NoParameters,
            Announcement,
            (ErrorType.CONFLICT,),
        ),
        Endpoint(
            "DELETE",
            "/events/{id}",
            "Remove an announced event.",
            remove,
            EventEntry,
            EventId,
            nothing,
            (ErrorType.NOT_FOUND,),
        ),
    )


def _event(
    announcement: Announcement, existing: AnnouncedEvent | None, now: float, who: str, zone: str
) -> AnnouncedEvent:
    starts_at = announcement.starts_at
    if starts_at is None:
        # A pipeline that tries again must not move the start.
        starts_at = Instant(now if existing is None or existing.ends_at <= now else existing.starts_at)
    entry = _checked(announcement, starts_at)
    duration = entry.duration or 0.0
    longest = _LONGEST if announcement.cron is None else _LONGEST_RECURRING
    default = starts_at + (duration if announcement.cron is None else longest)
    ends_at = default if announcement.ends_at is None else float(announcement.ends_at)
    if ends_at <= starts_at:
        raise ApiError(ErrorType.BAD_DATA, "ends_at: it ends before it begins")
    if ends_at - starts_at > longest:
        raise ApiError(ErrorType.BAD_DATA, f"an event lasts for {format_duration(longest)} at most")
    if ends_at <= now and existing is None:
        raise ApiError(ErrorType.BAD_DATA, "ends_at: it is over already")
    return AnnouncedEvent(
        id=event_id(announcement.name),
        name=announcement.name,
        source="api",
        action=announcement.action,
        multiplier=1.0 if announcement.multiplier is None else announcement.multiplier,
        match=announcement.match,
        starts_at=float(starts_at),
        ends_at=ends_at,
        comment=announcement.comment,
        who=who,
        created_at=now,
        updated_at=now,
        revision=0.0 if existing is None else existing.revision,
        cron=announcement.cron or "",
        duration=duration if announcement.cron is not None else 0.0,
        timezone="" if announcement.cron is None else announcement.timezone or zone,
    )


def _checked(announcement: Announcement, starts_at: float) -> CalendarEntry:
    """Check by the rules of the configuration, so that both say the same about the same mistake."""
    if announcement.cron is None and announcement.timezone is not None:
        raise ApiError(ErrorType.BAD_DATA, "timezone goes with cron")
    if announcement.cron is not None and announcement.duration is None:
        raise ApiError(ErrorType.BAD_DATA, "cron says when it begins; give its duration too")
    if announcement.cron is None and (announcement.ends_at is None) == (announcement.duration is None):
        raise ApiError(ErrorType.BAD_DATA, "give either ends_at or duration")
    for name, at in (("starts_at", starts_at), ("ends_at", announcement.ends_at or 0.0)):
        if not 0 <= at < _LATEST:
            text = "not between 1970 and 5138; times are Unix seconds, not milliseconds"
            raise ApiError(ErrorType.BAD_DATA, f"{name}: {text}")
    fields: dict[str, object] = {
        "name": announcement.name,
        "match": list(announcement.match),
        "action": announcement.action,
        # The times of an event are checked by themselves; what is left is the same as for one that comes again.
        "cron": announcement.cron or "@yearly",
        "timezone": announcement.timezone,
        "duration": announcement.duration or "1m",
    }
    if announcement.multiplier is not None:
        fields["multiplier"] = announcement.multiplier
    try:
        return CalendarEntry.model_validate(fields)
    except ValidationError as error:
        raise ApiError(ErrorType.BAD_DATA, _message(error.errors(include_url=False)[0])) from None


def _message(error: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    message = str(error.get("ctx", {}).get("error", error["msg"]))
    return f"{path}: {message}" if path else message


def _configured(calendar: Calendar, now: float) -> list[EventEntry]:
    entries = []
    for entry in calendar.entries:
        occurrences = entry.occurrences(now, now + _AHEAD, calendar.zone)[:1]
        entries += [
            EventEntry(
                id=None,
                name=occurrence.name,
                source="configuration",
                action=occurrence.action,
                multiplier=occurrence.multiplier,
                match=entry.match,
                starts_at=occurrence.window.start,
                ends_at=occurrence.window.end,
                active=occurrence.window.start <= now < occurrence.window.end,
                comment=occurrence.comment,
                who=None,
                created_at=None,
                updated_at=None,
            )
            for occurrence in occurrences
        ]
    return entries


def event_entry(event: AnnouncedEvent, now: float) -> EventEntry:
    """Return how an announced event is shown; one that comes again with its present or next window."""
    window = TimeWindow(event.starts_at, event.ends_at)
    active = window.start <= now < window.end
    if event.cron:
        begin, end = max(now, window.start), min(now + _AHEAD, window.end)
        windows = recurring_entry(event).windows_within(window, begin, end, "UTC")
        window = windows[0] if windows else window
        active = bool(windows) and window.start <= now < window.end
    return EventEntry(
        id=event.id,
        name=event.name,
        source=event.source,
        action=event.action,
        multiplier=event.multiplier,
        match=event.match,
        starts_at=window.start,
        ends_at=window.end,
        active=active,
        comment=event.comment,
        who=event.who,
        created_at=event.created_at,
        updated_at=event.updated_at,
        cron=event.cron or None,
    )
