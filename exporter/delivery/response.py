"""Outcome of a delivery request, from the response of an Alertmanager or from an error."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from exporter.errors import AlertmanagerError, Reason
from exporter.http_client import http_date

__all__ = ["ResponseKind", "DeliveryOutcome", "outcome_of_response", "outcome_of_error", "text_of"]

_LONGEST_WAIT = 60.0
"""Seconds; a longer ``Retry-After`` is cut to this."""

_LONGEST_TEXT = 200
_START = 8192
_PAGE = re.compile(rb"<(?:!doctype\s+html|(?:html|head|body|title|meta|script|form)[\s/>])", re.IGNORECASE)


class ResponseKind(Enum):
    """Classes of outcomes, by what the sender does next."""

    ACCEPTED = auto()
    """All alerts were accepted."""
    LATER = auto()
    """It may have been accepted or not; the same request may succeed later."""
    REJECTED = auto()
    """At least one alert was rejected. The others may have been accepted."""
    TOO_LARGE = auto()
    FAULT = auto()
    """Every request fails until a configuration is changed, here or at the Alertmanager."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a request ended."""

    kind: ResponseKind
    reason: Reason | None = None
    text: str = ""
    """For a log line; at most a few hundred characters."""
    wait: float = 0.0
    """Seconds to wait before the next request, by ``Retry-After``; at most a minute."""


def outcome_of_response(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> DeliveryOutcome:
    """Return the outcome of an HTTP response.

    Parameters
    ----------
    headers : mapping
        Whatever the case of a name.
    now : float
        Unix seconds, for a ``Retry-After`` that is a date.
    """
    text = f"HTTP {status}: {text_of(body)}".removesuffix(": ")
    if 200 <= status <= 299:
        # As Prometheus does, whatever the body: receivers that are no Alertmanager answer with JSON or text. But a page
        # is for people, and comes from a proxy, such as one that asks for a login.
        if _is_page(body):
            return DeliveryOutcome(ResponseKind.FAULT, Reason.MALFORMED, f"an HTML page, not taken for success: {text}")
        return DeliveryOutcome(ResponseKind.ACCEPTED)
    if 300 <= status <= 399:
        # Without the query string, which may hold a secret.
        target = headers.get("Location", "").partition("?")[0].encode("utf-8", "replace")
        return DeliveryOutcome(ResponseKind.FAULT, Reason.REDIRECT, f"HTTP {status}, redirected to {text_of(target)}")
    if status in (400, 422):
        return DeliveryOutcome(ResponseKind.REJECTED, Reason.REJECTED, text)
    if status in (401, 403):
        return DeliveryOutcome(ResponseKind.FAULT, Reason.UNAUTHORIZED, text)
    if status == 413:
        return DeliveryOutcome(ResponseKind.TOO_LARGE, Reason.TOO_LARGE, text)
    if status >= 500 or status in (408, 425, 429):
        reason = Reason.RATE_LIMITED if status == 429 else Reason.UNAVAILABLE
        return DeliveryOutcome(ResponseKind.LATER, reason, text, _retry_after(headers.get("Retry-After", ""), now))
    return DeliveryOutcome(ResponseKind.FAULT, Reason.HTTP, text)


def outcome_of_error(error: AlertmanagerError) -> DeliveryOutcome:
    """Return the outcome of a request that got no response."""
    kind = ResponseKind.LATER if error.reason.retryable else ResponseKind.FAULT
    return DeliveryOutcome(kind, error.reason, error.message[:_LONGEST_TEXT])


def _is_page(body: bytes) -> bool:
    start = body[:_START].removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith(b"<") and _PAGE.search(start) is not None


def _retry_after(text: str, now: float) -> float:
    plain = text.strip()
    if plain.isascii() and plain.isdigit():
        # Six digits exceed the longest wait, whatever follows.
        return min(float(plain.lstrip("0")[:6] or 0), _LONGEST_WAIT)
    date = http_date(plain)
    return 0.0 if date is None else min(max(date - now, 0.0), _LONGEST_WAIT)


def text_of(body: bytes) -> str:
    """Return the begin of a body for a log line: at most 200 printable characters."""
    text = body[: _LONGEST_TEXT * 4].decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:_LONGEST_TEXT]
