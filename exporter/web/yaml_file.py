"""A small YAML file into a section, with the place of every mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from exporter.errors import ConfigError, Problem
from exporter.settings import Section

__all__ = ["read_section"]

SectionT = TypeVar("SectionT", bound=Section)

# An alias can make a small file enormous; ours have no use for a large one.
_LARGEST = 1 << 20


def read_section(path: Path, section: type[SectionT]) -> SectionT:
    """Read a file into a section; an empty file is an empty section.

    Raises
    ------
    ConfigError
        It cannot be read, is not YAML, or is not such a section; never with a value from the file.
    """
    file = str(path)
    try:
        text = path.read_bytes()
        if len(text) > _LARGEST:
            raise ConfigError(file, [Problem(1, 1, "", "larger than 1 MiB")])
        root = yaml.compose(text.decode(), Loader=yaml.SafeLoader)
        problems = _duplicates(root)
        content = {} if root is None else yaml.safe_load(text.decode())
    except OSError as error:
        raise ConfigError(file, [Problem(1, 1, "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(file, [Problem(1, 1, "", "not UTF-8")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigError(file, [Problem(line, column, "", f"not YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError:
        raise ConfigError(file, [Problem(1, 1, "", "not YAML: a character that is not allowed")]) from None
    except RecursionError:
        raise ConfigError(file, [Problem(1, 1, "", "nested too deeply")]) from None
    if content is None:
        content = {}
    try:
        found = section.model_validate(content)
    except ValidationError as error:
        problems += [
            _problem(root, e["loc"], _message(e["msg"], e["type"]))
            for e in error.errors(include_input=False, include_url=False)
        ]
    if problems:
        raise ConfigError(file, problems)
    return found


def _message(message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "required"
    return message.removeprefix("Value error, ")


def _problem(root: yaml.Node | None, location: Sequence[int | str], message: str) -> Problem:
    """Place a mistake on its key, or on the nearest thing around it that is in the file."""
    node, mark = root, root.start_mark if root is not None else None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, mark = value, key.start_mark
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Problem(line, column, ".".join(map(str, location)), message)


def _duplicates(root: yaml.Node | None) -> list[Problem]:
    problems = []
    # Each node once: aliases make the same node appear many times, or inside itself.
    visited: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if node is None or id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                pending.append(value)
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        mark = key.start_mark
                        problems.append(Problem(mark.line + 1, mark.column + 1, key.value, "given twice"))
                    seen.add(key.value)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return problems
