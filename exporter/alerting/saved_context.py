"""What a query stores beside its alerts, as bytes: `Step.notes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.alerting.label_index import Hashes
from exporter.alerting.root_cause import SeverityTrace
from exporter.alerting.storm import OpenStorm

__all__ = ["SavedContext", "decode_context", "encode_context"]


@dataclass(frozen=True, slots=True)
class SavedContext:
    """What the next step needs beside the alerts.

    Attributes
    ----------
    storms : tuple of OpenStorm
    traces : mapping
        By identity of open alerts: their severity since they began.
    shared : mapping
        By identity of open alerts that several series have: the hashes of those that were anomalous under it.
    climbed : ndarray of uint64
        The hashes of series that do not alert because they climbed within an event or a load.
    naming : str
        A hash of what the labels of its alerts follow from; empty where it is not known.
    """

    storms: tuple[OpenStorm, ...] = ()
    traces: Mapping[str, SeverityTrace] = field(default_factory=dict)
    shared: Mapping[str, Hashes] = field(default_factory=dict)
    naming: str = ""
    climbed: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))


class _StoredContext(msgspec.Struct, frozen=True, omit_defaults=True):
    storms: list[OpenStorm] = []
    traces: dict[str, SeverityTrace] = {}
    shared: dict[str, Hashes] = {}
    naming: str = ""
    climbed: bytes = b""


def _to_bytes(array: npt.NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _from_bytes(kind: object, raw: bytes) -> npt.NDArray[Any]:
    dtype = np.dtype(np.uint64 if kind == Hashes else np.float64)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)


_encode = msgspec.msgpack.Encoder(enc_hook=_to_bytes).encode
_decode = msgspec.msgpack.Decoder(_StoredContext, dec_hook=_from_bytes).decode


def encode_context(context: SavedContext) -> bytes:
    """Return the context in bytes; empty where there is nothing to store."""
    if not (context.storms or context.traces or context.shared or context.naming or len(context.climbed)):
        return b""
    storms, traces = list(context.storms), dict(sorted(context.traces.items()))
    shared, climbed = dict(sorted(context.shared.items())), _to_bytes(context.climbed)
    return _encode(_StoredContext(storms, traces, shared, context.naming, climbed))


def decode_context(encoded: bytes) -> SavedContext:
    """Return what `encode_context` wrote; nothing where it cannot be read, because another version wrote it."""
    if not encoded:
        return SavedContext()
    try:
        stored = _decode(encoded)
    except msgspec.DecodeError:
        return SavedContext()
    storms = (storm for storm in stored.storms if len(storm.members) == len(storm.joined) == len(storm.left))
    traces = {name: trace for name, trace in stored.traces.items() if len(trace.times) == len(trace.severities)}
    climbed = stored.climbed if len(stored.climbed) % 8 == 0 else b""
    return SavedContext(tuple(storms), traces, stored.shared, stored.naming, _from_bytes(Hashes, climbed))
