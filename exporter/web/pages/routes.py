"""Routes of the pages, charts and static files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import TypeVar

from aiohttp import web

from exporter.settings import parse_duration
from exporter.web.api.what_if import OtherSettings
from exporter.web.auth import identity_of
from exporter.web.connection import plain
from exporter.web.pages.chart_cache import ChartCache
from exporter.web.pages.explore import explore_page, read_form
from exporter.web.pages.graph import error_page, graph_page
from exporter.web.pages.incident_models import AnomalyFilter
from exporter.web.pages.incidents import LENGTHS, STATUSES, VERDICTS, anomalies_page, incident_page
from exporter.web.pages.models import (
    ChartPart,
    ChartStyle,
    DisplayError,
    Labels,
    SeriesFilter,
    StateFilter,
    Viewer,
)
from exporter.web.pages.overview import overview_page
from exporter.web.pages.page_data import PageData
from exporter.web.pages.rendering import TEMPLATES
from exporter.web.pages.urls import labels_from, time_range_from
from exporter.web.pages.what_if import what_if_page

__all__ = ["add_pages"]

T = TypeVar("T")

_TYPES = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "chart.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_LIBRARY = {"uPlot.iife.min.js": "text/javascript", "uPlot.min.css": "text/css"}
"""The chart library, which the build puts into the package; without it charts are pictures."""
_PAGE_POLICY = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self'; script-src 'self'; style-src 'self'"
)
"""Only our own files, and nothing inline: markup that got into a page unescaped could still do nothing."""
_CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""A drawing may colour itself, and nothing else."""
_CHART_TYPES = {"svg": "image/svg+xml", "png": "image/png", "json": "application/json"}
_LONGEST_TEXT = 200
_LARGEST_PAGE = 100_000


def add_pages(
    app: web.Application, prefix: str, data: PageData, *, actions: bool = False, explore: bool = False
) -> None:
    """Serve the pages; links in them are relative, so they work under any prefix.

    Parameters
    ----------
    actions : bool
        Whether anybody may acknowledge anomalies and give feedback; else only who logs in.
    explore : bool
        Whether any expression may be tried, which reads Prometheus through this program.
    """
    handlers = _Handlers(data, actions=actions, explore=explore)
    add = app.router.add_get
    add(prefix + "/", partial(handlers.page, handlers.overview))
    add(prefix + "/graph", partial(handlers.page, handlers.graph))
    add(prefix + "/anomalies", partial(handlers.page, handlers.anomalies))
    add(prefix + "/incident", partial(handlers.page, handlers.incident))
    add(prefix + "/what-if", partial(handlers.page, handlers.what_if))
    add(prefix + "/chart.svg", partial(handlers.chart, "svg"))
    add(prefix + "/chart.png", partial(handlers.chart, "png"))
    add(prefix + "/chart.json", partial(handlers.chart, "json"))
    add(prefix + "/explore", partial(handlers.page, handlers.explore))
    if explore:
        add(prefix + "/explore.svg", partial(handlers.explored, "svg"))
        add(prefix + "/explore.json", partial(handlers.explored, "json"))
    for name in handlers.files:
        add(f"{prefix}/static/{name}", handlers.static)
    app.on_cleanup.append(handlers.close)


