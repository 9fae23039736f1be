"""The detectors. This union is the registry: configuration, documentation and contract tests all read it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from exporter.engine.detectors.base import BLOCK, Detector, DetectorResult, DetectorState, SampleBatch, StatefulDetector
from exporter.engine.detectors.collective import Collective
from exporter.engine.detectors.iqr import Iqr
from exporter.engine.detectors.isolation_forest import IsolationForest
from exporter.engine.detectors.novelty import Novelty
from exporter.engine.detectors.stl import Stl
from exporter.engine.detectors.zscore import ZScore

__all__ = [
    "BLOCK",
    "AnyDetector",
    "Collective",
    "Detector",
    "Iqr",
    "IsolationForest",
    "DetectorResult",
    "DetectorState",
    "SampleBatch",
    "Novelty",
    "StatefulDetector",
    "Stl",
    "ZScore",
]

AnyDetector = Annotated[ZScore | Iqr | Stl | Novelty | Collective | IsolationForest, Field(discriminator="kind")]
