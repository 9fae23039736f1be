"""The entries of ``remote_write:``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from exporter.http_client.settings import HttpSettings, HttpUrl
from exporter.settings import Duration, Items, LabelName

__all__ = ["Metric", "RemoteWriteSettings"]

Metric = Literal[
    "anomaly_score",
    "expected_value",
    "expected_value_lower",
    "expected_value_upper",
    "observed_value",
    "anomaly_votes",
    "forecast_value",
    "forecast_value_lower",
    "forecast_value_upper",
    "forecast_time_to_limit_seconds",
    "forecast_limit_probability",
]


class RemoteWriteSettings(HttpSettings):
    """A store that takes what the exporter knows, with the instant of each evaluation."""

    url: HttpUrl = Field(description="URL of the endpoint, such as `http://prometheus:9090/api/v1/write`.")
    timeout: Duration = Field(30.0, gt=0, description="Total deadline of one request.")
    metrics: Items[Metric] = Field(
        (
            "anomaly_score",
            "expected_value",
            "expected_value_lower",
            "expected_value_upper",
            "observed_value",
            "forecast_value",
            "forecast_value_lower",
            "forecast_value_upper",
            "forecast_time_to_limit_seconds",
        ),
        min_length=1,
        description="What is written. Forecasts are those of slots, not of history.",
    )
    labels: dict[LabelName, str] = Field(
        {},
        description="Labels added to every series, such as one by which a store tells the members of a pair apart.",
    )
    history: bool = Field(
        True,
        description="Also write what is learned from history, such as the thirty days of the first start. The store "
        "has to take old samples: Prometheus needs an `out_of_order_time_window`.",
    )
    max_samples_per_send: int = Field(5000, ge=1, le=100_000, description="Samples in one request.")
    max_queue_size: Annotated[ByteSize, Field(ge=1_000_000)] = Field(
        ByteSize(512 * 1024**2),
        description="Bytes, compressed, that wait on disk while the store does not take them; beyond it the oldest are "
        "dropped.",
    )
