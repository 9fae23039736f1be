"""Which row of the engine is which row of ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.engine.series import SeriesTable
from exporter.exposition import RowLabels

__all__ = ["PageRows"]


class PageRows:
    """The place of each row on the page.

    Parameters
    ----------
    own : sequence of (name, value)
        Labels that every row gets, such as ``[("query", "cpu")]``.

    Attributes
    ----------
    prefixes : list of bytes
        By row; empty where it has no place.
    """

    def __init__(self, own: Sequence[tuple[str, str]]) -> None:
        self._labels = RowLabels(own)
        self.prefixes: list[bytes] = []

    def claim(self, rows: Iterable[int], table: SeriesTable) -> int:
        """Give rows their place; return how many cannot have one, because another row has the same labels."""
        self.prefixes.extend([b""] * (table.size - len(self.prefixes)))
        refused = 0
        for row in rows:
            if self.prefixes[row]:
                continue
            prefix = self._labels.claim(table.labels(row))
            refused += prefix is None
            self.prefixes[row] = prefix or b""
        return refused

    def release(self, rows: Sequence[int]) -> None:
        """Take the places of forgotten rows back."""
        self._labels.release(self.prefixes[row] for row in rows)
        for row in rows:
            self.prefixes[row] = b""
