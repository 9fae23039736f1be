"""The versions that decide what is computed, for a metric and the API."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from exporter import __version__

__all__ = ["build_information"]


def build_information() -> dict[str, str]:
    """Return the versions that decide what is computed, by name; empty where a package is absent."""
    return {
        "version": __version__,
        "python_version": platform.python_version(),
        "numpy_version": _version("numpy"),
        "tzdata_version": _version("tzdata"),
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
