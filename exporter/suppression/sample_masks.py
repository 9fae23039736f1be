"""Masks of rows and samples by the rules in effect: what is not learned, expected at another level, or not alerted."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate
from exporter.alerting.explanation.registry import EVENT
from exporter.alerting.identity import METRIC_LABELS, plain_labels
from exporter.alerting.labels import alert_labels
from exporter.alerting.settings import AlertSettings
from exporter.calendar import LabelColumns, SuppressionRule
from exporter.config.plan import QueryPlan
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.series import Labels, SeriesTable
from exporter.suppression.active_events import ActiveEvents

__all__ = ["RowMask", "SampleMasks"]

AlertKind = Literal["query", "group"]

_EXPORTED = "exported_"
_SHORT = 512
_REMEMBERED = 16
"""Masks that are cached, one for each set of rules: what comes and goes in history is computed once."""
_MOST = 5_000_000
"""Values that are matched in one slot: about half a second."""


@dataclass(frozen=True, slots=True)
class RowMask:
    """What suppresses the rows of a query in one slot.

    Attributes
    ----------
    samples : SampleMask
        For the engine.
    ignored : ndarray of bool, shape (size,)
        Rows that do not alert.
    covered : ndarray of bool, shape (size,)
        Rows whose alerts a silence covers.
    silenced : ndarray of bool, shape (size,)
        Those of them whose silence would not cover an alert of all of them.
    """

    samples: SampleMask
    ignored: npt.NDArray[np.bool_]
    covered: npt.NDArray[np.bool_]
    silenced: npt.NDArray[np.bool_]
    _first: npt.NDArray[np.intp]
    _rules: tuple[SuppressionRule, ...]

    def annotate(self, candidate: AlertCandidate, row: int) -> AlertCandidate:
        """Return the alert of a row with the annotation ``calendar``, where a rule is in effect for it."""
        number = int(self._first[row])
        if number < 0:
            return candidate
        return replace(candidate, explanation=candidate.explanation.add(EVENT, self._rules[number].text))


class SampleMasks:
    """The masks of all queries and groups; computed again only when the rules in effect or the rows change.

    Parameters
    ----------
    events : ActiveEvents
    external_labels : mapping
        As in `EvaluationSettings`: the labels of an alert follow from them.
    """

    def __init__(self, events: ActiveEvents, external_labels: Mapping[str, str]) -> None:
        self._events = events
        self._external_labels = external_labels
        self._lock = threading.Lock()
        self._masks: dict[tuple[str, str, str], _Masks] = {}

    def __reduce__(self) -> tuple[type[SampleMasks], tuple[ActiveEvents, Mapping[str, str]]]:
        """Return what a worker makes its own from."""
        return SampleMasks, (self._events, self._external_labels)

    def beside(self) -> SampleMasks:
        """Return the same masks for other rows of the same queries: those of both would not be cached together."""
        return SampleMasks(self._events, self._external_labels)

    def row_mask(
        self, kind: AlertKind, name: str, rule: AlertSettings | None, table: SeriesTable, at: float
    ) -> RowMask | None:
        """Return the mask of the rows of a query or a group at an instant; None where no rule is in effect.

        Parameters
        ----------
        kind : "query" or "group"
        name : str
        rule : AlertSettings or None
            The rule of its alerts.
        table : SeriesTable
            Whose rows they are.
        at : float, Unix seconds
        """
        rules = self._events.rules(at)
        return self._of(kind, name, rule).under(rules, table) if rules else None

    def sample_mask(self, plan: QueryPlan, table: SeriesTable, times: FloatArray) -> SampleMask | None:
        """Return the mask of the samples at `times`, shape (t,); None where no rule is in effect."""
        if len(times) == 1:
            mask = self.row_mask("query", plan.name, plan.alert, table, float(times[0]))
            return None if mask is None else mask.samples
        during = self._events.during(times.tolist())
        if not any(during):
            return None
        learn, factor = np.ones((len(times), table.size), np.bool_), np.ones((len(times), table.size))
        band = np.ones(factor.shape)
        masks, any_masked = self._of("query", plan.name, plan.alert), False
        for rules, instants in itertools.groupby(range(len(times)), key=during.__getitem__):
            mask = masks.under(rules, table) if rules else None
            if mask is not None:
                when, any_masked = list(instants), True
                learn[when], factor[when] = mask.samples.learn, mask.samples.factor
                if mask.samples.band is not None:
                    band[when] = mask.samples.band
        return SampleMask(learn, factor, band if (band != 1.0).any() else None) if any_masked else None

    def _of(self, kind: AlertKind, name: str, rule: AlertSettings | None) -> _Masks:
        with self._lock:
            # Alerts of a query and of its canary are of different tables.
            key = (kind, name, "" if rule is None else rule.alertname)
            masks = self._masks.get(key)
            if masks is None:
                masks = _Masks(_naming(kind, name, rule, self._external_labels))
                self._masks[key] = masks
            return masks


class _Masks:
    """The rows of one query or group under rules; safe for several threads."""

    def __init__(self, columns: LabelColumns) -> None:
        self._columns = columns
        self._lock = threading.Lock()
        self._seen: tuple[SeriesTable, int] | None = None
        self._cached: dict[int, tuple[object, RowMask | None]] = {}

    def under(self, rules: tuple[SuppressionRule, ...], table: SeriesTable) -> RowMask | None:
        with self._lock:
            if self._seen is None or self._seen[0] is not table or self._seen[1] != table.version:
                self._columns.read(table.size, table.items())
                self._seen = (table, table.version)
                self._cached.clear()
            cached = self._cached.get(id(rules))
            # An id is only that of one object for as long as it lives; those that are kept live.
            if cached is not None and cached[0] is rules:
                return cached[1]
            self._columns.keep([rule.matchers for rule in rules])
            mask, complete = _masked(rules, self._columns, table.size)
            # The next slot goes on with what was too much for this one.
            if complete:
                if len(self._cached) >= _REMEMBERED:
                    del self._cached[next(iter(self._cached))]
                self._cached[id(rules)] = (rules, mask)
            return mask


def _masked(rules: Sequence[SuppressionRule], columns: LabelColumns, size: int) -> tuple[RowMask | None, bool]:
    """Return the mask of the rows, and whether all rules are part of it so far."""
    first = np.full(size, -1, np.intp)
    factor = np.ones(size)
    band = np.ones(size)
    ignored, covered, silenced, unlearned = np.zeros((4, size), np.bool_)
    begun = columns.values_tested
    complete = True
    for number, rule in enumerate(rules):
        if columns.values_tested - begun > _MOST:
            complete = False
            break
        rows = columns.rows(rule.matchers)
        if not len(rows):
            continue
        if rule.action == "widen":
            # Of several changes the last: it is learned as ever, so nothing else is masked.
            band[rows] = rule.factor
            continue
        if rule.action == "unlearned":
            # It alerts as ever: an incident is what people want to hear of.
            unlearned[rows] = True
            continue
        first[rows[first[rows] < 0]] = number
        if rule.action == "ignore":
            ignored[rows] = True
        elif rule.action == "silence":
            covered[rows] = True
            silenced[rows] |= columns.distinguish(rule.matchers)
        elif rule.factor != 1.0:
            # Of several factors the one farthest from 1: a campaign on a holiday is not their product.
            farther = rows[abs(np.log(rule.factor)) > np.abs(np.log(factor[rows]))]
            factor[farther] = rule.factor
    if (first < 0).all() and (band == 1.0).all() and not unlearned.any():
        return None, complete
    samples = SampleMask((first < 0) & ~unlearned, factor, band if (band != 1.0).any() else None)
    return RowMask(samples, ignored, covered, silenced, first, tuple(rules)), complete


def _naming(
    kind: AlertKind, owner: str, alert: AlertSettings | None, external_labels: Mapping[str, str]
) -> LabelColumns:
    """Return the labels of alerts as they follow from those of their series, label by label."""
    # A query that never alerts is silenced by the labels that its alerts would have.
    rule = AlertSettings() if alert is None else alert
    fixed = alert_labels((), owner, rule, {}, kind=kind).keys() | rule.labels.keys()

    def parts_of(name: str) -> frozenset[str]:
        if name in fixed:
            return frozenset()
        parts = {name}
        while name.startswith(_EXPORTED):
            name = name.removeprefix(_EXPORTED)
            parts.add(name)
        return frozenset(parts | {source for source, label in METRIC_LABELS.items() if label in parts})

    def value_in(part: Mapping[str, str], name: str) -> str:
        labels = alert_labels(part.items(), owner, rule, external_labels, kind=kind, with_metric=True)
        return labels.get(name) or plain_labels(labels).get(name, "")

    @functools.cache
    def is_taken_over(name: str) -> bool:
        return value_in({name: "x"}, name) == "x"

    def value_of(part: Labels, name: str) -> str:
        if len(part) == 1 and part[0][0] == name and is_taken_over(name):
            value = part[0][1]
            # What may have to be mended or cut takes the long way.
            if value.isascii() and len(value) <= _SHORT:
                return value
        return value_in(dict(part), name)

    return LabelColumns(value_of, parts_of, lambda name: next(iter(plain_labels({name: ""}))))
