"""How the queries of a backtest learn their history: together in this process, or each in another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from exporter.backtest.watcher import Watcher
from exporter.config.plan import QueryPlan
from exporter.engine.together import alone
from exporter.errors import ExporterError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.history_reader import learn_together

__all__ = ["PastLearning", "is_sooner_together"]

_TRIES = 3
"""Attempts in vain to read history, one after the other."""
_AS_A_CALL = 60
"""Series whose samples of an instant take as long as a call of the engine does for none."""
_SENDING = 1.5
"""What processes cost beside the work, as a factor: they start, and engines and samples are sent to and fro."""


def is_sooner_together(plans: Collection[QueryPlan], series: Sequence[int], workers: int) -> bool:
    """Return whether one process that learns queries in passes is done before several that learn one after the other.

    In a pass, the call of the engine for an instant is made once for all queries; see `exporter.engine.together`.

    Parameters
    ----------
    series : sequence of int
        How many each query has.
    workers : int
        How many processes there are.
    """
    # Only instants that queries have in common can share a call.
    passes = len({(plan.baseline.window, plan.cadence, plan.interval) for plan in plans})
    here = _AS_A_CALL * passes + sum(series)
    elsewhere = max(max(series, default=0) + _AS_A_CALL, (sum(series) + _AS_A_CALL * len(plans)) / workers)
    return here <= _SENDING * elsewhere


class PastLearning:
    """Has evaluators learn their history.

    Parameters
    ----------
    sleep : callable
        Waits for seconds, before something is tried again.
    is_over : callable
        Returns whether the backtest was broken off.
    """

    def __init__(
        self,
        evaluators: Mapping[str, QueryEvaluator],
        watchers: Sequence[Watcher],
        *,
        sleep: Callable[[float], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._evaluators, self._watchers = evaluators, watchers
        self._sleep, self._is_over = sleep, is_over

    def learn(self, until: Mapping[str, float], threads: Executor | None) -> None:
        """Learn the history of all queries, each up to an instant.

        Parameters
        ----------
        until : mapping of str to float, Unix seconds
        threads : Executor, optional
            Wait for other processes that learn; None: this one does, in this thread, which Ctrl-C ends.

        Raises
        ------
        ExporterError
            History cannot be read.
        """
        for name, evaluator in self._evaluators.items():
            evaluator.learner.beat = partial(self._report, name, evaluator.learner.beat)
        work = [self._evaluators[name].preparing(at) for name, at in until.items()]
        done = learn_together(work) if threads is None else list(threads.map(alone, work))
        for (name, at), success in zip(until.items(), done, strict=True):
            if not success:
                self._learn_again(self._evaluators[name], at)

    def _report(self, name: str, beat: Callable[[], None]) -> None:
        beat()
        for watcher in self._watchers:
            watcher.on_learning(name, self._evaluators[name].learner.progress)

    def _learn_again(self, evaluator: QueryEvaluator, at: float) -> None:
        name = evaluator.plan.name
        tries, state = 0, None
        while tries < _TRIES:
            self._sleep(max(2.0**tries, evaluator.resting))
            if alone(evaluator.preparing(at)):
                return
            if self._is_over():
                return
            # Where it came further, or asks for less from now on, this was no attempt in vain.
            before, state = state, (evaluator.learner.progress, evaluator.learner.history.remark)
            tries = 1 if state != before else tries + 1
        raise ExporterError(f"{name}: history could not be read: {evaluator.trouble}")
