"""From HTTP to pages and charts, and back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import TypeVar

from aiohttp import web

from exporter.web.connection import plain
from exporter.web.identity import identity_of
from exporter.web.pages.charts import Charts
from exporter.web.pages.frame import CONTENT_SECURITY_POLICY
from exporter.web.pages.markup import tag
from exporter.web.pages.models import Labels, Look, PageData, Part, Unshowable, Wanted, Which
from exporter.web.pages.overview import overview_page
from exporter.web.pages.series import error_page, series_page
from exporter.web.pages.text import labels_in
from exporter.web.pages.time_range import within

__all__ = ["add_pages"]

T = TypeVar("T")
Answer = Callable[[web.Request], Awaitable[web.Response]]

_TYPES = {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}
_CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""A drawing may colour itself, and nothing else."""
_LONGEST_TEXT = 200
_LARGEST_PAGE = 100_000


def add_pages(app: web.Application, prefix: str, data: PageData) -> None:
    """Serve the pages; links in them are relative, so they work under any prefix."""
    handlers = _Handlers(data)
    add = app.router.add_get
    add(prefix + "/", handlers.overview)
    add(prefix + "/graph", handlers.graph)
    add(prefix + "/chart.svg", handlers.svg)
    add(prefix + "/chart.png", handlers.png)
    for name in _TYPES:
        add(f"{prefix}/static/{name}", handlers.static)
    app.on_cleanup.append(handlers.close)


class _Handlers:
    def __init__(self, data: PageData) -> None:
        self._data = data
        self._charts = Charts()
        self._files = {name: (files("exporter.web.pages") / "static" / name).read_bytes() for name in _TYPES}
        self._assets = hashlib.sha256(b"".join(self._files.values())).hexdigest()[:12]

    async def close(self, _: web.Application) -> None:
        self._charts.close()

    async def static(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        # The address has the version in it, so what it names never changes.
        headers = {"Cache-Control": "max-age=31536000, immutable"}
        charset = None if name.endswith(".svg") else "utf-8"
        return web.Response(body=self._files[name], content_type=_TYPES[name], charset=charset, headers=headers)

    async def overview(self, request: web.Request) -> web.Response:
        return await self._page(request, self._overview)

    async def graph(self, request: web.Request) -> web.Response:
        return await self._page(request, self._graph)

    async def _page(self, request: web.Request, make: Callable[[web.Request], Awaitable[str]]) -> web.Response:
        status = 200
        try:
            text = await make(request)
        except Unshowable as reason:
            status, text = reason.status, error_page(str(reason), assets=self._assets)
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"}
        response = web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)
        response.enable_compression()
        return response

    async def _overview(self, request: web.Request) -> str:
        wanted = _wanted(request.query)
        facts = await asyncio.to_thread(self._data.overview, wanted)
        self._warm_up()
        return await asyncio.to_thread(overview_page, facts, wanted, assets=self._assets)

    async def _graph(self, request: web.Request) -> str:
        query, labels = _asked(request)
        shown_range = within(request.query, self._data.now())
        shown = await asyncio.to_thread(self._data.series, query, labels)
        self._warm_up()
        may_write = identity_of(request) is not None
        return series_page(shown, shown_range, may_write=may_write, charts=self._data.charts, assets=self._assets)

    def _warm_up(self) -> None:
        """Whoever opens a page is likely to look at a chart next."""
        if self._data.charts:
            self._charts.warm_up(self._data.prepare)

    async def svg(self, request: web.Request) -> web.Response:
        return await self._chart(request, "svg")

    async def png(self, request: web.Request) -> web.Response:
        return await self._chart(request, "png")

    async def _chart(self, request: web.Request, form: str) -> web.Response:
        headers = {"Cache-Control": "private, max-age=30", "Content-Security-Policy": _CHART_POLICY}
        try:
            image = await self._drawn(request, form)
        except Unshowable as reason:
            # A page shows the picture whatever its status is, and so says what is wrong.
            if form == "png":
                return plain(reason.status, str(reason))
            headers["Cache-Control"] = "no-store"
            said = str(reason)
            picture = _sentence(said[:1].upper() + said[1:])
            return web.Response(status=reason.status, text=picture, content_type="image/svg+xml", headers=headers)
        return web.Response(body=image, content_type="image/svg+xml" if form == "svg" else "image/png", headers=headers)

    async def _drawn(self, request: web.Request, form: str) -> bytes:
        query, labels = _asked(request)
        given = request.query
        part = _choice(given, "part", {str(one): one for one in Part}, Part.BAND)
        dark = _choice(given, "theme", {"light": False, "dark": True}, default=False)
        narrow = _choice(given, "size", {"wide": False, "narrow": True}, default=False)
        asked_range = within(given, self._data.now())
        if not self._data.charts:
            raise Unshowable("charts need matplotlib: pip install 'prometheus-anomaly-exporter[charts]'", 501)
        key = (form, dark, narrow, query, labels, asked_range, part)
        look = Look(form, dark=dark, narrow=narrow)
        return await self._charts.make(key, lambda: self._data.chart(query, labels, asked_range, part, look))


def _sentence(text: str) -> str:
    """Draw a sentence instead of a chart."""
    lines = [text[start : start + 95] for start in range(0, min(len(text), 475), 95)]
    rows = [tag("text", line, x=24, y=40 + 24 * number) for number, line in enumerate(lines)]
    style = "text{font:15px sans-serif;fill:#b3201a}rect{fill:#fce6e4}"
    shapes = [tag("style", style), tag("rect", width=860, height=60 + 24 * len(rows), rx=6), rows]
    return tag("svg", shapes, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 860 {60 + 24 * len(rows)}")


def _choice(given: Mapping[str, str], name: str, known: Mapping[str, T], default: T) -> T:
    text = given.get(name)
    if not text:
        return default
    if text not in known:
        raise Unshowable(f"{name}: one of {', '.join(known)}", 400)
    return known[text]


def _wanted(given: Mapping[str, str]) -> Wanted:
    which = _choice(given, "which", {str(one): one for one in Which}, Which.ALL)
    text = given.get("page", "1")
    number = int(text) if text.isdecimal() and len(text) <= 6 else 0
    if not 1 <= number <= _LARGEST_PAGE:
        raise Unshowable(f"page: a number from 1 to {_LARGEST_PAGE}", 400)
    words = given.get("text", "").strip()[:_LONGEST_TEXT]
    return Wanted(query=given.get("query") or None, text=words, which=which, page=number)


def _asked(request: web.Request) -> tuple[str, Labels]:
    query = request.query.get("query")
    if not query:
        raise Unshowable("query: the name of a query is needed, such as graph?query=cpu&instance=a", 400)
    return query, labels_in(request.query.items())
