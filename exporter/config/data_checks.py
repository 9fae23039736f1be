"""Checks of plain data, before validation: names and references, so that no other mistake hides these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from exporter.config.engine_settings import holidays_of
from exporter.config.messages import Diagnostic, closest, duplicates
from exporter.promql.drill_down import UnsplittableError, drill_down_query
from exporter.promql.lint import examine
from exporter.yaml_reader import Loc

_LABEL = re.compile(r"\{\{\s*labels\.\w+\s*\}\}")

__all__ = ["check_calendar", "check_causes", "check_expressions", "check_groups", "check_holidays", "check_sources"]


def check_expressions(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check the names and expressions of all queries."""
    if data.get("queries") in (None, []):
        yield Diagnostic(("queries",), "there are no queries; at least one is needed", at_key=True)
    yield from _same_names(data, "queries")
    for at, query in _items(data, "queries"):
        if isinstance(query.get("expr"), str):
            for problem in examine(query["expr"]):
                yield Diagnostic(("queries", at, "expr"), problem.message, warning=not problem.fatal)
            yield from _drill_down(("queries", at, "drill_down"), query)
    yield from _contexts(data)
    for section in ("changes", "incidents"):
        yield from _same_names(data, section)
        for at, item in _items(data, section):
            for problem in examine(item["expr"]) if isinstance(item.get("expr"), str) else ():
                yield Diagnostic((section, at, "expr"), problem.message, warning=not problem.fatal)
        for at, item in _items(data, section):
            if section == "incidents" and not item.get("equal") and not item.get("match"):
                message = "without equal and match no series at all is learned meanwhile"
                yield Diagnostic((section, at), message, warning=True)
    for at, dependency in _items(data, "dependencies"):
        if isinstance(dependency.get("from_query"), str):
            for problem in examine(dependency["from_query"]):
                yield Diagnostic(("dependencies", at, "from_query"), problem.message, warning=not problem.fatal)


