"""Progress bars in a terminal while the daemon reads history."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["history_progress", "progress"]


@contextmanager
def history_progress(shares: Callable[[], Mapping[str, float]]) -> Iterator[Callable[[], None]]:
    """Yield a function that draws how far the history of each query is read, 0 to 1; on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield a function that is called after each of so many pieces of work; on a terminal only they are drawn."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)
