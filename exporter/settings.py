"""The base of every section of the configuration file.

A section lives beside the code that uses it and inherits `Section`; `exporter.config` only composes them.
"""

from __future__ import annotations

import difflib
import functools
import re
import zoneinfo
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

__all__ = [
    "Duration",
    "Items",
    "LabelName",
    "Section",
    "SourceLabel",
    "Timezone",
    "check_timezone",
    "format_duration",
    "overlay",
    "parse_duration",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(?:(?P<y>[0-9]+)y)?(?:(?P<w>[0-9]+)w)?(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?"
                       r"(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?(?:(?P<ms>[0-9]+)ms)?")  # fmt: skip
_LONGEST = 100 * _UNITS["y"]

T = TypeVar("T")
SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A part of the configuration file: frozen, strict, unknown keys refused, secrets never in errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


def parse_duration(text: object) -> float:
    """Parse a duration as Prometheus writes it (``5m``, ``1h30m``, ``250ms``) into seconds.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(text, str):
        raise ValueError(f"a duration is text with a unit, such as 5m or 1h30m; got {text!r}")  # noqa: TRY004
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text!r}; write whole numbers with y, w, d, h, m, s or ms, such as 1h30m")
    seconds = sum(int(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number)
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is longer than 100 years")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Write seconds as Prometheus does: the largest units first, zero parts left out.

    >>> format_duration(5400.0)
    '1h30m'
    """
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str),
]
"""Seconds inside, ``5m`` in the file. Combine with ``Field(gt=0)`` where zero has no meaning."""

Items = Annotated[tuple[T, ...], Field(strict=False)]
"""A YAML list; a tuple inside, because a configuration is frozen."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label_name(name: Any) -> Any:
    if isinstance(name, str):
        if not _LABEL_NAME.fullmatch(name):
            raise ValueError(f"not a label name: {name!r}; letters, digits and _ only, not starting with a digit")
        if name.startswith("__"):
            raise ValueError(f"{name!r}: label names that start with __ are reserved by Prometheus")
    return name


LabelName = Annotated[str, BeforeValidator(_label_name)]
"""A label that the exporter writes, or that stands in an expression."""


def _source_label(name: Any) -> Any:
    if isinstance(name, str):
        if not name or not name.isprintable():
            raise ValueError(f"not a label name: {name!r}; it is empty or has control characters")
        if name.startswith("__"):
            raise ValueError(f"{name!r}: label names that start with __ are reserved by Prometheus")
    return name


SourceLabel = Annotated[str, BeforeValidator(_source_label)]
"""A label that series have: of any form, such as ``service.name``."""


def check_timezone(name: str) -> str:
    """Return the name of an IANA time zone; raises ValueError with advice for another text."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"not an IANA time zone: {name[:60]!r}{_nearest_zone(name[:60])}") from None
    return name


_PLACES = {
    "CEST": "Europe/Berlin", "MEZ": "Europe/Berlin", "MESZ": "Europe/Berlin", "BST": "Europe/London",
    "WEST": "Europe/Lisbon", "EEST": "Europe/Helsinki", "MSK": "Europe/Moscow", "EDT": "America/New_York",
    "CST": "America/Chicago", "CDT": "America/Chicago", "MDT": "America/Denver", "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles", "AKST": "America/Anchorage", "AKDT": "America/Anchorage", "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo", "KST": "Asia/Seoul", "SGT": "Asia/Singapore", "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney", "AWST": "Australia/Perth", "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland",
    "BRT": "America/Sao_Paulo", "SAST": "Africa/Johannesburg",
}  # fmt: skip
"""Where clocks show what people call a zone: the names that look like these are others."""


@functools.lru_cache(maxsize=16)
def _nearest_zone(name: str) -> str:
    """Return advice. Cached, because the list of zones is read from many folders and mistakes repeat."""
    place = _PLACES.get(name.upper())
    if place is not None:
        return f", but the name of an offset; write a place, such as {place}"
    near = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
    return f"; did you mean {near[0]!r}?" if near else "; write one such as UTC or Europe/Berlin"


Timezone = Annotated[str, AfterValidator(check_timezone)]


def overlay(base: SectionT, over: SectionT | None) -> SectionT:
    """Return `base` with every field that is set in `over` taken from there."""
    if over is None:
        return base
    return base.model_copy(update={name: getattr(over, name) for name in over.model_fields_set})
