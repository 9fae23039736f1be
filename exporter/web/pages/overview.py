"""The front page: is anything wrong, can it be trusted, and where to look."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np

from exporter.alerting.explanation.formatting import format_numbers
from exporter.web.pages.components import score_bar, strip
from exporter.web.pages.frame import page
from exporter.web.pages.group_status import things_section
from exporter.web.pages.markup import Markup, Node, tag
from exporter.web.pages.models import (
    Anomaly,
    EventRow,
    Health,
    Overview,
    QueryRow,
    QueryState,
    Range,
    SeriesRow,
    Wanted,
    Which,
)
from exporter.web.pages.text import address, ago, instant, label_chips, number, span

__all__ = ["overview_page"]

_ORDER = (QueryState.FAILED, QueryState.LEARNING, QueryState.WAITING, QueryState.EMPTY, QueryState.SCORED)
_WHICH = {Which.ALL: "all states", Which.ANOMALOUS: "anomalous", Which.WARMING_UP: "warming up"}
_BEFORE = 3 * 3600.0
"""Seconds that the graph of an anomaly shows before it began."""


def overview_page(facts: Overview, wanted: Wanted, *, assets: str) -> Markup:
    """Make the front page."""
    content = [
        tag("h1", "Overview", class_="hidden"),
        _summary(facts),
        _health(facts.health),
        _anomalies(facts.anomalies, facts),
        _queries(facts.queries, facts),
        things_section(facts.groups, facts.things, facts.at),
        _series(facts, wanted),
        _events(facts.events, facts),
    ]
    return page("Overview", *content, at=facts.at, zone=facts.zone, version=facts.version, assets=assets, here="./")


def _summary(facts: Overview) -> Node:
    """Say in one sentence what most people come for."""
    failed = sum(query.state is QueryState.FAILED for query in facts.queries)
    learning = sum(query.state is QueryState.LEARNING for query in facts.queries)
    empty = sum(query.state is QueryState.EMPTY for query in facts.queries)
    open_now = len(facts.anomalies)
    anomalous = sum(query.anomalous for query in facts.queries)
    scored = sum(query.scored for query in facts.queries)
    parts = [f"{_count(open_now, 'open anomaly', 'open anomalies')}"]
    parts.append(f"{anomalous:,} of {facts.total:,} series anomalous now" if facts.total else "no series so far")
    if failed:
        whose = "its" if failed == 1 else "their"
        parts.append(f"{_count(failed, 'query', 'queries')} failing: {whose} series are unknown, not fine")
    if empty:
        parts.append(f"{_count(empty, 'query', 'queries')} without a series")
    if learning:
        parts.append(f"{_count(learning, 'query', 'queries')} learning")
    if not failed and not learning and facts.total and not scored:
        parts.append("all series are still warming up, so none can alert")
    unseen = any(one.state != "acknowledged" for one in facts.anomalies)
    kind = "good"
    if unseen or failed:
        kind = "bad"
    elif open_now or empty:
        kind = "warn"
    elif learning or not facts.total:
        kind = "learning"
    word = {
        "bad": "Look here",
        "warn": "In hand" if open_now else "Incomplete",
        "learning": "Learning",
        "good": "All well",
    }[kind]
    return tag("p", tag("strong", word, class_=f"badge {kind}"), " ", " · ".join(parts), class_="summary")


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _health(health: Sequence[Health]) -> Node:
    marks = {True: ("good", "up"), False: ("bad", "down"), None: ("muted", "not asked yet")}
    items = []
    for one in health:
        kind, word = marks[one.well]
        dot = tag("span", "●", class_=f"dot {kind}", aria_hidden="true")
        items.append(
            tag("li", dot, " ", tag("b", one.kind), f" {one.name} ", tag("span", one.said or word, class_="muted"))
        )
    return tag("ul", items, class_="health", aria_label="Servers and store")


def _anomalies(anomalies: Sequence[Anomaly], facts: Overview) -> Node:
    title = tag("h2", "Open anomalies", tag("span", f"{len(anomalies):,}", class_="count"), id="anomalies")
    if not anomalies:
        return tag("section", title, tag("p", "Nothing is open.", class_="empty"), aria_labelledby="anomalies")
    rows = [_anomaly(one, facts) for one in anomalies]
    return tag("section", title, tag("ul", rows, class_="cards"), aria_labelledby="anomalies")


def _anomaly(one: Anomaly, facts: Overview) -> Node:
    kind = "bad" if one.state == "firing" else "warn"
    within = Range(one.since - _BEFORE, max(facts.at, one.since))
    return tag(
        "li",
        tag(
            "p",
            tag("span", one.state, class_=f"badge {kind}"),
            " ",
            tag("a", one.query, href=address("graph", one.query, one.labels, within), class_="name")
            if one.has_graph
            else tag("b", one.query),
            tag(
                "span", " for ", span(facts.at - one.since), ", since ", instant(one.since, facts.zone), class_="muted"
            ),
        ),
        tag("p", one.summary),
        tag("p", label_chips(one.labels), class_="labels"),
        [tag("p", said, class_="muted") for said in one.said],
    )


def _queries(queries: Sequence[QueryRow], facts: Overview) -> Node:
    title = tag("h2", "Queries", tag("span", f"{len(queries):,}", class_="count"), id="queries")
    heads = ("Query", "State", "Series", "Scored", "Warming up", "Anomalous", "Judged")
    numeric = (False, False, True, True, True, True, False)
    head = tag(
        "tr", [tag("th", text, scope="col", class_="n" if n else None) for text, n in zip(heads, numeric, strict=True)]
    )
    ordered = sorted(queries, key=lambda one: (_ORDER.index(one.state), -one.anomalous))
    body = [_query(one, heads, facts) for one in ordered]
    table = tag("table", tag("thead", head), tag("tbody", body), class_="rows")
    return tag("section", title, tag("div", table, class_="scroll"), aria_labelledby="queries")


def _query(one: QueryRow, heads: Sequence[str], facts: Overview) -> Node:
    kinds = {QueryState.FAILED: "bad", QueryState.SCORED: "good", QueryState.EMPTY: "warn"}
    state: list[Node] = [tag("span", str(one.state), class_=f"badge {kinds.get(one.state, 'learning')}")]
    if one.state is QueryState.LEARNING:
        share = f"{one.progress:.0%}"
        state += [
            " ",
            tag("progress", share, value=f"{one.progress:.3f}", max=1, aria_label="history read"),
            f" {share}",
        ]
    if one.trouble:
        state.append(tag("span", one.trouble, class_="why"))
    name = [
        tag("a", one.name, href="./?" + urlencode({"query": one.name}) + "#series", class_="name"),
        None if one.alerting else tag("span", " scores only", class_="muted"),
        tag("code", one.expr, class_="expr", title=one.expr),
    ]
    judged = "not yet" if one.judged_at is None else ago(one.judged_at, facts.at)
    stale = one.judged_at is not None and facts.at - one.judged_at > 3 * one.interval
    cells: list[tuple[Node, str | None]] = [
        (state, None),
        (f"{one.series:,}", "n"),
        (f"{one.scored:,}", "n"),
        (f"{one.warming_up:,}" if one.warming_up else "0", "n"),
        (f"{one.anomalous:,}", "n bad" if one.anomalous else "n"),
        (tag("span", judged, class_="warn" if stale else None), None),
    ]
    return tag(
        "tr",
        tag("th", name, scope="row"),
        [tag("td", cell, class_=kind, data_head=text) for (cell, kind), text in zip(cells, heads[1:], strict=True)],
    )


def _series(facts: Overview, wanted: Wanted) -> Node:
    title = tag("h2", "Series by score", tag("span", f"{facts.matching:,}", class_="count"), id="series")
    heads = ("Score", "Series", "Last samples in the band", "Observed", "Expected", "Band", "Votes")
    numeric = (False, False, False, True, True, True, True)
    head = tag(
        "tr", [tag("th", text, scope="col", class_="n" if n else None) for text, n in zip(heads, numeric, strict=True)]
    )
    if facts.series:
        table = tag(
            "table", tag("thead", head), tag("tbody", [_row(one, heads) for one in facts.series]), class_="rows"
        )
        content: Node = [tag("div", table, class_="scroll"), _pages(facts, wanted)]
    else:
        content = tag("p", _nothing(facts, wanted), class_="empty")
    return tag("section", title, _filter(facts, wanted), content, aria_labelledby="series")


def _nothing(facts: Overview, wanted: Wanted) -> str:
    if wanted.query or wanted.text or wanted.which is not Which.ALL:
        return "No series fits this filter."
    if any(query.state is QueryState.LEARNING for query in facts.queries):
        return "History is being read; the first scores come with the first slot after it."
    return "No query has a series so far. Does its expression return something in Prometheus?"


def _filter(facts: Overview, wanted: Wanted) -> Node:
    names = [("", "all queries"), *((query.name, query.name) for query in facts.queries)]
    chosen = wanted.query or ""
    queries = [tag("option", text, value=value, selected=value == chosen) for value, text in names]
    states = [tag("option", text, value=str(which), selected=which is wanted.which) for which, text in _WHICH.items()]
    return tag(
        "form",
        tag("label", "Query ", tag("select", queries, name="query")),
        tag("label", "Labels contain ", tag("input", type="search", name="text", value=wanted.text, maxlength=200)),
        tag("label", "State ", tag("select", states, name="which")),
        tag("button", "Show"),
        action="./#series",
        method="get",
        class_="filter",
        role="search",
    )


def _row(one: SeriesRow, heads: Sequence[str]) -> Node:
    seen, usual, low, high = format_numbers([one.observed, one.expected, one.lower, one.upper], one.unit)
    labels = [
        tag("a", one.query, href=address("graph", one.query, one.labels), class_="name"),
        [" ", marks(one)],
        tag("span", label_chips(one.labels), class_="labels"),
    ]
    votes = "" if np.isnan(one.votes) else f"{one.votes:.0f}"
    cells: list[tuple[Node, str | None]] = [
        (labels, None),
        (strip(one.place), None),
        (number(one.observed, seen), "n"),
        (number(one.expected, usual), "n"),
        (band(one.lower, one.upper, low, high), "n"),
        (number(one.votes, votes), "n"),
    ]
    return tag(
        "tr",
        tag("td", score_bar(one.score), data_head=heads[0]),
        [tag("td", cell, class_=kind, data_head=text) for (cell, kind), text in zip(cells, heads[1:], strict=True)],
    )


def marks(one: SeriesRow) -> Node:
    """Say why the score of a series may be taken lightly."""
    found = []
    if not one.ready:
        found.append(tag("span", "warming up", class_="badge learning", title="too young to alert"))
    if one.masked:
        found.append(
            tag("span", "not learned", class_="badge learning", title="a silence or a known event concerns it")
        )
    return [[mark, " "] for mark in found]


def band(lower: float, upper: float, low: str, high: str) -> Node:
    """Show a band; where it has one edge only, say which."""
    if np.isnan(lower) and np.isnan(upper):
        return number(np.nan, "")
    if np.isnan(lower):
        return f"up to {high}"
    return f"from {low}" if np.isnan(upper) else f"{low} to {high}"


def _pages(facts: Overview, wanted: Wanted) -> Node:
    last = max(1, -(-facts.matching // wanted.size))
    if last == 1:
        return None

    def link(number: int, text: str, rel: str) -> Node:
        if not 1 <= number <= last:
            return tag("span", text, class_="muted")
        given = {"query": wanted.query or "", "text": wanted.text, "which": str(wanted.which), "page": str(number)}
        return tag("a", text, href="./?" + urlencode({k: v for k, v in given.items() if v}) + "#series", rel=rel)

    where = f"page {wanted.page:,} of {last:,}"
    pages = [link(wanted.page - 1, "‹ Previous", "prev"), tag("span", where), link(wanted.page + 1, "Next ›", "next")]  # noqa: RUF001
    return tag("nav", pages, class_="pages", aria_label="Pages of series")


def _events(events: Sequence[EventRow], facts: Overview) -> Node:
    title = tag("h2", "Upcoming events", tag("span", f"{len(events):,}", class_="count"), id="events")
    if not events:
        said = "No known event is in effect or comes within a week."
        return tag("section", title, tag("p", said, class_="empty"), aria_labelledby="events")
    rows = []
    for one in events:
        now = one.starts_at <= facts.at < one.ends_at
        when = f"in effect, {span(one.ends_at - facts.at)} left" if now else ago(one.starts_at, facts.at)
        rows.append(
            tag(
                "li",
                tag("p", tag("span", one.action, class_="badge learning"), " ", tag("b", one.name), f" {when}"),
                tag("p", instant(one.starts_at, facts.zone), " to ", instant(one.ends_at, facts.zone), class_="muted"),
                tag("p", tag("code", one.match), class_="muted") if one.match else None,
            )
        )
    return tag("section", title, tag("ul", rows, class_="cards"), aria_labelledby="events")
