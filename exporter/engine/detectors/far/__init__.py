"""Values far from the typical value of their hour, and jumps of smooth series."""

from exporter.engine.detectors.far.detector import Far

__all__ = ["Far"]
