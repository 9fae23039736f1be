"""Rows of SQLite for alerts, audit entries and deliveries, each with a checksum."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

from exporter.alerting.alert import Alert, AlertState, AlertTransition
from exporter.deflate import crc32

__all__ = [
    "ALERT_COLUMNS",
    "AUDIT_COLUMNS",
    "AUDIT_NAMES",
    "AuditEntry",
    "Delivery",
    "Row",
    "alert_of",
    "alert_row",
    "audit_row",
    "entry_of",
    "intact",
    "json_of",
    "number_of",
    "seal",
    "sealed",
    "storable",
]

Row = tuple[Any, ...]
ALERT_COLUMNS = (
    "query", "fingerprint", "episode", "state", "active_at", "evaluated_at", "fired_at", "resolved_at", "keep_since",
    "missing", "generator_url", "labels", "annotations",
)  # fmt: skip
AUDIT_COLUMNS = ("at", "query", "fingerprint", "episode", "event", "who", "why", "details", "number")
"""Columns, without the checksum, which is last."""
AUDIT_NAMES = ", ".join((*AUDIT_COLUMNS, "crc"))
_STATES = frozenset(AlertState)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The alert of a fingerprint that an Alertmanager accepted last."""

    fingerprint: str
    episode: str
    state: AlertState
    at: float


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit. `intact` is False where the stored row is not what was written."""

    id: int
    at: float
    query: str
    fingerprint: str
    episode: str
    event: str
    """A value of `AuditEvent`; text, so that what a later version wrote can still be listed."""
    who: str
    why: str
    details: Mapping[str, str]
    number: int
    """Counts the events of one kind in the episode."""
    intact: bool


def seal(*values: object) -> int:
    """Return the CRC-32 of values as SQLite returns them (text, float, int, bytes, None).

    SQLite keeps no checksums: a flipped bit in a row is still a valid row for it.
    """
    return crc32(f"[{', '.join([_json(_plain(value)) for value in values])}]".encode())


def sealed(*values: object) -> Row:
    """Return a row: the values and their checksum."""
    return (*values, seal(*values))


def intact(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, without their checksum, whose checksum holds."""
    return (row[:-1] for row in rows if seal(*row[:-1]) == row[-1])


def alert_row(alert: Alert) -> Row:
    """Return the row of an alert."""
    return sealed(
        alert.query,
        alert.fingerprint,
        alert.episode,
        alert.state.value,
        float(alert.active_at),
        float(alert.evaluated_at),
        number_of(alert.fired_at),
        number_of(alert.resolved_at),
        number_of(alert.keep_since),
        alert.missing,
        storable(alert.generator_url),
        json_of(alert.labels),
        json_of(alert.annotations),
    )


def alert_of(row: Row) -> Alert | None:
    """Return the alert of a row of `alert_row`, or None where the checksum does not hold."""
    values: dict[str, Any] = dict(zip(ALERT_COLUMNS, row, strict=False))
    if seal(*row[:-1]) != row[-1] or values["state"] not in _STATES:
        return None
    values["state"] = AlertState(values["state"])
    for name in ("labels", "annotations"):
        values[name] = json.loads(values[name])
    return Alert(**values)


def audit_row(transition: AlertTransition) -> Row:
    """Return the row of a transition, checksum last; without an id, which SQLite gives."""
    return sealed(
        float(transition.at),
        transition.query,
        transition.fingerprint,
        transition.episode,
        str(transition.event),
        storable(transition.who),
        storable(transition.why),
        json_of(transition.details),
        transition.number,
    )


def entry_of(row: Row) -> AuditEntry:
    """Return the entry of an id and a row of `audit_row`; a damaged one is shown as far as it reads."""
    identity, at, *texts, details, number, crc = row
    if seal(*row[1:-1]) == crc:
        values: Row = (*row[:8], json.loads(details), number, True)
    else:
        values = (identity, at if isinstance(at, float) else 0.0, *map(str, texts), {}, 0, False)
    return AuditEntry(*values)


def _plain(value: object) -> object:
    # SQLite drops the sign of a zero. A flipped type makes bytes of text, which is not sealed as that text is.
    if isinstance(value, float):
        return value + 0.0
    return crc32(value) if isinstance(value, bytes) else value


def _json(value: object) -> str:
    # As json.dumps, which makes an encoder for each call: a checkpoint seals hundreds of rows.
    if type(value) is str:
        return encode_basestring_ascii(value)
    return repr(value) if type(value) is int else json.dumps(value)


def number_of(value: float | None) -> float | None:
    """Return a float, also for an int, or None."""
    return None if value is None else float(value)


def json_of(values: Mapping[str, str]) -> str:
    """Return a mapping as the JSON that is stored."""
    # Escaped to ASCII, so that a lone surrogate in a label comes back as it was.
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"))


def storable(text: str) -> str:
    """Return free text without what UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
