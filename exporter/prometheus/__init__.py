"""In from Prometheus: answers of its query API as arrays."""

from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.frame import Block, Frame

__all__ = ["Block", "Frame", "PrometheusApi"]
