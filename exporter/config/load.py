"""The file to a `Config`, or to every problem in it at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.calendar import check_calendar
from exporter.config.checks import Sound, check, check_expressions
from exporter.config.environment import Finding, expand_secrets, resolve_files, unexpanded
from exporter.config.groups import check_groups
from exporter.config.holidays import check_holidays
from exporter.config.messages import Section, sentence
from exporter.config.model import Config
from exporter.config.schema_walk import Survey, models_in, survey
from exporter.config.yaml_source import Document, Loc, parse, problem_at, read_text
from exporter.errors import ConfigError, Problem

__all__ = ["Loaded", "load", "redacted"]

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
        What is allowed but probably not meant, in file order.
    text_sha : str
        SHA-256 of the text, to tell whether a file has changed.
    """

    config: Config
    warnings: tuple[Problem, ...]
    text_sha: str


def load(path: Path | str, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read, check and combine a configuration file.

    Parameters
    ----------
    path : Path or str
    environ : mapping of str to str, optional
        Where ``${NAME}`` in secrets comes from; the process's environment unless given.

    Raises
    ------
    ConfigError
        With every problem that can be found in one pass.
    """
    file = Path(path)
    text = read_text(file)
    document = parse(text, file)
    data = document.data
    if not isinstance(data, dict):
        message = "the file is empty" if data is None else "the file must be a mapping of sections, such as queries:"
        place = document.place(())
        raise ConfigError(str(path), [problem_at(place, (), message)])
    # A section whose fields are all commented out is the section's defaults.
    data = {name: value for name, value in data.items() if value is not None or name not in _SECTIONS}
    expected = survey(Config, data)
    findings = [
        *expand_secrets(data, expected, os.environ if environ is None else environ),
        *unexpanded(expected, data),
        *resolve_files(data, expected, file.parent),
        *check_expressions(data),
        *check_groups(data),
        *check_holidays(data),
        *check_calendar(data),
    ]
    config, errors = _validate(data)
    findings += _explain(errors, data, expected, document)
    sound = _sound(config, errors, data)
    if sound is not None:
        findings += check(sound)
    problems = [problem for problems in document.problems.values() for problem in problems]
    problems += _placed((finding for finding in findings if not finding.warning), document)
    if problems or config is None:
        raise ConfigError(str(path), problems)
    warnings = sorted(_placed((finding for finding in findings if finding.warning), document))
    return Loaded(config, tuple(warnings), hashlib.sha256(text.encode()).hexdigest())


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
) -> Iterable[Finding]:
    """Turn what pydantic says into findings at places that are in the file."""
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
        around = _around(expected.sections.get(loc[:-1]))
        message = sentence(error, _at(data, loc), document.written.get(loc), section=around, secret=loc in secrets)
        # What is wrong with a section as a whole is shown at its name, not at the first thing in it.
        of_section = error["type"] == "value_error" and isinstance(_at(data, loc), dict)
        at_key = of_section or error["type"] == "extra_forbidden" or error["loc"][-1] == "[key]"
        yield Finding(loc, message, at_key=at_key)


def _around(model: type[BaseModel] | None) -> Section:
    if model is None:
        return Section()
    below: dict[str, tuple[str, ...]] = {}
    for name, info in model.model_fields.items():
        for inner in models_in(info.annotation):
            for field in _names(inner):
                below[field] = tuple(dict.fromkeys((*below.get(field, ()), info.alias or name)))
    return Section(tuple(_names(model)), below)


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


def _sound(config: Config | None, errors: list[ErrorDetails], data: dict[str, Any]) -> Sound | None:
    """Return what is left when everything that is wrong by itself is taken out, so that it can be checked too."""
    if config is not None:
        every = {name: range(len(data.get(name, ()))) for name in _LISTS}
        return Sound(config, every["queries"], every["alertmanagers"], frozenset())
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
    return None if rest is None else Sound(rest, kept.get("queries", ()), kept.get("alertmanagers", ()), bad)


def _unit(error: ErrorDetails, data: dict[str, Any]) -> Loc:
    """Return what has to go with an error: a section, a query, or an optional field of a query."""
    loc = error["loc"]
    if loc[0] not in _LISTS or len(loc) < 3:
        return loc[:2] if loc[0] in _LISTS else loc[:1]
    item = data[loc[0]][loc[1]]
    optional = isinstance(item, dict) and loc[2] in item and loc[2] not in _REQUIRED
    return loc[:3] if optional else loc[:2]


def _placed(findings: Iterable[Finding], document: Document) -> list[Problem]:
    problems: dict[Problem, None] = {}
    for finding in findings:
        place = document.place(finding.loc, key=finding.at_key)
        problems[problem_at(place, finding.loc, finding.message)] = None
    return list(problems)


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
