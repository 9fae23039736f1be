"""Unlike the other series of the query at this instant."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.detectors.base import Detector, DetectorResult, ReasonContext, SampleBatch, severity_result

__all__ = ["Peers"]


class Peers(Detector):
    """Distance from the usual place among the siblings.

    The section `peers` of a query adds it to its detectors, with as many votes as are needed. It takes all series at
    once, where detectors see some at a time, so the engine judges for it: `exporter.engine.peers`.
    """

    interval: ClassVar[bool] = False

    kind: Literal["peers"] = Field("peers", description="Unlike its siblings at this instant.")

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Say nothing: a batch has no siblings."""
        return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))

    def reason(self, context: ReasonContext) -> str:
        """Say where the siblings are."""
        return f"unlike its siblings: {context.siblings}" if context.siblings else "unlike its siblings"
