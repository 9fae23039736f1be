"""Sharding: several processes split the series of every query between them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.series import key_of, labels_of
from exporter.prometheus.frame import Frame, HistoryChunk

__all__ = ["Shard"]


@dataclass(frozen=True)
class Shard:
    """The series of one query that belong to one process.

    A series belongs to the same shard in every process and after every restart: it is chosen by a hash of the
    label set, whatever the order of the labels.

    Parameters
    ----------
    index, count : int
        This is shard `index` of `count`, from 0.
    by : frozenset of str
        Only these labels choose, so that what has them in common stays together; empty: all labels.
    """

    index: int
    count: int
    by: frozenset[str] = frozenset()
    _belonging: dict[bytes, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def frame(self, frame: Frame) -> Frame:
        """Return the part of a result that belongs to this shard."""
        kept = self._kept(frame.keys)
        keys = [frame.keys[at] for at in kept.tolist()]
        unreadable = frame.unreadable.only(self._belongs)
        values, timestamps = frame.values[kept], frame.timestamps[kept]
        return replace(frame, keys=keys, values=values, timestamps=timestamps, unreadable=unreadable)

    def block(self, block: HistoryChunk) -> HistoryChunk:
        """Return the part of a chunk of history that belongs to this shard."""
        kept = self._kept(block.keys)
        return replace(block, keys=[block.keys[at] for at in kept.tolist()], values=block.values[:, kept])

    def _kept(self, keys: Sequence[bytes]) -> npt.NDArray[np.intp]:
        belonging = self._belonging
        # Series that are gone must not fill the memory.
        if len(belonging) > 4 * len(keys) + 1024:
            belonging.clear()
        for key in keys:
            if key not in belonging:
                belonging[key] = self._belongs(key)
        return np.flatnonzero(np.fromiter((belonging[key] for key in keys), np.bool_, len(keys)))

    def _belongs(self, key: bytes) -> bool:
        labels = labels_of(key)
        chosen = tuple(pair for pair in labels if pair[0] in self.by) if self.by else labels
        digest = hashlib.blake2b(key_of(chosen), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index
