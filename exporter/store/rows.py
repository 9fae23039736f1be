"""Rows of SQLite for alerts, audit entries and deliveries, each with a checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.alerting.alert import Alert, AlertState, AlertTransition

__all__ = [
    "AuditEntry",
    "Delivery",
    "Row",
    "alert_of",
    "alert_row",
    "audit_row",
    "entry_of",
    "mapping",
    "seal",
    "storable",
]

Row = tuple[Any, ...]
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
    return zlib.crc32(json.dumps([_plain(value) for value in values]).encode())


def alert_row(alert: Alert) -> Row:
    """Return the row of an alert: query and fingerprint first, checksum last."""
    row = (
        alert.query,
        alert.fingerprint,
        alert.episode,
        alert.state.value,
        float(alert.active_at),
        float(alert.evaluated_at),
        _time(alert.fired_at),
        _time(alert.resolved_at),
        _time(alert.keep_since),
        alert.missing,
        storable(alert.generator_url),
        mapping(alert.labels),
        mapping(alert.annotations),
    )
    return (*row, seal(*row))


def alert_of(row: Row) -> Alert | None:
    """Return the alert of a row of `alert_row`, or None where the checksum does not hold."""
    if seal(*row[:-1]) != row[-1] or row[3] not in _STATES:
        return None
    return Alert(
        query=row[0],
        fingerprint=row[1],
        episode=row[2],
        state=AlertState(row[3]),
        active_at=row[4],
        evaluated_at=row[5],
        fired_at=row[6],
        resolved_at=row[7],
        keep_since=row[8],
        missing=row[9],
        generator_url=row[10],
        labels=json.loads(row[11]),
        annotations=json.loads(row[12]),
    )


def audit_row(transition: AlertTransition) -> Row:
    """Return the row of a transition, checksum last; without an id, which SQLite gives."""
    row = (
        float(transition.at),
        transition.query,
        transition.fingerprint,
        transition.episode,
        str(transition.event),
        storable(transition.who),
        storable(transition.why),
        mapping(transition.details),
        transition.number,
    )
    return (*row, seal(*row))


def entry_of(row: Row) -> AuditEntry:
    """Return the entry of an id and a row of `audit_row`; a damaged one is shown as far as it reads."""
    identity, at, *texts, details, number, crc = row
    intact = seal(*row[1:-1]) == crc
    query, fingerprint, episode, event, who, why = texts if intact else map(str, texts)
    return AuditEntry(
        id=identity,
        at=at if isinstance(at, float) else 0.0,
        query=query,
        fingerprint=fingerprint,
        episode=episode,
        event=event,
        who=who,
        why=why,
        details=json.loads(details) if intact else {},
        number=number if intact else 0,
        intact=intact,
    )


def _plain(value: object) -> object:
    # SQLite drops the sign of a zero. A flipped type makes bytes of text, which is not sealed as that text is.
    if isinstance(value, float):
        return value + 0.0
    return zlib.crc32(value) if isinstance(value, bytes) else value


def _time(at: float | None) -> float | None:
    return None if at is None else float(at)


def mapping(values: Mapping[str, str]) -> str:
    """Return a mapping as the JSON that is stored."""
    # Escaped to ASCII, so that a lone surrogate in a label comes back as it was.
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"))


def storable(text: str) -> str:
    """Return free text without what UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
