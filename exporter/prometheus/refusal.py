"""From an answer that is not a result to a reason and the server's own sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from exporter.errors import PrometheusError, Reason
from exporter.http_client.client import Answer
from exporter.prometheus.decode import Envelope, Unusable, read_envelope

__all__ = ["asks_too_much", "http_date", "one_line", "read_answer"]

_LONGEST = 200
_STATUSES = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    407: Reason.UNAUTHORIZED,
    408: Reason.TIMEOUT,
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
_TOO_MUCH = re.compile(
    r"exceeded maximum resolution|too many (?:samples|points)|maxPointsPerTimeseries|maxSamplesPer|maxMemoryPerQuery"
    r"|exceeds the limit|limit of [0-9,]+ points",
    re.I,
)
_TAG = re.compile(r"<(?:style|script).*?</(?:style|script)>|<[^>]*>", re.I | re.S)


def read_answer(url: str, answer: Answer) -> Envelope:
    """Return the envelope of a success.

    Raises
    ------
    PrometheusError
        Anything else, with the reason and at most 200 characters of what the server said.
    """
    try:
        envelope = read_envelope(answer.body)
    except Unusable as error:
        if answer.status == 200:
            raise PrometheusError(url, error.reason, error.message, status=200) from None
        envelope = None
    if envelope is not None and envelope.status == "success" and answer.status == 200:
        return envelope
    wait = _retry_after(answer.headers)
    if envelope is None or envelope.status != "error":
        text = one_line(_TAG.sub(" ", answer.body[:8192].decode("utf-8", "replace")))
        said = f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"
        reason = _STATUSES.get(answer.status, Reason.HTTP if answer.status != 200 else Reason.MALFORMED)
        raise PrometheusError(url, reason, said, status=answer.status, retry_after=wait)
    message = one_line(envelope.error or "") or f"HTTP {answer.status} without a message"
    raise PrometheusError(
        url, _reason(answer.status, envelope, message), message, status=answer.status, retry_after=wait
    )


def asks_too_much(error: PrometheusError) -> bool:
    """Whether the same question over a shorter time may be answered."""
    if error.reason is Reason.TOO_LARGE:
        return True
    return error.reason in (Reason.BAD_DATA, Reason.EXECUTION) and bool(_TOO_MUCH.search(error.message))


def one_line(text: str) -> str:
    """Return `text` on one line, at most 200 characters, control characters escaped."""
    short = " ".join(text[: 16 * _LONGEST].split())
    short = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in short)
    return short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"


def http_date(text: str) -> float | None:
    """Return the Unix seconds of an HTTP date, None if it is not one."""
    try:
        found = parsedate_to_datetime(text)
        # A date without a zone would be read in ours; HTTP dates are always GMT.
        return found.timestamp() if found.tzinfo is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def _reason(status: int, envelope: Envelope, message: str) -> Reason:
    reason = _STATUSES.get(status) if status in (401, 403, 429) else None
    reason = reason or _TYPES.get(envelope.errorType or "") or _STATUSES.get(status)
    if reason in (Reason.EXECUTION, Reason.BAD_DATA) and _TIMED_OUT.search(message):
        return Reason.TIMEOUT
    if reason is not None:
        return reason
    # An error in an answer that calls itself a success, or of a type that is newer than this program.
    return Reason.EXECUTION if status in (200, 422) else Reason.HTTP


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    # A date counts from the server's own clock, not from ours.
    until, now = http_date(text), http_date(headers.get("Date", ""))
    return None if until is None or now is None else max(0.0, until - now)
