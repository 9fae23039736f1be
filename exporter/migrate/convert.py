"""Recognises whose file it is, and converts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.config.foreign import ForeignFile, foreign_file
from exporter.errors import UsageError
from exporter.migrate import recording_rules, vmanomaly
from exporter.migrate.conversion import Conversion

__all__ = ["convert"]


def convert(data: object, *, prometheus: str, alertmanager: str) -> Conversion:
    """Return the configuration that does what `data` did, plain data of a YAML file.

    Parameters
    ----------
    prometheus, alertmanager : str
        URLs of the servers, where the file does not name them.

    Raises
    ------
    UsageError
        It is a file of something else.
    """
    if not isinstance(data, Mapping):
        raise UsageError("the file has no sections")
    foreign = foreign_file(data)
    if foreign is ForeignFile.VMANOMALY:
        return vmanomaly.convert(_sections(data))
    if foreign is ForeignFile.ANOMALY_RULES:
        return recording_rules.convert(data, prometheus=prometheus, alertmanager=alertmanager)
    if foreign is None:
        raise UsageError("neither a configuration of vmanomaly nor recording rules of promql-anomaly-detection")
    raise UsageError(foreign.value)


def _sections(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sections of vmanomaly, also where an operator's resource has them."""
    if data.get("kind") != "VMAnomaly":
        return data
    return vmanomaly.of_resource(data)
