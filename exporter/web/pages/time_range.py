"""Reading ``from`` and ``to``, as Prometheus, Grafana and people write them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from exporter.settings import parse_duration
from exporter.web.pages.models import Range, Unshowable

__all__ = ["instant", "within"]

_LATEST = 4e9
"""The year 2096; a larger number is milliseconds, as in the addresses of Grafana."""
_LONGEST, _SHORTEST = 31 * 86400.0, 60.0
_USUAL = 12 * 3600.0


def within(given: Mapping[str, str], now: float) -> Range | None:
    """Return the range that was asked for; None where it is left to the page.

    Raises
    ------
    Unshowable
        It cannot be read, or is too short or too long.
    """
    since, until = given.get("from"), given.get("to")
    if not since and not until:
        return None
    end = _read("to", until, now) if until else now
    start = _read("from", since, now) if since else end - _USUAL
    if not _SHORTEST <= end - start <= _LONGEST:
        raise Unshowable("from and to: a minute to 31 days apart", 400)
    return Range(start, end)


def _read(name: str, text: str, now: float) -> float:
    try:
        at = instant(text, now)
    except ValueError:
        at = math.nan
    if not 0.0 <= at <= _LATEST:
        raise Unshowable(f"{name}: Unix seconds, 2026-03-01T09:00:00Z, now, or now-6h", 400)
    return at


def instant(text: str, now: float) -> float:
    """Return Unix seconds.

    >>> instant("1772323200.5", 0.0), instant("1772323200000", 0.0)
    (1772323200.5, 1772323200.0)
    >>> instant("2026-03-01T00:00:00Z", 0.0), instant("now-1h30m", 1772323200.0)
    (1772323200.0, 1772317800.0)
    """
    text = text.strip()
    if text.startswith("now"):
        sign, length = text[3:4], text[4:]
        if not sign:
            return now
        if sign == "-":
            return now - parse_duration(length)
        raise ValueError(text)
    try:
        number = float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return number / 1000.0 if number > _LATEST else number
