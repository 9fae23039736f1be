"""What a server has: names of metrics, what it knows about them, and the labels of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from exporter.errors import PrometheusError, Reason
from exporter.http_client import Client
from exporter.prometheus.response import read_response
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["Inventory", "MetricMetadata"]

T = TypeVar("T")


class MetricMetadata(msgspec.Struct, frozen=True):
    """Metadata of a metric by its target; empty where there is none."""

    type: str = ""
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Reads what a server has.

    Attributes
    ----------
    settings : PrometheusSettings
    client : Client
        That raises `PrometheusError`.
    timeout : float, seconds
        Of each request.
    """

    settings: PrometheusSettings
    client: Client
    timeout: float = 30.0

    def metric_names(self) -> list[str]:
        """Return the names of all metrics, sorted.

        Raises
        ------
        PrometheusError
        """
        return sorted(self._get("/api/v1/label/__name__/values", {}, list[str]))

    def metadata(self) -> dict[str, MetricMetadata]:
        """Return the type, help and unit of each metric; empty where the server has no such endpoint."""
        try:
            entries = self._get("/api/v1/metadata", {"limit_per_metric": "1"}, dict[str, list[MetricMetadata]])
        except PrometheusError as error:
            if error.reason.retryable or error.reason is Reason.UNAUTHORIZED:
                raise
            return {}
        return {name: each[0] for name, each in entries.items() if each}

    def label_names(self, metric: str) -> list[str]:
        """Return the names of the labels that series of a metric have."""
        return self._get("/api/v1/labels", {"match[]": metric}, list[str])

    def _get(self, path: str, params: Mapping[str, str], kind: type[T]) -> T:
        limit = int(self.settings.max_response_bytes)
        answer = self.client.get(path, params, timeout=self.timeout, max_bytes=limit)
        url = self.settings.url + path
        response = read_response(url, answer)
        try:
            return msgspec.json.decode(response.data, type=kind)
        except msgspec.DecodeError as error:
            raise PrometheusError(url, Reason.MALFORMED, f"not the answer of this API: {error}") from error
