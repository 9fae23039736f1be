"""HTTP client for Prometheus and Alertmanager: a deadline for each call, bounded bodies, errors without secrets."""

from __future__ import annotations

import http.client
import ipaddress
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import cast
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.structures import CaseInsensitiveDict
from requests.utils import check_header_validity, get_environ_proxies, select_proxy
from urllib3 import BaseHTTPResponse

from exporter import __version__
from exporter.errors import Reason, UpstreamError
from exporter.http_client import tls
from exporter.http_client.body import read_body, read_start
from exporter.http_client.calls import Calls, current_call
from exporter.http_client.credentials import secret_headers
from exporter.http_client.errors import Fault, classify, is_stale
from exporter.http_client.settings import HttpSettings
from exporter.http_client.transport import Transport

__all__ = ["USER_AGENT", "Client", "HttpResponse", "http_date"]

USER_AGENT = f"anomaly-exporter/{__version__}"
Params = Mapping[str, str | list[str]]
"""Parameters of a URL; one with a list is there several times."""

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})
_GRACE = 1.0


# What the libraries raise; ValueError for URLs and headers that they refuse.
_ERRORS = (
    Fault,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The response of a server, whatever its status. Header names are case-insensitive; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def http_date(text: str) -> float | None:
    """Return an HTTP date in Unix seconds, or None where it is not one."""
    try:
        date = parsedate_to_datetime(text)
        # HTTP dates are always GMT; one without a zone would be taken as local time.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    params: Params | None = None
    data: bytes | None = None
    kind: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    """A read: sent again when an idle connection turns out to be closed, and along a redirect."""
    whole: bool = True
    """Whether an answer counts only with its whole body."""
    on_bytes: Callable[[int], None] = lambda _: None


class Client:
    """Sends requests to one server; safe to use from many threads at once.

    Parameters
    ----------
    settings : HttpSettings
        Files named in it are read for every request.
    pool : int
        Idle connections kept.
    error : type of UpstreamError
        Raised when there is no answer.
    user_agent : str
    """

    def __init__(
        self, settings: HttpSettings, *, pool: int, error: type[UpstreamError], user_agent: str = USER_AGENT
    ) -> None:
        self._settings = settings
        self._error = error
        self._base = urlsplit(settings.url)
        self._calls = Calls(idle=pool)
        self._transport = Transport(pool)
        self._tls_lock = threading.Lock()
        self._tls_signature: tuple[tuple[int, ...], ...] | None = None
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "*/*",
            # Compressing costs more time than sending when nothing is sent over a wire.
            "Accept-Encoding": "identity" if _is_loopback(self._base.hostname or "") else "gzip",
        }

    def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        timeout: float,
        max_bytes: int,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> HttpResponse:
        """GET `path` (below the base URL); `on_bytes` as in `read_body`.

        Raises
        ------
        UpstreamError
            Of the type given to the constructor, when there is no whole answer within `timeout` seconds and
            `max_bytes`, or when it is a redirect that must not be followed.
        """
        return self._call(_Request("GET", params=params, on_bytes=on_bytes), path, timeout, max_bytes)

    def post_form(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        params: Params | None = None,
        timeout: float,
        max_bytes: int,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> HttpResponse:
        """POST a form that reads and changes nothing; `params` are those of the URL; the rest is as in `get`."""
        # Encoded here, because requests takes long to inspect a mapping.
        data = urlencode(form).encode()
        kind = "application/x-www-form-urlencoded"
        request = _Request("POST", params=params, data=data, kind=kind, on_bytes=on_bytes)
        return self._call(request, path, timeout, max_bytes)

    def post_json(self, path: str, body: bytes, *, timeout: float, max_bytes: int, whole: bool = True) -> HttpResponse:
        """POST JSON that may change something: sent once, redirects never followed; errors as in `get`.

        Without `whole` the status line is the answer: of a body that is longer, cut off or badly compressed only the
        start is returned.
        """
        request = _Request("POST", data=body, kind="application/json", repeatable=False, whole=whole)
        return self._call(request, path, timeout, max_bytes)

    def post_snappy(
        self, path: str, body: bytes, headers: Mapping[str, str], *, timeout: float, max_bytes: int
    ) -> HttpResponse:
        """POST protobuf that is compressed by snappy, once; of the answer the start is enough; errors as in `get`."""
        whole = {"Content-Encoding": "snappy", **headers}
        kind = "application/x-protobuf"
        request = _Request("POST", data=body, kind=kind, headers=whole, repeatable=False, whole=False)
        return self._call(request, path, timeout, max_bytes)

    def delete(self, path: str, *, timeout: float, max_bytes: int) -> HttpResponse:
        """DELETE `path`: sent once, redirects never followed; errors as in `get`."""
        return self._call(_Request("DELETE", repeatable=False), path, timeout, max_bytes)

    def cancel(self) -> None:
        """Break off every call under way, from any thread; they raise CONNECTION "cancelled"."""
        self._calls.end_all()

    def close(self) -> None:
        """Break off every call, close every connection, refuse further calls."""
        self._calls.end_all(close=True)
        self._transport.close()

    def _call(self, request: _Request, path: str, timeout: float, max_bytes: int) -> HttpResponse:
        url = self._settings.url + path
        try:
            return self._calls.run(lambda: self._follow(request, url, timeout, max_bytes), timeout)
        except _ERRORS as error:
            fault = classify(error)
        # Raised outside the handler: no chain leads from it to an exception that quotes headers.
        raise self._error(url, fault.reason, fault.message)

    def _follow(self, request: _Request, url: str, timeout: float, max_bytes: int) -> HttpResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._attempt(request, url, timeout, max_bytes)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                return answer
            url = self._redirect_target(request, url, answer.status, target)
            # The target has the query in it already.
            request = replace(request, params=None)
        raise Fault(Reason.REDIRECT, f"more than {_MOST_REDIRECTS} redirects")

    def _redirect_target(self, request: _Request, url: str, status: int, location: str) -> str:
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
            origin = f"{parts.scheme}://{_host(parts)}"[:200]
            same = _origin(parts) == _origin(self._base)
        except ValueError:
            raise Fault(Reason.REDIRECT, f"HTTP {status} with a target that is not a URL") from None
        # Only the origin is named: a target may carry somebody's session in its query.
        redirect = f"HTTP {status} redirects to {_printable(origin)}"
        if not self._settings.follow_redirects or not request.repeatable:
            raise Fault(Reason.REDIRECT, f"{redirect}; not followed")
        if not same or "@" in parts.netloc:
            raise Fault(Reason.REDIRECT, f"{redirect}; not followed to another scheme, host or port")
        if request.method != "GET" and status not in _SAME_METHOD:
            raise Fault(Reason.REDIRECT, f"{redirect}; not followed, it would lose the request's body")
        return target

    def _attempt(self, request: _Request, url: str, timeout: float, max_bytes: int) -> HttpResponse:
        try:
            return self._send(request, url, timeout, max_bytes)
        except _ERRORS as error:
            call = current_call()
            call.check()
            if not (request.repeatable and call.reused and is_stale(error)):
                raise
        # The server closed an idle connection as the request was sent; the other idle ones are no younger.
        self._transport.renew()
        return self._send(request, url, timeout, max_bytes)

    def _send(self, request: _Request, url: str, timeout: float, max_bytes: int) -> HttpResponse:
        headers: dict[str, str | bytes] = {**self._headers, **secret_headers(self._settings)}
        for header in headers.items():
            check_header_validity(cast("tuple[str, str]", header))
        headers |= request.headers
        if request.kind is not None:
            headers["Content-Type"] = request.kind
        if request.data is None and request.method != "GET":
            headers["Content-Length"] = "0"
        if self._base.scheme == "https":
            self._refresh_tls()
        url, call = _with_params(url, request.params), current_call()
        proxy = None
        if self._settings.proxy_from_environment:
            proxy = select_proxy(url, get_environ_proxies(url))
        call.reused = True
        # Not by a session, which would keep cookies, read the environment and the bodies of redirects. The timeouts
        # of the socket end a thread that is left behind; the deadline of the call comes before them.
        response = self._transport.request(
            request.method, url, headers=headers, body=request.data, timeout=timeout + _GRACE, proxy=proxy
        )
        call.reused = False
        try:
            # The body of a redirect is not used.
            redirected = response.status in _REDIRECTS and "Location" in response.headers
            body = b"" if redirected else _body(response, request, max_bytes)
        finally:
            response.close()
            response.release_conn()
        return HttpResponse(response.status, CaseInsensitiveDict(response.headers), body)

    def _refresh_tls(self) -> None:
        settings = self._settings.tls_config
        with self._tls_lock:
            now = tls.signature(settings)
            if now != self._tls_signature:
                self._transport.trust(tls.context(settings), settings.server_name)
                self._tls_signature = now


def _with_params(url: str, params: Params | None) -> str:
    return _escaped(url) if not params else _prepared(url, params)


@lru_cache(maxsize=64)
def _escaped(url: str) -> str:
    return _prepared(url, None)


def _prepared(url: str, params: Params | None) -> str:
    request = requests.PreparedRequest()
    request.prepare_url(url, params)
    return str(request.url)


def _body(response: BaseHTTPResponse, request: _Request, max_bytes: int) -> bytes:
    if request.whole:
        return read_body(response, max_bytes, request.on_bytes)
    return read_start(response, max_bytes)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port else host


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
