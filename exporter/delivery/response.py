"""What an answer of an Alertmanager means for the alerts in the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from exporter.errors import AlertmanagerError, Reason

__all__ = ["Kind", "Outcome", "header", "http_date", "outcome_of_answer", "outcome_of_error"]

_LONGEST_WAIT = 60.0
"""Seconds; a server that asks for more is asked again anyway."""

_LONGEST_TEXT = 200


class Kind(Enum):
    """The five ways to go on."""

    TAKEN = auto()
    """All of it was taken."""
    LATER = auto()
    """Nobody knows whether it was; the same request may succeed in a while."""
    REFUSED = auto()
    """At least one alert is at fault. The others were taken, or may have been."""
    TOO_LARGE = auto()
    FAULT = auto()
    """Somebody has to change something, here or there; until then every request fails."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended."""

    kind: Kind
    reason: Reason | None = None
    text: str = ""
    """For a log line; never longer than a few hundred characters."""
    wait: float = 0.0
    """Seconds that the server asked for, at most a minute."""


def outcome_of_answer(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Outcome:
    """Return what an HTTP answer means.

    Parameters
    ----------
    now : float
        Unix seconds, for a ``Retry-After`` that is a date.
    """
    text = f"HTTP {status}: {_text(body)}".removesuffix(": ")
    if 200 <= status <= 299:
        if body.strip():
            # Alertmanager answers with an empty body; a page says that somebody else took the request.
            return Outcome(Kind.FAULT, Reason.MALFORMED, f"not the answer of an Alertmanager: {text}")
        return Outcome(Kind.TAKEN)
    if 300 <= status <= 399:
        return Outcome(Kind.FAULT, Reason.REDIRECT, f"HTTP {status}, redirected to {_text(_location(headers))}")
    if status in (400, 422):
        return Outcome(Kind.REFUSED, Reason.REJECTED, text)
    if status in (401, 403):
        return Outcome(Kind.FAULT, Reason.UNAUTHORIZED, text)
    if status == 413:
        return Outcome(Kind.TOO_LARGE, Reason.TOO_LARGE, text)
    if status >= 500 or status in (408, 425, 429):
        reason = Reason.RATE_LIMITED if status == 429 else Reason.UNAVAILABLE
        return Outcome(Kind.LATER, reason, text, _retry_after(header(headers, "retry-after"), now))
    return Outcome(Kind.FAULT, Reason.HTTP, text)


def outcome_of_error(error: AlertmanagerError) -> Outcome:
    """Return what a request without an HTTP answer means."""
    kind = Kind.LATER if error.reason.retryable else Kind.FAULT
    return Outcome(kind, error.reason, error.message[:_LONGEST_TEXT])


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header whatever the case of its name, or an empty text."""
    return next((value for key, value in headers.items() if key.lower() == name), "")


def http_date(text: str) -> float | None:
    """Return an HTTP date in Unix seconds, or None where it is not one."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_after(text: str, now: float) -> float:
    plain = text.strip()
    if plain.isascii() and plain.isdigit():
        # A number of any length is one that is too long.
        return min(float(plain[:6]), _LONGEST_WAIT)
    date = http_date(plain) if plain else None
    return 0.0 if date is None else min(max(date - now, 0.0), _LONGEST_WAIT)


def _location(headers: Mapping[str, str]) -> bytes:
    # Only where to, not what with: the rest of the URL may hold a secret.
    return header(headers, "location").partition("?")[0].encode("utf-8", "replace")


def _text(body: bytes) -> str:
    text = body[: _LONGEST_TEXT * 4].decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:_LONGEST_TEXT]
