from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from exporter.log import RepeatFilter, set_up


@pytest.fixture
def logs():
    root = logging.getLogger()
    before = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, root.level, logging.raiseExceptions = before


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("exporter.log.time.monotonic", lambda: self.now)


def record(text: str, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "x", "msg": text, "levelno": level, **extra})


def test_one_line_a_minute_and_cause_with_the_number_of_those_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, repeats = Clock(monkeypatch), RepeatFilter()
    assert repeats.filter(record("down", query="a"))
    assert not any(repeats.filter(record("down", query="a")) for _ in range(50))
    assert repeats.filter(record("down", query="b"))
    assert repeats.filter(record("down", query="a", reason="dns"))
    clock.now += 60.0
    late = record("down", query="a")
    assert repeats.filter(late)
    assert late.repeated == 50
    assert all(repeats.filter(record("down", logging.INFO)) for _ in range(3))


def test_many_causes_neither_fill_the_memory_nor_let_each_other_through(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, repeats = Clock(monkeypatch), RepeatFilter()
    passed = sum(repeats.filter(record("down", query=f"q{i}")) for _ in range(3) for i in range(1500))
    assert passed == 1500
    for minute in range(20):
        clock.now += 61.0
        for i in range(200):
            repeats.filter(record("down", query=f"{minute}-{i}"))
    assert len(repeats._seen) <= 1500


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.usefixtures("logs")
def test_foreign_text_cannot_forge_a_line(form, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up("info", form)
    logging.getLogger("exporter.cycle").warning("said", extra={"error": 'a\nts=1 level=error msg="forged"\x1b[31m\r'})
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line
    if form == "json":
        assert json.loads(line)["component"] == "cycle"


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.usefixtures("logs")
def test_hidden_characters_are_shown_as_escapes(form, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up("info", form)
    logging.getLogger("exporter.cycle").warning("x", extra={"query": "a\u202eb\u2028c\x9bd \u00e9"})
    line = stream.getvalue()
    assert not set(line) & set("\u202e\u2028\x9b")
    written = json.loads(line)["query"] if form == "json" else line
    assert "a\\u202eb\\u2028c\\x9bd" in written.replace("\\\\", "\\")


def test_each_failed_reload_is_written() -> None:
    repeats = RepeatFilter()
    fault = {"name": "exporter.app.reload", "msg": "not reloaded", "levelno": logging.ERROR}
    assert all(repeats.filter(logging.makeLogRecord(fault)) for _ in range(3))


@pytest.mark.parametrize("broken", ["none", "closed", "full"])
@pytest.mark.usefixtures("logs")
def test_a_broken_standard_error_breaks_nothing(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up("info", "logfmt")

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    target = {"none": None, "closed": io.StringIO(), "full": Full()}[broken]
    if broken == "closed":
        target.close()
    monkeypatch.setattr(sys, "stderr", target)
    logging.getLogger("exporter.app").error("said")
