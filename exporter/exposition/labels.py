r"""The labels of rows on ``/metrics``, from the identity of their series.

Prometheus parses the page as a whole: an unreadable label loses every score, and of two rows with the same labels one
is lost silently. So a label set is on the page once: where several series have it, with their worst sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.alerting.identity import (
    METRIC_LABELS,
    Kind,
    LabelLayouts,
    clean_value,
    is_plain_name,
    plain_labels,
    series_identity,
)
from exporter.engine.series import SeriesTable

__all__ = ["PageRows", "page_labels", "row_prefix", "with_label"]

Labels = Sequence[tuple[str, str]]

_ALWAYS = ("instance", "job")
"""Labels that are empty where a series has none: under ``honor_labels`` Prometheus then adds not its own."""
_LABEL = re.compile(rb'([^",=]+|"(?:[^"\\]|\\.)*")=("(?:[^"\\]|\\.)*")', re.DOTALL)
_SPECIAL = re.compile(r'[\\\n"]').search


def page_labels(
    labels: Labels, kind: Kind, name: str, *, with_metric: bool = False, utf8: bool = False
) -> tuple[tuple[str, str], ...]:
    """Return the labels under which a source series is on the page: that of the query or group first.

    Parameters
    ----------
    labels : sequence of (name, value)
        The labels of the source series, names distinct.
    kind : "query" or "group"
    name : str
        Of the query or group.
    with_metric : bool
        As of `series_identity`.
    utf8 : bool
        Keep names of any form, for a scraper that takes them; otherwise they are plain.

    Examples
    --------
    >>> page_labels([("__name__", "up"), ("job", "node"), ("query", "x")], "query", "cpu")
    (('query', 'cpu'), ('exported_query', 'x'), ('instance', ''), ('job', 'node'))
    """
    own: Mapping[str, str] = dict(series_identity(labels, kind, with_metric=with_metric))
    if not utf8:
        own = plain_labels(own)
    pairs = [*own.items(), *((label, "") for label in _ALWAYS if label not in own)]
    return (kind, clean_value(name)), *sorted(pairs)


def row_prefix(exposed: Labels) -> bytes:
    r"""Write exposed labels as between the braces of a row, in UTF-8.

    >>> row_prefix([("query", "cpu"), ("path", 'C:\\ "x"')])
    b'query="cpu",path="C:\\\\ \\"x\\""'
    """
    return ",".join([f'{_quoted(name)}="{_escaped(value)}"' for name, value in exposed]).encode()


def with_label(prefix: bytes, more: bytes) -> bytes:
    """Return a prefix with another label; one of its own with that name is renamed as Prometheus renames it.

    Parameters
    ----------
    more : bytes
        The label with its comma.

    Examples
    --------
    >>> with_label(b'query="cpu",quantile="0.99"', b',quantile="0.5"')
    b'query="cpu",exported_quantile="0.99",quantile="0.5"'
    """
    name = more[1 : more.find(b"=")]
    if name + b'="' not in prefix:
        return prefix + more
    pairs = _LABEL.findall(prefix)
    names = {own for own, _ in pairs}
    new = name
    while new in names:
        new = b"exported_" + new
    return b",".join(b"%b=%b" % (new if own == name else own, value) for own, value in pairs) + more


class PageRows:
    """The prefix of each row of an engine's table on the page.

    Parameters
    ----------
    kind : "query" or "group"
    name : str
        Of the query or group, a label of every row.

    Attributes
    ----------
    with_metric : bool
        Whether rows have the name of the metric as a label, because some differ in nothing else.
    """

    def __init__(self, kind: Kind, name: str) -> None:
        self._kind: Kind = kind
        self._name = name
        self.with_metric = False
        self._layouts = LabelLayouts(lambda series: self._labels(series, utf8=False))
        self._utf8_layouts = LabelLayouts(lambda series: self._labels(series, utf8=True))
        self._prefixes: list[bytes] = []
        self._utf8: dict[int, bytes] = {}
        self._first: dict[bytes, int] = {}
        self._shared: dict[bytes, list[int]] = {}
        self._shown: tuple[tuple[int, ...], tuple[bytes, ...]] | None = None
        self._shown_utf8: tuple[tuple[bytes, ...], tuple[bytes, ...]] | None = None

    def _labels(self, series: Labels, *, utf8: bool) -> tuple[tuple[str, str], ...]:
        return page_labels(series, self._kind, self._name, with_metric=self.with_metric, utf8=utf8)

    @property
    def shared(self) -> int:
        """How many rows have the labels of a row before them: they are not shown, unless their sample is worse."""
        return sum(len(rows) - 1 for rows in self._shared.values())

    def text(self, row: int) -> str:
        """Return the labels of a row, for the log."""
        return self._prefixes[row].decode()

    def prefixes(self, score: npt.NDArray[np.float64]) -> tuple[bytes, ...]:
        """Return the prefixes by row, empty where a row is not shown; the same object while nothing changed.

        Parameters
        ----------
        score : ndarray, shape (size,)
            Of several rows with the same labels that with the highest is shown.
        """
        key = tuple(self.hidden(score))
        if self._shown is None or self._shown[0] != key:
            prefixes = self._prefixes.copy()
            for row in key:
                prefixes[row] = b""
            self._shown = key, tuple(prefixes)
        return self._shown[1]

    def utf8_prefixes(self, prefixes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the same prefixes with names as they are; the same object where all names are plain."""
        if not self._utf8:
            return prefixes
        if self._shown_utf8 is None or self._shown_utf8[0] is not prefixes:
            quoted = list(prefixes)
            for row, prefix in self._utf8.items():
                quoted[row] = prefix if prefixes[row] else b""
            self._shown_utf8 = prefixes, tuple(quoted)
        return self._shown_utf8[1]

    def hidden(self, score: npt.NDArray[np.float64]) -> list[int]:
        """Return the rows that are not shown because one with the same labels has a higher score."""
        hidden: list[int] = []
        for rows in self._shared.values():
            worst = rows[int(np.argmax(np.nan_to_num(score[rows], nan=-1.0)))]
            hidden += [row for row in rows if row != worst]
        return hidden

    def claim(self, rows: Iterable[int], table: SeriesTable) -> int:
        """Give rows their prefix; return how many have that of another row."""
        before, with_metric = self.shared, self.with_metric
        if table.size > len(self._prefixes):
            self._prefixes.extend([b""] * (table.size - len(self._prefixes)))
            self._shown = None
        for row in rows:
            if not self._prefixes[row]:
                self._add(row, table)
            if self.with_metric is not with_metric:
                return self._claim_again(table)
        return max(0, self.shared - before)

    def release(self, rows: Sequence[int]) -> None:
        """Take the prefixes of forgotten rows back."""
        for row in rows:
            if row >= len(self._prefixes) or not self._prefixes[row]:
                continue
            prefix, self._prefixes[row] = self._prefixes[row], b""
            self._utf8.pop(row, None)
            sharing = self._shared.get(prefix, [row])
            sharing.remove(row)
            if len(sharing) <= 1:
                self._shared.pop(prefix, None)
            if sharing:
                self._first[prefix] = sharing[0]
            else:
                self._first.pop(prefix, None)
            self._shown = None

    def _claim_again(self, table: SeriesTable) -> int:
        self._layouts.forget()
        self._utf8_layouts.forget()
        self._prefixes, self._utf8, self._first, self._shared = [b""] * table.size, {}, {}, {}
        for row in [row for row, _ in table.items()]:
            self._add(row, table)
        return self.shared

    def _add(self, row: int, table: SeriesTable) -> None:
        labels = table.labels(row)
        prefix = row_prefix(self._layouts.pairs(labels))
        self._prefixes[row], self._shown = prefix, None
        if not all(is_plain_name(name) for name, _ in labels if name not in METRIC_LABELS):
            self._utf8[row] = row_prefix(self._utf8_layouts.pairs(labels))
        first = self._first.setdefault(prefix, row)
        if first == row:
            return
        self._shared.setdefault(prefix, [first]).append(row)
        names = {dict(table.labels(other)).get("__name__") for other in (first, row)}
        self.with_metric = self.with_metric or len(names) > 1


def _quoted(name: str) -> str:
    return name if is_plain_name(name) else f'"{_escaped(name)}"'


def _escaped(value: str) -> str:
    if _SPECIAL(value):
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
