"""The history of a query as its server answers it: in turn with other queries, in parts as short as it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from exporter.config.plan import QueryPlan
from exporter.errors import PrometheusError, Reason
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.engine_task import Abandoned
from exporter.evaluation.history import HISTORY_TIMEOUT, History
from exporter.evaluation.query_metrics import count_warnings
from exporter.prometheus import HistoryChunk, PartSizes, PrometheusApi
from exporter.settings import format_duration

__all__ = ["HistorySource"]

log = logging.getLogger(__name__)


class HistorySource:
    """Reads the history of one query.

    Parameters
    ----------
    on_chunk : callable
        Called with every chunk, before it is learned.
    sizes : PartSizes, optional
        What the server takes at once, where another source of the same query has found that.
    """

    def __init__(
        self,
        plan: QueryPlan,
        context: EvaluationContext,
        on_chunk: Callable[[HistoryChunk], None],
        *,
        sizes: PartSizes | None = None,
    ) -> None:
        self.plan, self.context = plan, context
        self.along: Callable[[HistoryChunk, float], None] | None = None
        """Called with every chunk of history that was learned, and its step, seconds."""
        self.remark: str | None = None
        """How history is read and why, where the server does not answer all of it at once."""
        self.asks_less = False
        """Whether the newest attempt found that the next one has to ask for shorter parts."""
        self.sizes = PartSizes(self._note_length) if sizes is None else sizes
        self._on_chunk = on_chunk
        self._warned: tuple[str, ...] = ()
        self._warned_unread = False
        self._abandoned = False
        self._api: PrometheusApi | None = None

    def configure(self, plan: QueryPlan, context: EvaluationContext) -> None:
        """Go on under a configuration of the same identity, also after `abandon`."""
        self.plan, self.context, self._abandoned = plan, context, False

    @property
    def abandoned(self) -> bool:
        """Whether nothing more is to be read."""
        return self._abandoned

    def abandon(self) -> None:
        """Break off reading from another thread, now and whenever it is begun before `configure`."""
        self._abandoned = True
        if (api := self._api) is not None:
            api.close()

    @contextmanager
    def client(self) -> Iterator[PrometheusApi]:
        """Yield a client that `abandon` breaks off.

        Raises
        ------
        Abandoned
            Also for the errors of a client that was broken off.
        """
        self.asks_less = False
        self._api = api = self.context.ports.connect()
        try:
            if self._abandoned:
                raise Abandoned
            yield api
        except PrometheusError:
            if self._abandoned:
                raise Abandoned from None
            raise
        finally:
            self._api = None
            api.close()

    def chunks(self, api: PrometheusApi, series: int) -> History:
        """Return what reads a range; how many series there are decides how much is asked for at once."""
        expr, offset, shard = self.plan.expr, self.context.settings.query_offset, self.plan.shard

        def read(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
            begin, until = start - offset, end - offset
            # The expression was answered for a slot.
            chunks = api.history(
                expr, begin, until, step, timeout=HISTORY_TIMEOUT, series=series, sizes=self.sizes, answered=True
            )
            for chunk in self._in_turn(chunks):
                self._warn(chunk)
                self._on_chunk(chunk)
                # To the millisecond, as slots are: adding and taking away must not make it another instant.
                chunk = replace(chunk, times=np.round(chunk.times + offset, 3))
                chunk = chunk if shard is None else shard.block(chunk)
                yield chunk
                if self.along is not None:
                    self.along(chunk, step)

        return read

    def _in_turn(self, chunks: Iterator[HistoryChunk]) -> Iterator[HistoryChunk]:
        """Yield chunks, each of which is read when it is the turn of this query."""
        while True:
            with self.context.ports.reading:
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _note_length(self, seconds: float, error: PrometheusError) -> None:
        # So often at most: `PartSizes` halves gently for this reason.
        self.asks_less |= error.reason is Reason.RATE_LIMITED
        part = format_duration(max(1.0, round(seconds)))
        self.remark = f"history is read in parts of {part}, longer ones are refused: {error.message}"
        more = {"query": self.plan.name, "part": part, "reason": str(error.reason), "error": error.message}
        log.warning("history is read in shorter parts", extra=more)

    def _warn(self, chunk: HistoryChunk) -> None:
        count_warnings(self.context.ports.metrics, self.plan.name, chunk)
        if chunk.warnings and chunk.warnings != self._warned:
            more = {"query": self.plan.name, "warning": chunk.warnings[0], "partial": chunk.partial}
            log.warning("prometheus warns about history", extra=more)
        self._warned = chunk.warnings
        if chunk.unread is not None and not self._warned_unread:
            more = {"query": self.plan.name, "unreadable": str(chunk.unread)}
            log.warning("not all of history can be read", extra=more)
            self._warned_unread = True