class _Handlers:
    def __init__(self, data: PageData, *, actions: bool, explore: bool) -> None:
        self._data = data
        self._actions, self._explore = actions, explore
        # What needs no judging does not wait for what does.
        self._charts, self._quick = ChartCache(), ChartCache()
        static = files("exporter.web.pages") / "static"
        self.files = {name: (kind, (static / name).read_bytes()) for name, kind in _TYPES.items()}
        self._interactive = all((static / "lib" / name).is_file() for name in _LIBRARY)
        if self._interactive:
            self.files |= {name: (kind, (static / "lib" / name).read_bytes()) for name, kind in _LIBRARY.items()}
        self._assets = hashlib.sha256(b"".join(content for _, content in self.files.values())).hexdigest()[:12]

    async def close(self, _: web.Application) -> None:
        self._charts.close()
        self._quick.close()

    async def static(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        # The version is part of the address, so the content behind an address never changes.
        headers = {"Cache-Control": "max-age=31536000, immutable"}
        charset = None if name.endswith(".svg") else "utf-8"
        kind, content = self.files[name]
        response = web.Response(body=content, content_type=kind, charset=charset, headers=headers)
        response.enable_compression()
        return response

    async def page(self, make: Callable[[web.Request], Awaitable[str]], request: web.Request) -> web.Response:
        status = 200
        try:
            text = await make(request)
        except DisplayError as error:
            status, text = error.status, error_page(str(error), assets=self._assets)
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
        response = web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)
        response.enable_compression()
        return response

    async def overview(self, request: web.Request) -> str:
        filters = _series_filter(request.query)
        page = await asyncio.to_thread(self._data.overview, filters)
        self._preload()
        return await asyncio.to_thread(overview_page, page, filters, self._viewer(request))

    async def graph(self, request: web.Request) -> str:
        query, labels = _query_and_labels(request)
        requested = time_range_from(request.query, self._data.now())
        page = await asyncio.to_thread(self._data.series, query, labels)
        self._preload()
        return graph_page(page, requested, self._viewer(request))

    async def anomalies(self, request: web.Request) -> str:
        filters = _anomaly_filter(request.query)
        page = await asyncio.to_thread(self._data.anomalies, filters)
        return await asyncio.to_thread(anomalies_page, page, filters, self._viewer(request))

    async def incident(self, request: web.Request) -> str:
        page = await asyncio.to_thread(self._data.incident, request.query.get("id", ""))
        self._preload()
        return incident_page(page, self._viewer(request))

    async def what_if(self, request: web.Request) -> str:
        query, settings = request.query.get("query", ""), _other_settings(request.query)
        page = await asyncio.to_thread(self._data.what_if, query, settings)
        return what_if_page(page, self._viewer(request))

    def _viewer(self, request: web.Request) -> Viewer:
        named = identity_of(request) is not None
        return Viewer(self._assets, self._actions or named, named, self._interactive, self._explore)

    def _preload(self) -> None:
        """Prepare for charts: a page is likely to be followed by one."""
        self._charts.preload(self._data.preload)

    async def explore(self, request: web.Request) -> str:
        if not self._explore:
            raise DisplayError("trying expressions reads Prometheus through here; --web.enable-explore allows it")
        form = read_form(request.query)
        page = await asyncio.to_thread(self._data.explore, form)
        self._preload()
        return explore_page(page, self._viewer(request))

    async def explored(self, form: str, request: web.Request) -> web.Response:
        async def render() -> bytes:
            trial = read_form(request.query)
            quick = request.query.get("quick") == "yes"
            style = ChartStyle(form, quick=quick)
            cache = self._quick if quick else self._charts
            return await cache.get((form, quick, trial), lambda: self._data.explore_chart(trial, style))

        return await self._file(form, render())

    async def chart(self, form: str, request: web.Request) -> web.Response:
        return await self._file(form, self._rendered(request, form))

    async def _file(self, form: str, rendered: Awaitable[bytes]) -> web.Response:
        headers = {"Cache-Control": "private, max-age=30", "Content-Security-Policy": _CHART_POLICY}
        try:
            image = await rendered
        except DisplayError as error:
            # A page shows a picture whatever its status is, so the picture says what is wrong.
            if form != "svg":
                return plain(error.status, str(error))
            headers["Cache-Control"] = "no-store"
            picture = _message_picture(str(error))
            return web.Response(status=error.status, text=picture, content_type="image/svg+xml", headers=headers)
        response = web.Response(body=image, content_type=_CHART_TYPES[form], headers=headers)
        if form == "json":
            response.enable_compression()
        return response

    async def _rendered(self, request: web.Request, form: str) -> bytes:
        query, labels = _query_and_labels(request)
        parameters = request.query
        part = _choice(parameters, "part", {str(part): part for part in ChartPart}, ChartPart.BAND)
        dark = _choice(parameters, "theme", {"light": False, "dark": True}, default=False)
        narrow = _choice(parameters, "size", {"wide": False, "narrow": True}, default=False)
        quick = _choice(parameters, "quick", {"yes": True, "no": False}, default=False)
        within = time_range_from(parameters, self._data.now())
        key = (form, dark, narrow, quick, query, labels, within, part)
        style = ChartStyle(form, dark=dark, narrow=narrow, quick=quick)
        cache = self._quick if quick else self._charts
        return await cache.get(key, lambda: self._data.chart(query, labels, within, part, style))


def _message_picture(text: str) -> str:
    """Return an SVG that says why there is no chart."""
    text = text[:1].upper() + text[1:475]
    return TEMPLATES.render("message.svg", lines=[text[start : start + 95] for start in range(0, len(text), 95)])


def _choice(parameters: Mapping[str, str], name: str, choices: Mapping[str, T], default: T) -> T:
    text = parameters.get(name)
    if not text:
        return default
    if text not in choices:
        raise DisplayError(f"{name}: one of {', '.join(choices)}", 400)
    return choices[text]


def _series_filter(parameters: Mapping[str, str]) -> SeriesFilter:
    state = _choice(parameters, "which", {str(state): state for state in StateFilter}, StateFilter.ALL)
    text = parameters.get("page", "1")
    page = int(text) if text.isdecimal() and len(text) <= 6 else 0
    if not 1 <= page <= _LARGEST_PAGE:
        raise DisplayError(f"page: a number from 1 to {_LARGEST_PAGE}", 400)
    words = parameters.get("text", "").strip()[:_LONGEST_TEXT]
    return SeriesFilter(query=parameters.get("query") or None, text=words, state=state, page=page)


def _anomaly_filter(parameters: Mapping[str, str]) -> AnomalyFilter:
    none: str | None = None
    return AnomalyFilter(
        query=parameters.get("query") or None,
        status=_choice(parameters, "status", {value: value for value, _ in STATUSES if value}, none),
        verdict=_choice(parameters, "verdict", {value: value for value, _ in VERDICTS if value}, none),
        text=parameters.get("text", "").strip()[:_LONGEST_TEXT],
        days=_choice(parameters, "days", {str(days): days for days, _ in LENGTHS}, 7),
        fired=_choice(parameters, "fired", {"yes": True, "all": False}, default=True),
        cursor=parameters.get("cursor", "")[:_LONGEST_TEXT],
    )


def _other_settings(parameters: Mapping[str, str]) -> OtherSettings | None:
    """Read the settings to try; None where there is none."""
    texts = {
        name: parameters.get(name, "").strip() for name in ("min_deviation", "min_relative_deviation", "quorum", "for")
    }
    try:
        numbers = {name: float(texts[name]) for name in ("min_deviation", "min_relative_deviation") if texts[name]}
        quorum = int(texts["quorum"]) if texts["quorum"] else None
        waits = parse_duration(texts["for"]) if texts["for"] else None
    except ValueError as error:
        raise DisplayError(f"not a setting: {error}", 400) from None
    tried = OtherSettings(**numbers, quorum=quorum, for_=waits)
    return None if tried == OtherSettings() else tried


def _query_and_labels(request: web.Request) -> tuple[str, Labels]:
    query = request.query.get("query")
    if not query:
        raise DisplayError("query: the name of a query is needed, such as graph?query=cpu&instance=a", 400)
    return query, labels_from(request.query.items())
