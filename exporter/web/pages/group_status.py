"""The things of groups on the front page: the highest scores, and what part each metric has in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.web.pages.components import score_bar
from exporter.web.pages.markup import Node, tag
from exporter.web.pages.models import GroupRow, ThingRow
from exporter.web.pages.text import address, ago, label_chips

__all__ = ["things_section"]

_SMALLEST = 0.05
"""Part in the score below which a metric is not named."""


def things_section(groups: Sequence[GroupRow], things: Sequence[ThingRow], at: float) -> Node:
    """Return the section; None where there is no group."""
    if not groups:
        return None
    scored = sum(group.scored for group in groups)
    title = tag("h2", "Things of groups by score", tag("span", f"{scored:,}", class_="count"), id="things")
    said = [tag("li", _said(group, at)) for group in groups]
    content: list[Node] = [tag("ul", said, class_="health", aria_label="Groups")]
    if things:
        heads = ("Score", "Thing", "Because of")
        head = tag("tr", [tag("th", text, scope="col") for text in heads])
        table = tag("table", tag("thead", head), tag("tbody", [_thing(one, heads) for one in things]), class_="rows")
        content.append(tag("div", table, class_="scroll"))
    return tag("section", title, content, aria_labelledby="things")


def _said(group: GroupRow, at: float) -> Node:
    name = tag("b", group.name)
    if group.at is None:
        return [name, tag("span", " has said nothing so far", class_="muted")]
    counts = f" {group.anomalous:,} of {group.scored:,} anomalous" if group.scored else " is learning"
    return [name, counts, tag("span", f", judged {ago(group.at, at)}", class_="muted")]


def _thing(one: ThingRow, heads: Sequence[str]) -> Node:
    shares: list[Node] = []
    for query, share in one.shares:
        if share >= _SMALLEST:
            link = tag("a", query, href=address("graph", query, one.labels))
            shares += [", " if shares else None, link, f" {share:.0%}"]
    if not math.isnan(one.load):
        held = "all metrics are up together: a load, and no anomaly"
        shares += [" ", tag("span", f"load ×{one.load:.2g}", class_="badge learning", title=held)]  # noqa: RUF001
    cells: list[Node] = [
        [tag("b", one.group), " ", tag("span", label_chips(one.labels), class_="labels")],
        shares or tag("span", "nothing in particular", class_="muted"),
    ]
    return tag(
        "tr",
        tag("td", score_bar(one.score), data_head=heads[0]),
        [tag("td", cell, data_head=text) for cell, text in zip(cells, heads[1:], strict=True)],
    )
