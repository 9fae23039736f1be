"""What is unlike its siblings at an instant, and what is learned of the place of each among them.

The samples of a group are compared as logarithms, relative to their median, where none of them is ever negative, and
as they are otherwise. Of each series its usual distance from the middle of the group is learned, and how far it
wanders: what is always hotter is no news, and what all do together moves the middle. Where all are farther apart than
they used to be, at this instant, so far nobody is far out. A new member is expected in the middle, as far from it as
the places of its siblings are apart, and as the new ones before it were in their first samples.

Everything is computed one instant after the other, whole groups at a time, so the result does not depend on how many
instants are at hand.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Columns
from exporter.engine.peers.groups import GroupBlock, PeerGroups, medians
from exporter.engine.peers.instant import CLIP, ENOUGH, LAYOUT, NEVER, NORMAL, PeerInstant, accept
from exporter.engine.peers.limits import RULES, limits_of
from exporter.engine.peers.samples import PeerSamples, PeerVerdicts
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.seconds import HOUR
from exporter.engine.series import SeriesTable

__all__ = ["PeerState"]

BORN = 3
"""New members that must have been before their beginnings are expected of the next one."""
FADE = float(np.exp(-1.0 / 56.0))
"""Part of the evidence for the limits that is left after a day."""


class PeerState(Columns):
    """The places of all series of a query among their siblings.

    Parameters
    ----------
    settings : PeerSettings

    Attributes
    ----------
    settings : PeerSettings
        Its labels never change.
    """

    def __init__(self, settings: PeerSettings) -> None:
        super().__init__(LAYOUT)
        self.settings = settings
        self._groups = PeerGroups(settings.by)

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return {f"peers/{name}": array for name, array in self._arrays.items()}

    def accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Take where `rows`, shape (m,), are now as their place."""
        accept(self._arrays, rows[~np.isnan(self._arrays["away"][rows])])

    def judge(self, samples: PeerSamples, table: SeriesTable) -> PeerVerdicts:
        """Compare samples with those of their siblings, and learn them."""
        verdicts = PeerVerdicts.of(samples.values.shape)
        blocks = self._groups.blocks(table)
        for index, at in enumerate(samples.times.tolist()):
            if any(int(self._arrays["hour"][block.flat].max()) != int(at // HOUR) for block in blocks):
                self._begin_hour(blocks, int(at // HOUR), samples.seconds)
            for block in blocks:
                PeerInstant(self._arrays, block, samples, index, self.settings).judge(verdicts)
        return verdicts

    def _begin_hour(self, blocks: tuple[GroupBlock, ...], hour: int, seconds: float) -> None:
        """Compute what groups have in common, from what was learned of their members."""
        state = self._arrays
        before = max(int(state["hour"][block.flat].max()) for block in blocks)
        if before != NEVER and before // 24 != hour // 24:
            state["seen"] *= np.float32(FADE)
            state["tails"] *= np.float32(FADE)
        seen, tails = [], []
        for block in blocks:
            block.put(state["pooled"], _pooled(state, block, self.settings.min_size))
            seen.append(np.where(block.member, block.take(state["seen"]), 0.0).sum(axis=-1, dtype=np.float64))
            tails.append(np.where(block.member, block.take(state["tails"]), 0.0).sum(axis=-1, dtype=np.float64))
            state["hour"][block.flat] = hour
        limits = limits_of(np.concatenate(seen), np.concatenate(tails, axis=-1), seconds)
        start = 0
        for block in blocks:
            groups = limits[:, start : start + len(block.rows)].astype(np.float32)
            start += len(block.rows)
            block.put(state["limits"], np.broadcast_to(groups[..., None], (RULES, *block.rows.shape)))


def _pooled(state: dict[str, Array], block: GroupBlock, least: int) -> Array:
    """Return spread, distance of places and distance of beginnings of groups, as columns; shape (3, g, m).

    NaN where too few members are settled. Places are counted from their median from now on.
    """
    count, offset, spread, begin = (
        np.where(block.member, block.take(state[name]), np.float32(np.nan))
        for name in ("count", "offset", "spread", "begin")
    )
    settled = count >= ENOUGH
    number = settled.sum(axis=1)
    places = np.where(settled, offset, np.float32(np.nan))
    middle = np.nan_to_num(medians(places))[:, None].astype(np.float32)
    block.put(state["offset"], np.where(count > 0.0, offset - middle, np.float32(0.0)))
    places = places - middle
    limit = CLIP * NORMAL * medians(np.abs(places))[:, None]
    squares = np.where(settled, np.minimum(np.abs(places), limit) ** 2, 0.0).sum(axis=1)
    between = np.sqrt(squares / np.maximum(number - 1, 1))
    of_group = medians(np.where(settled, spread, np.float32(np.nan)))
    born = settled & (begin > 0.0)
    begins = medians(np.where(born, begin, np.float32(np.nan)))
    noise = CLIP**2 * np.maximum(of_group, 0.0) ** 2 + between**2
    beginning = np.where(born.sum(axis=1) >= BORN, np.sqrt(np.maximum(begins**2 - noise, 0.0)), 0.0)
    pooled = np.where(number >= least, np.stack([of_group, between, beginning]), np.nan).astype(np.float32)
    return np.broadcast_to(pooled[..., None], (3, *block.rows.shape))
