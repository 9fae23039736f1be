"""The identity of a series: the one label set under which it is on ``/metrics`` and in its alert.

It has names of any form. Who takes only ``[a-zA-Z_][a-zA-Z0-9_]*`` gets it as `plain_labels`, which rewrites names as
Prometheus does under ``escaping=underscores``; two series that are equal then are one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Literal

__all__ = [
    "METRIC_LABELS",
    "Kind",
    "LabelLayouts",
    "Pairs",
    "clean_value",
    "is_plain_name",
    "plain_labels",
    "series_identity",
    "with_plain",
]

Kind = Literal["query", "group"]
Pairs = tuple[tuple[str, str], ...]

METRIC_LABELS = {"__name__": "metric", "__type__": "metric_type", "__unit__": "metric_unit"}
"""What says which metric a series is of, and the label that says so where series differ in nothing else."""
_MAX_LABEL = 2048
"""Bytes of the value of a label."""
_DIGEST = 8
"""Hexadecimal digits of a hash at the end of a value that was cut."""

_RESERVED = ("alertname", "storm", "incident", "incident_role", "notify_as", "reason", "le", "quantile")
"""Labels that the exporter sets beside that of the query or group, on alerts and on ``anomaly_suppressed``, and those
that mean something in histograms and summaries alone: what has one is taken for a part of one."""
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_]")
_DIGIT_FIRST = re.compile(r"^[0-9]")
# Control characters and lone surrogates. A tab is ordinary text, and so is a line feed in a value.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_HARMFUL_NAME = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_SIMPLE = re.compile(r"[ -~]{1,512}").fullmatch
"""Matches nearly all values: nothing is to be cleaned."""


def series_identity(labels: Iterable[tuple[str, str]], kind: Kind, *, with_metric: bool = False) -> Pairs:
    """Return the labels of a series that identify it among all of its query or group; names of any form.

    Parameters
    ----------
    labels : iterable of (name, value)
        As the source gave them, names distinct.
    kind : "query" or "group"
        The label that the exporter adds.
    with_metric : bool
        Keep the name of the metric as the label ``metric``, because other labels do not tell the series apart.

    Returns
    -------
    tuple of (name, value)
        Sorted by name. No value is empty; none has control characters or is longer than 2 KiB.

    Examples
    --------
    >>> series_identity([("__name__", "up"), ("query", "x"), ("service.name", "a")], "query")
    (('exported_query', 'x'), ('service.name', 'a'))
    >>> series_identity([("__name__", "up"), ("job", "a")], "query", with_metric=True)
    (('job', 'a'), ('metric', 'up'))
    """
    kept = [pair for pair in labels if pair[1]]
    names = _identity_names(tuple([name for name, _ in kept]), kind, with_metric)
    pairs = [(name, clean_value(value)) for name, (_, value) in zip(names, kept, strict=True) if name]
    pairs.sort()
    return tuple(pairs)


def plain_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels with plain names only; the same object where all are.

    >>> plain_labels({"service.name": "a", "service_name": "b"})
    {'exported_service_name': 'a', 'service_name': 'b'}
    """
    names = tuple(labels)
    plain = _plain_names(names)
    return labels if plain is names else dict(zip(plain, labels.values(), strict=True))


class LabelLayouts:
    """Applies a function from label sets to label sets to many series: once for every set of names.

    Parameters
    ----------
    labels_of : callable
        Of pairs, whose values it takes over or cleans, and never looks at.
    """

    def __init__(self, labels_of: Callable[[Pairs], Iterable[tuple[str, str]]]) -> None:
        self._labels_of = labels_of
        self._layouts: dict[tuple[str, ...], list[tuple[str, int, str]]] = {}

    def pairs(self, series: Pairs) -> list[tuple[str, str]]:
        """Return the labels of a series, none of whose values is empty."""
        names = tuple([name for name, _ in series])
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layouts[names] = self._layout(names)
        return [
            (name, constant if index < 0 else value if _SIMPLE(value := series[index][1]) else clean_value(value))
            for name, index, constant in layout
        ]

    def forget(self) -> None:
        """Apply the function anew from now on, because what it depends on changed."""
        self._layouts.clear()

    def _layout(self, names: tuple[str, ...]) -> list[tuple[str, int, str]]:
        # Characters for private use stand for the values.
        marks = {f"\ue000{index}\ue001": index for index in range(len(names))}
        pairs = self._labels_of(tuple(zip(names, marks, strict=True)))
        return [(name, marks.get(value, -1), value) for name, value in pairs]


def with_plain(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels under their names and, where those are not plain, under the rewritten ones, too."""
    plain = plain_labels(labels)
    return labels if plain is labels else {**plain, **labels}


def is_plain_name(name: str) -> bool:
    """Return whether a label of this name needs no quotes and is not reserved by Prometheus."""
    return _PLAIN.fullmatch(name) is not None and not name.startswith("__")


def clean_value(value: str) -> str:
    """Return a value without harmful characters, of at most 2 KiB; one that is cut ends with a hash of the whole."""
    # Counting bytes costs an encoding; almost no value is long enough to need it.
    if len(value) * 4 > _MAX_LABEL:
        return _bounded(value)
    return _HARMFUL.sub(_REPLACEMENT, value)


def _bounded(value: str) -> str:
    clean = _HARMFUL.sub(_REPLACEMENT, value).encode()
    if len(clean) <= _MAX_LABEL:
        return clean.decode()
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=_DIGEST // 2).hexdigest()
    ending = "\u2026" + digest
    return clean[: _MAX_LABEL - len(ending.encode())].decode(errors="ignore") + ending


@lru_cache(maxsize=4096)
def _identity_names(names: tuple[str, ...], kind: Kind, with_metric: bool) -> tuple[str, ...]:
    """Return a distinct name for each of `names`; empty where it is left out."""
    used = {kind, *_RESERVED}
    chosen: dict[str, str] = {}
    # Names that can stay come first, so that a rewritten one never takes theirs.
    for name in sorted(names, key=lambda name: (not _can_stay(name), name)):
        free = name
        if name in METRIC_LABELS:
            free = METRIC_LABELS[name] if with_metric else ""
        elif not _can_stay(name):
            free = _underscored(_HARMFUL_NAME.sub("_", name))
        while free in used:
            free = "exported_" + free
        if free:
            used.add(free)
        chosen[name] = free
    return tuple(chosen[name] for name in names)


def _can_stay(name: str) -> bool:
    return bool(name) and not name.startswith("__") and _HARMFUL_NAME.search(name) is None


@lru_cache(maxsize=4096)
def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a distinct plain name for each of `names`; the same object where all are plain."""
    if all(map(is_plain_name, names)):
        return names
    used: set[str] = set()
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (not is_plain_name(name), name)):
        free = name if is_plain_name(name) else _underscored(name)
        while free in used:
            free = "exported_" + free
        used.add(free)
        chosen[name] = free
    return tuple(chosen[name] for name in names)


def _underscored(name: str) -> str:
    plain = _DIGIT_FIRST.sub("_", _NOT_PLAIN.sub("_", name)) or "_"
    # Reserved by Prometheus, and __name__ would pass a row off as another metric.
    return "exported_" + plain if plain.startswith("__") else plain
