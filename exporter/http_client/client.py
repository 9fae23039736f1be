"""The HTTP client for Prometheus and Alertmanager: one deadline a call, bounded answers, secrets kept secret."""

from __future__ import annotations

import http.client
import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies

from exporter.errors import Reason, UpstreamError
from exporter.http_client import tls
from exporter.http_client.body import read_body
from exporter.http_client.connections import Transport
from exporter.http_client.credentials import secret_headers
from exporter.http_client.deadline import Calls
from exporter.http_client.errors import Fault, classify, is_stale
from exporter.http_client.settings import HttpSettings

__all__ = ["Answer", "Client"]

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD = frozenset({307, 308})


class _Begun(Exception):  # noqa: N818 - a mark on the exception that caused it.
    """It went wrong after the answer had begun."""


# What the libraries raise, ValueError included: URLs and headers that they cannot take.
_ANY = (
    Fault,
    _Begun,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever the status. Header names are case-insensitive; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    params: Mapping[str, str] | None = None
    data: bytes | None = None
    kind: str | None = None
    repeatable: bool = True
    """A read: sent again when an idle connection turns out to be closed, and along a redirect."""


class Client:
    """Talks to one server; safe to use from many threads at once.

    Parameters
    ----------
    settings : HttpSettings
        Where it is and how to reach it. Files named in it are looked at again for every request.
    user_agent : str
    pool : int
        Idle connections kept.
    error : type of UpstreamError
        What to raise when there is no answer.
    """

    def __init__(self, settings: HttpSettings, *, user_agent: str, pool: int, error: type[UpstreamError]) -> None:
        self._settings = settings
        self._error = error
        self._base = urlsplit(settings.url)
        self._calls = Calls()
        self._transport = Transport(self._calls, pool)
        self._tls_lock = threading.Lock()
        self._tls_signature: tuple[tuple[int, ...], ...] | None = None
        self._session = _Session()
        self._session.mount("http://", self._transport)
        self._session.mount("https://", self._transport)
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "*/*",
            # Compressing costs more time than sending when nothing is sent over a wire.
            "Accept-Encoding": "identity" if _is_loopback(self._base.hostname or "") else "gzip",
        }

    def get(self, path: str, params: Mapping[str, str] | None = None, *, timeout: float, max_bytes: int) -> Answer:
        """GET `path` (below the base URL).

        Raises
        ------
        UpstreamError
            Of the type given to the constructor, when there is no whole answer within `timeout` seconds and
            `max_bytes`, or when it is a redirect that must not be followed.
        """
        return self._call(_Request("GET", params=params), path, timeout, max_bytes)

    def post_form(self, path: str, form: Mapping[str, str], *, timeout: float, max_bytes: int) -> Answer:
        """POST a form that asks for something and changes nothing; errors as in `get`."""
        # requests would find out at length what kind of data a mapping is.
        request = _Request("POST", data=urlencode(form).encode(), kind="application/x-www-form-urlencoded")
        return self._call(request, path, timeout, max_bytes)

    def post_json(self, path: str, body: bytes, *, timeout: float, max_bytes: int) -> Answer:
        """POST JSON that may change something: sent once, redirects never followed; errors as in `get`."""
        request = _Request("POST", data=body, kind="application/json", repeatable=False)
        return self._call(request, path, timeout, max_bytes)

    def delete(self, path: str, *, timeout: float, max_bytes: int) -> Answer:
        """DELETE `path`: sent once, redirects never followed; errors as in `get`."""
        return self._call(_Request("DELETE", repeatable=False), path, timeout, max_bytes)

    def cancel(self) -> None:
        """Break off every call under way, from any thread; they raise CONNECTION "cancelled"."""
        self._calls.end_all()

    def close(self) -> None:
        """Break off every call, close every connection, refuse further calls."""
        self._calls.end_all(close=True)
        self._session.close()

    def _call(self, request: _Request, path: str, timeout: float, max_bytes: int) -> Answer:
        url = self._settings.url + path
        try:
            with self._calls.begin(timeout):
                return self._follow(request, url, max_bytes)
        except Fault as fault:
            reason, message = fault.reason, fault.message
        # Raised outside the handler: no chain leads from it to an exception that quotes headers.
        raise self._error(url, reason, message)

    def _follow(self, request: _Request, url: str, max_bytes: int) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._attempt(request, url, max_bytes)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                return answer
            url = self._next(request, url, answer.status, target)
            # The target has the query in it already.
            request = _Request(request.method, None, request.data, request.kind)
        raise Fault(Reason.REDIRECT, f"more than {_MOST_REDIRECTS} redirects")

    def _next(self, request: _Request, url: str, status: int, location: str) -> str:
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
            origin = f"{parts.scheme}://{_host(parts)}"[:200]
            same = _origin(parts) == _origin(self._base)
        except ValueError:
            raise Fault(Reason.REDIRECT, f"HTTP {status} with a target that is not a URL") from None
        # Only the origin is named: a target may carry somebody's session in its query.
        said = f"HTTP {status} redirects to {_printable(origin)}"
        if not self._settings.follow_redirects or not request.repeatable:
            raise Fault(Reason.REDIRECT, f"{said}; not followed")
        if not same or "@" in parts.netloc:
            raise Fault(Reason.REDIRECT, f"{said}; not followed to another scheme, host or port")
        if request.method != "GET" and status not in _SAME_METHOD:
            raise Fault(Reason.REDIRECT, f"{said}; not followed, it would lose the request's body")
        return target

    def _attempt(self, request: _Request, url: str, max_bytes: int) -> Answer:
        call = self._calls.current
        call.connected = False
        try:
            return self._send(request, url, max_bytes)
        except _ANY as error:
            call.check()
            stale = request.repeatable and not call.connected and is_stale(error) and not isinstance(error, _Begun)
            fault = classify(error)
        if not stale:
            raise fault
        # The server closed an idle connection just as we used it; others in the pool are no younger.
        self._transport.renew()
        try:
            return self._send(request, url, max_bytes)
        except _ANY as error:
            call.check()
            fault = classify(error)
        raise fault

    def _send(self, request: _Request, url: str, max_bytes: int) -> Answer:
        headers: dict[str, str | bytes] = {**self._headers, **secret_headers(self._settings)}
        if request.kind is not None:
            headers["Content-Type"] = request.kind
        if self._base.scheme == "https":
            self._refresh_tls()
        prepared = requests.Request(
            request.method, url, headers=headers, params=request.params, data=request.data
        ).prepare()
        proxies = get_environ_proxies(url) if self._settings.proxy_from_environment else {}
        left = self._calls.current.remaining()
        response = self._session.send(
            prepared, stream=True, timeout=(left, left), allow_redirects=False, proxies=proxies
        )
        try:
            if response.status_code in _REDIRECTS and "Location" in response.headers:
                # Its body says nothing that we want to wait for.
                return Answer(response.status_code, response.headers, b"")
            body = read_body(response, max_bytes)
        except Fault:
            raise
        except _ANY as error:
            raise _Begun from error
        finally:
            response.close()
        return Answer(response.status_code, response.headers, body)

    def _refresh_tls(self) -> None:
        settings = self._settings.tls_config
        with self._tls_lock:
            now = tls.signature(settings)
            if now != self._tls_signature:
                self._transport.trust(tls.context(settings), settings.server_name)
                self._tls_signature = now


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        # No proxies, .netrc or CA bundles from the environment.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Keep requests from reading a redirect's whole body only to tell where it leads."""


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
