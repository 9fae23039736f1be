"""Series that stood still for days and then move: what was learned of a constant says nothing about them.

A new level is normal once it has lasted as long, in proportion, as the one before: half a day after a week, a day
after two weeks. Sooner would end the alert of an outage that is still going on. Then the series begins anew, like a
new one. A constant at another level is a level shift.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Column, Columns
from exporter.engine.constants import ZERO, single
from exporter.engine.seconds import DAY

__all__ = ["Awakening"]

LEAST = DAY
"""Seconds that a series must have stood still."""
PART = single(1.0 / 14.0)
"""Part of that time for which it must move."""
MOSTLY, HELD = 0.8, 0.5
"""Share of the samples of a block that must differ from the constant, and that may repeat the one before."""
OFTEN, SELDOM = single(0.02), single(DAY / 84.0)
"""Part of that time, and seconds, for which a series may have moved before: with more, that is its nature."""
_ORDINARY = single(-1.0)


class Awakening(Columns):
    """For how long each series stood still since its first sample, and moves now."""

    def __init__(self) -> None:
        super().__init__(
            {
                "still_for": Column((), np.float32),  # Seconds; below 0: an ordinary series.
                "moves_for": Column((), np.float32),  # Of the run under way,
                "moved_for": Column((), np.float32),  # and of those that have ended.
            }
        )

    def end_block(
        self,
        rows: slice,
        samples: npt.NDArray[np.float64],
        held: npt.NDArray[np.generic],
        seconds: float,
        after: float,
    ) -> npt.NDArray[np.intp]:
        """Note the samples of a block; return which of `rows` have moved for long enough.

        Parameters
        ----------
        samples : ndarray, shape (t, n)
            Distance from the first value of the series, which is 0 exactly as long as it stands still; NaN: none.
        held : ndarray of int, shape (n,)
            How many samples repeat the one before.
        seconds : float
            How much history a sample stands for.
        after : float, seconds
            Moving for so long is always enough.
        """
        state = self.views(rows)
        watched = np.flatnonzero(state["still_for"] >= 0.0)
        if not len(watched):
            return watched
        block = samples[:, watched]
        moved = (block != 0.0) & ~np.isnan(block)
        here = (~np.isnan(block)).sum(axis=0)
        moves = (moved.sum(axis=0) >= MOSTLY * here) & (held[watched] <= HELD * here)
        still, now, before = (state[name][watched] for name in ("still_for", "moves_for", "moved_for"))
        length = (here * seconds).astype(np.float32)
        rests = ~moves & (here > 0)
        before += np.where(rests, now, ZERO)
        before += np.where(rests & moved.any(axis=0), length, ZERO)
        now = np.where(rests, ZERO, now + length)
        still += np.where(moved.any(axis=0), ZERO, length)
        ordinary = ((now > 0.0) & (still < LEAST)) | (before > np.maximum(OFTEN * still, SELDOM))
        due = ~ordinary & (now > 0.0) & (now >= np.minimum(PART * still, np.float32(after)))
        state["still_for"][watched] = np.where(ordinary, _ORDINARY, still)
        state["moves_for"][watched], state["moved_for"][watched] = now, before
        awake: npt.NDArray[np.intp] = rows.start + watched[due]
        return awake
