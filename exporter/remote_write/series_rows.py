"""The encoded labels of the rows of one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels, SeriesTable
from exporter.exposition import PageRows, page_labels
from exporter.remote_write.encode import SeriesLabels, encode_labels

__all__ = ["SeriesRows"]


class SeriesRows:
    """The labels of the rows of one query, as on the page, with more labels of the configuration.

    Only what changed in the table is encoded anew.

    Parameters
    ----------
    query : str
    extra : mapping of str to str
        Labels that every series has, unless it has one of that name.
    own : tuple of (str, str), optional
        A label that tells metrics of one series apart, such as the horizon of a forecast; one that the series has is
        renamed, as on the page.
    """

    def __init__(self, query: str, extra: Mapping[str, str], own: tuple[str, str] | None = None) -> None:
        self._query, self._extra, self._own = query, extra, own
        # Which of several rows with the same labels is shown follows the page.
        self._page = PageRows("query", query)
        self._labels: list[Labels | None] = []
        self._encoded: list[SeriesLabels | None] = []
        self._seen: tuple[SeriesTable | None, int] = (None, -1)

    def of(self, table: SeriesTable, score: npt.NDArray[np.float64]) -> Sequence[SeriesLabels | None]:
        """Return the labels by row; None where there is no series, or another one with its labels is worse.

        Parameters
        ----------
        score : ndarray of float64, shape (size,)
        """
        if self._seen != (table, table.version):
            self._update(table)
            self._seen = table, table.version
        if not (hidden := self._page.hidden(score)):
            return self._encoded
        shown = self._encoded.copy()
        for row in hidden:
            shown[row] = None
        return shown

    def _update(self, table: SeriesTable) -> None:
        labels: list[Labels | None] = [None] * table.size
        for row, series in table.items():
            labels[row] = series
        before = self._labels + [None] * (table.size - len(self._labels))
        changed = [
            row for row, (new, old) in enumerate(zip(labels, before, strict=False)) if new is not old and new != old
        ]
        with_metric = self._page.with_metric
        self._page.release([row for row in changed if before[row] is not None])
        self._page.claim([row for row in changed if labels[row] is not None], table)
        if self._page.with_metric is not with_metric:
            changed = list(range(table.size))
        self._encoded += [None] * (table.size - len(self._encoded))
        for row in changed:
            series_labels = labels[row]
            self._encoded[row] = None if series_labels is None else self._encode(series_labels)
        self._labels = labels

    def _encode(self, labels: Labels) -> SeriesLabels:
        own = dict(page_labels(labels, "query", self._query, with_metric=self._page.with_metric))
        if self._own is not None:
            name, value = self._own
            if name in own:
                free = f"exported_{name}"
                while free in own:
                    free = f"exported_{free}"
                own[free] = own[name]
            own[name] = value
        return encode_labels(list({**self._extra, **own}.items()))
