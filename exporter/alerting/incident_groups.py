"""Alerts about one thing: those of the queries of a group and of the group itself for the same entity.

Neither explains the other, but they are one incident: whatever began first is its root. Storms of queries of one group
belong together in the same way, as far as they have the labels of the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["WINDOW", "GroupMembers", "IncidentGroups"]

WINDOW = 3600.0
"""Seconds after its root that an alert about the same thing belongs to the incident."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The alerts that one group joins.

    Attributes
    ----------
    name : str
        Of the group.
    by : tuple of str
        Labels that say which entity an alert is about.
    queries : tuple of str
    """

    name: str
    by: tuple[str, ...]
    queries: tuple[str, ...]


class IncidentGroups:
    """Which alerts are about the same entity of a group."""

    def __init__(self, groups: Iterable[GroupMembers] = ()) -> None:
        self._by_query: dict[str, list[GroupMembers]] = {}
        self._by_name: dict[str, GroupMembers] = {}
        for group in groups:
            self._by_name[group.name] = group
            for query in group.queries:
                self._by_query.setdefault(query, []).append(group)

    def __len__(self) -> int:
        return len(self._by_name)

    def keys(self, labels: Mapping[str, str]) -> list[Key]:
        """Return the keys that alerts of one incident share, from the labels of an alert.

        >>> groups = IncidentGroups([GroupMembers("api", ("pod",), ("cpu", "latency"))])
        >>> groups.keys({"query": "cpu", "pod": "a"}) == groups.keys({"group": "api", "pod": "a"})
        True
        >>> groups.keys({"query": "cpu"}), groups.keys({"query": "cpu", "storm": "1"})
        ([], [('api', '')])
        """
        own = self._by_name.get(labels.get("group", "")) if "query" not in labels else None
        groups = self._by_query.get(labels.get("query", ""), []) if own is None else [own]
        return [
            (group.name, *(labels.get(name, "") for name in group.by))
            for group in groups
            if "storm" in labels or all(name in labels for name in group.by)
        ]
