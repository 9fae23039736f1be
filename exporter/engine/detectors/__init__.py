"""engine/detectors."""
