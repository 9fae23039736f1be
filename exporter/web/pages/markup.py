"""HTML from Python, escaped wherever it is not markup already.

`tag` escapes all text and every attribute; only what it returned itself is taken as it is. So there is no way to
put a label value into a page unescaped, and nothing to remember.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

__all__ = ["Markup", "Node", "join", "tag"]

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "rect", "circle", "polyline", "line"})
# Characters that no document may contain, not even as references.
_HARMFUL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Node = str | Iterable["Node"] | None
"""What an element may contain: text, markup, or any nesting of them; None is nothing."""


def tag(name: str, /, *children: Node, **attributes: str | float | bool | None) -> Markup:
    """Make an element.

    An attribute that is None or False is left out, one that is True has no value. A trailing underscore is
    dropped from its name (``class_``) and other underscores become dashes.

    >>> tag("a", "<b>", href="/?a=1&b=2", class_="x", hidden=True)
    '<a href="/?a=1&amp;b=2" class="x" hidden>&lt;b&gt;</a>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        said = key.rstrip("_").replace("_", "-")
        parts.append(f" {said}" if value is True else f' {said}="{_escaped(str(value))}"')
    if name in _VOID and not children:
        return Markup("".join(parts) + ("/>" if name in ("rect", "circle", "polyline", "line") else ">"))
    return Markup("".join(parts) + ">" + join(children) + f"</{name}>")


def join(nodes: Iterable[Node]) -> Markup:
    """Put nodes after each other, text escaped.

    >>> join(["a & b", tag("br")])
    'a &amp; b<br>'
    """
    return Markup("".join(_render(node) for node in nodes))


def _render(node: Node) -> str:
    if node is None:
        return ""
    if isinstance(node, Markup):
        return node
    if isinstance(node, str):
        return _escaped(node)
    return join(node)


def _escaped(text: str) -> str:
    return escape(_HARMFUL.sub("\ufffd", text))
