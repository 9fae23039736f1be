"""Known events: when they are, whom they concern, and what is done about them. Pure."""

from exporter.calendar.calendar import Calendar
from exporter.calendar.entries import Action, CalendarEntry, Occasion, Window
from exporter.calendar.matchers import Matcher, MatcherError, all_match, parse_matcher, write_matchers

__all__ = [
    "Action",
    "Calendar",
    "CalendarEntry",
    "Matcher",
    "MatcherError",
    "Occasion",
    "Window",
    "all_match",
    "parse_matcher",
    "write_matchers",
]
