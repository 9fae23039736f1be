"""What follows the slots of a query: its shadow, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.learner import Learner
from exporter.evaluation.query_alerts import AlertEvaluator
from exporter.evaluation.shadow_status import ShadowStatus
from exporter.prometheus import Frame, HistoryChunk

__all__ = ["Follower", "JudgedSlot"]


@dataclass(frozen=True, slots=True)
class JudgedSlot:
    """What a query made of an answer: its verdict by the rows of its own table, and its alerts after it."""

    frame: Frame
    verdict: Verdict
    table: SeriesTable
    alerts: AlertEvaluator


class Follower:
    """Sees the same samples as a query; none of its failures reaches the query. This one does nothing."""

    @property
    def status(self) -> ShadowStatus | None:
        """How it differs from the query; None: there is nothing to compare."""
        return None

    @property
    def engine(self) -> Engine | None:
        """What it has learned; None: it never learns."""
        return None

    def restore(self, now: float) -> None:
        """Restore what an earlier process learned, once; `now` in Unix seconds."""

    def read_along(self, query: Learner, now: float) -> Callable[[HistoryChunk, float], None] | None:
        """Return what learns the history that the query reads now up to `now`; None where it needs another."""

    def is_behind(self, query: Learner) -> bool:  # noqa: ARG002 - a shadow compares.
        """Return whether history has to be read for it alone: it began later, or missed a slot."""
        return False

    def catch_up(self, query: Learner, now: float, beat: Callable[[], None]) -> None:
        """Read the history that the query has and it has not, up to the slot `now`, Unix seconds."""

    def add(self, query: Learner, slot: JudgedSlot, phase: Callable[[str], AbstractContextManager[None]]) -> None:
        """Judge and learn the answer that the query has judged; `phase` takes the time."""

    def hold(self, slot: float) -> None:
        """Go on without an answer for a slot: what would be firing would go on for a while."""

    def rewind(self, at: float) -> None:
        """Go on from an instant before the newest that was learned, as the query does."""

    def take_over(self, old: Follower, *, at: float) -> None:
        """Go on with what the follower of the configuration before has learned, if it can be used; `at`: a slot."""

    def promoted(self, plan: QueryPlan, context: EvaluationContext) -> Learner | None:
        """Return a learner with what it learned, for a query of this plan; None where it is of no use to it."""

    def abandon(self) -> None:
        """Break off reading history."""

    def close(self) -> None:
        """Write the state that is not written yet."""
