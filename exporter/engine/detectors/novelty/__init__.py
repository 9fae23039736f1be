"""How unlike everything that the series has shown before a sample is."""

from exporter.engine.detectors.novelty.detector import Novelty

__all__ = ["Novelty"]
