"""Detectors outside this package, named by an import path or by an entry point."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any, TypeGuard

from pydantic import ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

from exporter.engine.detectors import DETECTORS, Detector

__all__ = ["GROUP", "external_detector", "is_external", "validate_detector"]

GROUP = "anomaly_exporter.detectors"
"""Group of the entry points; the name of one is the kind of its detector."""
_BUILT_IN = frozenset(str(detector.model_fields["kind"].default) for detector in DETECTORS)


def is_external(kind: object) -> TypeGuard[str]:
    """Whether `kind` is an import path, ``package.module:Class``, or the name of an entry point of `GROUP`."""
    if not isinstance(kind, str) or kind in _BUILT_IN:
        return False
    return ":" in kind or bool(entry_points(group=GROUP, name=kind))


def external_detector(kind: str) -> type[Detector]:
    """Import the class that `kind` names.

    Raises
    ------
    ValueError
        It cannot be imported, is no detector, or has the kind of a built-in one.
    """
    [entry] = entry_points(group=GROUP, name=kind) or [None]
    module, _, name = (kind if entry is None else entry.value).partition(":")
    try:
        detector = getattr(importlib.import_module(module), name)
    except Exception as error:  # A module may raise anything when it is imported.
        raise ValueError(f"cannot import {module}:{name}: {type(error).__name__}: {error}") from error
    if not (isinstance(detector, type) and issubclass(detector, Detector)):
        raise ValueError(f"{module}:{name} is not a subclass of exporter.engine.detectors.Detector")  # noqa: TRY004
    own = detector.model_fields["kind"].default
    if not isinstance(own, str) or own in _BUILT_IN:
        raise ValueError(f"{module}:{name} needs a kind of its own with a default; it has {own!r}")
    return detector


def validate_detector(entry: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
    """Validate an entry of `detectors`: a name, a mapping with its ``kind`` and parameters, or a detector."""
    if isinstance(entry, Detector) and entry.kind not in _BUILT_IN:
        return entry
    loc = ("kind",) if isinstance(entry, dict) else ()
    if isinstance(entry, str):
        entry = {"kind": entry}
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not is_external(kind):
        return built_in(entry)
    try:
        detector = external_detector(kind)
    except ValueError as error:
        failure = PydanticCustomError("value_error", "{error}", {"error": str(error)})
        details = InitErrorDetails(type=failure, loc=loc, input=kind)
        raise ValidationError.from_exception_data("detector", [details]) from None
    return detector.model_validate({**entry, "kind": detector.model_fields["kind"].default})
