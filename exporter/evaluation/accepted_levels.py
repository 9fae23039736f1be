"""Levels that people called normal, for a reading of history that begins anew: it would learn them as anomalies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine
from exporter.engine.series import Labels, labels_of

__all__ = ["AcceptedLevels"]

Rows = npt.NDArray[np.intp]


class AcceptedLevels:
    """When the present level of a series was last accepted, Unix seconds, by its labels."""

    def __init__(self, accepted: Mapping[Labels, float] | None = None) -> None:
        self._accepted = dict(accepted or {})

    def __len__(self) -> int:
        return len(self._accepted)

    @property
    def instants(self) -> list[float]:
        """When something was accepted, in order, Unix seconds."""
        return sorted(set(self._accepted.values()))

    @property
    def by_series(self) -> dict[Labels, float]:
        """A copy, by the labels of the series."""
        return dict(self._accepted)

    def note(self, series: Sequence[Labels], at: float) -> None:
        """Note that the level of some series was accepted, Unix seconds."""
        self._accepted |= dict.fromkeys(series, at)

    def due(self, engine: Engine, applied: Mapping[Labels, float]) -> list[tuple[float, Rows]]:
        """Return which rows are to be accepted as of when, in order: by now, and not as in `applied`."""
        rows: dict[float, list[int]] = {}
        for labels, at in list(self._accepted.items()):
            row = engine.table.row(labels)
            if at <= engine.at and row is not None and applied.get(labels) != at:
                rows.setdefault(at, []).append(row)
        return [(at, np.array(members, np.intp)) for at, members in sorted(rows.items())]

    def forget(self, before: float) -> None:
        """Drop what was accepted before history begins, Unix seconds."""
        self._accepted = {labels: at for labels, at in list(self._accepted.items()) if at >= before}

    def encode(self, engine: Engine) -> npt.NDArray[np.float64]:
        """Return row and instant of each series that is still there, shape (k, 2)."""
        rows = ((engine.table.row(labels), at) for labels, at in list(self._accepted.items()))
        return np.array([(row, at) for row, at in rows if row is not None], np.float64).reshape(-1, 2)

    @classmethod
    def decode(cls, encoded: npt.NDArray[np.generic] | None, series: Sequence[tuple[int, bytes]]) -> AcceptedLevels:
        """Return what `encode` made; nothing where it cannot be read."""
        if encoded is None or encoded.dtype != np.float64 or encoded.ndim != 2 or encoded.shape[1] != 2:
            return cls()
        keys = dict(series)
        return cls({labels_of(keys[int(row)]): at for row, at in encoded.tolist() if row in keys})
