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
    """

    def __init__(self, own: Sequence[tuple[str, str]]) -> None:
        self._labels = RowLabels(own)
        self._prefixes: list[bytes] = []
        self._shown: tuple[bytes, ...] | None = None

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """By row; empty where it has no place. The same object while nothing changed."""
        if self._shown is None:
            self._shown = tuple(self._prefixes)
        return self._shown

    def claim(self, rows: Iterable[int], table: SeriesTable) -> int:
        """Give rows their place; return how many cannot have one, because another row has the same labels."""
        prefixes, refused = self._prefixes, 0
        if table.size > len(prefixes):
            prefixes.extend([b""] * (table.size - len(prefixes)))
            self._shown = None
        for row in rows:
            if prefixes[row]:
                continue
            prefix = self._labels.claim(table.labels(row))
            refused += prefix is None
            prefixes[row] = prefix or b""
            self._shown = None
        return refused

    def release(self, rows: Sequence[int]) -> None:
        """Take the places of forgotten rows back."""
        self._labels.release(self._prefixes[row] for row in rows)
        for row in rows:
            self._prefixes[row] = b""
        self._shown = None
