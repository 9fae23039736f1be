"""Routes of ``/api/v1``: from HTTP requests to endpoints and back; and the endpoints below ``/status``."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from exporter import __version__
from exporter.errors import StateError, UpstreamError
from exporter.web.api.endpoint import ApiRequest, Endpoint, NoParameters
from exporter.web.api.envelope import ApiError, ErrorType, failure, success
from exporter.web.api.openapi import openapi
from exporter.web.auth import identity_of

__all__ = ["READ_ONLY", "ROOT", "add_endpoints", "status_endpoints"]

log = logging.getLogger(__name__)

ROOT = "/api/v1"

READ_ONLY = (
    "this request changes something, so it has to come from somebody: configure basic_auth_users, or client "
    "certificates (tls_server_config.client_ca_file), in the file of --web.config.file, and log in; "
    "--web.enable-actions lets anybody acknowledge anomalies and give feedback"
)
"""The message to a user who is not authenticated."""


def add_endpoints(
    app: web.Application,
    prefix: str,
    external_prefix: str,
    endpoints: Iterable[Endpoint[Any, Any]],
    *,
    actions: bool = False,
) -> None:
    """Serve endpoints below ``/api/v1``, and the OpenAPI document that describes them.

    Parameters
    ----------
    actions : bool
        Whether anybody may do what an endpoint with `action` does.
    """
    endpoints = tuple(endpoints)

    async def describe(_: web.Request) -> web.Response:
        return web.json_response(openapi(endpoints, server=external_prefix + ROOT, version=__version__))

    app.router.add_get(prefix + ROOT + "/openapi.json", describe)
    for endpoint in endpoints:
        path = prefix + ROOT + endpoint.path
        if endpoint.method == "GET":
            app.router.add_get(path, _handler(endpoint, actions=actions))  # And HEAD.
        else:
            app.router.add_route(endpoint.method, path, _handler(endpoint, actions=actions))


def _handler(endpoint: Endpoint[Any, Any], *, actions: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            validated = _validated(endpoint, request, await request.read(), actions=actions)
            return success(await asyncio.to_thread(endpoint.answer, validated))
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


def _validated(
    endpoint: Endpoint[Any, Any], request: web.Request, raw: bytes, *, actions: bool
) -> ApiRequest[Any, Any]:
    who = identity_of(request)
    if who is None and actions and endpoint.action:
        who = f"anonymous at {request.remote or 'an unknown address'}"
    if endpoint.changes and not endpoint.open and who is None:
        raise ApiError(ErrorType.FORBIDDEN, READ_ONLY)
    parameters = endpoint.read_parameters(request.match_info, list(request.query.items()))
    if not endpoint.takes_body:
        return ApiRequest(parameters, None, who, raw, request.headers)
    if request.content_type != "application/json":
        # A form of another site can send any type but this without a preflight request.
        raise ApiError(ErrorType.BAD_DATA, "the body has to be JSON: Content-Type: application/json", status=415)
    return ApiRequest(parameters, endpoint.read_body(raw), who, raw, request.headers)


@dataclass(frozen=True, slots=True)
class ConfigText:
    """The configuration in force."""

    yaml: str


def status_endpoints(config: Callable[[], str], build: Mapping[str, str]) -> tuple[Endpoint[Any, Any], ...]:
    """Make the endpoints.

    Parameters
    ----------
    config : callable
        The configuration in force as YAML, its secrets shown as ``<secret>``.
    build : mapping
        Versions, by name.
    """

    def answer_config(_: ApiRequest[NoParameters, None]) -> ConfigText:
        return ConfigText(config())

    def answer_build(_: ApiRequest[NoParameters, None]) -> dict[str, str]:
        return dict(build)

    nothing = type(None)
    return (
        Endpoint(
            "GET",
            "/status/config",
            "The configuration in force as YAML, its secrets shown as <secret>.",
            answer_config,
            ConfigText,
            NoParameters,
            nothing,
        ),
        Endpoint(
            "GET",
            "/status/buildinfo",
            "Versions of the exporter and of what it computes with.",
            answer_build,
            dict[str, str],
            NoParameters,
            nothing,
        ),
    )
