"""The events of the iCalendar files that entries of the calendar name."""

from __future__ import annotations

import glob
from pathlib import Path

from exporter.calendar.ics import FileEvent, IcsError, read_ics
from exporter.config.model import Config
from exporter.errors import Problem

__all__ = ["included_patterns", "with_ics_files"]

_LARGEST = 10_000_000


def _ics_files(config: Config) -> list[Path]:
    """Return the files, each once."""
    return sorted({entry.ics_file for entry in config.calendar if entry.ics_file is not None})


def included_patterns(config: Config) -> tuple[str, ...]:
    """Return patterns of the files that a configuration is made of beside its own."""
    return (*config.query_files, *(glob.escape(str(file.absolute())) for file in _ics_files(config)))


def with_ics_files(config: Config) -> tuple[Config, list[Problem]]:
    """Return the configuration with the events of the files, and what is wrong in these."""
    files = _ics_files(config)
    if not files:
        return config, []
    events: dict[Path, tuple[FileEvent, ...]] = {}
    problems = []
    for file in files:
        if not file.is_file():
            continue  # Which is a problem of the field.
        try:
            events[file] = _read(file)
        except IcsError as error:
            problems.append(Problem(error.line, 1, "", str(error), str(file)))
    entries = (
        entry if entry.ics_file is None else entry.with_events(events.get(entry.ics_file, ()))
        for entry in config.calendar
    )
    return config.model_copy(update={"calendar": tuple(entries)}), problems


def _read(file: Path) -> tuple[FileEvent, ...]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise IcsError(1, f"cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise IcsError(1, f"longer than {_LARGEST:,} bytes")
    try:
        return read_ics(content.decode())
    except UnicodeDecodeError as error:
        raise IcsError(content.count(b"\n", 0, error.start) + 1, "this is not UTF-8") from None
