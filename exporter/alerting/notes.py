"""What is remembered beside the alerts of a query, in bytes: `Step.notes`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from exporter.alerting.storm import KeptStorm, Storm, decode_storms, encode_storms

__all__ = ["read_notes", "write_notes"]


class _Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    storms: list[KeptStorm] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Notes).decode


def write_notes(storms: Sequence[Storm]) -> bytes:
    """Return the notes; empty where there is nothing to remember."""
    return _encode(_Notes(storms=encode_storms(storms))) if storms else b""


def read_notes(notes: bytes) -> tuple[Storm, ...]:
    """Return what `write_notes` wrote; nothing where it cannot be read, because another version wrote it."""
    if not notes:
        return ()
    try:
        return decode_storms(_decode(notes).storms)
    except (msgspec.DecodeError, ValueError):
        return ()
