"""What an Alertmanager lists of our alerts, as far as it says whether another sender keeps them active."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

import msgspec

from exporter.alerting.alert import fingerprint

__all__ = ["alerts_filter", "instant_in", "read_started_at", "read_updates"]


class _Updated(msgspec.Struct):
    labels: dict[str, str]
    updated_at: str = msgspec.field(name="updatedAt", default="")


class _Uptime(msgspec.Struct):
    uptime: str = ""


# Made at import: msgspec is not safe where several threads are the first to decode a type.
_decode_updates = msgspec.json.Decoder(list[_Updated]).decode
_decode_uptime = msgspec.json.Decoder(_Uptime).decode


def alerts_filter(alertnames: Iterable[str]) -> str:
    """Return the ``filter`` parameter that selects alerts by name.

    >>> alerts_filter(["ShopSlow", "AnomalyDetected"])
    'alertname=~"AnomalyDetected|ShopSlow"'
    """
    pattern = "|".join(re.escape(name) for name in sorted(alertnames))
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'alertname=~"{quoted}"'


def read_updates(body: bytes) -> dict[str, float]:
    """Return when each alert of ``GET /api/v2/alerts`` was sent last, Unix seconds on its clock, by fingerprint.

    Those that are over are not listed. What cannot be read counts as nothing listed.
    """
    updates: dict[str, float] = {}
    with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        for alert in _decode_updates(body):
            identity, at = fingerprint(alert.labels), instant_in(alert.updated_at)
            if at is not None:
                updates[identity] = max(at, updates.get(identity, at))
    return updates


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
