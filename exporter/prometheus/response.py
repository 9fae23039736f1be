"""Read a response of the API: its result, or an error with the reason and the message of the server."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.completeness import text_of
from exporter.errors import PrometheusError, Reason
from exporter.http_client import Fault, HttpResponse, http_date
from exporter.prometheus.decode import ApiResponse, decode_response

__all__ = ["read_response", "single_line"]

_LONGEST = 200
_STATUSES = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    407: Reason.UNAUTHORIZED,
    408: Reason.TIMEOUT,
    413: Reason.TOO_LARGE,
    429: Reason.RATE_LIMITED,
    500: Reason.UNAVAILABLE,
    502: Reason.UNAVAILABLE,
    503: Reason.UNAVAILABLE,
    504: Reason.TIMEOUT,
}
# VictoriaMetrics writes the status where Prometheus writes a word.
_TYPES = {
    "bad_data": Reason.BAD_DATA,
    "400": Reason.BAD_DATA,
    "execution": Reason.EXECUTION,
    "422": Reason.EXECUTION,
    "timeout": Reason.TIMEOUT,
    "canceled": Reason.TIMEOUT,
    "unavailable": Reason.UNAVAILABLE,
    "internal": Reason.UNAVAILABLE,
    "not_found": Reason.HTTP,
    "too_many_requests": Reason.RATE_LIMITED,
}
# Older Prometheus and VictoriaMetrics report a deadline as a failure of the expression.
_TIMED_OUT = re.compile(r"context deadline exceeded|query timed out|timeout exceeded|cannot be executed in", re.I)
_TAG = re.compile(r"<(?:style|script).*?</(?:style|script)>|<[^>]*>", re.I | re.S)


def read_response(url: str, answer: HttpResponse) -> ApiResponse:
    """Return a successful response.

    Raises
    ------
    PrometheusError
        Otherwise, with the reason and at most 200 characters of the message of the server.
    """
    try:
        response = decode_response(answer.body)
    except Fault as error:
        if _is_success(answer.status) and (answer.body or answer.status == 200):
            message = error.message
            if error.reason is Reason.MALFORMED:
                message = single_line(f"{message}: {_words(answer.body) or 'an empty body'}")
            raise PrometheusError(url, error.reason, message, status=answer.status) from None
        response = None
    if response is not None and response.status == "success" and _is_success(answer.status):
        return response
    wait = _retry_after(answer.headers)
    if response is not None and response.status != "error" and _is_success(answer.status):
        text = f"the status of the answer is {single_line(response.status)!r}, and not success"
        raise PrometheusError(url, Reason.MALFORMED, text, status=answer.status, retry_after=wait)
    if response is None or response.status != "error":
        text = _words(answer.body)
        message = f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"
        reason = _STATUSES.get(answer.status, Reason.MALFORMED if answer.status == 200 else Reason.HTTP)
        raise PrometheusError(url, reason, message, status=answer.status, retry_after=wait)
    message = single_line(text_of(response.error)) or f"HTTP {answer.status} without a message"
    raise PrometheusError(
        url, _reason(answer.status, response, message), message, status=answer.status, retry_after=wait
    )


def _words(body: bytes) -> str:
    """Return what a page of a proxy or a server says, without its tags."""
    return single_line(_TAG.sub(" ", body[:8192].decode("utf-8", "replace")))


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def single_line(text: str) -> str:
    """Return `text` on one line, at most 200 characters, control characters escaped."""
    short = " ".join(text[: 16 * _LONGEST].split())
    short = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in short)
    return short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"


def _reason(status: int, response: ApiResponse, message: str) -> Reason:
    reason = _STATUSES.get(status) if status in (401, 403, 429) else None
    reason = reason or _TYPES.get(text_of(response.errorType)) or _STATUSES.get(status)
    if reason in (Reason.EXECUTION, Reason.BAD_DATA) and _TIMED_OUT.search(message):
        return Reason.TIMEOUT
    if reason is not None:
        return reason
    # An error with the status of a success, or of a type that is newer than this program.
    return Reason.EXECUTION if status in (200, 422) else Reason.HTTP


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text.lstrip("0")[:9] or 0)
    # A date counts from the server's own clock, not from ours.
    until, now = http_date(text), http_date(headers.get("Date", ""))
    return None if until is None or now is None else max(0.0, until - now)
