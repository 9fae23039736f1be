"""YAML text to a tree of nodes, within limits that no configuration reaches.

PyYAML gives the events. Its own composer is not used: it is recursive, has no limits, and loses the place of
an alias.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.resolver import Resolver

__all__ = ["MAX_DEPTH", "MAX_NODES", "Alias", "Items", "Node", "Pairs", "Place", "RefusedError", "Scalar", "compose"]

MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_ALIASES = 100

# The C parser is about ten times as fast; wheels of PyYAML have it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))


class Place(NamedTuple):
    """Where something stands in the file; both count from 1."""

    line: int
    column: int


class RefusedError(Exception):
    """Reading cannot go on; `message` is for the user."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts; `kind` is what YAML 1.1 takes it for: str, int, float, bool, null, merge, ..."""

    place: Place
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping, with its keys as written: in order, duplicates included."""

    place: Place
    nodes: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Alias:
    """A reference to a node that came before; it has its own place."""

    place: Place
    target: Scalar | Items | Pairs


Node = Scalar | Items | Pairs | Alias


def compose(text: str) -> Node:
    """Build the tree of the only document in `text`.

    Raises
    ------
    RefusedError
        Empty, more than one document, or beyond a limit.
    yaml.YAMLError
        Not YAML.
    """
    builder = _Builder()
    for event in yaml.parse(text, Loader=_LOADER):
        builder.take(event)
    if builder.root is None:
        raise RefusedError(Place(1, 1), "the file is empty")
    return builder.root


class _Builder:
    """Events in, tree out. Not recursive, so nesting cannot exhaust the stack before it is refused."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._resolver: Any = Resolver()
        self._anchors: dict[str, Scalar | Items | Pairs] = {}
        self._open: list[tuple[Items | Pairs, str | None]] = []
        self._keys: list[Node | None] = []
        self._nodes = 0
        self._aliases = 0

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise RefusedError(place, "a second YAML document starts here; a configuration file is one document")
        if isinstance(event, yaml.AliasEvent):
            self._add(self._alias(str(event.anchor), place))
        elif isinstance(event, yaml.ScalarEvent):
            tag = self._known_tag(event, place)
            if tag is None:
                tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
            self._finish(Scalar(place, tag.removeprefix(_TAG), event.value), event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) >= MAX_DEPTH:
                raise RefusedError(place, f"nested deeper than {MAX_DEPTH} levels")
            self._known_tag(event, place)
            kind = Items if isinstance(event, yaml.SequenceStartEvent) else Pairs
            self._open.append((kind(place), event.anchor))
            self._keys.append(None)
        elif isinstance(event, yaml.CollectionEndEvent):
            node, anchor = self._open.pop()
            self._keys.pop()
            # An anchor counts from the end of its node on, so nothing can contain itself.
            self._finish(node, anchor)

    @staticmethod
    def _known_tag(event: Any, place: Place) -> str | None:
        tag: str | None = event.tag
        if tag in (None, "!"):
            return None
        if tag not in _KNOWN_TAGS:
            raise RefusedError(place, f"the tag {tag.replace(_TAG, '!!')} is not allowed")
        return tag

    def _alias(self, name: str, place: Place) -> Alias:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise RefusedError(place, f"more than {MAX_ALIASES} aliases")
        if name not in self._anchors:
            raise RefusedError(place, f"alias *{name} has no anchor &{name} before it")
        return Alias(place, self._anchors[name])

    def _finish(self, node: Scalar | Items | Pairs, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RefusedError(node.place, f"more than {MAX_NODES} values")
        if not self._open:
            self.root = node
            return
        parent = self._open[-1][0]
        key = self._keys[-1]
        if isinstance(parent, Items):
            parent.nodes.append(node)
        elif key is None:
            self._keys[-1] = node
        else:
            parent.nodes.append((key, node))
            self._keys[-1] = None
