"""Calendar files that a configuration names: read, checked and watched with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.config.engine_settings import holidays_of
from exporter.config.ics_files import included_patterns
from exporter.config.load import load
from exporter.config.watch import ConfigWatch
from exporter.errors import ConfigError

CONFIG = """prometheus: {url: "http://127.0.0.1:9090"}
queries:
  - {name: q, expr: up}
calendar:
  - {name: school, ics_file: school.ics, match: ['query="q"'], action: ignore}
"""
EVENT = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nDTSTART;VALUE=DATE:%s\nEND:VEVENT\nEND:VCALENDAR\n"


def write(folder: Path, ics: str) -> Path:
    (folder / "school.ics").write_text(ics)
    file = folder / "config.yaml"
    file.write_text(CONFIG)
    return file


def test_an_entry_has_the_events_of_its_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, EVENT % "20270501")).config
    begin = datetime(2027, 5, 1, tzinfo=UTC).timestamp()
    (occurrence,) = config.calendar[0].occurrences(begin - 86400.0, begin + 2 * 86400.0, "UTC")
    assert (occurrence.window.start, occurrence.window.end) == (begin, begin + 86400.0)


def test_a_mistake_has_the_name_of_the_file_and_the_line(tmp_path: Path) -> None:
    file = write(tmp_path, EVENT % "2027")
    with pytest.raises(ConfigError) as error:
        load(file)
    (problem,) = error.value.problems
    assert problem.text("config.yaml").startswith(f"{tmp_path / 'school.ics'}:4:1: DTSTART: ")


@pytest.mark.parametrize(("content", "line"), [(b"", 5), (b"BEGIN:VCALENDAR\n\xff\n", 2)])
def test_what_is_no_text_is_a_mistake(tmp_path: Path, content: bytes, line: int) -> None:
    file = write(tmp_path, "")
    (tmp_path / "school.ics").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert [problem.line for problem in error.value.problems] == [line, *([1] if not content else [])]


def test_a_changed_file_is_another_configuration(tmp_path: Path) -> None:
    file = write(tmp_path, EVENT % "20270501")
    watch = ConfigWatch(file)
    watch.included(included_patterns(load(file).config))
    assert not watch.changed()
    (tmp_path / "school.ics").write_text(EVENT % "20270601")
    assert not watch.changed()  # It may be being written.
    assert watch.changed()


def test_a_bridge_day_is_between_a_holiday_and_a_day_of_rest() -> None:
    days = {
        "2026-05-14": (True, True),  # Ascension Day, a Thursday,
        "2026-05-15": (False, True),  # and the Friday after it.
        "2026-05-16": (False, False),  # A Saturday is what it is.
        "2026-05-13": (False, False),
        "2026-05-22": (False, False),  # A Friday before a weekend that ends with a holiday.
    }
    plain, bridged = holidays_of("DE"), holidays_of("DE", bridge_days=True)
    for text, expected in days.items():
        day = datetime.fromisoformat(text).date()
        assert (plain.falls_on(day), bridged.falls_on(day)) == expected
