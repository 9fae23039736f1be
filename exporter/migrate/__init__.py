"""Files of other anomaly detectors to a configuration of this one."""

from exporter.migrate.conversion import Conversion
from exporter.migrate.convert import convert

__all__ = ["Conversion", "convert"]
