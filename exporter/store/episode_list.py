"""Episodes page by page, by what a filter says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exporter.alerting.episode import Episode, Feedback, Status
from exporter.store.episode_rows import EPISODES, decode_episode, select_episodes

__all__ = ["EpisodeCursor", "EpisodeFilter", "EpisodePage", "page_of"]

_SCAN = 500
_MOST_SCANNED = 10_000
"""Rows that one request may read where it filters by labels: no index helps there."""
_OPENED = EPISODES.index("opened_at")

EpisodeCursor = tuple[float, str]
"""Where a page ended: when its last episode was opened, and its id."""


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """Episodes, newest first, and where the next page begins; None where there is none."""

    episodes: tuple[Episode, ...]
    next: EpisodeCursor | None


@dataclass(frozen=True, slots=True)
class EpisodeFilter:
    """Which episodes a page lists; a field that is None excludes nothing.

    Attributes
    ----------
    since, until : float, Unix seconds
        Episodes that were not over before the first and that had begun by the second.
    fired : bool
        Whether they fired, so that Alertmanagers were notified.
    least_score : float
        Of the worst slot.
    labels : callable
        Returns whether a label set is listed.
    """

    query: str | None = None
    fingerprint: str | None = None
    status: Status | None = None
    feedback: Feedback | None = None
    since: float | None = None
    until: float | None = None
    fired: bool | None = None
    least_score: float | None = None
    labels: Callable[[Mapping[str, str]], bool] | None = None


def page_of(con: sqlite3.Connection, filters: EpisodeFilter, after: EpisodeCursor | None, limit: int) -> EpisodePage:
    """Read a page of episodes, those opened last first; see `EpisodeLog.page`."""
    conditions, values = _conditions(filters)
    episodes: list[Episode] = []
    scanned = 0
    while True:
        where = " AND ".join([*conditions, *(["(opened_at, id) < (?, ?)"] if after else [])]) or "1"
        batch = _SCAN if filters.labels is not None else limit + 1 - len(episodes)
        rows = select_episodes(con, where, (*values, *(after or ())), batch)
        for row in rows:
            episode = decode_episode(con, row)
            if episode is None or not (filters.labels is None or filters.labels(episode.labels)):
                continue
            if len(episodes) == limit:
                return EpisodePage(tuple(episodes), (episodes[-1].opened_at, episodes[-1].id))
            episodes.append(episode)
        if len(rows) < batch:
            return EpisodePage(tuple(episodes), None)
        after, scanned = (rows[-1][_OPENED], rows[-1][0]), scanned + len(rows)
        if scanned >= _MOST_SCANNED:
            return EpisodePage(tuple(episodes), after)


def _conditions(filters: EpisodeFilter) -> tuple[list[str], list[object]]:
    conditions: list[tuple[str, object]] = []
    for name in ("query", "fingerprint", "status", "feedback"):
        value = getattr(filters, name)
        if value is not None:
            conditions.append((f"{name} = ?", str(value)))
    if filters.since is not None:
        conditions.append(("coalesce(resolved_at, 1e300) >= ?", float(filters.since)))
    if filters.until is not None:
        conditions.append(("opened_at <= ?", float(filters.until)))
    if filters.fired is not None:
        conditions.append(("(fired_at IS NOT NULL) = ?", int(filters.fired)))
    if filters.least_score is not None:
        conditions.append(("score >= ?", float(filters.least_score)))
    return [condition for condition, _ in conditions], [value for _, value in conditions]
