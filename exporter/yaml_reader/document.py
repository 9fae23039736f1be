"""A YAML file to plain data, with the position of every key and value.

Values that YAML 1.1 reads differently from what was meant (``010`` is 8, ``1:30`` is 90) are refused with advice. Of
two equal keys the second is a problem, not the winner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from exporter.errors import ConfigError, Problem
from exporter.yaml_reader.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    AliasNode,
    MappingNode,
    Node,
    Position,
    RefusedError,
    ScalarNode,
    SequenceNode,
    compose,
)

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
    """Parsed YAML: plain data, and the position of each part.

    Attributes
    ----------
    data : object
        Mappings, lists, text, numbers, booleans and None; aliases expanded and merge keys applied.
    keys, values : dict
        The position of the key, and of the value, at each location. Items of lists have no key.
    written : dict
        The source text of scalars that YAML reads as something else than text.
    problems : dict
        Values that can be read but cannot be meant, by location.
    """

    data: Any = None
    keys: dict[Loc, Position] = field(default_factory=dict)
    values: dict[Loc, Position] = field(default_factory=dict)
    written: dict[Loc, str] = field(default_factory=dict)
    problems: dict[Loc, list[Problem]] = field(default_factory=dict)

    def position(self, loc: Loc, *, key: bool = False) -> Position:
        """Return the position of the value (or the key) at `loc`, or of the nearest part that encloses it."""
        for end in range(len(loc), 0, -1):
            at = loc[:end]
            if (key or end < len(loc)) and at in self.keys:
                return self.keys[at]
            if at in self.values:
                return self.values[at]
        return Position(1, 1)


def format_path(loc: Loc) -> str:
    """Write a location as a path.

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


def problem_at(position: Position, loc: Loc, message: str) -> Problem:
    """Return a problem whose texts are printable and of limited length, whatever the file contains."""
    path = _printable_line(format_path(loc))
    return Problem(position.line, position.column, path, _printable_line(message), position.file)


