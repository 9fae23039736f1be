"""Scores and bands in a store that takes Prometheus' remote write: encoded, queued on disk, sent."""

from exporter.remote_write.metrics import RemoteWriteMetrics
from exporter.remote_write.settings import RemoteWriteSettings
from exporter.remote_write.writers import RemoteWrites

__all__ = ["RemoteWriteMetrics", "RemoteWriteSettings", "RemoteWrites"]
