"""Known events that are in effect or come soon, as the front page shows them."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.calendar import Calendar
from exporter.web.pages.models import EventRow

__all__ = ["upcoming"]

_AHEAD = 7 * 86400.0
_MOST = 20


def upcoming(calendar: Calendar, at: float) -> Sequence[EventRow]:
    """Return the events of the week to come, the next occurrence of each, soonest first.

    Parameters
    ----------
    at : float, Unix seconds
    """
    found: dict[str, EventRow] = {}
    # One that comes every hour would hide the others.
    for one in sorted(calendar.between(at, at + _AHEAD), key=lambda one: one.window.start):
        action = one.action if one.multiplier == 1.0 else f"{one.action} × {one.multiplier:g}"  # noqa: RUF001
        match = ", ".join(map(str, one.matchers))
        found.setdefault(one.name, EventRow(one.name, one.window.start, one.window.end, action, match))
    return list(found.values())[:_MOST]
