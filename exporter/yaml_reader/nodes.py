"""YAML text to a tree of nodes, within limits that no configuration reaches.

PyYAML parses the events. Its own composer is not used: it is recursive, has no limits, and loses the position of an
alias.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.resolver import Resolver

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "AliasNode",
    "MappingNode",
    "Node",
    "Position",
    "RefusedError",
    "ScalarNode",
    "SequenceNode",
    "compose",
]

MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_ALIASES = 100

# The C parser is about ten times as fast; wheels of PyYAML have it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_ALLOWED_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))


class Position(NamedTuple):
    """A position in the file; both count from 1. `file` is empty in the file that was given."""

    line: int
    column: int
    file: str = ""


class RefusedError(Exception):
    """Reading cannot continue; `message` is for the user."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A scalar; `kind` is its type in YAML 1.1: str, int, float, bool, null, merge, ..."""

    position: Position
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A sequence."""

    position: Position
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping with its keys in the order of the text, duplicates included."""

    position: Position
    nodes: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AliasNode:
    """A reference to an earlier node; it has its own position."""

    position: Position
    target: ScalarNode | SequenceNode | MappingNode


Node = ScalarNode | SequenceNode | MappingNode | AliasNode


def compose(text: str) -> Node | None:
    """Build the tree of the only document in `text`; None where it is empty.

    Raises
    ------
    RefusedError
        More than one document, or beyond a limit.
    yaml.YAMLError
        Not YAML.
    """
    builder = _Builder()
    for event in yaml.parse(text, Loader=_LOADER):
        builder.take(event)
    return builder.root


class _Builder:
    """Builds a tree from events. Not recursive, so deep nesting is refused before it exhausts the stack."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._resolver: Any = Resolver()
        self._anchors: dict[str, ScalarNode | SequenceNode | MappingNode] = {}
        self._open: list[tuple[SequenceNode | MappingNode, str | None]] = []
        self._keys: list[Node | None] = []
        self._nodes = 0
        self._aliases = 0

    def take(self, event: Any) -> None:
        """Process the next event of the parser."""
        position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise RefusedError(position, "a second YAML document starts here; a configuration file is one document")
        if isinstance(event, yaml.AliasEvent):
            self._add(self._alias(str(event.anchor), position))
        elif isinstance(event, yaml.ScalarEvent):
            tag = self._allowed_tag(event, position)
            if tag is None:
                tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
            self._finish(ScalarNode(position, tag.removeprefix(_TAG), event.value), event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= MAX_DEPTH:
                raise RefusedError(position, f"nested deeper than {MAX_DEPTH} levels")
            self._allowed_tag(event, position)
            kind = SequenceNode if isinstance(event, yaml.SequenceStartEvent) else MappingNode
            self._open.append((kind(position), event.anchor))
            self._keys.append(None)
        elif isinstance(event, yaml.CollectionEndEvent):
            node, anchor = self._open.pop()
            self._keys.pop()
            # An anchor is defined at the end of its node, so no node can contain itself.
            self._finish(node, anchor)

    @staticmethod
    def _allowed_tag(event: Any, position: Position) -> str | None:
        tag: str | None = event.tag
        if tag in (None, "!"):
            return None
        if tag not in _ALLOWED_TAGS:
            raise RefusedError(position, f"the tag {tag.replace(_TAG, '!!')} is not allowed")
        return tag

    def _alias(self, name: str, position: Position) -> AliasNode:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise RefusedError(position, f"more than {MAX_ALIASES} aliases")
        if name not in self._anchors:
            raise RefusedError(position, f"alias *{name} has no anchor &{name} before it")
        return AliasNode(position, self._anchors[name])

    def _finish(self, node: ScalarNode | SequenceNode | MappingNode, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RefusedError(node.position, f"more than {MAX_NODES} values")
        if not self._open:
            self.root = node
            return
        parent = self._open[-1][0]
        key = self._keys[-1]
        if isinstance(parent, SequenceNode):
            parent.nodes.append(node)
        elif key is None:
            self._keys[-1] = node
        else:
            parent.nodes.append((key, node))
            self._keys[-1] = None
