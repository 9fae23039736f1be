"""The entries of ``alertmanagers:``."""

from __future__ import annotations

from pydantic import Field

from exporter.http_client.settings import HttpSettings
from exporter.settings import Duration

__all__ = ["AlertmanagerSettings"]


class AlertmanagerSettings(HttpSettings):
    """One Alertmanager. Every one of them gets every alert; never put a load balancer in between."""

    timeout: Duration = Field(10.0, gt=0, description="Total deadline of one request.")
    batch_size: int = Field(256, ge=1, le=1024, description="Alerts in one request.")
    utf8_labels: bool = Field(
        False, description="Send label names outside `[a-zA-Z_][a-zA-Z0-9_]*` (Alertmanager 0.27 and newer)."
    )
