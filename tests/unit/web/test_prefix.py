"""Everything lies under the path of ``--web.external-url``."""

from __future__ import annotations

import pytest

from exporter.errors import ExporterError
from exporter.web.routes import build_app, path_prefix


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
    assert path_prefix(url) == prefix
    paths = {route.resource.canonical for route in build_app(_Nothing(), prefix=prefix).router.routes()}
    assert all(path.startswith(prefix) or path == "/" for path in paths)


@pytest.mark.parametrize("url", ["localhost:9877", "/anomaly", "ftp://host/", "http://host/?a=b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ExporterError, match=r"--web\.external-url"):
        path_prefix(url)


@pytest.mark.parametrize("path", ["/", "/ops"])
def test_who_leaves_the_slash_or_the_prefix_out_is_led_there(path: str) -> None:
    routes = build_app(_Nothing(), prefix="/ops").router.routes()
    assert path in {route.resource.canonical for route in routes if route.method == "GET"}
