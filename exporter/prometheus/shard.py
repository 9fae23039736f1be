"""Sharding: several processes split the series of every query between them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.series import key_of, labels_of
from exporter.prometheus.frame import Frame, HistoryChunk

__all__ = ["Shard", "owner_of"]

_STRIDE, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""The golden ratio in 64 bits: multiples of it differ in all bits."""


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
    _newest: list[tuple[list[bytes], npt.NDArray[np.intp], list[bytes]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def frame(self, frame: Frame) -> Frame:
        """Return the part of a result that belongs to this shard."""
        newest = self._newest[0] if self._newest else None
        # Of an answer that repeats, the part is the same object as well, and is not looked up again.
        if newest is None or newest[0] is not frame.keys:
            kept = self._kept(frame.keys)
            newest = frame.keys, kept, [frame.keys[at] for at in kept.tolist()]
            self._newest[:] = [newest]
        _, kept, keys = newest
        unreadable = frame.unreadable
        if unreadable.keys:
            own = dict(zip(unreadable.keys, self._belong(unreadable.keys).tolist(), strict=True))
            unreadable = unreadable.only(own.__getitem__)
        values, timestamps = frame.values[kept], frame.timestamps[kept]
        return replace(frame, keys=keys, values=values, timestamps=timestamps, unreadable=unreadable, ends=None)

    def block(self, block: HistoryChunk) -> HistoryChunk:
        """Return the part of a chunk of history that belongs to this shard."""
        kept, unread = self._kept(block.keys), block.unread
        if unread is not None:
            unread = unread.only(self._belong(unread.keys))
        keys = [block.keys[at] for at in kept.tolist()]
        return replace(block, keys=keys, values=block.values[:, kept], unread=unread)

    def elsewhere(self, frame: Frame) -> list[bytes]:
        """Return the label sets of a result that belong to other shards."""
        kept = set(self._kept(frame.keys).tolist())
        return [key for at, key in enumerate(frame.keys) if at not in kept]

    def _kept(self, keys: Sequence[bytes]) -> npt.NDArray[np.intp]:
        belonging = self._belonging
        # Series that are gone must not fill the memory.
        if len(belonging) > 4 * len(keys) + 1024:
            belonging.clear()
        if new := [key for key in keys if key not in belonging]:
            belonging.update(zip(new, self._belong(new).tolist(), strict=True))
        return np.flatnonzero(np.fromiter((belonging[key] for key in keys), np.bool_, len(keys)))

    def _belong(self, keys: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Return which series belong here: those of which no other shard has a higher weight [1]_.

        With one shard more or less, only the series that must move do.

        References
        ----------
        .. [1] D. Thaler, C. Ravishankar (1998), Using name-based mappings to increase hit rates. IEEE/ACM Transactions
           on Networking 6(1).
        """
        digests = np.array([self._digest(key) for key in keys], np.uint64)
        belong: npt.NDArray[np.bool_] = _owners(digests, self.count) == self.index
        return belong

    def _digest(self, key: bytes) -> int:
        labels = labels_of(key)
        chosen = tuple(pair for pair in labels if pair[0] in self.by) if self.by else labels
        return _digest_of(key_of(chosen))


def owner_of(name: str, count: int) -> int:
    """Return which of `count` processes has a query that is not split, from 0.

    >>> [owner_of(name, 3) for name in ("cpu", "errors", "latency", "memory")]
    [0, 1, 1, 2]
    """
    return int(_owners(np.array([_digest_of(name.encode())], np.uint64), count)[0])


def _digest_of(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _owners(digests: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.intp]:
    """Return the process of each digest: the one with the highest weight."""
    best, owner = np.zeros(len(digests), np.uint64), np.zeros(len(digests), np.intp)
    for index in range(count):
        weight = _mixed(digests ^ np.uint64(_STRIDE * (index + 1) & _MASK))
        higher = weight > best
        best, owner = np.where(higher, weight, best), np.where(higher, index, owner)
    return owner


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the bits of 64-bit numbers, as the finaliser of SplitMix64 does."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
