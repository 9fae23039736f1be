"""Deploys and other changes: marked by an increase of a query or announced, and named in the alerts that follow."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.explanation.formatting import format_numbers
from exporter.alerting.explanation.registry import CHANGE
from exporter.alerting.explanation.template import fill
from exporter.alerting.explanation.why_input import ChangeInput, PrecedingChange
from exporter.calendar import Occurrence, TimeWindow, all_match, parse_matcher
from exporter.calendar.events import AnnouncedEvent
from exporter.correlation.settings import AfterChangeSettings, ChangeSettings
from exporter.engine.series import labels_of

__all__ = ["Change", "ChangeLog", "changes_in"]

FloatArray = npt.NDArray[np.float64]

_SHOWN = 3
_MOST = 5000
"""Changes of one query that are kept, the newest."""
_KEPT = 86400.0
_NAME = "change"


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Something that changed: when, in words, and what it is about.

    Attributes
    ----------
    at : float, Unix seconds
        It may have been as long before as its query is apart.
    labels : tuple
        Pairs of names and values.
    """

    at: float
    text: str
    labels: tuple[tuple[str, str], ...] = ()

    def concerns(self, labels: Mapping[str, str], equal: Sequence[str]) -> bool:
        """Return whether an alert with these labels may be about it.

        Parameters
        ----------
        equal : sequence of str
            Labels that both must have with the same value; without any, no label that both have may differ.
        """
        own = dict(self.labels)
        if equal:
            return all(own.get(name, "") == labels.get(name, "") != "" for name in equal)
        return all(labels.get(name, value) == value for name, value in own.items())


def changes_in(
    settings: ChangeSettings, times: FloatArray, keys: Sequence[bytes], values: FloatArray
) -> tuple[Change, ...]:
    """Return the changes that the samples of a query mark.

    A series changes where its value is higher than at the instant before, and where it is new while others were there.

    Parameters
    ----------
    times : ndarray, shape (t,)
        Unix seconds, ascending.
    keys : sequence of bytes, length n
        Label sets as JSON objects.
    values : ndarray, shape (t, n)
        NaN where there is no sample.
    """
    if len(times) < 2 or not len(keys):
        return ()
    present = np.logical_not(np.isnan(values))
    # Gaps have the value before them.
    place = np.maximum.accumulate(np.where(present, np.arange(len(times))[:, None], -1), axis=0)
    filled = np.where(place >= 0, np.take_along_axis(values, np.maximum(place, 0), axis=0), np.nan)
    before, now = filled[:-1], values[1:]
    others = present[:-1].sum(axis=1, keepdims=True) > 0
    changed = present[1:] & np.where(np.isnan(before), others, now > before)
    changes = []
    for slot, column in np.argwhere(changed).tolist():
        labels = tuple(pair for pair in labels_of(keys[column]) if pair[0] != "__name__")
        (value,) = format_numbers([float(now[slot, column])])
        text = fill(settings.text, {"name": settings.name, "value": value}, dict(labels))
        changes.append(Change(float(times[slot + 1]), text, labels))
    return tuple(sorted(changes)[-_MOST:])


