"""Middleware: authentication, cross-site requests, bodies, and security headers.

The order is the limit of requests, credentials, origin, then body: the cheapest check first.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from exporter.web.auth import USER, basic_credentials
from exporter.web.connection import SECURITY_HEADERS, Connection, Limits, plain
from exporter.web.web_config import Access

__all__ = ["guard", "header_hook"]

log = logging.getLogger(__name__)


_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_LOCAL = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".svc", ".test")
"""Ends of names that are not in the public DNS."""
_MOST_PENDING = 16
"""Logins that may wait for bcrypt."""


class _Logins:
    """Checks who asks; few passwords at a time, because a check takes long.

    Parameters
    ----------
    access : callable
        The web configuration in force.
    executor : Executor
        Checks passwords; has a single thread.
    """

    def __init__(self, access: Callable[[], Access], executor: Executor) -> None:
        self._access, self._executor = access, executor
        self._pending = 0

    async def refuse(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request whose login is not accepted; note the user of one whose login is."""
        users = self._access().users
        if not users:
            return None
        login = basic_credentials(request.headers.get("Authorization", ""))
        accepted = users.cached(*login) if login is not None else False
        if accepted is None and login is not None:
            if self._pending >= _MOST_PENDING:
                return plain(429, "Too many logins are being checked.", **{"Retry-After": "1"})
            self._pending += 1
            try:
                accepted = await asyncio.get_running_loop().run_in_executor(self._executor, users.check, *login)
            finally:
                self._pending -= 1
        if accepted and login is not None:
            request[USER] = login[0]
            return None
        return plain(401, "Unauthorized", **{"WWW-Authenticate": 'Basic realm="anomaly-exporter", charset="UTF-8"'})


def guard(access: Callable[[], Access], limits: Limits, bcrypt_executor: Executor, host: str = "") -> Middleware:
    """Make the outermost middleware.

    Parameters
    ----------
    access : callable
        The web configuration in force.
    bcrypt_executor : Executor
        Checks passwords; has a single thread.
    host : str
        Name under which people know this server, of ``--web.external-url``.
    """
    logins = _Logins(access, bcrypt_executor)

    async def answer(request: web.Request, handler: Handler, connection: Connection | None) -> web.StreamResponse:
        # Compared with None: the truth of a response is up to the library.
        refused = None if access().bucket.allow() else plain(429, HTTPStatus.TOO_MANY_REQUESTS.phrase)
        if refused is None:
            refused = await logins.refuse(request)
        if refused is None:
            refused = _refuse_cross_site(request)
        if refused is None and not access().users:
            # With users a page that has taken over a name knows no password.
            refused = _refuse_rebound(request, host)
        if refused is None:
            refused = await _read_body(request, limits)
        if refused is not None:
            if request.can_read_body:
                refused.force_close()
            return refused
        if connection is not None:
            connection.request_complete()
        return await handler(request)

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol if isinstance(request.protocol, Connection) else None
        if connection is not None:
            connection.request_begins()
        try:
            return await answer(request, handler, connection)
        except web.HTTPException as error:
            return _plain_error(error)
        except ConnectionError:
            # The client is gone.
            raise
        except Exception:
            # An error of one request must not end another, and its details are for the log only.
            number = secrets.token_hex(4)
            log.exception("request %s: %s %r failed", number, request.method, request.path)
            return plain(500, f"Internal server error; request {number} in the log.")
        finally:
            if connection is not None:
                connection.request_ends()

    return outermost


def header_hook(access: Callable[[], Access]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Make the signal that adds the security headers to every answer and removes the name of the server."""

    async def add(_: web.Request, response: web.StreamResponse) -> None:
        configured = access().headers
        for name, value in {**SECURITY_HEADERS, **configured}.items():
            if value:
                # A page may have set a stricter value; the file overrides it.
                if name in configured:
                    response.headers[name] = value
                else:
                    response.headers.setdefault(name, value)
        response.headers.pop("Server", None)

    return add


def _plain_error(error: web.HTTPException) -> web.Response:
    headers = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    response = plain(error.status, HTTPStatus(error.status).phrase, **headers)
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        response.force_close()
    return response


def _refuse_cross_site(request: web.Request) -> web.Response | None:
    """Refuse a request that a page of another site made a browser send."""
    if request.method in _SAFE:
        return None
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        cross_site = site not in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        cross_site = origin is not None and urlsplit(origin).netloc != request.headers.get("Host")
    return plain(403, "Requests from other sites are refused.") if cross_site else None


def _refuse_rebound(request: web.Request, host: str) -> web.Response | None:
    """Refuse a request of a browser under a name that may be anybody's, and only points here now (DNS rebinding)."""
    if request.method in _SAFE or not ({"Origin", "Sec-Fetch-Site"} & set(request.headers)):
        return None
    name = (urlsplit(f"//{request.headers.get('Host', '')}").hostname or "").rstrip(".")
    if name == host or _is_local(name):
        return None
    return plain(403, "Requests of a browser under this name are refused: it is not that of --web.external-url.")


def _is_local(name: str) -> bool:
    """Return whether no name server of the internet can answer for a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(_LOCAL)
    return True


async def _read_body(request: web.Request, limits: Limits) -> web.Response | None:
    """Read the whole body, so that no handler waits for a client; `request.read()` returns it then."""
    if request.content_length is not None and request.content_length > limits.body:
        return plain(413, HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase)
    if request.can_read_body:
        await request.read()
    return None
