"""Groups held against the queries that they name. On plain data, so that no other mistake hides one here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exporter.config.environment import Finding
from exporter.config.messages import closest
from exporter.config.yaml_source import Loc

__all__ = ["check_groups"]


def check_groups(data: Any) -> Iterator[Finding]:
    """Check that groups have names of their own and name queries that are there, each once."""
    groups, queries = (data.get(name) if isinstance(data, dict) else None for name in ("groups", "queries"))
    if not isinstance(groups, list):
        return
    # Where the list of queries cannot be read, nobody knows which names are wrong.
    known = [query.get("name") for query in queries if isinstance(query, dict)] if isinstance(queries, list) else None
    names: dict[str, int] = {}
    for at, group in enumerate(groups):
        if not isinstance(group, dict):
            continue
        name = group.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Finding(("groups", at, "name"), f"groups[{names[name]}] has the same name; names must differ")
        yield from _members(("groups", at, "queries"), group.get("queries"), known)
        yield from _twice(("groups", at, "by"), group.get("by"), "this label is listed twice")
        alert = group.get("alert")
        if isinstance(alert, dict) and "budget" in alert:
            message = "a group has no budget: its threshold is `contamination`"
            yield Finding(("groups", at, "alert", "budget"), message, at_key=True)


def _members(loc: Loc, members: Any, known: list[Any] | None) -> Iterator[Finding]:
    if not isinstance(members, list):
        return
    yield from _twice(loc, members, "this query is listed twice; its metric would count twice")
    for at, member in enumerate(members):
        if isinstance(member, str) and known is not None and member not in known:
            names = [name for name in known if isinstance(name, str)]
            yield Finding((*loc, at), f"there is no query {member[:60]!r}{closest(member, names)}")


def _twice(loc: Loc, items: Any, message: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for at, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str) and item in seen:
            yield Finding((*loc, at), message)
        elif isinstance(item, str):
            seen.add(item)