class ChangeLog:
    """The changes of the last day. One thread writes; any thread may read.

    Parameters
    ----------
    announced : callable
        Returns the events that were announced; each begins with a change.
    """

    def __init__(self, announced: Callable[[], Iterable[AnnouncedEvent]] = tuple) -> None:
        self._announced = announced
        self._settings: tuple[ChangeSettings, ...] = ()
        self._changes: dict[str, tuple[Change, ...]] = {}

    @property
    def queried(self) -> tuple[ChangeSettings, ...]:
        """The queries that mark changes."""
        return self._settings

    def configure(self, settings: Sequence[ChangeSettings]) -> None:
        """Apply another configuration; what the same queries marked stays."""
        before = {each.model_dump_json() for each in self._settings}
        kept = {each.name for each in settings if each.model_dump_json() in before}
        self._changes = {name: changes for name, changes in self._changes.items() if name in kept}
        self._settings = tuple(settings)

    def add(self, name: str, changes: Iterable[Change], *, before: float) -> tuple[Change, ...]:
        """Take changes that a query marked, forget those before an instant; return those that are new."""
        old = self._changes.get(name, ())
        new = set(changes) - set(old)
        kept = [change for change in (*old, *new) if change.at >= before]
        # One assignment: another thread sees all of the old or all of the new.
        self._changes = {**self._changes, name: tuple(sorted(kept)[-_MOST:])}
        return tuple(sorted(new))

    def concerning(self, labels: Mapping[str, str], start: float, end: float) -> list[Change]:
        """Return the changes in a range of time that may concern something with these labels, the newest first."""
        marked = [
            change
            for settings in self._settings
            for change in _between(self._changes.get(settings.name, ()), start, end)
            if (not settings.matchers or all_match(settings.matchers, labels))
            and change.concerns(labels, settings.equal)
        ]
        announced = [
            Change(event.starts_at, event.comment or event.name)
            for event in self._announced()
            if start <= event.starts_at <= end
            and not event.cron
            and all_match(tuple(map(parse_matcher, event.match)), labels)
        ]
        return sorted({*marked, *announced}, reverse=True)

    def explain(
        self, at: float, alerts: Mapping[str, Alert], candidates: Mapping[str, AlertCandidate], *, slack: float
    ) -> dict[str, AlertCandidate]:
        """Return the candidates with the changes before them.

        Parameters
        ----------
        alerts : mapping
            Before this slot.
        slack : float, seconds
            How much later than an anomaly a change that precedes it may be seen.
        """
        within = max((each.within for each in self._settings), default=3600.0)
        result = {}
        for identity, candidate in candidates.items():
            alert = alerts.get(identity)
            alert = alert if alert is not None and alert.is_open else None
            began = at if candidate.since is None else min(at, candidate.since)
            began = began if alert is None else min(began, alert.active_at)
            earlier = "" if alert is None else alert.annotations.get(_NAME, "")
            changes = self.concerning(candidate.labels, began - within, min(at, began + slack))[:_SHOWN]
            if changes or earlier:
                preceding = tuple(PrecedingChange(change.text, change.at) for change in changes)
                source = ChangeInput(preceding, began, earlier)
                candidate = replace(candidate, explanation=candidate.explanation.add(CHANGE, source))
            result[identity] = candidate
        return result

    def bands(self, after: Mapping[str, AfterChangeSettings]) -> tuple[Occurrence, ...]:
        """Return when the band of queries is another, because something changed.

        Parameters
        ----------
        after : mapping
            By query.
        """
        return tuple(
            Occurrence(
                change.text,
                "widen",
                settings.band,
                (parse_matcher(f'query="{query}"'), *map(parse_matcher, _same_or_none(each, change))),
                TimeWindow(change.at, change.at + settings.duration),
            )
            for query, settings in after.items()
            for each in self._settings
            for change in self._changes.get(each.name, ())
        )


def _between(changes: Sequence[Change], start: float, end: float) -> Sequence[Change]:
    """Return the changes in a range of time; they are in its order."""
    first = bisect.bisect_left(changes, start, key=_instant)
    return changes[first : bisect.bisect_right(changes, end, lo=first, key=_instant)]


def _instant(change: Change) -> float:
    return change.at


def _same_or_none(settings: ChangeSettings, change: Change) -> list[str]:
    """Return the matchers of the series that a change may concern."""
    texts = []
    for name, value in change.labels:
        if not settings.equal:
            texts.append(f'{name}=~"{_escaped(value)}|"')
        elif name in settings.equal:
            texts.append(f'{name}="{value.translate(_QUOTED)}"')
    return [*texts, *(settings.match or ())]


_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def _escaped(value: str) -> str:
    """Return a regular expression for a text, as it is written in a matcher."""
    plain = "".join(letter if letter.isalnum() or letter in "_- " else f"\\{letter}" for letter in value)
    return plain.translate(_QUOTED)
