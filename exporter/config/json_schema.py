"""The JSON schema of the configuration file, from its models."""

from __future__ import annotations

import copy
import json
from typing import Any

from exporter.config.model import Config
from exporter.presets import preset_names
from exporter.settings import format_duration

__all__ = ["config_schema", "text_of"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "Configuration of anomaly-exporter"


def config_schema() -> dict[str, Any]:
    """Return the schema of the file as people write it: durations as text, presets among the queries."""
    schema = Config.model_json_schema(by_alias=True, mode="validation")
    _plain(schema)
    definitions = schema["$defs"]
    detectors = definitions["DetectionSettings"]["properties"]["detectors"]
    detectors["items"] = _detector(detectors["items"])
    definitions["Preset"] = _preset(definitions["QuerySettings"])
    queries = schema["properties"]["queries"]
    queries["items"] = {"anyOf": [queries["items"], {"$ref": "#/$defs/Preset"}]}
    return {"$schema": _DIALECT, **schema, "title": _TITLE}


def text_of(schema: dict[str, Any]) -> str:
    """Write a schema as the file that is published."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _detector(members: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a detector: a name, a mapping of one of this package, or the import path of another."""
    names = sorted(members["discriminator"]["mapping"])
    external = {"type": "object", "properties": {"kind": {"type": "string", "not": {"enum": names}}}}
    return {
        "anyOf": [
            {"type": "string", "examples": names},
            {"oneOf": members["oneOf"]},
            {**external, "required": ["kind"], "description": "A detector of another package: docs/architecture.md."},
        ]
    }


def _preset(query: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a preset among the queries: every field of a query but its name and expression."""
    more = {name: copy.deepcopy(field) for name, field in query["properties"].items() if name not in ("name", "expr")}
    name = {"type": "string", "enum": list(preset_names()), "description": "Queries for an exporter: docs/presets.md."}
    only = {"type": "array", "items": {"type": "string"}, "description": "Names of its queries; all unless given."}
    return {
        "type": "object",
        "description": "The queries of a preset. Other fields hold for all of them.",
        "properties": {"preset": name, "only": only, **more},
        "required": ["preset"],
        "additionalProperties": False,
    }


def _plain(part: Any) -> None:
    """Remove titles, which repeat the names, and write the defaults of durations as text."""
    if isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        part.pop("ge", None)  # Of a size, which is text or a number; JSON schema has no word for it.
        default = part.get("default")
        if part.get("type") == "string" and isinstance(default, float):
            part["default"] = format_duration(default)
        for value in part.values():
            _plain(value)
    elif isinstance(part, list):
        for value in part:
            _plain(value)
