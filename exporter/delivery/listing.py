"""What an Alertmanager lists of our alerts, as far as it says whether another sender keeps them active."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime

import msgspec

from exporter.alerting.alert import fingerprint

__all__ = ["ListingReader", "alerts_filter", "instant_in", "read_started_at", "read_updates"]

_UNLISTED = 60.0
"""Seconds for which answers that are no list are asked for again."""
_OVERLOADED = (408, 425, 429)


class _Updated(msgspec.Struct):
    labels: dict[str, str]
    updated_at: str = msgspec.field(name="updatedAt")


class _Uptime(msgspec.Struct):
    uptime: str = ""


# Made at import: msgspec is not safe where several threads are the first to decode a type.
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_updated = msgspec.json.Decoder(_Updated).decode
_decode_uptime = msgspec.json.Decoder(_Uptime).decode


def alerts_filter(alertnames: Iterable[str]) -> str:
    """Return the ``filter`` parameter that selects alerts by name.

    >>> alerts_filter(["ShopSlow", "AnomalyDetected"])
    'alertname=~"AnomalyDetected|ShopSlow"'
    """
    pattern = "|".join(re.escape(name) for name in sorted(alertnames))
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'alertname=~"{quoted}"'


def read_updates(body: bytes) -> dict[str, float] | None:
    """Return when each alert of ``GET /api/v2/alerts`` was sent last, Unix seconds on its clock, by fingerprint.

    Those that are over are not listed, and an alert that cannot be read is left out. None: it is no list.
    """
    try:
        items = _decode_items(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    updates: dict[str, float] = {}
    for item in items:
        with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            alert = _decode_updated(item)
            identity, at = fingerprint(alert.labels), instant_in(alert.updated_at)
            if at is not None:
                updates[identity] = max(at, updates.get(identity, at))
    return updates


class ListingReader:
    """What one Alertmanager answers when it is asked for its alerts."""

    def __init__(self) -> None:
        self._unlisted_since: float | None = None

    def read(self, status: int, body: bytes, mono: float) -> Mapping[str, float] | None:
        """Return when each alert was sent last, as `read_updates`; None where it is to be asked again.

        An error, or the page of a proxy, says nothing: what is unknown is not over. What does not list alerts, by its
        status or for a minute, has none, so that an end is sent as it would be without another exporter.

        Parameters
        ----------
        mono : float
            Monotonic seconds.
        """
        updates = read_updates(body) if status == 200 else None
        if updates is not None or (400 <= status < 500 and status not in _OVERLOADED):
            self._unlisted_since = None
            return updates or {}
        return self.failed(mono)

    def failed(self, mono: float) -> Mapping[str, float] | None:
        """Return the same where the answer was too long, or cut."""
        if self._unlisted_since is None:
            self._unlisted_since = mono
        return None if mono - self._unlisted_since < _UNLISTED else {}


def read_started_at(body: bytes) -> float | None:
    """Return since when an Alertmanager runs, by its ``GET /api/v2/status``; None where it does not say so."""
    with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return instant_in(_decode_uptime(body).uptime)
    return None


def instant_in(text: str) -> float | None:
    """Return a time as Alertmanager writes it, Unix seconds; None where it is none."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.timestamp()
