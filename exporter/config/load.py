"""Loading: a configuration file to a `Config`, or to every problem in it at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.data_checks import (
    check_calendar,
    check_causes,
    check_expressions,
    check_groups,
    check_holidays,
    check_sources,
)
from exporter.config.environment import expand_secrets, resolve_files, resolve_patterns, unexpanded
from exporter.config.foreign import foreign_file
from exporter.config.ics_files import with_ics_files
from exporter.config.includes import Included, include
from exporter.config.messages import Diagnostic, SectionFields, sentence
from exporter.config.model import Config
from exporter.config.model_checks import ValidPart, check
from exporter.config.schema_walk import Survey, models_in, survey
from exporter.errors import ConfigError, Problem
from exporter.yaml_reader import Document, Loc, parse, problem_at, read_text

__all__ = ["Loaded", "load", "load_text", "redacted"]

_SECTIONS = frozenset(info.alias or name for name, info in Config.model_fields.items())
_LISTS = ("queries", "alertmanagers", "groups", "calendar")
_REQUIRED = frozenset({"name", "expr", "url", "queries", "match", "action"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used.

    Attributes
    ----------
    config : Config
    warnings : tuple of Problem
        About what is allowed but probably not meant, in file order.
    files : tuple of Path
        The files of `query_files`.
    """

    config: Config
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...] = ()


def load(path: Path | str, *, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Loaded:
    """Read, check and combine a configuration file.

    Parameters
    ----------
    path : Path or str
    environ : mapping of str to str, optional
        Where ``${NAME}`` in secrets comes from; the process's environment unless given.
    folder : Path, optional
        Where relative paths start; that of the file unless given.

    Raises
    ------
    ConfigError
        With every problem that can be found in one pass.
    """
    return load_text(read_text(Path(path)), path, environ=environ, folder=folder)


def load_text(
    text: str, path: Path | str, *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Loaded:
    """Check and combine the text of a configuration file that is, or is to be, at `path`; see `load`."""
    file = Path(path)
    folder = file.parent if folder is None else folder
    document = parse(text, file)
    data = document.data
    if not isinstance(data, dict):
        message = "the file is empty" if data is None else "the file must be a mapping of sections, such as queries:"
        raise ConfigError(str(path), [problem_at(document.position(()), (), message)])
    foreign = foreign_file(data)
    if foreign is not None:
        raise ConfigError(str(path), [problem_at(document.position(()), (), foreign.value)])
    included = include(document, folder)
    document, data = included.document, included.document.data
    # A section whose fields are all commented out is the section's defaults.
    data = {name: value for name, value in data.items() if value is not None or name not in _SECTIONS}
    resolve_patterns(data, folder)
    expected = survey(Config, data)
    diagnostics = [
        *included.diagnostics,
        *expand_secrets(data, expected, os.environ if environ is None else environ),
        *unexpanded(expected, data),
        *resolve_files(data, expected, folder),
        *check_expressions(data),
        *check_causes(data),
        *check_groups(data),
        *check_holidays(data),
        *check_calendar(data),
        *check_sources(data),
    ]
    config, errors = _validate(data)
    diagnostics += _explain(errors, data, expected, document)
    part = _valid_part(config, errors, data)
    if part is not None:
        diagnostics += check(part)
    problems = included.problems + [problem for problems in document.problems.values() for problem in problems]
    problems += _problems((each for each in diagnostics if not each.warning), included)
    if config is not None:
        config, in_files = with_ics_files(config)
        problems += in_files
    if problems or config is None:
        raise ConfigError(str(path), problems)
    warnings = sorted(_problems((each for each in diagnostics if each.warning), included))
    return Loaded(config, tuple(warnings), tuple(included.files))


def redacted(config: Config) -> str:
    """Write `config` as YAML, with every default and without any secret."""
    plain = _plain(config.model_dump(by_alias=True, exclude_none=True))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _validate(data: dict[str, Any]) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _explain(
    errors: list[ErrorDetails], data: dict[str, Any], expected: Survey, document: Document
) -> Iterable[Diagnostic]:
    """Turn the errors of pydantic into diagnostics at locations that are in the file."""
    secrets = set(expected.secrets)
    located = [(_location(error["loc"], data), error) for error in errors]
    for loc, error in located:
        if loc in document.problems:
            continue
        if error["type"] == "too_short" and any(other != loc and other[: len(loc)] == loc for other, _ in located):
            # Items that are wrong do not count, so a list of them looks empty.
            continue
        if error["type"] == "union_tag_invalid" and isinstance(_at(data, loc), dict):
            loc = (*loc, "kind")
        fields = _fields(expected.sections.get(loc[:-1]))
        message = sentence(error, _at(data, loc), document.written.get(loc), section=fields, secret=loc in secrets)
        # An error of a whole section is shown at its name, not at its first field.
        of_section = error["type"] == "value_error" and isinstance(_at(data, loc), dict)
        at_key = of_section or error["type"] == "extra_forbidden" or error["loc"][-1] == "[key]"
        yield Diagnostic(loc, message, at_key=at_key)


def _fields(model: type[BaseModel] | None) -> SectionFields:
    if model is None:
        return SectionFields()
    below: dict[str, tuple[str, ...]] = {}
    for name, info in model.model_fields.items():
        for inner in models_in(info.annotation):
            for field in _names(inner):
                below[field] = tuple(dict.fromkeys((*below.get(field, ()), info.alias or name)))
    return SectionFields(tuple(_names(model)), below)


def _names(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _location(loc: tuple[str | int, ...], data: Any) -> Loc:
    """Drop what pydantic adds to a location: the chosen member of a union, and the mark of a key."""
    kept: list[str | int] = []
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        inside = _has(data, part)
        if inside or (last and part != "[key]"):
            data = data[part] if inside else None
            kept.append(part)
    return tuple(kept)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _at(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data[part] if _has(data, part) else None
    return data


def _valid_part(config: Config | None, errors: list[ErrorDetails], data: dict[str, Any]) -> ValidPart | None:
    """Return the data without the fields that are invalid, so that the rest can be checked too."""
    if config is not None:
        every = {name: range(len(data.get(name, ()))) for name in _LISTS}
        return ValidPart(config, every["queries"], every["alertmanagers"], frozenset())
    bad = frozenset(_unit(error, data) for error in errors)
    left = {name: value for name, value in data.items() if (name,) not in bad}
    kept: dict[str, list[int]] = {}
    for name in _LISTS:
        items = left.get(name)
        if isinstance(items, list):
            kept[name] = [index for index in range(len(items)) if (name, index) not in bad]
            left[name] = [
                {field: value for field, value in items[index].items() if (name, index, field) not in bad}
                for index in kept[name]
            ]
    rest = _validate(left)[0]
    return None if rest is None else ValidPart(rest, kept.get("queries", ()), kept.get("alertmanagers", ()), bad)


def _unit(error: ErrorDetails, data: dict[str, Any]) -> Loc:
    """Return what is removed because of an error: a section, an item of a list, or an optional field of an item."""
    loc = error["loc"]
    if loc[0] not in _LISTS or len(loc) < 3:
        return loc[:2] if loc[0] in _LISTS else loc[:1]
    item = data[loc[0]][loc[1]]
    optional = isinstance(item, dict) and loc[2] in item and loc[2] not in _REQUIRED
    return loc[:3] if optional else loc[:2]


def _problems(diagnostics: Iterable[Diagnostic], included: Included) -> list[Problem]:
    return list(dict.fromkeys(included.problem(diagnostic) for diagnostic in diagnostics))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, SecretStr):
        return "<secret>"
    if isinstance(value, Path):
        return str(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
