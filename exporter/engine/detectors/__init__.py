"""The detectors. This union is the registry: configuration, documentation and contract tests all read it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from exporter.engine.detectors.base import Detector, Judgement, Memory, Moment, Remembering
from exporter.engine.detectors.iqr import Iqr
from exporter.engine.detectors.zscore import ZScore

__all__ = ["AnyDetector", "Detector", "Iqr", "Judgement", "Memory", "Moment", "Remembering", "ZScore"]

AnyDetector = Annotated[ZScore | Iqr, Field(discriminator="kind")]
