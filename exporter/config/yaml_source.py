"""A YAML file to plain data, with the place of every key and value.

What YAML 1.1 reads differently from what was meant (``010`` is 8, ``1:30`` is 90) is refused with a sentence
that says how to write it; of two equal keys the second is a problem, not the winner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from exporter.config.yaml_tree import (
    MAX_DEPTH,
    MAX_NODES,
    Alias,
    Items,
    Node,
    Pairs,
    Place,
    RefusedError,
    Scalar,
    compose,
)
from exporter.errors import ConfigError, Problem

__all__ = ["Document", "Loc", "format_path", "parse", "problem_at", "read_text"]

Loc = tuple[str | int, ...]
"""Keys and indices from the top of the file down to a value."""

MAX_BYTES = 1024 * 1024
_LONGEST_NUMBER = 40
_LONGEST_MESSAGE = 400
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_:-]+")
_NOT_TEXT = {"bool": "a boolean", "int": "a number", "float": "a number", "null": "nothing"}
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_SPECIAL_FLOATS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


@dataclass(slots=True)
class Document:
    """What the text says, and where.

    Attributes
    ----------
    data : object
        Mappings, lists, text, numbers, booleans and None; aliases expanded and merge keys applied.
    keys, values : dict
        The place of the key, and of the value, of each location. Items of lists have no key.
    written : dict
        What was typed where YAML reads something that is not text.
    problems : dict
        What could be read but cannot be meant, by location.
    """

    data: Any = None
    keys: dict[Loc, Place] = field(default_factory=dict)
    values: dict[Loc, Place] = field(default_factory=dict)
    written: dict[Loc, str] = field(default_factory=dict)
    problems: dict[Loc, list[Problem]] = field(default_factory=dict)

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """Return the place of the value at `loc` (or of its key), or of the nearest thing around it."""
        for end in range(len(loc), 0, -1):
            at = loc[:end]
            if (key or end < len(loc)) and at in self.keys:
                return self.keys[at]
            if at in self.values:
                return self.values[at]
        return Place(1, 1)


def format_path(loc: Loc) -> str:
    """Write a location as people do.

    >>> format_path(("queries", 0, "alert", "for"))
    'queries[0].alert.for'
    >>> format_path(("alert", "labels", "a key"))
    'alert.labels["a key"]'
    """
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _PLAIN_KEY.fullmatch(part):
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
        else:
            text += f".{part}" if text else part
    return text


def problem_at(place: Place, loc: Loc, message: str) -> Problem:
    """Make a problem that is one line of sensible length, whatever the file holds."""
    return Problem(place.line, place.column, _one_line(format_path(loc)), _one_line(message))


def _one_line(text: str) -> str:
    shown = text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def read_text(path: Path) -> str:
    """Read a configuration file: UTF-8, with or without a byte order mark, at most 1 MiB.

    Raises
    ------
    ConfigError
        It cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _fatal(path, Place(1, 1), f"the file cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise _fatal(path, Place(1, 1), "the file is larger than 1 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise _fatal(path, _place_after(before), f"the file is not UTF-8 (byte 0x{raw[error.start]:02x})") from None


def parse(text: str, path: Path) -> Document:
    """Read one YAML document.

    Raises
    ------
    ConfigError
        It is not YAML, or larger, deeper or more tangled than any configuration.
    """
    document = Document()
    try:
        document.data = _Constructor(document).construct(compose(text), (), 1)
    except RefusedError as error:
        raise _fatal(path, error.place, error.message) from None
    except yaml.reader.ReaderError:
        raise _fatal(path, _control_character(text), "control characters are not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        raise _fatal(path, *_syntax_problem(error, text)) from None
    return document


def _fatal(path: Path, place: Place, message: str) -> ConfigError:
    return ConfigError(str(path), [problem_at(place, (), message)])


def _place_after(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _place_of(mark: Any) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _control_character(text: str) -> Place:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    return _place_after(text[: found.start()]) if found else Place(1, 1)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str]:
    """Return where a syntax error was made, which may be before where it was noticed, and what it is."""
    problem, context = error.problem or "", error.context or ""
    if error.context_mark:
        start = _place_of(error.context_mark)
        if "unexpected end of stream" in problem and "quoted" in context:
            return start, "the quoted text that starts here does not end"
        if "could not find expected ':'" in problem:
            return start, "this line is not a key with a value; is the ':' or the space after it missing?"
    return _place_of(error.problem_mark), _syntax_message(error, text)


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = error.problem or ""
    place = _place_of(error.problem_mark)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    here = line[place.column - 1 : place.column]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab is used for indentation; YAML wants spaces"
    if "cannot start any token" in problem:
        return f"a plain value cannot start with {here!r}; put it in quotes"
    if "mapping values are not allowed" in problem:
        return "a colon is not allowed here; put a value that contains ': ' in quotes, or check the indentation"
    if "unknown escape character" in problem:
        return "in double quotes a backslash must be doubled; or use single quotes, which leave it alone"
    if error.context and error.context_mark:
        start = _place_of(error.context_mark)
        return f"not valid YAML: {problem} {error.context} that starts at {start.line}:{start.column}"
    return f"not valid YAML: {problem}"


class _Constructor:
    """Tree in, data out. Aliases are followed anew each time, so the count of values is that after expansion."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def construct(self, node: Node, loc: Loc, depth: int, key: Place | None = None) -> Any:
        """Return what `node` says and note its place and that of its key."""
        self._visit(node, depth)
        self._document.values[loc] = node.place
        if key is not None:
            self._document.keys[loc] = key
        target = _follow(node)
        if isinstance(target, Scalar):
            return self._scalar(target, loc, node.place)
        if isinstance(target, Items):
            return [self.construct(item, (*loc, index), depth + 1) for index, item in enumerate(target.nodes)]
        return {
            name: self.construct(value, (*loc, name), depth + 1, place)
            for name, (place, value) in self._entries(target, loc, depth).items()
        }

    def _visit(self, node: Node, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise RefusedError(node.place, f"more than {MAX_NODES} values after aliases are expanded")
        if depth > MAX_DEPTH:
            raise RefusedError(node.place, f"nested deeper than {MAX_DEPTH} levels after aliases are expanded")

    def _entries(self, node: Pairs, loc: Loc, depth: int) -> dict[str, tuple[Place, Node]]:
        """Return the entries of a mapping; its own win over merged ones."""
        own: dict[str, tuple[Place, Node]] = {}
        merged: dict[str, tuple[Place, Node]] = {}
        for key, value in node.nodes:
            if isinstance(key, Scalar) and key.kind == "merge":
                for source in self._merge_sources(value, loc):
                    self._visit(source, depth + 1)
                    for name, entry in self._entries(source, loc, depth + 1).items():
                        self._visit(entry[1], depth)
                        merged.setdefault(name, entry)
                continue
            name = self._key(key, loc)
            if name in own:
                first = own[name][0]
                self._problem(key.place, (*loc, name), f"duplicate key; it is already at {first.line}:{first.column}")
            else:
                own[name] = (key.place, value)
        return {**merged, **own}

    def _merge_sources(self, value: Node, loc: Loc) -> Iterator[Pairs]:
        target = _follow(value)
        for source in map(_follow, target.nodes) if isinstance(target, Items) else (target,):
            if isinstance(source, Pairs):
                yield source
            else:
                self._problem(value.place, (*loc, "<<"), "only mappings can be merged")

    def _key(self, node: Node, loc: Loc) -> str:
        target = _follow(node)
        if not isinstance(target, Scalar):
            name = f"({node.place.line}:{node.place.column})"
            self._problem(node.place, (*loc, name), "a key must be text", path=loc)
            return name
        if target.kind in _NOT_TEXT:
            typed = target.text or "(empty)"
            message = f"YAML reads the key {typed} as {_NOT_TEXT[target.kind]}; put it in quotes"
            self._problem(node.place, (*loc, target.text), message)
        return target.text

    def _problem(self, place: Place, loc: Loc, message: str, *, path: Loc | None = None) -> None:
        problem = problem_at(place, loc if path is None else path, message)
        self._document.problems.setdefault(loc, []).append(problem)

    def _scalar(self, node: Scalar, loc: Loc, place: Place) -> Any:
        if node.kind not in _NOT_TEXT:
            # Dates, too, stay the text that was typed.
            return node.text
        self._document.written[loc] = node.text
        if node.kind == "null":
            return None
        try:
            return _boolean(node.text) if node.kind == "bool" else _number(node.text, node.kind)
        except ValueError as error:
            self._problem(place, loc, str(error))
            return node.text


def _follow(node: Node) -> Scalar | Items | Pairs:
    return node.target if isinstance(node, Alias) else node


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not a boolean; write true or false") from None


def _number(text: str, kind: str) -> int | float:
    """Read a number; raises ValueError, with advice, for one that YAML 1.1 reads in its own way."""
    digits = text.replace("_", "").lower()
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("the number is too long")
    if ":" in digits:
        raise ValueError(f"YAML reads {text} as a number in base 60; put it in quotes, or write a duration such as 90m")
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        plain = digits.lstrip("+-0") or "0"
        raise ValueError(f"YAML reads {text} as the octal number {int(digits, 8)}; write {plain}, or put it in quotes")
    try:
        if kind == "int":
            return int(digits, 0)
        return float(_SPECIAL_FLOATS.get(digits, digits))
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
