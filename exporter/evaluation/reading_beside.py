"""History that is read once more, beside the slots, by a learner of its own."""

from __future__ import annotations

from exporter.evaluation.learner import Learner
from exporter.evaluation.pauses import HistoryPauses

__all__ = ["ReadingBeside"]


class ReadingBeside:
    """What every such reading has: its learner while one is at work, and an end from another thread.

    Parameters
    ----------
    pauses : HistoryPauses
        An attempt that does not help plans the next one.
    """

    def __init__(self, pauses: HistoryPauses) -> None:
        self._pauses = pauses
        self._learner: Learner | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """End reading from another thread, now and whenever it is begun."""
        self._abandoned = True
        if (learner := self._learner) is not None:
            learner.abandon()
