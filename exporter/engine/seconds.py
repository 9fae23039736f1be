"""Lengths of time in seconds."""

from __future__ import annotations

__all__ = ["DAY", "HOUR", "WEEK"]

HOUR = 3600.0
DAY = 24 * HOUR
WEEK = 7 * DAY
