"""Comparison of our clock with the server's: whether an answer for a slot describes the present."""

from __future__ import annotations

import logging

from exporter.config.plan import QueryPlan
from exporter.evaluation.context import EvaluationContext
from exporter.prometheus import Frame

__all__ = ["ClockSkew", "OutOfTime"]

log = logging.getLogger(__name__)

_AGREES, _WARNS, _BEHIND, _AHEAD = 60.0, 30.0, 3600.0, 300.0
"""Seconds between the server's clock and ours: that count as none, that are logged, and beyond which an answer does not
describe the present. A server has no samples of its future, and looks five minutes back."""


class OutOfTime(Exception):  # noqa: N818 - nobody's mistake: a clock is wrong.
    """The answer for a slot cannot be used, because of a clock."""


class ClockSkew:
    """Compares the clocks with every answer of one query."""

    def __init__(self) -> None:
        self._skewed = False

    def is_rewound(self, plan: QueryPlan, context: EvaluationContext, frame: Frame, slot: float, newest: float) -> bool:
        """Return whether the clock was wrong before and is right now, so that slots up to `newest` come again.

        Parameters
        ----------
        slot, newest : float, Unix seconds
            This slot, and the newest that was judged or learned.

        Raises
        ------
        OutOfTime
            This slot cannot be judged.
        """
        now, skew = context.ports.clock(), None
        if slot > now + _AGREES:
            raise OutOfTime("the clock was set back while prometheus was asked")
        if frame.server_time is not None:
            # The header has whole seconds, cut off.
            skew = frame.server_time + 0.5 - now
            skew = 0.0 if abs(skew) <= 1.0 else skew
            context.ports.metrics.clock_skew_seconds.labels(peer=plan.source).set(skew)
            if abs(skew) > _WARNS and not self._skewed:
                more = {"query": plan.name, "source": plan.source, "seconds": round(skew)}
                log.warning("the clock of prometheus differs from ours", extra=more)
            self._skewed = abs(skew) > _WARNS
            if skew > _BEHIND or skew < -_AHEAD:
                side = "ahead of" if skew > 0 else "behind"
                raise OutOfTime(f"the clock of prometheus is {round(abs(skew))} s {side} ours")
        if newest < slot:
            return False
        # A slot of long ago is one that began before the clock was set forward: it does not say what time it is.
        if skew is None or abs(skew) > _AGREES or newest - slot < _AHEAD or now - slot > _AHEAD:
            raise OutOfTime("slots after it were judged before the clock was set back")
        # Waiting until it is as late again would be blindness.
        more = {"query": plan.name, "seconds": round(newest - slot)}
        log.warning("slots that lie in the future were judged before; going on from now", extra=more)
        return True
