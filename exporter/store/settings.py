"""The ``storage:`` section. The state directory is a flag, because changing it needs a restart."""

from __future__ import annotations

from pydantic import ByteSize, Field

from exporter.settings import Duration, Section

__all__ = ["StorageSettings"]


class StorageSettings(Section):
    """How long the history of anomalies is kept, and how often learned state is written."""

    retention: Duration = Field(90 * 86400.0, gt=0, description="How long the history of anomalies is kept.")
    checkpoint_interval: Duration = Field(
        900.0,
        gt=0,
        description="How often learned arrays are written. A crash loses at most this much learning, "
        "and it is read again from Prometheus.",
    )
    verdict_retention: Duration = Field(
        14 * 86400.0, gt=0, description="How long the verdict on every sample is kept, for charts."
    )
    verdict_retention_size: ByteSize = Field(
        ByteSize(2 * 10**9),
        ge=0,
        description="Most disk that they take; the oldest are removed first. A verdict takes about 16 bytes: the "
        "default has room for two weeks of 6,000 series a minute, or a day of 90,000. `0` keeps none.",
    )
