"""The ``prometheus:`` section."""

from __future__ import annotations

from pydantic import ByteSize, Field

from exporter.http_client.settings import HttpSettings, HttpUrl
from exporter.settings import Duration

__all__ = ["PrometheusSettings"]


class PrometheusSettings(HttpSettings):
    """Where the samples come from: Prometheus or anything that speaks its query API."""

    url: HttpUrl = Field("http://localhost:9090", description="Base URL, with the path prefix if there is one.")
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
