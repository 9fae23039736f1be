"""Charts beside everything else the server does: few at once, each drawn once, in threads of their own.

matplotlib is imported when the first chart is wanted, in the one thread that draws.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from exporter.web.pages.facts import Chart, Unshowable

__all__ = ["Charts", "Look"]

_READERS = 2
"""Charts whose history is asked for at the same time: gentle on a Prometheus that others use too."""
_UNDER_WAY = 16
"""Charts that are made or wait their turn; a page has three."""
_KEPT, _FRESH = 64, 30.0
"""Charts that are kept, and for how many seconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is drawn: `form` is ``svg`` or ``png``."""

    form: str
    dark: bool = False
    narrow: bool = False


class Charts:
    """Makes charts; to be used from one event loop."""

    def __init__(self) -> None:
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="chart-data")
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="chart")
        self._made: OrderedDict[Hashable, tuple[float, asyncio.Task[bytes]]] = OrderedDict()
        self._warm = False

    def warm_up(self, prepare: Callable[[], None]) -> None:
        """Do once, beside everything else, what the first chart would have to wait for.

        Parameters
        ----------
        prepare : callable
            What those who read have to prepare.
        """
        if not self._warm:
            self._warm = True
            self._drawing.submit(_load)
            self._drawing.submit(prepare)

    async def draw(self, key: Hashable, read: Callable[[], Chart], look: Look) -> bytes:
        """Return a chart as a file.

        Parameters
        ----------
        key : hashable
            Who asks for the same within half a minute gets the same.
        read : callable
            Returns what is to be drawn; may block.
        look : Look

        Raises
        ------
        Unshowable
            From `read`; or too many charts are under way.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        begun, making = self._made.get(key, (-_FRESH, None))
        if making is None or (making.done() and now - begun > _FRESH):
            if sum(not task.done() for _, task in self._made.values()) >= _UNDER_WAY:
                raise Unshowable("too many charts are being drawn; try again in a moment", 503)
            making = loop.create_task(self._make(read, look))
            self._made[key] = now, making
            self._made.move_to_end(key)
            self._forget()
        try:
            # Others may wait for it too, so one that goes away does not end it.
            return await asyncio.shield(making)
        except Unshowable:
            self._made.pop(key, None)
            raise

    async def _make(self, read: Callable[[], Chart], look: Look) -> bytes:
        loop = asyncio.get_running_loop()
        chart = await loop.run_in_executor(self._reading, read)
        return await loop.run_in_executor(self._drawing, _draw, chart, look)

    def _forget(self) -> None:
        done = [key for key, (_, task) in self._made.items() if task.done()]
        for key in done[: max(0, len(self._made) - _KEPT)]:
            del self._made[key]

    def close(self) -> None:
        """End; what is under way is not waited for."""
        for executor in (self._reading, self._drawing):
            executor.shutdown(wait=False, cancel_futures=True)


def _load() -> None:
    importlib.import_module("exporter.web.pages.drawing")


def _draw(chart: Chart, look: Look) -> bytes:
    from exporter.web.pages.drawing import draw

    return draw(chart, look)
