"""A walk of plain data along the models: which section, secret or file is at which location.

Secrets and files are processed before validation, and messages need the section of a wrong field; validation gives
neither.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from exporter.engine.detectors import Detector
from exporter.engine.external import external_detector, is_external
from exporter.yaml_reader import Loc

__all__ = ["Survey", "discriminated", "models_in", "survey"]


@dataclass(slots=True)
class Survey:
    """The kinds of locations in some data, as the models have them."""

    sections: dict[Loc, type[BaseModel]] = field(default_factory=dict)
    secrets: list[Loc] = field(default_factory=list)
    files: list[Loc] = field(default_factory=list)
    texts: list[Loc] = field(default_factory=list)


def survey(model: type[BaseModel], data: object) -> Survey:
    """Walk `data`, right or wrong, along the fields of `model`."""
    result = Survey()
    _visit(result, model, data, ())
    return result


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the section classes that a field's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from models_in(part)


def discriminated(model: type[BaseModel], kind: object) -> bool:
    """Whether `model` is the member of a union that ``kind: <kind>`` chooses."""
    tag = model.model_fields.get("kind")
    return tag is not None and tag.default == kind


def _visit(result: Survey, annotation: Any, data: object, loc: Loc) -> None:
    origin = get_origin(annotation)
    if origin is Annotated:
        _visit(result, get_args(annotation)[0], data, loc)
    elif origin in (Union, types.UnionType):
        chosen = _choose(get_args(annotation), data)
        if chosen is not None:
            _visit(result, chosen, data, loc)
    elif origin is tuple and isinstance(data, list):
        for index, item in enumerate(data):
            _visit(result, get_args(annotation)[0], item, (*loc, index))
    elif origin is dict and isinstance(data, dict):
        for name, value in data.items():
            _visit(result, get_args(annotation)[1], value, (*loc, name))
    elif isinstance(annotation, type):
        _leaf(result, annotation, data, loc)


def _leaf(result: Survey, annotation: type, data: object, loc: Loc) -> None:
    if issubclass(annotation, SecretStr):
        result.secrets.append(loc)
    elif issubclass(annotation, Path):
        result.files.append(loc)
    elif issubclass(annotation, BaseModel):
        result.sections[loc] = annotation
        if isinstance(data, dict):
            for name, info in annotation.model_fields.items():
                key = info.alias or name
                if key in data:
                    _visit(result, info.annotation, data[key], (*loc, key))
    elif isinstance(data, str):
        result.texts.append(loc)


def _choose(members: tuple[Any, ...], data: object) -> Any:
    """Return the member of a union that `data` is meant for; None where that is unclear."""
    candidates = [member for member in members if member is not types.NoneType]
    if len(candidates) == 1:
        return candidates[0]
    if isinstance(data, dict):
        for member in candidates:
            if any(discriminated(model, data.get("kind")) for model in models_in(member)):
                return member
        kind = data.get("kind")
        if is_external(kind) and any(issubclass(model, Detector) for model in models_in(candidates[0])):
            with contextlib.suppress(ValueError):
                return external_detector(kind)
    return None
