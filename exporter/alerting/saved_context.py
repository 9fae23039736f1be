"""What is remembered beside the alerts of a query, in bytes: `Step.notes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exporter.alerting.root_cause import Trace
from exporter.alerting.storm import KeptStorm, Storm, decode_storms, encode_storms

__all__ = ["Notes", "read_notes", "write_notes"]


@dataclass(frozen=True, slots=True)
class Notes:
    """What alerts go on from, beside themselves.

    Attributes
    ----------
    storms : tuple of Storm
    traces : mapping
        By identity of open alerts: how anomalous they were since they began.
    """

    storms: tuple[Storm, ...] = ()
    traces: Mapping[str, Trace] = field(default_factory=dict)


class _KeptTrace(msgspec.Struct, frozen=True, array_like=True):
    labels: dict[str, str]
    times: list[float]
    severities: list[float]


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    storms: list[KeptStorm] = []
    traces: dict[str, _KeptTrace] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


def write_notes(notes: Notes) -> bytes:
    """Return the notes in bytes; none where there is nothing to remember."""
    if not notes.storms and not notes.traces:
        return b""
    traces = {
        identity: _KeptTrace(dict(trace.labels), list(trace.times), list(trace.severities))
        for identity, trace in sorted(notes.traces.items())
    }
    return _encode(_Kept(storms=encode_storms(notes.storms), traces=traces))


def read_notes(kept: bytes) -> Notes:
    """Return what `write_notes` wrote; nothing where it cannot be read, because another version wrote it."""
    if not kept:
        return Notes()
    try:
        found = _decode(kept)
        traces = {
            identity: Trace(trace.labels, tuple(trace.times), tuple(trace.severities))
            for identity, trace in found.traces.items()
            if len(trace.times) == len(trace.severities)
        }
        return Notes(decode_storms(found.storms), traces)
    except (msgspec.DecodeError, ValueError):
        return Notes()
