"""The ``storage:`` section. The state directory is a flag, because changing it needs a restart."""

from __future__ import annotations

from pydantic import Field

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
