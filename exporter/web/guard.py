"""What every request passes before a handler sees it, and every answer on its way out.

The order is that of what costs least: credentials, then where the request comes from, then its body.
"""

from __future__ import annotations

import asyncio
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
# Logins that may wait for bcrypt; more would only wait in vain.
_WAITING = 16


def guard(access: Callable[[], Access], limits: Limits, one_at_a_time: Executor) -> Middleware:
    """Make the outermost middleware.

    Parameters
    ----------
    access : callable
        What the web configuration says now.
    limits : Limits
    one_at_a_time : Executor
        Where passwords are checked; has a single thread.
    """
    waiting = 0

    async def refused_login(request: web.Request) -> web.Response | None:
        nonlocal waiting
        users = access().users
        if not users:
            return None
        login = basic_credentials(request.headers.get("Authorization", ""))
        accepted = users.cached(*login) if login is not None else False
        if accepted is None and login is not None:
            if waiting >= _WAITING:
                return plain(429, "Too many logins are being checked.", **{"Retry-After": "1"})
            waiting += 1
            try:
                accepted = await asyncio.get_running_loop().run_in_executor(one_at_a_time, users.check, *login)
            finally:
                waiting -= 1
        if accepted and login is not None:
            request[USER] = login[0]
            return None
        return plain(401, "Unauthorized", **{"WWW-Authenticate": 'Basic realm="anomaly-exporter", charset="UTF-8"'})

    async def refusal(request: web.Request) -> web.Response | None:
        # Compared with None, and not by truth: whether a response is true is up to the library.
        refused = await refused_login(request)
        if refused is None:
            refused = _foreign(request)
        if refused is None:
            refused = await _body(request, limits)
        return refused

    async def answer(request: web.Request, handler: Handler, connection: Connection | None) -> web.StreamResponse:
        refused = await refusal(request)
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
            # The client has gone; there is nobody to tell.
            raise
        except Exception:
            # Nothing that goes wrong for one request may end another, and what it was is told to the
            # log only.
            number = secrets.token_hex(4)
            log.exception("request %s: %s %r failed", number, request.method, request.path)
            return plain(500, f"Internal server error; request {number} in the log.")
        finally:
            if connection is not None:
                connection.request_ends()

    return outermost


def header_hook(access: Callable[[], Access]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Make the signal that puts the security headers on every answer and takes our name off."""

    async def add(_: web.Request, response: web.StreamResponse) -> None:
        configured = access().headers
        for name, value in {**SECURITY_HEADERS, **configured}.items():
            if value:
                # A page may have said it more strictly; a file that says it is the last word.
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


def _foreign(request: web.Request) -> web.Response | None:
    """Refuse what a page of another site made a browser send."""
    if request.method in _SAFE:
        return None
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("Host")
    return plain(403, "Requests from other sites are refused.") if foreign else None


async def _body(request: web.Request, limits: Limits) -> web.Response | None:
    """Read the whole body, so that no handler ever waits for a client; `request.read()` has it then."""
    if request.content_length is not None and request.content_length > limits.body:
        return plain(413, HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase)
    if request.can_read_body:
        await request.read()
    return None
