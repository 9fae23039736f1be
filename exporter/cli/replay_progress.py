"""Progress bars in a terminal for the replays of a backtest."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exporter.backtest.watcher import Watcher

__all__ = ["replay_progress"]


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
