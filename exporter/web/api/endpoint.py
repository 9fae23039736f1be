"""What an endpoint of ``/api/v1`` is: a declaration that its requests are checked by, and documented from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import msgspec

from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["Call", "Endpoint", "Instant", "NoParameters", "decode_custom", "schema_of_custom"]

P = TypeVar("P", bound=msgspec.Struct)
B = TypeVar("B")


class Instant(float):
    """A point in time, in Unix seconds; a request may also write it as RFC 3339 does."""

    __slots__ = ()


class NoParameters(msgspec.Struct, frozen=True):
    """An endpoint that takes none."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """A request that was checked.

    Attributes
    ----------
    parameters
        Those of the path and of the query string.
    body
        None where the endpoint takes none.
    who : str or None
        The user or client certificate; never None where something is changed, unless the endpoint is `open`.
    raw : bytes
        The body as it was sent, which a signature is about.
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
        Whatever is not GET changes something, and is only done for somebody whose name was proved.
    path : str
        Below ``/api/v1``, with parameters in braces: ``/anomalies/{id}``.
    summary : str
        One sentence.
    answer : callable
        From a `Call` to the ``data`` of the envelope; raises `ApiError`. Runs in a worker thread, where it may block.
    data : type
        What `answer` returns, for the documentation.
    parameters : type of msgspec.Struct
        Its fields are the parameters, by their encoded names; those whose name stands in the path come from there.
        A field that is a tuple may be given several times.
    body : type
        Of the JSON that is sent; None takes none.
    errors : sequence of ErrorType
        What `answer` raises, beside what every endpoint may say.
    open : bool
        A request that changes something, but brings its own proof (a signature) that `answer` checks.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    answer: Callable[[Call[P, B]], object]
    data: Any
    parameters: type[P]
    body: type[B]
    errors: Sequence[ErrorType] = ()
    open: bool = field(default=False, kw_only=True)

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

    def read_parameters(self, path: Mapping[str, str], query: Sequence[tuple[str, str]]) -> P:
        """Check the parameters of one request.

        Raises
        ------
        ApiError
            With the name of the one that is wrong.
        """
        repeated = {one.encode_name: _is_repeated(one.type) for one in self.fields}
        given: dict[str, Any] = {name: path[name] for name in self.in_path}
        for name, value in query:
            if name not in repeated or name in self.in_path:
                known = ", ".join(sorted(repeated.keys() - self.in_path)) or "there is none"
                raise ApiError(ErrorType.BAD_DATA, f"{name!r}: unknown parameter; known: {known}")
            if repeated[name]:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise ApiError(ErrorType.BAD_DATA, f"{name}: given more than once")
            else:
                given[name] = value
        try:
            return msgspec.convert(given, self.parameters, strict=False, dec_hook=decode_custom)
        except msgspec.ValidationError as error:
            raise ApiError(ErrorType.BAD_DATA, _said(error)) from None

    def read_body(self, raw: bytes) -> B:
        """Check the body of one request.

        Raises
        ------
        ApiError
        """
        try:
            return msgspec.json.decode(raw, type=self.body, dec_hook=decode_custom)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ApiError(ErrorType.BAD_DATA, _said(error, "body")) from None


def decode_custom(kind: type, value: object) -> object:
    """Read the types that are ours; the hook of msgspec."""
    if kind is not Instant:
        raise NotImplementedError(kind)
    instant = _instant(value)
    if instant is None or not math.isfinite(instant):
        raise ValueError("expected Unix seconds, or a time such as 2026-11-22T18:00:00Z")
    return Instant(instant)


def schema_of_custom(kind: type) -> dict[str, Any]:
    """Describe the types that are ours; the hook of msgspec."""
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
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def _is_repeated(kind: Any) -> bool:
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    return getattr(kind, "__origin__", kind) is tuple


def _said(error: Exception, where: str = "") -> str:
    """Say what msgspec found, with the place first: ``limit: expected `int` <= 1000``."""
    what, at, place = str(error).partition(" - at `$")
    if at:
        where = (where + place.rstrip("`")).removeprefix(".")
    if not what.startswith("JSON"):
        what = what[:1].lower() + what[1:]
    return f"{where}: {what}" if where else what
