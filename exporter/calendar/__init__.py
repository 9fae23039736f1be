"""Known events: when they happen, which series they concern, and what is done about them. Pure."""

from exporter.calendar.calendar import Calendar, Timeline, sweep
from exporter.calendar.entries import CalendarEntry
from exporter.calendar.events import (
    Action,
    AnnouncedEvent,
    Occurrence,
    SuppressionRule,
    TimeWindow,
    format_instant,
    suppression_rule,
    with_comment,
)
from exporter.calendar.label_columns import LabelColumns
from exporter.calendar.matchers import Matcher, MatcherError, all_match, parse_matcher

__all__ = [
    "Action",
    "AnnouncedEvent",
    "Calendar",
    "CalendarEntry",
    "LabelColumns",
    "Matcher",
    "MatcherError",
    "Occurrence",
    "SuppressionRule",
    "TimeWindow",
    "Timeline",
    "all_match",
    "format_instant",
    "parse_matcher",
    "suppression_rule",
    "sweep",
    "with_comment",
]
