"""The buckets that an instant falls in: its hour of the week, its hour of the day, and all times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

__all__ = ["BUCKETS", "DAY_BUCKETS", "WEEK_BUCKETS", "BucketIndex", "Holidays", "buckets_at", "utc_offset"]

WEEK_BUCKETS, DAY_BUCKETS = 168, 24
BUCKETS = WEEK_BUCKETS + DAY_BUCKETS + 1

_KEPT = 512
"""Instants whose place is kept: that of a slot is asked for several times."""


class BucketIndex(NamedTuple):
    """The three buckets that an instant falls in."""

    week: int
    day: int
    all: int


@dataclass(frozen=True, slots=True)
class Holidays:
    """Days that are like a day of rest.

    Attributes
    ----------
    region : str
        Whose they are, such as ``DE`` or ``US-CA``.
    rest_day : int
        The last day of the weekend there; 0 is Monday.
    falls_on : callable
        Whether a date is a holiday.
    """

    region: str
    rest_day: int
    falls_on: Callable[[date], bool]


@lru_cache(_KEPT)
def buckets_at(at: float, zone: ZoneInfo, holidays: Holidays | None = None) -> BucketIndex:
    """Return the buckets of an instant, by the wall clock of `zone` (so that 9 o'clock stays 9 o'clock over DST).

    A holiday is like the last day of a weekend.

    >>> buckets_at(1774747800.0, ZoneInfo("Europe/Berlin"))  # Sunday 2026-03-29 03:30, just after the clocks went on
    BucketIndex(week=147, day=171, all=192)
    """
    local = datetime.fromtimestamp(at, zone)
    rests = holidays is not None and holidays.falls_on(local.date())
    weekday = holidays.rest_day if holidays is not None and rests else local.weekday()
    return BucketIndex(weekday * 24 + local.hour, WEEK_BUCKETS + local.hour, BUCKETS - 1)


@lru_cache(_KEPT)
def utc_offset(at: float, zone: ZoneInfo) -> float:
    """Return how far the wall clock of `zone` is ahead of UTC at an instant, seconds."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
