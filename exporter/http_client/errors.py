"""Reasons and messages for library exceptions, without their texts, which quote URLs, headers and bodies."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from exporter.errors import Reason

__all__ = ["Fault", "classify", "is_stale"]


class Fault(Exception):  # noqa: N818 - internal; callers get an UpstreamError.
    """A reason and a message; who has the URL makes an `UpstreamError` of it."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


def classify(error: BaseException) -> Fault:
    """Return the fault of any exception of requests, urllib3, http.client, ssl or socket.

    The most specific exception of the chain decides, however deep the libraries wrapped it.
    """
    chain = list(_chain(error))
    if any(isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS for cause in chain):
        return Fault(Reason.TLS, "the server does not speak TLS at this port; write http://, or the port of its https")
    for kinds, reason, sentence in _TABLE:
        for cause in chain:
            if isinstance(cause, kinds):
                return cause if isinstance(cause, Fault) else Fault(reason, sentence + _detail(cause, sentence))
    return Fault(Reason.CONNECTION, f"the request failed ({type(error).__name__})")


def is_stale(error: BaseException) -> bool:
    """Whether the connection was closed: on a reused one, before the server saw the request."""
    return any(isinstance(cause, _STALE) for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]


def _detail(error: BaseException, sentence: str) -> str:
    text = None
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message
    elif isinstance(error, ssl.SSLError):
        text = (error.reason or "").replace("_", " ").lower()
    elif isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        text = error.strerror
    return f": {text}" if text and text.lower() != sentence else ""


_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL calls an answer in plain text."""

# ClosedPoolError: another thread renewed the pool that this one was about to use.
_STALE = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, urllib3.exceptions.ClosedPoolError)

_TABLE: tuple[tuple[tuple[type[BaseException], ...], Reason, str], ...] = (
    ((Fault,), Reason.CONNECTION, ""),
    ((ssl.SSLCertVerificationError, ssl.CertificateError), Reason.TLS, "the server's certificate was refused"),
    # A connection that is closed in the middle of an encrypted answer is no failure of trust.
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), Reason.CONNECTION, "the connection was closed"),
    ((ssl.SSLError,), Reason.TLS, "TLS failed"),
    ((urllib3.exceptions.SSLError, requests.exceptions.SSLError), Reason.TLS, "TLS failed"),
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), Reason.DNS, "the host name cannot be resolved"),
    ((urllib3.exceptions.LocationParseError,), Reason.DNS, "not a host name"),
    ((ConnectionRefusedError,), Reason.REFUSED, "connection refused"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), Reason.CONNECTION, "the connection was closed"),
    ((urllib3.exceptions.NewConnectionError,), Reason.CONNECTION, "no connection"),
    ((TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError), Reason.TIMEOUT, "no answer in time"),
    # urllib3 also raises it for a bad chunk header: either way the body is incomplete.
    ((http.client.IncompleteRead,), Reason.CONNECTION, "the answer ended early"),
    ((http.client.HTTPException, urllib3.exceptions.HeaderParsingError), Reason.MALFORMED, "the answer is not HTTP"),
    ((urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError), Reason.MALFORMED, "bad compression"),
    ((urllib3.exceptions.ProxyError, requests.exceptions.ProxyError), Reason.CONNECTION, "the proxy failed"),
    ((requests.exceptions.InvalidHeader, urllib3.exceptions.InvalidHeader), Reason.CREDENTIALS, "a bad header value"),
    ((requests.exceptions.ChunkedEncodingError,), Reason.CONNECTION, "the answer ended early"),
    ((urllib3.exceptions.ProtocolError,), Reason.CONNECTION, "the connection broke"),
    ((OSError,), Reason.CONNECTION, "the connection failed"),
)
