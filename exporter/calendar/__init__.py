"""Known events: when they are, whom they concern, and what is done about them. Pure."""

from exporter.calendar.calendar import Calendar
from exporter.calendar.columns import LabelColumns
from exporter.calendar.entries import Action, CalendarEntry, Occasion, Window
from exporter.calendar.matchers import Matcher, MatcherError, all_match, parse_matcher, write_matchers
from exporter.calendar.rules import Rule, instant, rule_of, said
from exporter.calendar.timeline import Timeline, sweep

__all__ = [
    "Action",
    "Calendar",
    "CalendarEntry",
    "LabelColumns",
    "Matcher",
    "MatcherError",
    "Occasion",
    "Rule",
    "Timeline",
    "Window",
    "all_match",
    "instant",
    "parse_matcher",
    "rule_of",
    "said",
    "sweep",
    "write_matchers",
]
