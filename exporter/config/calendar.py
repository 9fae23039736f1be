"""The calendar held against the rest of the file. On plain data, so that no other mistake hides one here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exporter.config.environment import Finding

__all__ = ["check_calendar"]


def check_calendar(data: Any) -> Iterator[Finding]:
    """Check that entries have names of their own, and that there is somebody who can silence."""
    entries = data.get("calendar") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        return
    names: dict[str, int] = {}
    for at, entry in enumerate(entries):
        if not isinstance(entry, dict):
            continue
        name = entry.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Finding(("calendar", at, "name"), f"calendar[{names[name]}] has the same name; names must differ")
        if entry.get("action") == "silence" and not data.get("alertmanagers"):
            message = "there is no Alertmanager to silence; this entry only keeps the time from being learned"
            yield Finding(("calendar", at, "action"), message, warning=True)
