"""What a query stores beside its alerts, as bytes: `Step.notes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exporter.alerting.root_cause import SeverityTrace
from exporter.alerting.storm import OpenStorm, StoredStorm, decode_storms, encode_storms

__all__ = ["SavedContext", "decode_context", "encode_context"]


@dataclass(frozen=True, slots=True)
class SavedContext:
    """What the next step needs beside the alerts.

    Attributes
    ----------
    storms : tuple of OpenStorm
    traces : mapping
        By identity of open alerts: their severity since they began.
    """

    storms: tuple[OpenStorm, ...] = ()
    traces: Mapping[str, SeverityTrace] = field(default_factory=dict)


class _StoredTrace(msgspec.Struct, frozen=True, array_like=True):
    labels: dict[str, str]
    times: list[float]
    severities: list[float]


class _StoredContext(msgspec.Struct, frozen=True, omit_defaults=True):
    storms: list[StoredStorm] = []
    traces: dict[str, _StoredTrace] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_StoredContext).decode


def encode_context(context: SavedContext) -> bytes:
    """Return the context in bytes; empty where there is nothing to store."""
    if not context.storms and not context.traces:
        return b""
    traces = {
        identity: _StoredTrace(dict(trace.labels), list(trace.times), list(trace.severities))
        for identity, trace in sorted(context.traces.items())
    }
    return _encode(_StoredContext(storms=encode_storms(context.storms), traces=traces))


def decode_context(encoded: bytes) -> SavedContext:
    """Return what `encode_context` wrote; nothing where it cannot be read, because another version wrote it."""
    if not encoded:
        return SavedContext()
    try:
        stored = _decode(encoded)
        traces = {
            identity: SeverityTrace(trace.labels, tuple(trace.times), tuple(trace.severities))
            for identity, trace in stored.traces.items()
            if len(trace.times) == len(trace.severities)
        }
        return SavedContext(decode_storms(stored.storms), traces)
    except (msgspec.DecodeError, ValueError):
        return SavedContext()
