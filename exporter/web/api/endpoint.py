"""Endpoints of ``/api/v1`` as declarations, from which requests are checked and documented."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import msgspec

from exporter.web.api.envelope import ApiError, ErrorType

__all__ = [
    "ApiRequest",
    "Endpoint",
    "Instant",
    "Labels",
    "NoParameters",
    "decode_custom",
    "is_labels",
    "schema_of_custom",
]

P = TypeVar("P", bound=msgspec.Struct)
B = TypeVar("B")


class Instant(float):
    """A point in time, in Unix seconds; a request may also write it as RFC 3339 does."""

    __slots__ = ()


class Labels(dict[str, str]):
    """Parameters that are not declared: the labels of a series, each as a parameter of its own."""


class NoParameters(msgspec.Struct, frozen=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class ApiRequest(Generic[P, B]):
    """A validated request.

    Attributes
    ----------
    parameters
        Those of the path and of the query string.
    body
        None where the endpoint takes none.
    who : str or None
        The user or client certificate; never None for a request that changes something, unless the endpoint is `open`.
        A client that did not log in has its address here, where the endpoint is an `action` and actions are enabled.
    raw : bytes
        The body as it was sent, for signatures.
    headers : mapping
        Names are case-insensitive.
    """

    parameters: P
    body: B
    who: str | None
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint(Generic[P, B]):
    """One path and method.

    Parameters
    ----------
    method : str
        Anything but GET changes something and needs authentication.
    path : str
        Below ``/api/v1``, with parameters in braces: ``/anomalies/{id}``.
    summary : str
        One sentence.
    answer : callable
        From an `ApiRequest` to the ``data`` of the envelope; raises `ApiError`. Runs in a worker thread; may block.
    data : type
        What `answer` returns, for the documentation.
    parameters : type of msgspec.Struct
        Its fields are the parameters, by their encoded names; those whose name stands in the path come from there.
        A field that is a tuple may be given several times.
    body : type
        Of the JSON that is sent; None takes none.
    errors : sequence of ErrorType
        Errors that `answer` raises, beside those of every endpoint.
    open : bool
        The request changes something, but `answer` authenticates it itself, by a signature.
    action : bool
        Anybody may do it where actions are enabled: it changes what is written about an anomaly, and can be undone.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    answer: Callable[[ApiRequest[P, B]], object]
    data: Any
    parameters: type[P]
    body: type[B]
    errors: Sequence[ErrorType] = ()
    open: bool = field(default=False, kw_only=True)
    action: bool = field(default=False, kw_only=True)

    @property
    def changes(self) -> bool:
        """Whether a request changes something."""
        return self.method != "GET"

    @property
    def takes_body(self) -> bool:
        """Whether a request has a body."""
        return self.body is not type(None)

    @cached_property
    def in_path(self) -> frozenset[str]:
        """Names of the parameters in the path."""
        return frozenset(re.findall(r"{(\w+)}", self.path))

    @cached_property
    def fields(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        """The parameters."""
        return msgspec.structs.fields(self.parameters)

    @cached_property
    def _labels(self) -> str | None:
        """The parameter that takes all others as labels, or None."""
        return next((parameter.encode_name for parameter in self.fields if is_labels(parameter.type)), None)

    def read_parameters(self, path: Mapping[str, str], query: Sequence[tuple[str, str]]) -> P:
        """Check the parameters of one request.

        Raises
        ------
        ApiError
            With the name of the one that is wrong.
        """
        repeated = {parameter.encode_name: _is_repeated(parameter.type) for parameter in self.fields}
        given: dict[str, Any] = {name: path[name] for name in self.in_path}
        for name, value in query:
            if name not in repeated and self._labels is not None:
                given.setdefault(self._labels, Labels())[name.removeprefix("label.")] = value
                continue
            if name not in repeated or name in self.in_path:
                names = ", ".join(sorted(repeated.keys() - self.in_path)) or "there is none"
                raise ApiError(ErrorType.BAD_DATA, f"{name!r}: unknown parameter; known: {names}")
            if repeated[name]:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise ApiError(ErrorType.BAD_DATA, f"{name}: given more than once")
            else:
                given[name] = value
        try:
            return msgspec.convert(given, self.parameters, strict=False, dec_hook=decode_custom)
        except msgspec.ValidationError as error:
            raise ApiError(ErrorType.BAD_DATA, _message(error) + _choices(error, self.parameters)) from None

    def read_body(self, raw: bytes) -> B:
        """Check the body of one request.

        Raises
        ------
        ApiError
        """
        _refuse_duplicates(raw)
        try:
            return msgspec.json.decode(raw, type=self.body, dec_hook=decode_custom)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ApiError(ErrorType.BAD_DATA, _message(error, "body") + _choices(error, self.body)) from None


def _refuse_duplicates(raw: bytes) -> None:
    """Refuse a body that names a field twice: which of the two counts depends on who reads it."""

    def pairs(fields: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in fields:
            if name in seen:
                raise ApiError(ErrorType.BAD_DATA, f"{name[:60]}: given more than once")
            seen.add(name)

    # What is no JSON, the decoder says better.
    with suppress(ValueError, RecursionError):
        json.loads(raw, object_pairs_hook=pairs)


def is_labels(kind: Any) -> bool:
    """Return whether a parameter takes all others as labels."""
    return kind is Labels or getattr(kind, "__origin__", None) is Labels


def decode_custom(kind: type, value: object) -> object:
    """Decode our own types; a hook of msgspec."""
    if kind is Labels and isinstance(value, dict):
        return Labels(value)
    if kind is not Instant:
        raise NotImplementedError(kind)
    instant = _instant(value)
    if instant is None or not math.isfinite(instant):
        raise ValueError("expected Unix seconds, or a time such as 2026-11-22T18:00:00Z")
    return Instant(instant)


def schema_of_custom(kind: type) -> dict[str, Any]:
    """Return the schema of our own types; a hook of msgspec."""
    if kind is Labels:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if kind is not Instant:
        raise NotImplementedError(kind)
    return {"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}


def _instant(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return float(value)
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if instant.tzinfo is None else instant.timestamp()


def _is_repeated(kind: Any) -> bool:
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    return getattr(kind, "__origin__", kind) is tuple


def _choices(error: Exception, kind: Any) -> str:
    """Return what could have been given, where a field of a struct takes one of a few words."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ""
    wrong = str(error).partition(" - at `$.")[2].rstrip("`")
    words = next((_words(each.type) for each in msgspec.structs.fields(kind) if each.encode_name == wrong), ())
    return f"; one of: {', '.join(words)}" if words else ""


def _words(kind: Any) -> tuple[str, ...]:
    """Return the words that a parameter is one of; none where it takes other values, too."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    # Descriptions and optional parameters are around the words.
    return next((words for inner in get_args(kind) if (words := _words(inner))), ())


def _message(error: Exception, where: str = "") -> str:
    """Return the message of msgspec with the path first: ``limit: expected `int` <= 1000``."""
    what, at, path = str(error).partition(" - at `$")
    if at:
        where = (where + path.rstrip("`")).removeprefix(".")
    if not what.startswith("JSON"):
        what = what[:1].lower() + what[1:]
    return f"{where}: {what}" if where else what
