"""The section ``peers:`` of a query."""

from __future__ import annotations

from pydantic import Field

from exporter.settings import Items, LabelName, Section

__all__ = ["PeerSettings"]


class PeerSettings(Section):
    """What the siblings of a series are, and how unlike them it must be."""

    by: Items[LabelName] = Field(
        (),
        description="Labels whose values siblings have in common, such as `[job]`. Default: all series of the query.",
    )
    min_size: int = Field(
        5, ge=3, le=1000, description="Siblings with a sample, itself among them, below which nothing is said."
    )
    limit: float = Field(
        1.0,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Factor of the limit that is learned from how far siblings are apart.",
    )
