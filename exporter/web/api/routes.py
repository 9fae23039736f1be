"""From HTTP to endpoints and back."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from exporter import __version__
from exporter.errors import StateError, UpstreamError
from exporter.web.api.endpoint import Call, Endpoint
from exporter.web.api.envelope import ApiError, ErrorType, failure, success
from exporter.web.api.openapi import openapi
from exporter.web.auth import identity_of

__all__ = ["READ_ONLY", "ROOT", "add_endpoints"]

log = logging.getLogger(__name__)

ROOT = "/api/v1"

READ_ONLY = (
    "this request changes something, so it has to come from somebody: configure basic_auth_users, or client "
    "certificates (tls_server_config.client_ca_file), in the file of --web.config.file, and log in"
)
"""What is said to somebody whose name was not proved."""


def add_endpoints(app: web.Application, prefix: str, endpoints: Iterable[Endpoint[Any, Any]]) -> None:
    """Serve endpoints below ``/api/v1``, and there the document that describes them."""
    every = tuple(endpoints)

    async def describe(_: web.Request) -> web.Response:
        return web.json_response(openapi(every, server=prefix + ROOT, version=__version__))

    app.router.add_get(prefix + ROOT + "/openapi.json", describe)
    for endpoint in every:
        path = prefix + ROOT + endpoint.path
        if endpoint.method == "GET":
            app.router.add_get(path, _handler(endpoint))  # And HEAD.
        else:
            app.router.add_route(endpoint.method, path, _handler(endpoint))


def _handler(endpoint: Endpoint[Any, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            call = _checked(endpoint, request, await request.read())
            return success(await asyncio.to_thread(endpoint.answer, call))
        except ApiError as error:
            return failure(error)
        except StateError as error:
            log.error("the store failed", extra={"error": str(error)})
            return failure(ApiError(ErrorType.UNAVAILABLE, "the store cannot be used now; the log says why"))
        except UpstreamError as error:
            return failure(ApiError(ErrorType.UNAVAILABLE, str(error)))
        except Exception:
            number = secrets.token_hex(4)
            log.exception("request %s: %s %r failed", number, request.method, request.path)
            return failure(ApiError(ErrorType.INTERNAL, f"internal error; request {number} in the log"))

    return handle


def _checked(endpoint: Endpoint[Any, Any], request: web.Request, raw: bytes) -> Call[Any, Any]:
    who = identity_of(request)
    if endpoint.changes and not endpoint.open and who is None:
        raise ApiError(ErrorType.FORBIDDEN, READ_ONLY)
    parameters = endpoint.read_parameters(request.match_info, list(request.query.items()))
    if not endpoint.takes_body:
        return Call(parameters, None, who, raw, request.headers)
    if request.content_type != "application/json":
        # A form of another site can send anything but this without asking the browser's user.
        raise ApiError(ErrorType.BAD_DATA, "the body has to be JSON: Content-Type: application/json", status=415)
    return Call(parameters, endpoint.read_body(raw), who, raw, request.headers)
