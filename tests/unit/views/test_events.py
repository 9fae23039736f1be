from __future__ import annotations

from exporter.calendar import Calendar, CalendarEntry
from exporter.views.events import upcoming

NOW = 1_764_000_000.0  # 2025-11-24 16:00 UTC


def test_each_event_is_listed_once_the_soonest_first():
    entries = [
        {"name": "hourly", "cron": "0 * * * *", "duration": "10m", "match": ['query="a"'], "action": "ignore"},
        {"name": "sale", "starts_at": "2025-11-24T15:00:00Z", "ends_at": "2025-11-24T18:00:00Z", "match": ['job="x"'],
         "action": "expect", "multiplier": 3.0},
        {"name": "past", "starts_at": "2025-11-20T15:00:00Z", "ends_at": "2025-11-20T18:00:00Z", "match": ['job="x"'],
         "action": "silence"},
        {"name": "far", "starts_at": "2025-12-20T15:00:00Z", "ends_at": "2025-12-20T18:00:00Z", "match": ['job="x"'],
         "action": "silence"},
    ]  # fmt: skip
    calendar = Calendar([CalendarEntry.model_validate(entry) for entry in entries])
    found = upcoming(calendar, NOW)
    assert [(one.name, one.action, one.match) for one in found] == [
        ("sale", "expect × 3", 'job="x"'),  # noqa: RUF001
        ("hourly", "ignore", 'query="a"'),
    ]
    assert found[0].starts_at < NOW < found[0].ends_at
