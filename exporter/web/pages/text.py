"""How the pages write instants, spans, numbers, series and the addresses of their graphs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.links import RESERVED
from exporter.web.pages.markup import Markup, Node, tag
from exporter.web.pages.models import Labels, Range

__all__ = ["address", "ago", "instant", "label_chips", "labels_in", "number", "span"]

_PREFIX = "label."
_LONGEST = 80
_STEPS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def address(page: str, query: str, labels: Labels, within: Range | None = None, **more: str) -> str:
    """Return the relative address of the graph or chart of a series.

    >>> address("graph", "cpu", [("job", "a&b"), ("to", "x")], Range(60.0, 120.0))
    'graph?query=cpu&job=a%26b&label.to=x&from=60&to=120'
    """
    pairs = [("query", query)]
    pairs += [(f"{_PREFIX}{name}" if _is_special(name) else name, value) for name, value in labels]
    if within is not None:
        pairs += [("from", f"{within.start:.0f}"), ("to", f"{within.end:.0f}")]
    return f"{page}?{urlencode([*pairs, *more.items()])}"


def labels_in(parameters: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the labels among the parameters of a request: the inverse of `address`.

    >>> labels_in([("query", "cpu"), ("job", "a"), ("label.query", "x"), ("from", "0")])
    (('job', 'a'), ('query', 'x'))
    """
    found: Mapping[str, str] = {
        name.removeprefix(_PREFIX): value for name, value in parameters if name not in RESERVED and value
    }
    return tuple(sorted(found.items()))


def _is_special(name: str) -> bool:
    return name in RESERVED or name.startswith(_PREFIX)


def span(seconds: float) -> str:
    """Write a length of time by its two largest units.

    >>> span(93784.0), span(60.0), span(0.4)
    ('1 d 2 h', '1 min', '0 s')
    """
    left = abs(seconds)
    parts: list[str] = []
    for size, unit in _STEPS:
        count = int(left // size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
            left -= count * size
    return " ".join(filter(None, parts[:2])) or "0 s"


def ago(at: float, now: float) -> str:
    """Say how long ago an instant is, or how soon it comes.

    >>> ago(40.0, 100.0), ago(160.0, 100.0)
    ('1 min ago', 'in 1 min')
    """
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def instant(at: float, zone: str) -> Markup:
    """Write an instant by the wall clock of a zone, for people and for machines."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    machine = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tag("time", local.strftime("%Y-%m-%d %H:%M:%S %Z"), datetime=machine, title=f"{machine} (page: {zone})")


def number(value: float, text: str) -> Node:
    """Show a number that was written already; a dash where it is absent."""
    return tag("span", "–", class_="absent", title="absent") if math.isnan(value) else text  # noqa: RUF001


def label_chips(labels: Labels) -> Node:
    """Show a label set; what is too long is cut, and whole in the tooltip."""
    if not labels:
        return tag("span", "no labels", class_="muted")
    # The name of the metric says itself what it is.
    ordered = sorted(labels, key=lambda pair: pair[0] != "__name__")
    return [_chip(name, value) for name, value in ordered]


def _chip(name: str, value: str) -> Node:
    short = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    text: Node = short if name == "__name__" else [tag("b", name), "=", short]
    return [tag("span", text, class_="label", title=f"{name}={value}"), " "]
