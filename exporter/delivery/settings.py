"""The sections ``alertmanagers:`` and ``silences:``."""

from __future__ import annotations

from pydantic import ByteSize, Field

from exporter.http_client.settings import HttpSettings
from exporter.settings import Duration, Section

__all__ = ["AlertmanagerSettings", "SilenceSettings"]


class AlertmanagerSettings(HttpSettings):
    """One Alertmanager. Every one of them gets every alert; never put a load balancer in between."""

    timeout: Duration = Field(10.0, gt=0, description="Total deadline of one request.")
    batch_size: int = Field(256, ge=1, le=1024, description="Alerts in one request.")
    utf8_labels: bool = Field(
        False, description="Send label names outside `[a-zA-Z_][a-zA-Z0-9_]*` (Alertmanager 0.27 and newer)."
    )


class SilenceSettings(Section):
    """How the silences of Alertmanagers are followed. They say what people know already."""

    interval: Duration = Field(15.0, ge=1.0, description="How often the silences of every Alertmanager are read.")
    keep: Duration = Field(
        900.0,
        ge=0,
        description="How long the silences of an Alertmanager that does not answer are still believed in.",
    )
    max_bytes: ByteSize = Field(
        ByteSize(32 * 2**20), gt=0, description="Longest list of silences that is read; expired ones are in it too."
    )
