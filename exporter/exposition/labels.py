r"""The labels of rows on ``/metrics``, from the labels of their source series.

Prometheus parses the page as a whole: an unreadable label loses every score, and of two rows with the same labels one
is lost silently. So every name and value is sanitised here, once per series, and a label set is given out only once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from exporter.engine.series import SeriesTable

__all__ = ["PageRows", "RowLabels", "exposed_labels", "row_prefix"]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_]")

# Control characters and lone surrogates. A tab is ordinary text; a line feed is escaped instead.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SPECIAL = re.compile('[\\\\"\n\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]')
_REPLACEMENT = "\ufffd"

_OF_TARGET = ("instance", "job")
"""Labels of the scraped target. Even with `honor_labels` Prometheus gives them to a row that has no such label, but not
to one that has it empty: the score of an aggregate would be about the exporter, and different in each of a pair."""

Labels = Sequence[tuple[str, str]]


def exposed_labels(labels: Labels, own: Labels) -> tuple[tuple[str, str], ...]:
    """Return the labels under which a source series is exposed.

    Parameters
    ----------
    labels : sequence of (name, value)
        The labels of the source series, sorted, names distinct.
    own : sequence of (name, value)
        Added labels: ``query``, or ``group`` for the score of a group.

    Returns
    -------
    tuple of (name, value)
        `own` first, then the others by exposed name. Every name is distinct and plain ASCII, every value
        free of control characters. ``__name__`` and empty values are dropped: to Prometheus an empty
        label is an absent one. ``instance`` and ``job`` are always there, empty where the series has none, so
        that Prometheus does not add those of the exporter.

    Examples
    --------
    >>> exposed_labels([("__name__", "up"), ("job", "node"), ("query", "x")], [("query", "cpu")])
    (('query', 'cpu'), ('exported_query', 'x'), ('instance', ''), ('job', 'node'))
    """
    kept = [(name, value) for name, value in labels if value and name != "__name__"]
    names = _exposed_names(tuple(name for name, _ in kept), tuple(name for name, _ in own))
    values = (*(value for _, value in kept), *("" for _ in names[len(kept) :]))
    pairs = [*own, *sorted(zip(names, values, strict=True))]
    return tuple((name, _harmless(value)) for name, value in pairs)


def row_prefix(exposed: Labels) -> bytes:
    r"""Write exposed labels as between the braces of a row, in UTF-8.

    >>> row_prefix([("query", "cpu"), ("path", 'C:\\ "x"')])
    b'query="cpu",path="C:\\\\ \\"x\\""'
    """
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in exposed).encode()


class RowLabels:
    """The row prefixes of a query; no two series have the same.

    Parameters
    ----------
    own : sequence of (name, value)
        Added to every row, such as ``[("query", "cpu")]``.
    """

    def __init__(self, own: Labels) -> None:
        self._own = tuple(own)
        self._own_names = tuple(name for name, _ in self._own)
        self._start = row_prefix([(name, _harmless(value)) for name, value in self._own]).decode()
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._taken: set[bytes] = set()

    def claim(self, labels: Labels) -> bytes | None:
        """Return the row prefix of a new series, or None where another series already has it.

        Such a series cannot be exposed: count it as rejected. It happens where source labels differ only in
        ``__name__``, or in characters that were replaced.

        Parameters
        ----------
        labels : sequence of (name, value)
            The labels of the source series, sorted by name, so that equal sets give equal prefixes.
        """
        kept = [(name, value) for name, value in labels if value and name != "__name__"]
        source = tuple(name for name, _ in kept)
        names = self._names.get(source)
        if names is None:
            # The series of a query share a few sets of names, so this is rare.
            names = self._names[source] = _exposed_names(source, self._own_names)
        values = [value for _, value in kept] + [""] * (len(names) - len(kept))
        parts = [self._start]
        parts += [
            f'{name}="{value if _SPECIAL.search(value) is None else _escaped(_harmless(value))}"'
            for name, value in sorted(zip(names, values, strict=True))
        ]
        prefix = ",".join(parts).encode()
        if prefix in self._taken:
            return None
        self._taken.add(prefix)
        return prefix

    def release(self, prefixes: Iterable[bytes]) -> None:
        """Release the prefixes of series that are gone."""
        self._taken.difference_update(prefixes)


class PageRows:
    """The prefix of each row of an engine's table on the page.

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
        """By row; empty where it has none. The same object while nothing changed."""
        if self._shown is None:
            self._shown = tuple(self._prefixes)
        return self._shown

    def claim(self, rows: Iterable[int], table: SeriesTable) -> int:
        """Give rows their prefix; return how many cannot have one, because another row has the same labels."""
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
        """Take the prefixes of forgotten rows back."""
        self._labels.release(self._prefixes[row] for row in rows)
        for row in rows:
            self._prefixes[row] = b""
        self._shown = None


def _exposed_names(names: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """Return a distinct, valid name for each of `names`, then those of `_OF_TARGET` that are free; see there.

    A valid name that is free stays.
    """
    used = set(own)
    exposed_names: dict[str, str] = {}
    # Valid names come first, so that a sanitised name never takes theirs.
    for name in sorted(names, key=lambda name: (not _is_plain(name), name)):
        exposed = name if _is_plain(name) else _sanitised(name)
        while exposed in used:
            exposed = "exported_" + exposed
        used.add(exposed)
        exposed_names[name] = exposed
    return (*(exposed_names[name] for name in names), *(name for name in _OF_TARGET if name not in used))


def _is_plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.startswith("__")


def _sanitised(name: str) -> str:
    plain = _NOT_IN_NAME.sub("_", name)
    if plain.startswith("__"):
        # Reserved by Prometheus, and __name__ would pass the row off as another metric.
        return "exported_" + plain
    return plain if _NAME.fullmatch(plain) else "_" + plain


def _harmless(value: str) -> str:
    return _HARMFUL.sub(_REPLACEMENT, value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
