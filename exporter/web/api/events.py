"""``/api/v1/events``: the calendar, and events that are announced at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
from pydantic import ValidationError

from exporter.calendar import Action, Calendar, CalendarEntry
from exporter.calendar.events import AnnouncedEvent, TooManyEventsError, event_id
from exporter.settings import format_duration
from exporter.web.api.endpoint import Call, Endpoint, Instant
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["KnownEvents", "Listed", "event_endpoints", "listed"]

_AHEAD = 7 * 86400.0
"""Seconds in which entries of the configuration are looked for."""
_LONGEST = 366 * 86400.0


class KnownEvents(Protocol):
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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are listed."""

    active: Annotated[bool | None, msgspec.Meta(description="Only those in effect now, or only the others.")] = None
    source: Annotated[
        Literal["configuration", "api", "github"] | None, msgspec.Meta(description="Only those from there.")
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most so many.")] = 100
    offset: Annotated[int, msgspec.Meta(ge=0, le=1_000_000, description="Leave out so many.")] = 0


class Which(msgspec.Struct, frozen=True):
    """One event."""

    id: Annotated[str, msgspec.Meta(description="Its id or its name.")]


@dataclass(frozen=True, slots=True)
class Listed:
    """One event, or one entry of the configuration with its present or next window."""

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


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of events, by start; `total` is how many there are on all pages."""

    events: list[Listed]
    total: int


def event_endpoints(
    events: Callable[[], KnownEvents], calendar: Callable[[], Calendar], clock: Callable[[], float]
) -> tuple[Endpoint[Any, Any], ...]:
    """Make the endpoints.

    Parameters
    ----------
    events : callable
        Returns the announced events.
    calendar : callable
        Returns the calendar in force.
    clock : callable
        Unix seconds.
    """

    def listing(call: Call[Wanted, None]) -> Listing:
        wanted, now = call.parameters, clock()
        every = [*_configured(calendar(), now), *(listed(event, now) for event in events().all())]
        chosen = [
            one
            for one in every
            if wanted.active in (None, one.active) and wanted.source in (None, one.source)
        ]  # fmt: skip
        chosen.sort(key=lambda one: (one.starts_at, one.name))
        return Listing(chosen[wanted.offset : wanted.offset + wanted.limit], len(chosen))

    def announced(call: Call[Any, Announcement]) -> Listed:
        now = clock()
        said = call.body
        if any(entry.name == said.name for entry in calendar().entries):
            raise ApiError(ErrorType.CONFLICT, f"name: the configuration has an entry {said.name!r}; take another name")
        event = _event(said, events().get(said.name), now, call.who or "")
        try:
            return listed(events().put(event, at=now), now)
        except TooManyEventsError:
            raise ApiError(ErrorType.CONFLICT, "there are too many events that are not over; remove some") from None

    def removed(call: Call[Which, None]) -> Listed:
        event = events().remove(call.parameters.id, who=call.who or "")
        if event is None:
            raise ApiError(ErrorType.NOT_FOUND, f"there is no announced event {call.parameters.id[:128]!r}")
        return listed(event, clock())

    nothing = type(None)
    return (
        Endpoint("GET", "/events", "The calendar, and announced events.", listing, Listing, Wanted, nothing),
        Endpoint(
            "POST",
            "/events",
            "Announce an event, or change one of the same name.",
            announced,
            Listed,
            NoQuery,
            Announcement,
            (ErrorType.CONFLICT,),
        ),
        Endpoint(
            "DELETE",
            "/events/{id}",
            "Remove an announced event.",
            removed,
            Listed,
            Which,
            nothing,
            (ErrorType.NOT_FOUND,),
        ),
    )


class NoQuery(msgspec.Struct, frozen=True):
    pass


def _event(said: Announcement, known: AnnouncedEvent | None, now: float, who: str) -> AnnouncedEvent:
    starts_at = said.starts_at
    if starts_at is None:
        # A pipeline that tries again must not move the start.
        starts_at = Instant(now if known is None or known.ends_at <= now else known.starts_at)
    entry = _checked(said, starts_at)
    ends_at = float(said.ends_at) if said.ends_at is not None else starts_at + (entry.duration or 0.0)
    if ends_at <= starts_at:
        raise ApiError(ErrorType.BAD_DATA, "ends_at: it ends before it begins")
    if ends_at - starts_at > _LONGEST:
        raise ApiError(ErrorType.BAD_DATA, f"an event lasts for {format_duration(_LONGEST)} at most")
    if ends_at <= now and known is None:
        raise ApiError(ErrorType.BAD_DATA, "ends_at: it is over already")
    return AnnouncedEvent(
        id=event_id(said.name),
        name=said.name,
        source="api",
        action=said.action,
        multiplier=1.0 if said.multiplier is None else said.multiplier,
        match=said.match,
        starts_at=float(starts_at),
        ends_at=ends_at,
        comment=said.comment,
        who=who,
        created_at=now,
        updated_at=now,
        revision=0.0 if known is None else known.revision,
    )


def _checked(said: Announcement, starts_at: float) -> CalendarEntry:
    """Check by the rules of the configuration, so that both say the same about the same mistake."""
    if (said.ends_at is None) == (said.duration is None):
        raise ApiError(ErrorType.BAD_DATA, "give either ends_at or duration")
    if not 0 <= starts_at < 1e11 or not 0 <= (said.ends_at or 0) < 1e11:
        raise ApiError(ErrorType.BAD_DATA, "starts_at: times are Unix seconds, not milliseconds")
    fields: dict[str, object] = {
        "name": said.name,
        "match": list(said.match),
        "action": said.action,
        # The times of an event are checked by themselves; what is left is the same as for one that comes again.
        "cron": "@yearly",
        "duration": said.duration or "1m",
    }
    if said.multiplier is not None:
        fields["multiplier"] = said.multiplier
    try:
        return CalendarEntry.model_validate(fields)
    except ValidationError as error:
        raise ApiError(ErrorType.BAD_DATA, _said(error.errors(include_url=False)[0])) from None


def _said(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    message = str(error.get("ctx", {}).get("error", error["msg"]))
    return f"{place}: {message}" if place else message


def _configured(calendar: Calendar, now: float) -> list[Listed]:
    found = []
    for entry in calendar.entries:
        next_one = entry.occurrences(now, now + _AHEAD, calendar.zone)[:1]
        found += [
            Listed(
                id=None,
                name=one.name,
                source="configuration",
                action=one.action,
                multiplier=one.multiplier,
                match=entry.match,
                starts_at=one.window.start,
                ends_at=one.window.end,
                active=one.window.start <= now < one.window.end,
                comment=one.comment,
                who=None,
                created_at=None,
                updated_at=None,
            )
            for one in next_one
        ]
    return found


def listed(event: AnnouncedEvent, now: float) -> Listed:
    """Return how an announced event is shown."""
    return Listed(
        id=event.id,
        name=event.name,
        source=event.source,
        action=event.action,
        multiplier=event.multiplier,
        match=event.match,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        active=event.starts_at <= now < event.ends_at,
        comment=event.comment,
        who=event.who,
        created_at=event.created_at,
        updated_at=event.updated_at,
    )
