"""The ``silences:`` section."""

from __future__ import annotations

from pydantic import ByteSize, Field

from exporter.settings import Duration, Section

__all__ = ["SilenceSettings"]


class SilenceSettings(Section):
    """How the silences of Alertmanagers are read. A silence marks a problem that is known already."""

    interval: Duration = Field(15.0, ge=1.0, description="How often the silences of every Alertmanager are read.")
    keep: Duration = Field(
        900.0,
        ge=0,
        description="How long the silences of an Alertmanager that does not answer are still applied.",
    )
    feedback: bool = Field(
        True,
        description="Whether comments of silences may be feedback: whoever can make a silence can give it. False: they "
        "only acknowledge.",
    )
    feedback_limit: int = Field(
        5,
        ge=1,
        le=500,
        description="Most open anomalies that a silence may match for its comment to be feedback; one that matches "
        "more only acknowledges them.",
    )
    share: bool = Field(
        True,
        description="Whether exporters with the same Alertmanagers pass on to each other what people do at one of "
        "them, by short silences that match no alert: docs/scaling.md.",
    )
    max_bytes: ByteSize = Field(
        ByteSize(32 * 2**20), gt=0, description="Longest list of silences that is read; it includes expired ones."
    )
