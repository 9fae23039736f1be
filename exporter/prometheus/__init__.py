"""Client of the Prometheus query API: responses as arrays of samples."""

from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.frame import Frame, HistoryChunk

__all__ = ["HistoryChunk", "Frame", "PrometheusApi"]
