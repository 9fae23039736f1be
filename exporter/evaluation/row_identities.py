"""Which alert each row belongs to: several series whose alerts have the same labels have one alert."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, fingerprint_of
from exporter.alerting.identity import Kind, LabelLayouts, plain_labels
from exporter.alerting.label_index import Hashes, Rows
from exporter.alerting.labels import alert_labels, former_alert_labels
from exporter.alerting.settings import AlertSettings
from exporter.correlation.root_causes import FIRING_LABELS
from exporter.engine.series import Labels, SeriesTable

__all__ = ["RowIdentities"]


class RowIdentities:
    """The identity of the alert of every row. An update costs only as much as the rows that changed.

    An alert that is open keeps its labels. Where those of its series change under it, because another metric came
    that needs the name of the metric to be told apart, or because an earlier version wrote them in another form, the
    series belongs to that alert until it ends.

    Parameters
    ----------
    name : str
        Of the query or group: the value of the label that `kind` names.
    """

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.with_metric = False
        """Whether labels include the name of the metric; see `series_identity`."""
        self.configure(None, {})

    def configure(self, rule: AlertSettings | None, external_labels: Mapping[str, str]) -> None:
        """Set what labels follow from; None: nothing alerts."""
        self._rule, self._external_labels = rule, external_labels
        self._now = _IdentityColumn()
        self._former = [_IdentityColumn(), _IdentityColumn()]
        self._kept: dict[int, Mapping[str, str]] = {}
        self._hashes: Hashes = np.zeros(0, np.uint64)
        self._order: Rows = np.zeros(0, np.intp)
        self._ordered = self._hashes
        self._seen: tuple[SeriesTable | None, int, bool] = (None, -1, False)

    @property
    def naming(self) -> str:
        """A hash of everything that labels follow from, except the series."""
        rule = self._rule
        own = None if rule is None else (rule.alertname, sorted(rule.labels.items()))
        parts = json.dumps((own, sorted(self._external_labels.items())))
        return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()

    def labels(self, series: Labels, row: int = -1, storm: str = "") -> Mapping[str, str]:
        """Return the labels of the alert of a series, of its open alert where that keeps others; there is a rule."""
        kept = self._kept.get(row)
        return self._labels(series, with_metric=self.with_metric, storm=storm) if kept is None else kept

    def update(self, table: SeriesTable, alerts: Mapping[str, Alert]) -> None:
        """Take over the rows of a table; `alerts` are the open alerts of single rows, by fingerprint."""
        now = (table, table.version, self.with_metric)
        if self._rule is None or (self._seen == now and not self._kept and not self._lost(alerts)):
            return
        if self._seen != now:
            if self._seen[2] != self.with_metric:
                self._now = _IdentityColumn()
            self._now.update(table, lambda series: self._labels(series, with_metric=self.with_metric))
            self._seen = now
        self._kept = {}
        self._index(self._now.hashes)
        if lost := self._lost(alerts):
            self._keep(table, {identity: alerts[identity] for identity in lost})

    def rows_of(self, identity: str) -> Rows:
        """Return the rows that the alert is of, ascending."""
        key = np.uint64(_short(identity))
        first = np.searchsorted(self._ordered, key, "left")
        last = np.searchsorted(self._ordered, key, "right")
        return self._order[int(first) : int(last)]

    def sharing(self) -> Rows:
        """Return the rows that have an alert together with a row before them."""
        ordered = self._ordered
        rows: Rows = self._order[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)]
        return rows

    def worst(self, rows: Rows, score: npt.NDArray[np.float64]) -> tuple[Rows, list[Rows]]:
        """Return, of rows that are anomalous, the worst of each alert, and beside it all of that alert.

        Both are in the order of rows, so that which alert comes first does not depend on hashes.
        """
        hashes = self._hashes[rows]
        if len(np.unique(hashes)) == len(rows):
            return rows, [rows[place : place + 1] for place in range(len(rows))]
        order = np.lexsort((rows, -score[rows], hashes))
        parts = np.split(rows[order], np.flatnonzero(np.diff(hashes[order])) + 1)
        parts.sort(key=lambda part: int(part[0]))
        return np.array([part[0] for part in parts], np.intp), parts

    def _lost(self, alerts: Mapping[str, Alert]) -> list[str]:
        return [identity for identity in alerts if not len(self.rows_of(identity))]

    def _keep(self, table: SeriesTable, lost: Mapping[str, Alert]) -> None:
        assert self._rule is not None  # noqa: S101 - checked by the only caller.
        rule = self._rule
        plain, former = self._former
        forms: list[tuple[_IdentityColumn, Callable[[Labels], Mapping[str, str]]]] = [
            (former, lambda series: former_alert_labels(series, self.name, rule, self._external_labels, self.kind))
        ]
        if self.with_metric:
            forms.insert(0, (plain, lambda series: self._labels(series, with_metric=False)))
        hashes = self._now.hashes.copy()
        for column, labels_of in forms:
            column.update(table, labels_of)
            for identity, alert in lost.items():
                rows = np.flatnonzero(column.hashes == _short(identity))
                own = {name: value for name, value in alert.labels.items() if name not in FIRING_LABELS}
                for row in rows.tolist():
                    self._kept.setdefault(row, own)
                    hashes[row] = _short(identity)
        if self._kept:
            self._index(hashes)

    def _index(self, hashes: Hashes) -> None:
        self._hashes, self._order = hashes, np.argsort(hashes, kind="stable")
        self._ordered = hashes[self._order]

    def _labels(self, series: Labels, *, with_metric: bool, storm: str = "") -> dict[str, str]:
        assert self._rule is not None  # noqa: S101 - without one nothing alerts.
        external, kind = self._external_labels, self.kind
        return alert_labels(series, self.name, self._rule, external, kind=kind, storm=storm, with_metric=with_metric)


class _IdentityColumn:
    """The hash of a label set of every row; 0 where a row has no series."""

    def __init__(self) -> None:
        self.hashes: Hashes = np.zeros(0, np.uint64)
        self._series: list[Labels | None] = []

    def update(self, table: SeriesTable, labels_of: Callable[[Labels], Mapping[str, str]]) -> None:
        now: list[Labels | None] = [None] * table.size
        for row, series in table.items():
            now[row] = series
        layouts = LabelLayouts(lambda series: sorted(plain_labels(labels_of(series)).items()))
        before = self._series + [None] * (len(now) - len(self._series))
        hashes = np.zeros(len(now), np.uint64)
        kept = min(len(now), len(self.hashes))
        hashes[:kept] = self.hashes[:kept]
        for row, (new, old) in enumerate(zip(now, before, strict=False)):
            if new is not old:
                hashes[row] = 0 if new is None else _short(fingerprint_of(layouts.pairs(new)))
        self.hashes, self._series = hashes, now


def _short(identity: str) -> int:
    """Return 64 bits of a fingerprint; never 0."""
    return int(identity[:16], 16) or 1
