"""Announced events and silences that were made, over starts of the program."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from exporter.calendar.events import AnnouncedEvent, event_id
from exporter.store import CreatedSilence, Store


def event(name: str = "sale", **changes: object) -> AnnouncedEvent:
    times = {"starts_at": 100.0, "ends_at": 200.0, "created_at": 50.0, "updated_at": 60.0, "revision": 55.5}
    texts = {"source": "api", "action": "expect", "comment": "TV \u2028", "who": "eve"}
    whole = AnnouncedEvent(id=event_id(name), name=name, multiplier=3.0, match=('a="b"', "c=~d"), **texts, **times)  # type: ignore[arg-type]
    return replace(whole, **changes)  # type: ignore[arg-type]


def opened(path: Path) -> Store:
    return Store.open(path, clock=lambda: 1000.0)


def test_events_outlive_the_program_and_are_changed_by_name(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as store:
        store.events.put(event())
        store.events.put(event("later", starts_at=150.0))
        store.events.put(event(ends_at=300.0))
    with opened(tmp_path / "data") as store:
        assert store.events.load() == [event(ends_at=300.0), event("later", starts_at=150.0)]
        assert store.events.remove(event_id("sale"))
        assert not store.events.remove(event_id("sale"))
        assert [one.name for one in store.events.load()] == ["later"]


def test_retention_forgets_events_that_ended_before(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as store:
        store.events.put(event())
        store.events.put(event("later", ends_at=500.0))
        store.retain(300.0)
        assert [one.name for one in store.events.load()] == ["later"]


def test_silences_are_remembered_until_a_week_after_their_end(tmp_path: Path) -> None:
    first, second = CreatedSilence("a", "x", 100.0), CreatedSilence("b", "y", 200.0)
    ended = replace(second, removed=True)
    with opened(tmp_path / "data") as store:
        store.silences.record([first, second], at=100.0)
        store.silences.record([ended], at=150.0)
    with opened(tmp_path / "data") as store:
        assert store.silences.load() == {"a": first, "b": ended}
        store.silences.record([], at=150.0 + 7 * 86400.0)
        assert store.silences.load() == {"b": ended}


def test_a_row_that_was_damaged_is_left_out(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as store:
        store.events.put(event())
        store.events.put(event("later"))
    with sqlite3.connect(tmp_path / "data" / "anomaly.db") as con:
        con.execute("UPDATE events SET multiplier=30 WHERE name='sale'")
    with opened(tmp_path / "data") as store:
        assert [one.name for one in store.events.load()] == ["later"]
