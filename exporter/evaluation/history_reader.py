"""Histories of many queries, read and learned together: see `exporter.engine.together`."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from exporter.engine.together import EngineRun, Steps, joinable, run_together
from exporter.evaluation.learner import Abandoned

__all__ = ["HistoryReader", "learn_together"]

log = logging.getLogger(__name__)

_REQUESTS = 2
"""Histories that are asked for at the same time from one server: gentle on a Prometheus that others use too."""
_ROWS = 400
"""Series of the queries that are read at the same time, unless one has more: 64 MB of history at five minutes."""
_LARGE = 500
"""Rows from which on a query is learned by itself: a pass with others would save nothing."""
_PATIENCE = 0.5
"""Seconds that a pass waits for queries whose history is still being read."""


class _Reading:
    """The history of one query, as far as it is read."""

    def __init__(self, source: str, steps: Steps[bool], left: Callable[[], bool]) -> None:
        self.source, self.left = source, left
        self._steps = steps
        self.run: EngineRun | None = None
        """What the engine has to do next; None: not known yet, or nothing."""
        self.future: Future[None]

    def begin(self) -> None:
        """Read until there is something to learn."""
        self._go_on(lambda: next(self._steps))

    def go_on(self, verdicts: object) -> None:
        """Go on after `run`."""
        self._go_on(lambda: self._steps.send(verdicts))  # type: ignore[arg-type]

    def alone(self) -> None:
        """Learn by itself, and go on."""
        run = self.run
        if run is not None:
            try:
                verdicts = run.alone()
            except Exception as fault:
                self.failed(fault)
            else:
                self.go_on(verdicts)

    def drop(self) -> None:
        """End the work, which has not begun."""
        self._steps.close()

    def failed(self, fault: Exception) -> None:
        """Go on after a call of the engine that was not made, or that failed."""
        self._go_on(lambda: self._steps.throw(fault))

    def _go_on(self, step: Callable[[], EngineRun]) -> None:
        self.run = None
        try:
            self.run = step()
        except StopIteration:
            pass
        except Exception:
            # A query handles its own errors.
            log.exception("history could not be read")


class HistoryReader:
    """Reads and learns histories in threads of its own; calls of engines that can share a pass are made together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Reading] = []
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._driver: threading.Thread | None = None
        self._stopping = False

    def submit(self, source: str, steps: Steps[bool], left: Callable[[], bool]) -> None:
        """Have a history read.

        Parameters
        ----------
        source : str
            The server: one that hangs holds up no history of another.
        steps : Steps
            The work; it handles its own errors.
        left : callable
            Whether it is to be broken off.

        Raises
        ------
        RuntimeError
            The system has no more threads, or the end has come.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("no more histories are read")
            if source not in self._pools:
                self._pools[source] = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="history")
            reading = _Reading(source, steps, left)
            self._waiting.append(reading)
            if self._driver is None or not self._driver.is_alive():
                self._driver = threading.Thread(target=self._drive, name="learning", daemon=True)
                try:
                    self._driver.start()
                except RuntimeError:
                    self._waiting.remove(reading)
                    raise

    def stop(self) -> None:
        """Begin no further history; those under way are broken off once they have `left`."""
        with self._lock:
            self._stopping = True
            for reading in self._waiting:
                reading.drop()
            self._waiting.clear()
        for pool in self._pools.values():
            pool.shutdown(wait=False)

    def _drive(self) -> None:
        active: list[_Reading] = []
        while True:
            active = [each for each in active if each.run is not None or not each.future.done()]
            if not self._begin(active):
                return
            ready = [each for each in active if each.future.done()]
            self._settle(ready)
            ready = [each for each in ready if each.future.done()]
            pending = [each.future for each in active if not each.future.done()]
            if pending:
                wait(pending, _PATIENCE, return_when="ALL_COMPLETED" if ready else FIRST_COMPLETED)
            if ready:
                self._learn([each for each in active if each.future.done() and each.run is not None])

    def _begin(self, active: list[_Reading]) -> bool:
        """Begin the readings that wait, as far as there is room; return whether there is anything to do."""
        with self._lock:
            requests = Counter(each.source for each in active if not each.future.done())
            sizes = [each.run.rows for each in active if each.run is not None]
            rows = sum(each for each in sizes if each < _LARGE)
            for reading in list(self._waiting):
                if requests[reading.source] < _REQUESTS and (rows < _ROWS or not active):
                    self._waiting.remove(reading)
                    self._do(reading, reading.begin)
                    active.append(reading)
                    requests[reading.source] += 1
            if not active and not self._waiting:
                self._driver = None
                return False
            return True

    def _settle(self, ready: Sequence[_Reading]) -> None:
        """Break off what is to be broken off, and let large queries learn by themselves."""
        for reading in ready:
            if reading.run is None:
                continue
            if reading.left() or self._stopping:
                self._do(reading, lambda reading=reading: reading.failed(Abandoned()))  # type: ignore[misc]
            elif reading.run.rows >= _LARGE:
                self._do(reading, reading.alone)

    def _learn(self, ready: Sequence[_Reading]) -> None:
        """Make a pass of those that have come least far."""
        runs = [each.run for each in ready if each.run is not None]
        if not runs:
            return
        members = [ready[index] for index in joinable(runs)[0]]
        try:
            verdicts = run_together([each.run for each in members if each.run is not None])
        except Exception as fault:
            for each in members:
                self._do(each, lambda each=each, fault=fault: each.failed(fault))  # type: ignore[misc]
            return
        for each, part in zip(members, verdicts, strict=True):
            self._do(each, lambda each=each, part=part: each.go_on(part))  # type: ignore[misc]

    def _do(self, reading: _Reading, work: Callable[[], None]) -> None:
        try:
            reading.future = self._pools[reading.source].submit(work)
        except RuntimeError:
            # The pool has ended, or the system has no more threads.
            reading.future = Future()
            work()
            reading.future.set_result(None)


def learn_together(work: Sequence[Steps[bool]]) -> list[bool]:
    """Do work in one thread, with as few passes as possible; return the results."""
    results: dict[int, bool] = {}
    runs: dict[int, EngineRun] = {}

    def go_on(number: int, step: Callable[[], EngineRun]) -> None:
        runs.pop(number, None)
        try:
            runs[number] = step()
        except StopIteration as end:
            results[number] = bool(end.value)

    waiting: Iterator[int] = iter(range(len(work)))
    while len(results) < len(work):
        while sum(run.rows for run in runs.values()) < _ROWS and (number := next(waiting, None)) is not None:
            go_on(number, lambda number=number: next(work[number]))  # type: ignore[misc]
        numbers = list(runs)
        if not numbers:
            continue
        members = [numbers[index] for index in joinable(list(runs.values()))[0]]
        for number, verdicts in zip(members, run_together([runs[each] for each in members]), strict=True):
            go_on(number, lambda number=number, verdicts=verdicts: work[number].send(verdicts))  # type: ignore[misc]
    return [results[number] for number in range(len(work))]
