"""Exemplars of series, such as the trace of a request, from the exemplars API of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from exporter.errors import Reason
from exporter.http_client import Fault

__all__ = ["Exemplar", "decode_exemplars"]


class Exemplar(msgspec.Struct, frozen=True):
    """One exemplar.

    Attributes
    ----------
    labels : mapping
        Its own, such as `trace_id`.
    value : float
    at : float, Unix seconds
    """

    labels: Mapping[str, str]
    value: float
    at: float


class _Row(msgspec.Struct):
    labels: dict[str, str]
    value: str
    timestamp: float


class _Series(msgspec.Struct):
    exemplars: list[_Row]


def decode_exemplars(data: bytes) -> list[Exemplar]:
    """Decode the data of a response; raise Fault where it is none.

    >>> decode_exemplars(b'[{"seriesLabels":{},"exemplars":[{"labels":{"trace_id":"a"},"value":"6","timestamp":1.5}]}]')
    [Exemplar(labels={'trace_id': 'a'}, value=6.0, at=1.5)]
    """
    try:
        series = msgspec.json.decode(data, type=list[_Series] | None) or []
        return [Exemplar(row.labels, float(row.value), row.timestamp) for each in series for row in each.exemplars]
    except (msgspec.DecodeError, ValueError) as error:
        raise Fault(Reason.MALFORMED, f"not a list of exemplars: {error}") from None
