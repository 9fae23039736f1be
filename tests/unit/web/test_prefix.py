"""Everything lies under the path of ``--web.external-url``, or under that of ``--web.route-prefix``."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.errors import ExporterError
from exporter.web.routes import build_app, path_prefixes


class _Nothing:
    def __getattr__(self, name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        (None, ""),
        ("http://localhost:9877", ""),
        ("http://localhost:9877/", ""),
        ("https://ops.example.org/anomaly", "/anomaly"),
        ("https://ops.example.org/a/b/", "/a/b"),
    ],
)
def test_prefix_is_the_path(url: str | None, prefix: str) -> None:
    assert path_prefixes(url, None) == (prefix, prefix)
    paths = {route.resource.canonical for route in build_app(_Nothing(), prefix=prefix).router.routes()}
    assert all(path.startswith(prefix) or path == "/" for path in paths)


@pytest.mark.parametrize("url", ["localhost:9877", "/anomaly", "ftp://host/", "http://host/?a=b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ExporterError, match=r"--web\.external-url"):
        path_prefixes(url, None)


@pytest.mark.parametrize(
    ("url", "route", "prefixes"),
    [
        ("http://h/anomaly", "/", ("", "/anomaly")),
        ("http://h/anomaly", "", ("", "/anomaly")),
        ("http://h/anomaly/", "/inner/", ("/inner", "/anomaly")),
        ("http://h", "inner", ("/inner", "")),
        (None, "/inner", ("/inner", "/inner")),
        (None, "/", ("", "")),
    ],
)
def test_the_route_prefix_is_where_it_serves(url: str | None, route: str, prefixes: tuple[str, str]) -> None:
    assert path_prefixes(url, route) == prefixes
    served, seen = prefixes
    app = build_app(_Nothing(), prefix=served, external_prefix=seen)
    paths = {route.resource.canonical for route in app.router.routes()}
    assert f"{served}/metrics" in paths
    assert all(path.startswith(served) or path == "/" for path in paths)


@pytest.mark.parametrize("route", ["/a?b", "//host/a", "/a b", "/{name}", "http://h/a"])
def test_what_is_no_path_is_refused(route: str) -> None:
    with pytest.raises(ExporterError, match=r"--web\.route-prefix"):
        path_prefixes("http://h", route)


async def _openapi_server(served: str, seen: str) -> str:
    async with TestClient(TestServer(build_app(_Nothing(), prefix=served, external_prefix=seen))) as client:
        answer = await (await client.get(served + "/api/v1/openapi.json")).json()
    return str(answer["servers"][0]["url"])


@pytest.mark.parametrize(("served", "seen"), [("", "/anomaly"), ("/inner", ""), ("/a", "/a")])
def test_the_document_of_the_api_names_the_path_that_people_see(served: str, seen: str) -> None:
    assert asyncio.run(_openapi_server(served, seen)) == seen + "/api/v1"


@pytest.mark.parametrize("path", ["/", "/ops"])
def test_who_leaves_the_slash_or_the_prefix_out_is_led_there(path: str) -> None:
    routes = build_app(_Nothing(), prefix="/ops").router.routes()
    assert path in {route.resource.canonical for route in routes if route.method == "GET"}
