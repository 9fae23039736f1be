"""The detectors. The union is the registry: configuration, documentation and contract tests read it."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from exporter.engine.detectors.base import (
    BLOCK,
    Detector,
    DetectorResult,
    DetectorState,
    ReasonContext,
    SampleBatch,
    StatefulDetector,
)
from exporter.engine.detectors.collective import Collective
from exporter.engine.detectors.iqr import Iqr
from exporter.engine.detectors.isolation_forest import IsolationForest
from exporter.engine.detectors.novelty import Novelty
from exporter.engine.detectors.stl import Stl
from exporter.engine.detectors.zscore import ZScore

__all__ = [
    "BLOCK",
    "DETECTORS",
    "AnyDetector",
    "Collective",
    "Detector",
    "DetectorResult",
    "DetectorState",
    "Iqr",
    "IsolationForest",
    "Novelty",
    "ReasonContext",
    "SampleBatch",
    "StatefulDetector",
    "Stl",
    "ZScore",
]

AnyDetector = Annotated[ZScore | Iqr | Stl | Novelty | Collective | IsolationForest, Field(discriminator="kind")]

DETECTORS: tuple[type[Detector], ...] = get_args(get_args(AnyDetector)[0])