def check_sources(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that every source that is named is there."""
    names = [source["name"] for _, source in _items(data, "sources") if isinstance(source.get("name"), str)]
    for section in ("queries", "changes", "incidents", "dependencies"):
        for at, item in _items(data, section):
            name = item.get("source")
            if isinstance(name, str) and name not in names:
                there = closest(name, names) or (f"; there are: {', '.join(names)}" if names else "; there are none")
                yield Diagnostic((section, at, "source"), f"there is no source {name[:60]!r}{there}")


def _contexts(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check names and expressions of what is asked when alerts fire."""
    for section in ("queries", "groups"):
        for at, owner in _items(data, section):
            alert = owner.get("alert")
            if not isinstance(alert, dict):
                continue
            loc: Loc = (section, at, "alert", "context")
            contexts = _items(alert, "context")
            yield from duplicates(
                [((*loc, n, "name"), each["name"]) for n, each in contexts if isinstance(each.get("name"), str)],
                lambda _: "another has the same name; names must differ",
            )
            for number, context in contexts:
                for field in ("expr", "exemplars"):
                    expr = context.get(field)
                    # A label of the alert stands inside a string.
                    for problem in examine(_LABEL.sub("x", expr)) if isinstance(expr, str) else ():
                        yield Diagnostic((*loc, number, field), problem.message, warning=not problem.fatal)


def _drill_down(loc: Loc, query: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that the aggregate of a query can be split."""
    settings = query.get("drill_down")
    own = settings.get("expr") if isinstance(settings, dict) else None
    expr: str = own if isinstance(own, str) else query["expr"]
    if settings is None or any(problem.fatal for problem in examine(query["expr"])):
        return
    for problem in examine(expr) if expr is own else ():
        yield Diagnostic((*loc, "expr"), problem.message, warning=not problem.fatal)
        if problem.fatal:
            return
    try:
        drill_down_query(expr, ["label"])
    except UnsplittableError as reason:
        advice = "" if expr is own else "; give an expression that can be in drill_down.expr"
        yield Diagnostic((*loc, "expr") if expr is own else loc, f"{reason}{advice}")


def check_groups(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that the names of groups differ, and that each group names existing queries, each once."""
    yield from _same_names(data, "groups")
    existing = [query.get("name") for _, query in _items(data, "queries")]
    # Without a readable list of queries no name can be called wrong.
    readable = isinstance(data.get("queries"), list)
    for at, group in _items(data, "groups"):
        yield from _members(("groups", at, "queries"), group.get("queries"), existing if readable else None)
        yield from _listed_twice(("groups", at, "by"), group.get("by"), "this label is listed twice")
        yield from _votes(("groups", at, "votes"), group)
        alert = group.get("alert")
        if isinstance(alert, dict) and "budget" in alert:
            message = "a group has no budget: its threshold is `contamination`"
            yield Diagnostic(("groups", at, "alert", "budget"), message, at_key=True)


def _votes(loc: Loc, group: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that the voters of a group are among its queries, and that as many votes as are needed can be had."""
    votes, members = group.get("votes"), group.get("queries")
    if not isinstance(votes, dict) or not isinstance(members, list):
        return
    voters, quorum = votes.get("queries"), votes.get("quorum")
    names = [name for name in members if isinstance(name, str)]
    if isinstance(voters, list):
        yield from _listed_twice((*loc, "queries"), voters, "this query is listed twice; it has one vote")
        for at, voter in enumerate(voters):
            if isinstance(voter, str) and voter not in names:
                message = f"{voter[:60]!r} is not among the queries of this group{closest(voter, names)}"
                yield Diagnostic((*loc, "queries", at), message)
    most = len(voters if isinstance(voters, list) and voters else names) + 1
    if isinstance(quorum, int) and quorum > most:
        message = f"there are {most} votes: one of each voting query, and that of the joint detector"
        yield Diagnostic((*loc, "quorum"), message)


def check_causes(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that what measures the damage, and whose alerts it explains, exists."""
    queries, groups = (
        [item["name"] for _, item in _items(data, section) if isinstance(item.get("name"), str)]
        for section in ("queries", "groups")
    )
    if not isinstance(data.get("queries"), list):
        return
    for at, cause in _items(data, "causes"):
        alerts = cause.get("alerts")
        for number, name in enumerate(alerts if isinstance(alerts, list) else ()):
            if isinstance(name, str) and name not in (*queries, *groups):
                message = f"there is no query or group {name[:60]!r}{closest(name, [*queries, *groups])}"
                yield Diagnostic(("causes", at, "alerts", number), message)
        for field in ("damage", "times", "work"):
            name = cause.get(field)
            if isinstance(name, str) and name not in queries:
                yield Diagnostic(("causes", at, field), f"there is no query {name[:60]!r}{closest(name, queries)}")


def _members(loc: Loc, members: Any, existing: list[Any] | None) -> Iterator[Diagnostic]:
    if not isinstance(members, list):
        return
    yield from _listed_twice(loc, members, "this query is listed twice; its metric would count twice")
    for at, member in enumerate(members):
        if isinstance(member, str) and existing is not None and member not in existing:
            names = [name for name in existing if isinstance(name, str)]
            yield Diagnostic((*loc, at), f"there is no query {member[:60]!r}{closest(member, names)}")


def _listed_twice(loc: Loc, items: Any, message: str) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for at, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str) and item in seen:
            yield Diagnostic((*loc, at), message)
        elif isinstance(item, str):
            seen.add(item)


def check_calendar(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check that the names of entries differ, and that silences have an Alertmanager."""
    yield from _same_names(data, "calendar")
    for at, entry in _items(data, "calendar"):
        if entry.get("action") == "silence" and not data.get("alertmanagers"):
            message = "there is no Alertmanager to silence; this entry only keeps the time from being learned"
            yield Diagnostic(("calendar", at, "action"), message, warning=True)


def check_holidays(data: dict[str, Any]) -> Iterator[Diagnostic]:
    """Check every `baseline.holidays`, the common one and those of queries: a country or part of one."""
    owners: list[tuple[Loc, dict[str, Any]]] = [((), data)]
    owners += [(("queries", at), query) for at, query in _items(data, "queries")]
    for loc, owner in owners:
        baseline = owner.get("baseline")
        region = baseline.get("holidays") if isinstance(baseline, dict) else None
        if not isinstance(region, str):
            common = data.get("baseline")
            anywhere = region is None and isinstance(common, dict) and isinstance(common.get("holidays"), str)
            if isinstance(baseline, dict) and baseline.get("bridge_days") is True and not anywhere:
                message = "without holidays there are no bridge days; say which with holidays, such as DE"
                yield Diagnostic((*loc, "baseline", "bridge_days"), message, warning=True)
            continue
        try:
            holidays_of(region)
        except NotImplementedError as error:
            advice = "write a country such as DE, or a part as in US-CA"
            message = f"no holidays are known of {region[:20]!r} ({error}); {advice}"
            yield Diagnostic((*loc, "baseline", "holidays"), message)


def _items(data: dict[str, Any], section: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the items of a list that are mappings, with their indices."""
    items = data.get(section)
    return [(at, item) for at, item in enumerate(items if isinstance(items, list) else ()) if isinstance(item, dict)]


def _same_names(data: dict[str, Any], section: str) -> Iterator[Diagnostic]:
    names = ((at, item.get("name")) for at, item in _items(data, section))
    return duplicates(
        [((section, at, "name"), name) for at, name in names if isinstance(name, str)],
        lambda first: f"{first} has the same name; names must differ",
    )
