"""The web application: the endpoints of every Prometheus component, the API and the pages.

Handlers call plain callables, in a worker thread where they may block; they do not depend on the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from exporter.errors import ExporterError, UsageError
from exporter.exposition.page import Scrape
from exporter.web.api import Endpoint, add_endpoints, status_endpoints
from exporter.web.connection import Connection, Limits, plain
from exporter.web.pages import PageData, add_pages

__all__ = ["Site", "build_app", "path_prefixes"]

_CHUNK = 1 << 18
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Site:
    """The callables behind the endpoints.

    Parameters
    ----------
    metrics : callable
        From the headers ``Accept`` and ``Accept-Encoding`` to the page: `Exposition.scrape`.
    not_ready : callable
        The reason why scores cannot be served yet, or None. Must not block.
    config : callable
        The configuration in force as YAML, its secrets shown as ``<secret>``.
    build : mapping
        Versions, by name.
    pages : PageData
        The data of the pages.
    reload : callable, optional
        Reloads the configuration; raises ExporterError with the reason. None: not enabled.
    reservations : callable
        What ``/-/ready`` says beside that it is ready, a line each. Must not block.
    """

    metrics: Callable[[str, str], Scrape]
    not_ready: Callable[[], str | None]
    config: Callable[[], str]
    build: Mapping[str, str]
    pages: PageData
    reload: Callable[[], None] | None = None
    reservations: Callable[[], Iterable[str]] = tuple


def build_app(
    site: Site,
    *,
    endpoints: Iterable[Endpoint[Any, Any]] = (),
    prefix: str = "",
    external_prefix: str | None = None,
    actions: bool = False,
    explore: bool = False,
) -> web.Application:
    """Make the application.

    Parameters
    ----------
    endpoints : iterable of Endpoint
        Served below ``/api/v1``, beside the status of the program.
    prefix : str
        Path under which everything is served, such as ``/anomaly``.
    external_prefix : str, optional
        Path under which people see it, where a proxy changes that; links within pages are relative and do not need it.
    actions : bool
        Whether anybody may acknowledge anomalies and give feedback; else only who logs in.
    explore : bool
        Whether the page is there on which any expression can be tried.
    """
    external_prefix = prefix if external_prefix is None else external_prefix
    handlers = _Handlers(site)
    app = web.Application(client_max_size=_LIMITS.body)
    add = app.router
    add.add_get(prefix + "/metrics", handlers.metrics)
    add.add_get(prefix + "/-/healthy", handlers.healthy)
    add.add_get(prefix + "/-/ready", handlers.ready)
    add.add_post(prefix + "/-/reload", handlers.reload)
    add.add_put(prefix + "/-/reload", handlers.reload)
    add_endpoints(
        app, prefix, external_prefix, (*status_endpoints(site.config, site.build), *endpoints), actions=actions
    )
    add_pages(app, prefix, site.pages, actions=actions, explore=explore)
    if prefix:
        for short in ("/", prefix):
            add.add_get(short, _to(external_prefix + "/"))
    return app


def _to(path: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(path)

    return redirect


def path_prefixes(external_url: str | None, route_prefix: str | None) -> tuple[str, str]:
    """Return the paths under which everything is served and seen, from the values of the flags.

    A proxy that strips a path needs ``--web.route-prefix=/``; by default both are the path of ``--web.external-url``.
    """
    seen = _path_of(external_url) if external_url is not None else None
    if route_prefix is None:
        return seen or "", seen or ""
    if any(sign in route_prefix for sign in "?#{} ") or "//" in route_prefix:
        raise UsageError(f"--web.route-prefix: not a path: {route_prefix}")
    path = route_prefix.strip("/")
    served = f"/{path}" if path else ""
    return served, served if seen is None else seen


def _path_of(external_url: str) -> str:
    parts = urlsplit(external_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"--web.external-url: not an http:// or https:// URL with a host: {external_url}")
    return parts.path.rstrip("/")


class _Handlers:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._reloading = asyncio.Lock()

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        scrape = await asyncio.to_thread(
            self._site.metrics, headers.get("Accept", ""), headers.get("Accept-Encoding", "")
        )
        response = web.StreamResponse(headers={"Content-Type": scrape.content_type, "Vary": "Accept, Accept-Encoding"})
        if scrape.content_encoding is not None:
            response.headers["Content-Encoding"] = scrape.content_encoding
        response.content_length = scrape.length
        await _write(request, response, scrape.body)
        return response

    async def healthy(self, _: web.Request) -> web.Response:
        return plain(200, "Anomaly Exporter is Healthy.")

    async def ready(self, _: web.Request) -> web.Response:
        reason = self._site.not_ready()
        if reason is None:
            return plain(200, "\n".join(["Anomaly Exporter is Ready.", *self._site.reservations()]))
        return plain(503, f"Anomaly Exporter is not ready: {reason}")

    async def reload(self, _: web.Request) -> web.Response:
        if self._site.reload is None:
            return plain(403, "Reloading is not enabled; start with --web.enable-lifecycle.")
        try:
            async with self._reloading:
                await asyncio.to_thread(self._site.reload)
        except ExporterError as error:
            return plain(500, f"The configuration was not reloaded, the old one stays in force:\n{error}")
        return plain(200, "Reloaded.")


async def _write(request: web.Request, response: web.StreamResponse, body: Iterator[bytes]) -> None:
    """Write a large body; a client that does not read it in time is disconnected."""
    connection = request.protocol
    limits = connection.limits if isinstance(connection, Connection) else _LIMITS
    try:
        async with asyncio.timeout(limits.write):
            await response.prepare(request)
            if request.method != "HEAD":
                for piece in body:
                    view = memoryview(piece)
                    for start in range(0, len(view), _CHUNK):
                        await response.write(view[start : start + _CHUNK])
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        # The answer has a length, so an incomplete one cannot be ended properly.
        if request.transport is not None:
            request.transport.abort()
