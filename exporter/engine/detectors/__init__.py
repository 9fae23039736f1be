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
    Residual,
    SampleBatch,
    StatefulDetector,
)
from exporter.engine.detectors.collective import Collective
from exporter.engine.detectors.counts import Counts
from exporter.engine.detectors.far import Far
from exporter.engine.detectors.iqr import Iqr
from exporter.engine.detectors.isolation_forest import IsolationForest
from exporter.engine.detectors.novelty import Novelty
from exporter.engine.detectors.peers import Peers
from exporter.engine.detectors.stl import Stl
from exporter.engine.detectors.texture import Texture
from exporter.engine.detectors.window import Window
from exporter.engine.detectors.zscore import ZScore

__all__ = [
    "BLOCK",
    "DETECTORS",
    "AnyDetector",
    "Collective",
    "Counts",
    "Detector",
    "DetectorResult",
    "DetectorState",
    "Far",
    "Iqr",
    "IsolationForest",
    "Novelty",
    "Peers",
    "ReasonContext",
    "Residual",
    "SampleBatch",
    "StatefulDetector",
    "Stl",
    "Texture",
    "Window",
    "ZScore",
]

AnyDetector = Annotated[
    ZScore | Iqr | Stl | Novelty | Far | Window | Texture | Counts | Collective | IsolationForest,
    Field(discriminator="kind"),
]

DETECTORS: tuple[type[Detector], ...] = get_args(get_args(AnyDetector)[0])
