"""Checks of plain data, before validation: names and references, so that no other mistake hides these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exporter.config.engine_settings import holidays_of
from exporter.config.messages import Diagnostic, closest, duplicates
from exporter.promql.lint import examine
from exporter.yaml_reader import Loc

__all__ = ["check_calendar", "check_expressions", "check_groups", "check_holidays"]


def check_expressions(data: Any) -> Iterator[Diagnostic]:
    """Check the names and expressions of all queries."""
    queries = data.get("queries") if isinstance(data, dict) else None
    if queries is None or queries == []:
        yield Diagnostic(("queries",), "there are no queries; at least one is needed", at_key=True)
    if not isinstance(queries, list):
        return
    named = [(at, query) for at, query in enumerate(queries) if isinstance(query, dict)]
    yield from duplicates(
        [(("queries", at, "name"), query["name"]) for at, query in named if isinstance(query.get("name"), str)],
        lambda first: f"{first} has the same name; names must differ",
    )
    for at, query in named:
        if isinstance(query.get("expr"), str):
            for problem in examine(query["expr"]):
                yield Diagnostic(("queries", at, "expr"), problem.message, warning=not problem.fatal)


def check_groups(data: Any) -> Iterator[Diagnostic]:
    """Check that the names of groups differ, and that each group names existing queries, each once."""
    groups, queries = (data.get(name) if isinstance(data, dict) else None for name in ("groups", "queries"))
    if not isinstance(groups, list):
        return
    # Without a readable list of queries no name can be called wrong.
    existing = (
        [query.get("name") for query in queries if isinstance(query, dict)] if isinstance(queries, list) else None
    )
    names: dict[str, int] = {}
    for at, group in enumerate(groups):
        if not isinstance(group, dict):
            continue
        name = group.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Diagnostic(("groups", at, "name"), f"groups[{names[name]}] has the same name; names must differ")
        yield from _members(("groups", at, "queries"), group.get("queries"), existing)
        yield from _listed_twice(("groups", at, "by"), group.get("by"), "this label is listed twice")
        alert = group.get("alert")
        if isinstance(alert, dict) and "budget" in alert:
            message = "a group has no budget: its threshold is `contamination`"
            yield Diagnostic(("groups", at, "alert", "budget"), message, at_key=True)


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


def check_calendar(data: Any) -> Iterator[Diagnostic]:
    """Check that the names of entries differ, and that silences have an Alertmanager."""
    entries = data.get("calendar") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        return
    names: dict[str, int] = {}
    for at, entry in enumerate(entries):
        if not isinstance(entry, dict):
            continue
        name = entry.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Diagnostic(("calendar", at, "name"), f"calendar[{names[name]}] has the same name; names must differ")
        if entry.get("action") == "silence" and not data.get("alertmanagers"):
            message = "there is no Alertmanager to silence; this entry only keeps the time from being learned"
            yield Diagnostic(("calendar", at, "action"), message, warning=True)


def check_holidays(data: Any) -> Iterator[Diagnostic]:
    """Check every `baseline.holidays`, the common one and those of queries: a country or part of one."""
    if not isinstance(data, dict):
        return
    queries = data.get("queries")
    owners: list[tuple[Loc, Any]] = [((), data)]
    owners += [(("queries", at), query) for at, query in enumerate(queries if isinstance(queries, list) else ())]
    for loc, owner in owners:
        baseline = owner.get("baseline") if isinstance(owner, dict) else None
        region = baseline.get("holidays") if isinstance(baseline, dict) else None
        if not isinstance(region, str):
            continue
        try:
            holidays_of(region)
        except NotImplementedError as error:
            advice = "write a country such as DE, or a part as in US-CA"
            message = f"no holidays are known of {region[:20]!r} ({error}); {advice}"
            yield Diagnostic((*loc, "baseline", "holidays"), message)
