"""Observers of a replay: progress, charts."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.backtest.recorder import AlertRecorder
from exporter.engine.verdict import Verdict, Verdicts
from exporter.evaluation.evaluator import QueryEvaluator

__all__ = ["Watcher"]


class Watcher:
    """Observer of a replay; every method does nothing unless it is overridden."""

    def on_learning(self, query: str, share: float) -> None:
        """History is read: 0 to 1."""

    def on_progress(self, share: float) -> None:
        """So much of the range is done: 0 to 1."""

    def on_verdict(self, evaluator: QueryEvaluator, verdict: Verdict) -> None:
        """A slot of a query was evaluated; its alerts are recorded."""

    def on_quiet(self, evaluator: QueryEvaluator, verdicts: Verdicts, when: slice) -> None:
        """Some slots of a query were evaluated, one after the other, in which nothing was anomalous and no alert open.

        Parameters
        ----------
        when : slice
            Which of the instants of the verdicts.
        """

    def on_start(self, record: AlertRecorder, evaluators: Mapping[str, QueryEvaluator]) -> None:
        """Everything is learned, and the first slot comes next."""
