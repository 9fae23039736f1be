"""The ``prometheus:`` section."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, Field

from exporter.http_client.settings import HttpSettings, HttpUrl
from exporter.settings import Duration

__all__ = ["DEFAULT_SOURCE", "PrometheusSettings", "SourceSettings"]

DEFAULT_SOURCE = "prometheus"
"""Name of the server of the section `prometheus`."""


_ENDPOINT = re.compile(r"(?:/api/v1(?:/query(?:_range)?)?|/(?:classic/)?graph|/vmui)/?$")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
_OWN = frozenset({"query", "time", "start", "end", "step", "timeout", "nocache"})


def _base(url: str) -> str:
    """Return the base of a URL that was copied from a request or a browser."""
    return _ENDPOINT.sub("", url)


def _free(params: Mapping[str, str | list[str]]) -> Mapping[str, str | list[str]]:
    for name in params:
        if name in _OWN:
            raise ValueError(f"{name} is set by the exporter in every request")
        if name == "lookback_delta":
            raise ValueError("write it as prometheus.lookback_delta")
    return params


class PrometheusSettings(HttpSettings):
    """Where the samples come from: Prometheus or anything that speaks its query API."""

    url: Annotated[HttpUrl, AfterValidator(_base)] = Field(
        "http://localhost:9090",
        description="Base URL, with the path prefix if there is one. `/api/v1`, `/api/v1/query` and `/graph` at its "
        "end are left out.",
    )
    params: Annotated[dict[str, str | list[str]], AfterValidator(_free)] = Field(
        {},
        description='More URL parameters of every request, such as `deny_partial_response: "1"` or a list of '
        "`extra_label`.",
    )
    method: Literal["auto", "get", "post"] = Field(
        "auto",
        description="HTTP method of queries. `auto`: POST, and GET where the server or a proxy refuses POST "
        "(403, 405, 501).",
    )
    external_url: HttpUrl | None = Field(
        None, description="URL that people open; links in alerts use it. Default: `url`."
    )
    lookback_delta: Duration | None = Field(
        None,
        description="How old a sample an instant query may return. Default: the server's (5m). "
        "Sent as `lookback_delta`; servers that do not know it ignore it.",
    )
    query_offset: Duration = Field(
        0.0, description="Evaluate this long before now, for data that arrives late (remote write)."
    )
    max_response_bytes: ByteSize = Field(
        ByteSize(64 * 1024 * 1024),
        gt=0,
        description="Largest answer that is read, after decompression. A longer one fails the query.",
    )
    concurrency: int = Field(
        4,
        ge=1,
        le=64,
        description="Queries under way at once; a stock Prometheus runs at most 20 for everybody.",
    )


def _source_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"not a name of a source: {name[:60]!r}; letters, digits and _ . - only, starting with a letter or _, "
            "at most 64 characters"
        )
    return name


class SourceSettings(PrometheusSettings):
    """One of several servers that samples come from."""

    name: Annotated[str, AfterValidator(_source_name)] = Field(
        description="What `source` of a query says, and the label `source` of `anomaly_exporter_source_up`. Unique."
    )
