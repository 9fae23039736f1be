"""Logging in the formats of Prometheus: logfmt or JSON, on standard error.

Modules log with the standard library and put variable parts in ``extra``; this module only decides the format.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from exporter.hidden_text import escape_hidden

__all__ = ["RepeatFilter", "set_up"]

_ORDER = ("ts", "level", "component", "msg")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ANSWERS = ("exporter.app.reload",)
"""Who answers a request of a person: each answer is written."""


def set_up(level: str, form: Literal["logfmt", "json"]) -> None:
    """Send all log records of the process to standard error."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(key_order=_ORDER, bool_as_flag=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _plain,
            renderer,
        ],
    )
    handler = _StandardError()
    handler.setFormatter(formatter)
    handler.addFilter(RepeatFilter())
    logging.raiseExceptions = False  # A closed standard error must not take the daemon down.
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Their warnings are no news: a run that is late is counted, and the connection of a request that was given up comes
    # back when its place in the pool is taken ("Connection pool is full").
    for noisy in ("apscheduler", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which a progress bar replaces for a while."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignore the stream that the base class chose."""


def _plain(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Name the fields as Prometheus does, and escape control and hidden characters of foreign text."""
    renamed: EventDict = {}
    for key, value in event.items():
        key = {"event": "msg", "logger": "component"}.get(key, key)
        renamed[key] = _visible(value) if isinstance(value, str) and key != "exception" else value
    renamed["component"] = str(renamed.get("component", "")).removeprefix("exporter.")
    # Fields that every line has come first.
    return {**{key: renamed[key] for key in _ORDER if key in renamed}, **renamed}


def _visible(text: str) -> str:
    return escape_hidden(text.translate(_CONTROL))


_MOST_KEYS = 1000
"""Messages that are remembered before those whose minute is over are dropped."""


class RepeatFilter(logging.Filter):
    """Passes the same warning or error once a minute, with the number of suppressed records."""

    def __init__(self, period: float = 60.0) -> None:
        super().__init__()
        self._period = period
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether a record is written."""
        if record.levelno < logging.WARNING or record.name in _ANSWERS:
            return True
        key = (record.name, record.msg, *(getattr(record, name, None) for name in ("query", "alertmanager", "reason")))
        now = time.monotonic()
        since, held = self._seen.get(key, (-self._period, 0))
        if now - since < self._period:
            self._seen[key] = (since, held + 1)
            return False
        if len(self._seen) > _MOST_KEYS:
            self._seen = {key: seen for key, seen in list(self._seen.items()) if now - seen[0] < self._period}
        self._seen[key] = (now, 0)
        if held:
            record.repeated = held
        return True
