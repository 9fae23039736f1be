"""What cycles need of the world outside: the daemon gives them servers and a database, a backtest the past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from exporter.alerting.alert import Step
from exporter.exposition import Rows
from exporter.prometheus import Frame
from exporter.store import AuditCursor, AuditPage, LearnedState

__all__ = ["QueryApi", "StateStore", "MetricsPage"]


class QueryApi(Protocol):
    """What slots ask; see `PrometheusApi`."""

    def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
        """Evaluate `expr` at an instant."""


class StateStore(Protocol):
    """Where alerts and what is learned are kept; see `Store`."""

    def commit(self, query: str, slot: float, step: Step) -> bool:
        """Apply the step of a slot, unless it was applied before."""

    def record(self, query: str, step: Step) -> None:
        """Apply a step that belongs to no slot."""

    def audit(
        self,
        *,
        query: str | None = None,
        fingerprint: str | None = None,
        since: float | None = None,
        after: AuditCursor | None = None,
        limit: int = 100,
    ) -> AuditPage:
        """Return a page of what happened, newest first."""

    def save_learned(
        self,
        query: str,
        version: str,
        at: float,
        parts: Mapping[str, NDArray[Any]],
        series: Iterable[tuple[int, bytes]] | None = None,
        removed: Iterable[int] = (),
    ) -> None:
        """Write what was learned."""

    def load_learned(self, query: str, version: str) -> LearnedState | None:
        """Return what was learned."""


class MetricsPage(Protocol):
    """Where scores are shown; see `Exposition`."""

    def publish(self, query: str, rows: Rows) -> None:
        """Replace all rows of a query."""

    def publish_group(self, group: str, prefixes: Sequence[bytes], score: NDArray[Any]) -> None:
        """Replace all rows of a group."""

    def withdraw(self, query: str) -> None:
        """Remove all rows of a query."""

    def withdraw_group(self, group: str) -> None:
        """Remove all rows of a group."""
