"""The envelope of every answer of ``/api/v1``, as in Prometheus' API."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec
from aiohttp import web

from exporter.errors import ExporterError
from exporter.hidden_text import escape_hidden_json

__all__ = ["ApiError", "ErrorType", "failure", "success"]


class ErrorType(StrEnum):
    """Why a request was not done: ``errorType`` of the envelope. The set is closed."""

    BAD_DATA = "bad_data"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self]


_STATUS = {
    ErrorType.BAD_DATA: 400,
    ErrorType.FORBIDDEN: 403,
    ErrorType.NOT_FOUND: 404,
    ErrorType.CONFLICT: 409,
    ErrorType.UNAVAILABLE: 503,
    ErrorType.INTERNAL: 500,
}


class ApiError(ExporterError):
    """A request is refused or failed.

    Parameters
    ----------
    message : str
        For the user: what is wrong, and what would be right.
    status : int, optional
        HTTP status; that of the kind unless given.
    """

    def __init__(self, kind: ErrorType, message: str, *, status: int | None = None) -> None:
        self.kind = kind
        self.status = kind.status if status is None else status
        super().__init__(message)


def success(data: object) -> web.Response:
    """Wrap data, made of dataclasses, mappings, sequences and plain values; NaN becomes null."""
    return _json(200, {"status": "success", "data": data})


def failure(error: ApiError) -> web.Response:
    """Wrap an error."""
    return _json(error.status, {"status": "error", "errorType": str(error.kind), "error": str(error)})


def _json(status: int, content: Mapping[str, object]) -> web.Response:
    try:
        body = msgspec.json.encode(content, enc_hook=_plain)
    except UnicodeEncodeError:
        # A lone surrogate: JSON can express it, UTF-8 cannot.
        body = json.dumps(_finite(msgspec.to_builtins(content, enc_hook=_plain)), separators=(",", ":")).encode()
    return web.Response(status=status, body=escape_hidden_json(body), content_type="application/json")


def _plain(value: object) -> float:
    if isinstance(value, float):
        return float(value)  # An `Instant`, or a number of numpy's.
    raise TypeError(f"not something to answer: {type(value).__name__}")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
