"""Queries for exporters that most people run, as data: one YAML file for each exporter.

A query is written as in the configuration file, and has two fields more: `needs`, the metrics without which it has no
samples, and `why`, a sentence for the person who reads the configuration.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

__all__ = ["Preset", "PresetQuery", "preset", "preset_names"]

_OWN = ("needs", "why")
_SEVERITY = {"severity": "warning"}
"""Label of the alerts of presets; the routes of deploy/alertmanager know it."""


@dataclass(frozen=True, slots=True)
class PresetQuery:
    """A query of a preset.

    Attributes
    ----------
    name : str
    fields : mapping
        As they are written in the configuration file.
    needs : tuple of str
        Names of metrics.
    why : str
    """

    name: str
    fields: Mapping[str, Any]
    needs: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Preset:
    """The queries for one exporter.

    Attributes
    ----------
    name, title : str
    recognised_by : tuple of str
        Metrics; one of them is enough to know that the exporter is there.
    queries : tuple of PresetQuery
    group : mapping or None
        A group of these queries, as it is written in the configuration file.
    """

    name: str
    title: str
    recognised_by: tuple[str, ...]
    queries: tuple[PresetQuery, ...]
    group: Mapping[str, Any] | None


@functools.cache
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


@functools.cache
def preset(name: str) -> Preset:
    """Return a preset by name, one of `preset_names`."""
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    queries = tuple(_query(fields) for fields in data["queries"])
    return Preset(name, data["title"], tuple(data["recognised_by"]), queries, data.get("group"))


def _query(written: Mapping[str, Any]) -> PresetQuery:
    fields = {field: value for field, value in written.items() if field not in _OWN}
    if "alert" in fields:
        fields["alert"] = {**fields["alert"], "labels": {**_SEVERITY, **fields["alert"].get("labels", {})}}
    return PresetQuery(written["name"], fields, tuple(written["needs"]), written["why"])
