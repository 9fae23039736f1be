"""Progress bars in a terminal: history at the start of the daemon, and the replays of a backtest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exporter.backtest.replay import Watcher

__all__ = ["history_progress", "replay_progress"]


@contextmanager
def history_progress(shares: Callable[[], Mapping[str, float]]) -> Iterator[Callable[[], None]]:
    """Yield a function that draws how far the history of each query is read, 0 to 1; on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("reading history"), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    # Log lines pass through this console meanwhile; they must not be wrapped.
    console = Console(stderr=True, soft_wrap=True)
    bars = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    tasks: dict[str, TaskID] = {}

    def draw() -> None:
        if bars.finished and tasks:
            bars.stop()
            return
        for name, share in shares().items():
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0)
            bars.update(tasks[name], completed=share)

    with bars:
        yield draw


@contextmanager
def replay_progress(count: int) -> Iterator[Sequence[Watcher]]:
    """Yield a watcher for each replay; on a terminal they draw bars."""
    if not sys.stderr.isatty():
        yield [Watcher() for _ in range(count)]
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield [_Bars(bars, name) for name in (("",) if count == 1 else ("new: ", "old: "))]


class _Bars(Watcher):
    """Draws the progress of a replay."""

    def __init__(self, bars: Progress, name: str) -> None:
        self._bars, self._name = bars, name
        self._tasks: dict[str, TaskID] = {}

    def on_learning(self, query: str, share: float) -> None:
        self._draw(f"{self._name}learning {query}", share)

    def on_progress(self, share: float) -> None:
        self._draw(f"{self._name}replaying", share)

    def _draw(self, what: str, share: float) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=1.0)
        self._bars.update(self._tasks[what], completed=share)
