"""Charts beside everything else the server does: few at once, and each made once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from exporter.web.pages.models import Unshowable

__all__ = ["Charts"]

_MAKERS = 2
"""Charts that are made at the same time: gentle on a Prometheus that others use too."""
_UNDER_WAY = 16
"""Charts that are made or wait their turn; a page has three."""
_KEPT, _FRESH = 64, 30.0
"""Charts that are kept, and for how many seconds."""
_WARM = 300.0
"""Seconds for which what was prepared is sure to stay."""


class Charts:
    """Makes charts; to be used from one event loop."""

    def __init__(self) -> None:
        self._making = ThreadPoolExecutor(_MAKERS, thread_name_prefix="chart")
        self._made: OrderedDict[Hashable, tuple[float, asyncio.Future[bytes]]] = OrderedDict()
        self._warm = -_WARM

    def warm_up(self, prepare: Callable[[], None]) -> None:
        """Do from time to time, beside everything else, what the next chart would have to wait for.

        Parameters
        ----------
        prepare : callable
            What those who read have to prepare.
        """
        now = asyncio.get_running_loop().time()
        if now - self._warm > _WARM:
            self._warm = now
            self._making.submit(prepare)

    async def make(self, key: Hashable, work: Callable[[], bytes]) -> bytes:
        """Return a chart as a file.

        Parameters
        ----------
        key : hashable
            Who asks for the same within half a minute gets the same.
        work : callable
            Returns the file; may block.

        Raises
        ------
        Unshowable
            From `work`; or too many charts are under way.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        begun, making = self._made.get(key, (-_FRESH, None))
        if making is None or (making.done() and now - begun > _FRESH):
            if sum(not task.done() for _, task in self._made.values()) >= _UNDER_WAY:
                raise Unshowable("too many charts are being drawn; try again in a moment", 503)
            making = loop.run_in_executor(self._making, work)
            self._made[key] = now, making
            self._made.move_to_end(key)
            self._forget()
        try:
            # Others may wait for it too, so one that goes away does not end it.
            return await asyncio.shield(making)
        except Unshowable:
            self._made.pop(key, None)
            raise

    def _forget(self) -> None:
        done = [key for key, (_, task) in self._made.items() if task.done()]
        for key in done[: max(0, len(self._made) - _KEPT)]:
            del self._made[key]

    def close(self) -> None:
        """End; what is under way is not waited for."""
        self._making.shutdown(wait=False, cancel_futures=True)
