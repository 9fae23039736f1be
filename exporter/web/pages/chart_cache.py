"""Rendering of charts: few at a time, and equal requests share one result."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from exporter.web.pages.models import DisplayError

__all__ = ["ChartCache"]

_CONCURRENT = 2
"""Charts that are rendered at the same time: gentle on a Prometheus that others use too."""
_PENDING = 16
"""Charts that are being rendered or wait for it; a page has three."""
_KEPT, _FRESH = 64, 30.0
"""Charts that are kept, and for how many seconds."""
_PRELOAD_INTERVAL = 300.0
"""Seconds; worker processes that were started stay longer than that."""


class ChartCache:
    """Renders charts in threads; to be used from one event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_CONCURRENT, thread_name_prefix="chart")
        self._charts: OrderedDict[Hashable, tuple[float, asyncio.Future[bytes]]] = OrderedDict()
        self._preloaded_at = -_PRELOAD_INTERVAL

    def preload(self, start: Callable[[], None]) -> None:
        """Call `start` in the background, unless that was done lately."""
        now = asyncio.get_running_loop().time()
        if now - self._preloaded_at > _PRELOAD_INTERVAL:
            self._preloaded_at = now
            self._executor.submit(start)

    async def get(self, key: Hashable, render: Callable[[], bytes]) -> bytes:
        """Return a chart as a file.

        Parameters
        ----------
        key : hashable
            Requests with the same key within half a minute get the same chart.
        render : callable
            Returns the file; may block.

        Raises
        ------
        DisplayError
            From `render`; or too many charts are pending.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        started, future = self._charts.get(key, (-_FRESH, None))
        if future is None or (future.done() and now - started > _FRESH):
            if sum(not pending.done() for _, pending in self._charts.values()) >= _PENDING:
                raise DisplayError("too many charts are being drawn; try again in a moment", 503)
            future = loop.run_in_executor(self._executor, render)
            self._charts[key] = now, future
            self._charts.move_to_end(key)
            self._evict()
        try:
            # Others may wait for it too, so a client that goes away does not end it.
            return await asyncio.shield(future)
        except DisplayError:
            self._charts.pop(key, None)
            raise

    def _evict(self) -> None:
        done = [key for key, (_, future) in self._charts.items() if future.done()]
        for key in done[: max(0, len(self._charts) - _KEPT)]:
            del self._charts[key]

    def close(self) -> None:
        """Stop; pending charts are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
