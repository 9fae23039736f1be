"""What other settings of a query would have made of its alerts, from the verdicts that are kept.

Only settings that let less through can be followed: what was not anomalous at the time has no alert to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
import numpy.typing as npt

from exporter.alerting.episode import Episode, Feedback
from exporter.config.plan import QueryPlan
from exporter.engine.series import Labels
from exporter.store import EpisodeFilter, EpisodeLog, KeptVerdicts, VerdictLog
from exporter.views.anomalies import series_labels
from exporter.web.api.what_if import OtherSettings, WhatIf, WhatIfOutcome

__all__ = ["Followed", "compare", "follow", "suggestions", "what_if"]

FloatArray = npt.NDArray[np.float64]

_RANGE = 30 * 86400.0
_MOST_ALERTS, _BUDGET = 500, 1.2
"""Alerts that are followed, and seconds for it."""
_BEFORE = 3600.0
"""Seconds of verdicts that are read before an anomaly began."""


@dataclass(frozen=True, slots=True)
class Followed:
    """An alert with the verdicts on its series; arrays of shape (t,), from before it began to its end."""

    verdict: Feedback | None
    times: FloatArray
    anomalous: npt.NDArray[np.bool_]
    deviation: FloatArray
    relative: FloatArray
    votes: FloatArray

    def fires(self, settings: OtherSettings) -> float | None:
        """Return when the alert would have fired, Unix seconds; None: not at all."""
        counts = self.anomalous.copy()
        for limit, line in (
            (settings.min_deviation, self.deviation),
            (settings.min_relative_deviation, self.relative),
            (settings.quorum, self.votes),
        ):
            if limit is not None:
                # What has no number, such as a series that is missing, is no question of these settings.
                counts &= ~(line < limit)
        edges = np.flatnonzero(np.diff(counts.astype(np.int8), prepend=0) == 1)
        ends = np.append(np.flatnonzero(np.diff(counts.astype(np.int8)) == -1), len(counts) - 1)
        waiting = settings.for_ or 0.0
        for begin in edges.tolist():
            end = int(ends[np.searchsorted(ends, begin)])
            waited = self.times[begin : end + 1] - self.times[begin] >= waiting
            if waited.any():
                return float(self.times[begin + int(np.argmax(waited))])
        return None


def follow(
    plan: QueryPlan,
    episodes: EpisodeLog,
    verdicts: VerdictLog,
    series: Callable[[], Iterable[Labels]],
    at: float,
) -> tuple[list[Followed], int]:
    """Return the alerts of a query in the last month that can be followed, and how many there were.

    Parameters
    ----------
    series : callable
        Returns the series of the query.
    at : float
        Unix seconds.
    """
    fired = episodes.page(EpisodeFilter(query=plan.name, since=at - _RANGE, fired=True), limit=_MOST_ALERTS).episodes
    if not fired:
        return [], 0
    by_labels = {_without_name(labels): labels for labels in series()}
    names = frozenset(name for labels in by_labels for name, _ in labels)
    own = names - set(() if plan.alert is None else plan.alert.labels)
    followed = []
    until = monotonic() + _BUDGET
    for episode in fired:
        labels = by_labels.get(_without_name(series_labels(episode.labels, own)))
        # What one that is not over would have become is unknown.
        if labels is None or episode.resolved_at is None or monotonic() > until:
            continue
        begin, end = episode.opened_at - _BEFORE, episode.resolved_at
        kept = verdicts.read(plan.name, labels, begin, end)
        if kept is not None and (each := _followed(episode, kept)) is not None:
            followed.append(each)
    present = _present(plan)
    return [each for each in followed if each.fires(present) is not None], len(fired)


def _without_name(labels: Sequence[tuple[str, str]]) -> Labels:
    return tuple((name, value) for name, value in labels if name != "__name__")


def _followed(episode: Episode, kept: KeptVerdicts) -> Followed | None:
    observed, expected = kept.lines["observed"], kept.lines["expected"]
    anomalous = (kept.lines["score"] >= 0.5) & (kept.times >= episode.opened_at)
    if not anomalous.any():
        return None
    deviation = np.abs(observed - expected)
    with np.errstate(all="ignore"):
        relative = deviation / np.abs(expected)
    return Followed(episode.feedback, kept.times, anomalous, deviation, relative, kept.lines["votes"])


def _present(plan: QueryPlan) -> OtherSettings:
    return OtherSettings(for_=0.0 if plan.alert is None else plan.alert.for_)


def compare(plan: QueryPlan, followed: Sequence[Followed], all_alerts: int, settings: OtherSettings) -> WhatIfOutcome:
    """Say what settings would have made of the alerts."""
    present = _present(plan)
    effective = replace(settings, for_=present.for_) if settings.for_ is None else settings
    confirmed = gone = lost = false_alarms = false_gone = 0
    latest = 0.0
    for alert in followed:
        before, then = alert.fires(present), alert.fires(effective)
        real, wrong = alert.verdict is Feedback.CONFIRMED, alert.verdict is Feedback.FALSE_ALARM
        confirmed, false_alarms = confirmed + real, false_alarms + wrong
        if then is None:
            gone, lost, false_gone = gone + 1, lost + real, false_gone + wrong
        elif real and before is not None:
            latest = max(latest, then - before)
    return WhatIfOutcome(
        settings=settings,
        alerts=len(followed),
        gone=gone,
        confirmed=confirmed,
        confirmed_gone=lost,
        confirmed_later_seconds=latest,
        false_alarms=false_alarms,
        false_alarms_gone=false_gone,
        not_followed=all_alerts - len(followed),
    )


def suggestions(plan: QueryPlan, followed: Sequence[Followed]) -> list[OtherSettings]:
    """Return settings that are worth a look: each removes some of the alerts."""
    if not followed:
        return []
    with np.errstate(all="ignore"):
        deviations = np.array([np.nanmax(alert.deviation[alert.anomalous], initial=0.0) for alert in followed])
        relatives = np.array([np.nanmax(alert.relative[alert.anomalous], initial=0.0) for alert in followed])
    proposed = [OtherSettings(min_deviation=value) for value in _above(deviations, plan.min_deviation)]
    proposed += [OtherSettings(min_relative_deviation=value) for value in _above(relatives, 0.0)]
    proposed += [OtherSettings(quorum=plan.detection.quorum + more) for more in (1, 2)]
    waiting = max(0.0 if plan.alert is None else plan.alert.for_, plan.interval)
    return [*proposed, OtherSettings(for_=2 * waiting), OtherSettings(for_=5 * waiting)]


def _above(peaks: FloatArray, present: float) -> list[float]:
    """Return two round numbers: one above half of the peaks, and one above four of five."""
    peaks = peaks[np.isfinite(peaks) & (peaks > 0)]
    values = {_rounded_up(float(value)) for value in np.quantile(peaks, (0.5, 0.8))} if len(peaks) else set()
    return sorted(value for value in values if value > present)


def _rounded_up(value: float) -> float:
    """Return the next number above with two digits.

    >>> _rounded_up(0.0512), _rounded_up(730.0)
    (0.052, 740.0)
    """
    size = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{(np.floor(value / size) + 1) * size:.3g}")


def what_if(plan: QueryPlan, followed: Sequence[Followed], all_alerts: int, settings: OtherSettings | None) -> WhatIf:
    """Return what settings, or without any what those of `suggestions`, would have made of the alerts."""
    tried = suggestions(plan, followed) if settings is None else [settings]
    outcomes = [compare(plan, followed, all_alerts, each) for each in tried]
    worth = [each for each in outcomes if each.gone or settings is not None]
    # Those that lose nothing real come first, and of these those that spare most.
    worth.sort(key=lambda each: (each.confirmed_gone, -each.gone, each.confirmed_later_seconds))
    return WhatIf(plan.name, len(followed), all_alerts, tuple(worth))