def _printable_line(text: str) -> str:
    shown = text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def read_text(path: Path) -> str:
    """Read a file: UTF-8, with or without a byte order mark, at most 1 MiB.

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
        raise _fatal(path, Position(1, 1), f"the file cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise _fatal(path, Position(1, 1), "the file is larger than 1 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise _fatal(path, _position_after(before), f"the file is not UTF-8 (byte 0x{raw[error.start]:02x})") from None


def parse(text: str, path: Path) -> Document:
    """Parse one YAML document; `data` of an empty one is None.

    Raises
    ------
    ConfigError
        It is not YAML, or larger, deeper or more tangled than any configuration.
    """
    document = Document()
    try:
        root = compose(text)
        if root is not None:
            document.data = _Constructor(document).construct(root, (), 1)
    except RefusedError as error:
        raise _fatal(path, error.position, error.message) from None
    except yaml.reader.ReaderError:
        raise _fatal(path, _control_character(text), "control characters are not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        raise _fatal(path, *_syntax_problem(error, text)) from None
    return document


def _fatal(path: Path, position: Position, message: str) -> ConfigError:
    return ConfigError(str(path), [problem_at(position, (), message)])


def _position_after(before: str) -> Position:
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _position_of(mark: Any) -> Position:
    return Position(1, 1) if mark is None else Position(mark.line + 1, mark.column + 1)


def _control_character(text: str) -> Position:
    match = yaml.reader.Reader.NON_PRINTABLE.search(text)
    return _position_after(text[: match.start()]) if match else Position(1, 1)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[Position, str]:
    """Return the position of a syntax error, which may be before where the parser noticed it, and a message."""
    problem, context = error.problem or "", error.context or ""
    if error.context_mark:
        start = _position_of(error.context_mark)
        if "unexpected end of stream" in problem and "quoted" in context:
            return start, "the quoted text that starts here does not end"
        if "could not find expected ':'" in problem:
            return start, "this line is not a key with a value; is the ':' or the space after it missing?"
    return _position_of(error.problem_mark), _syntax_message(error, text)


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = error.problem or ""
    at = _position_of(error.problem_mark)
    lines = text.splitlines()
    line = lines[at.line - 1] if at.line <= len(lines) else ""
    here = line[at.column - 1 : at.column]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab is used for indentation; YAML wants spaces"
    if "cannot start any token" in problem:
        return f"a plain value cannot start with {here!r}; put it in quotes"
    if "mapping values are not allowed" in problem:
        return "a colon is not allowed here; put a value that contains ': ' in quotes, or check the indentation"
    if "unknown escape character" in problem:
        return "in double quotes a backslash must be doubled; or use single quotes, which leave it alone"
    if error.context and error.context_mark:
        start = _position_of(error.context_mark)
        return f"not valid YAML: {problem} {error.context} that starts at {start.line}:{start.column}"
    return f"not valid YAML: {problem}"


class _Constructor:
    """Builds plain data from a tree. Each use of an alias is counted, so the limits hold after expansion."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def construct(self, node: Node, loc: Loc, depth: int, key: Position | None = None) -> Any:
        """Return the data of `node`; record its position and that of its key."""
        self._visit(node, depth)
        self._document.values[loc] = node.position
        if key is not None:
            self._document.keys[loc] = key
        target = _follow(node)
        if isinstance(target, ScalarNode):
            return self._scalar(target, loc, node.position)
        if isinstance(target, SequenceNode):
            return [self.construct(item, (*loc, index), depth + 1) for index, item in enumerate(target.nodes)]
        return {
            name: self.construct(value, (*loc, name), depth + 1, position)
            for name, (position, value) in self._entries(target, loc, depth).items()
        }

    def _visit(self, node: Node, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise RefusedError(node.position, f"more than {MAX_NODES} values after aliases are expanded")
        if depth > MAX_DEPTH:
            raise RefusedError(node.position, f"nested deeper than {MAX_DEPTH} levels after aliases are expanded")

    def _entries(self, node: MappingNode, loc: Loc, depth: int) -> dict[str, tuple[Position, Node]]:
        """Return the entries of a mapping; its own entries win over merged ones."""
        own: dict[str, tuple[Position, Node]] = {}
        merged: dict[str, tuple[Position, Node]] = {}
        for key, value in node.nodes:
            if isinstance(key, ScalarNode) and key.kind == "merge":
                for source in self._merge_sources(value, loc):
                    self._visit(source, depth + 1)
                    for name, entry in self._entries(source, loc, depth + 1).items():
                        self._visit(entry[1], depth)
                        merged.setdefault(name, entry)
                continue
            name = self._key(key, loc)
            if name in own:
                first = own[name][0]
                message = f"duplicate key; it is already at {first.line}:{first.column}"
                self._problem(key.position, (*loc, name), message)
            else:
                own[name] = (key.position, value)
        return {**merged, **own}

    def _merge_sources(self, value: Node, loc: Loc) -> Iterator[MappingNode]:
        target = _follow(value)
        for source in map(_follow, target.nodes) if isinstance(target, SequenceNode) else (target,):
            if isinstance(source, MappingNode):
                yield source
            else:
                self._problem(value.position, (*loc, "<<"), "only mappings can be merged")

    def _key(self, node: Node, loc: Loc) -> str:
        target = _follow(node)
        if not isinstance(target, ScalarNode):
            name = f"({node.position.line}:{node.position.column})"
            self._problem(node.position, (*loc, name), "a key must be text", path=loc)
            return name
        if target.kind in _NOT_TEXT:
            typed = target.text or "(empty)"
            message = f"YAML reads the key {typed} as {_NOT_TEXT[target.kind]}; put it in quotes"
            self._problem(node.position, (*loc, target.text), message)
        return target.text

    def _problem(self, position: Position, loc: Loc, message: str, *, path: Loc | None = None) -> None:
        problem = problem_at(position, loc if path is None else path, message)
        self._document.problems.setdefault(loc, []).append(problem)

    def _scalar(self, node: ScalarNode, loc: Loc, position: Position) -> Any:
        if node.kind not in _NOT_TEXT:
            # Dates, too, stay the text that was typed.
            return node.text
        self._document.written[loc] = node.text
        if node.kind == "null":
            return None
        try:
            return _boolean(node.text) if node.kind == "bool" else _number(node.text, node.kind)
        except ValueError as error:
            self._problem(position, loc, str(error))
            return node.text


def _follow(node: Node) -> ScalarNode | SequenceNode | MappingNode:
    return node.target if isinstance(node, AliasNode) else node


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
