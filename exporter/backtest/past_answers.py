"""Answers of Prometheus for past slots, read with range queries, a chunk at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.errors import PrometheusError
from exporter.prometheus import Frame, HistoryChunk, LeftOut, PartSizes, PrometheusApi

__all__ = ["HistoryReplay", "PastAnswers"]

log = logging.getLogger(__name__)

_TIMEOUT = 120.0
"""Seconds for one range query."""
_TRIES = 4
_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second try, doubled with each; and as long as a server may ask us to wait."""


@dataclass(frozen=True, slots=True)
class PastAnswers:
    """The answers for some slots, one after the other.

    Attributes
    ----------
    slots : ndarray of float64, shape (t,), Unix seconds
    chunk : HistoryChunk
        Its instants are those at which the query was evaluated for them.
    query_offset : float, seconds
        How far before its slot that is.
    """

    slots: npt.NDArray[np.float64]
    chunk: HistoryChunk
    query_offset: float

    def __len__(self) -> int:
        return len(self.slots)

    def part(self, begin: int, end: int) -> PastAnswers:
        """Return those for fewer slots."""
        return PastAnswers(self.slots[begin:end], self.chunk.part(slice(begin, end)), self.query_offset)

    def frame(self, number: int) -> Frame:
        """Return one, as an instant query has it."""
        return _frame(self.chunk, number, float(self.slots[number]) - self.query_offset)


def _frame(chunk: HistoryChunk, place: int, at: float) -> Frame:
    values, keys = chunk.values[place], chunk.keys
    # A series that has no sample at an instant is not in the answer for it.
    here = np.flatnonzero(~np.isnan(values))
    if len(here) < len(keys):
        keys, values = [keys[column] for column in here.tolist()], values[here]
    unreadable = LeftOut() if chunk.unread is None else chunk.unread.at(place)
    return Frame(at, keys, values, np.full(len(keys), at), unreadable, chunk.warnings)


class HistoryReplay:
    """Answers the slots of one query, in the order of time, as instant queries would have.

    Parameters
    ----------
    last : float, Unix seconds
        The newest slot that will be evaluated.
    query_offset : float, seconds
        How far before its slot a query is evaluated.
    series : int
        How many to expect; it sets the length of the first chunk.
    sleep : callable
        Waits for seconds between two tries.
    """

    def __init__(
        self,
        api: PrometheusApi,
        plan: QueryPlan,
        *,
        last: float,
        query_offset: float,
        series: int,
        sleep: Callable[[float], None],
    ) -> None:
        self._api, self._plan, self._last = api, plan, last
        self._query_offset, self.series, self._sleep = query_offset, series, sleep
        self.warnings: dict[str, None] = {}
        """Warnings of the server, such as that series may be missing, and what could not be read."""
        self._sizes = PartSizes(lambda *_: self._tries.clear())
        self._tries: list[PrometheusError] = []
        self._chunks: Iterator[HistoryChunk] | None = None
        self._block = HistoryChunk(np.zeros(0), [], np.zeros((0, 0)))

    def fetch(self, slot: float) -> None:
        """Have the answer for a slot at hand.

        Raises
        ------
        PrometheusError
            The server did not give it in several attempts.
        """
        at = slot - self._query_offset
        while not len(self._block.times) or self._place(at) >= len(self._block.times):
            self._block = self._next(at)
            self.warnings |= dict.fromkeys(self._block.warnings)
            if self._block.unread is not None:
                self.warnings[f"rows that cannot be read are left out: {self._block.unread}"] = None

    def instant(self, expr: str, at: float, **_: object) -> Frame:  # noqa: ARG002 - it was fetched before.
        """Return the answer for an instant that was fetched."""
        return _frame(self._block, self._place(at), at)

    def at_hand(self, slots: Sequence[float]) -> PastAnswers:
        """Return the answers for the first of some slots, which was fetched, and as many after it as are at hand."""
        place = self._place(slots[0] - self._query_offset)
        count = min(len(slots), len(self._block.times) - place)
        chunk = self._block.part(slice(place, place + count))
        return PastAnswers(np.array(slots[:count]), chunk, self._query_offset)

    def _place(self, at: float) -> int:
        return round((at - float(self._block.times[0])) / self._plan.interval)

    def _next(self, at: float) -> HistoryChunk:
        plan, wait = self._plan, _WAIT
        self._tries.clear()
        while True:
            try:
                if self._chunks is None:
                    until = self._last - self._query_offset
                    # The expression was answered at its end.
                    self._chunks = self._api.history(
                        plan.expr,
                        at,
                        until,
                        plan.interval,
                        timeout=_TIMEOUT,
                        series=self.series,
                        sizes=self._sizes,
                        answered=True,
                    )
                return next(self._chunks)
            except PrometheusError as fault:
                # A generator that raised is finished.
                self._chunks = None
                # Emptied where less is asked for from now on: that is another request, and not another try.
                self._tries.append(fault)
                if len(self._tries) >= _TRIES or not fault.reason.retryable:
                    raise
                log.warning("asked again", extra={"query": plan.name, "error": str(fault)})
                self._sleep(min(_LONGEST_WAIT, wait if fault.retry_after is None else fault.retry_after))
                wait *= 2.0
