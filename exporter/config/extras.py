"""Optional packages: what needs one that is not installed is a mistake in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

from exporter.config.environment import Finding
from exporter.config.holidays import region_problem
from exporter.config.yaml_source import Loc

__all__ = ["check_extras"]


class _Extra(NamedTuple):
    """A field that needs a package when it says `wants`."""

    section: str
    field: str
    wants: Callable[[Any], bool]
    module: str
    package: str
    extra: str


def _has_forest(detectors: Any) -> bool:
    listed = detectors if isinstance(detectors, list) else []
    return "isolation_forest" in [one.get("kind") if isinstance(one, dict) else one for one in listed]


_EXTRAS = (
    _Extra("drift", "changepoints", lambda value: value is True, "ruptures", "ruptures", "drift"),
    _Extra("detection", "detectors", _has_forest, "sklearn", "scikit-learn", "forest"),
    _Extra("baseline", "holidays", lambda value: isinstance(value, str), "holidays", "holidays", "holidays"),
)


def check_extras(data: Any) -> Iterator[Finding]:
    """Check that what optional fields need is installed, in the sections for all queries and in those of each."""
    if not isinstance(data, dict):
        return
    queries = data.get("queries")
    places: list[tuple[Loc, Any]] = [((), data)]
    places += [(("queries", at), query) for at, query in enumerate(queries if isinstance(queries, list) else ())]
    for loc, place in places:
        for one in _EXTRAS:
            section = place.get(one.section) if isinstance(place, dict) else None
            if not isinstance(section, dict) or not one.wants(section.get(one.field)):
                continue
            if find_spec(one.module) is None:
                pip = f"pip install 'prometheus-anomaly-exporter[{one.extra}]'"
                yield Finding((*loc, one.section, one.field), f"needs {one.package}, which is not installed: {pip}")
            elif one.field == "holidays" and (problem := region_problem(section[one.field])) is not None:
                yield Finding((*loc, one.section, one.field), problem)
