"""What is remembered beside the alerts of a query, in bytes: `Step.notes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exporter.alerting.root_cause import SeverityTrace
from exporter.alerting.storm import OpenStorm, StoredStorm, decode_storms, encode_storms

__all__ = ["SavedContext", "decode_context", "encode_context"]


@dataclass(frozen=True, slots=True)
class SavedContext:
    """What alerts go on from, beside themselves.

    Attributes
    ----------
    storms : tuple of Storm
    traces : mapping
        By identity of open alerts: how anomalous they were since they began.
    """

    storms: tuple[OpenStorm, ...] = ()
    traces: Mapping[str, SeverityTrace] = field(default_factory=dict)


class _KeptTrace(msgspec.Struct, frozen=True, array_like=True):
    labels: dict[str, str]
    times: list[float]
    severities: list[float]


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    storms: list[StoredStorm] = []
    traces: dict[str, _KeptTrace] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


def encode_context(notes: SavedContext) -> bytes:
    """Return the notes in bytes; none where there is nothing to remember."""
    if not notes.storms and not notes.traces:
        return b""
    traces = {
        identity: _KeptTrace(dict(trace.labels), list(trace.times), list(trace.severities))
        for identity, trace in sorted(notes.traces.items())
    }
    return _encode(_Kept(storms=encode_storms(notes.storms), traces=traces))


def decode_context(kept: bytes) -> SavedContext:
    """Return what `encode_context` wrote; nothing where it cannot be read, because another version wrote it."""
    if not kept:
        return SavedContext()
    try:
        found = _decode(kept)
        traces = {
            identity: SeverityTrace(trace.labels, tuple(trace.times), tuple(trace.severities))
            for identity, trace in found.traces.items()
            if len(trace.times) == len(trace.severities)
        }
        return SavedContext(decode_storms(found.storms), traces)
    except (msgspec.DecodeError, ValueError):
        return SavedContext()
