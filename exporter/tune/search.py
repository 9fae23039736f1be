"""The search: settings that raise fewer alerts and find as many incidents, by a part of the past.

What is reported comes from the rest of it, which the search has not seen: settings that fit the past by chance show
there what they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.backtest.incidents import Incident, match
from exporter.config.plan import QueryPlan
from exporter.engine.poisson import poisson_interval
from exporter.engine.seconds import WEEK
from exporter.tune.evidence import Evidence
from exporter.tune.tried_settings import TriedSettings

__all__ = ["Goal", "Outcome", "Tuned", "tune"]

_SEARCHED = 0.6
"""Part of the judged instants, the older, on which settings are chosen."""
_WORTH = 0.1
"""Share of the alerts that another change has to spare: less is chance."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted.

    Attributes
    ----------
    incidents : sequence of Incident
        As many of them have to be found as before. Empty: nobody knows any.
    alerts_a_week : float or None
        Alerts that are enough; None: as few as can be.
    ahead : float, seconds
        How long before an incident an alert is a warning of it.
    """

    incidents: Sequence[Incident]
    alerts_a_week: float | None = None
    ahead: float = 1800.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What settings did in some weeks.

    Attributes
    ----------
    leads : tuple of float, seconds
        From the alert to the beginning of each incident that was found; negative where it came late.
    incidents : int
        How many there were.
    """

    alerts: int
    weeks: float
    leads: tuple[float, ...]
    incidents: int

    @property
    def a_week(self) -> float:
        """Alerts a week."""
        return self.alerts / self.weeks if self.weeks else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 90 % interval of the alerts a week, as of a Poisson distribution."""
        lower, upper = poisson_interval(self.alerts)
        return lower / self.weeks, upper / self.weeks


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is proposed for a query.

    Attributes
    ----------
    before, after : TriedSettings
        Equal where nothing better was seen.
    searched : tuple of Outcome
        Of both, where the settings were chosen.
    unseen : tuple of Outcome
        Of both, in the rest of the past.
    """

    plan: QueryPlan
    before: TriedSettings
    after: TriedSettings
    searched: tuple[Outcome, Outcome]
    unseen: tuple[Outcome, Outcome]


def tune(evidence: Evidence, goal: Goal) -> Tuned | None:
    """Return what is proposed for a query; None where no series could alert."""
    ready = np.flatnonzero(evidence.ready.any(axis=1))
    if not len(ready):
        return None
    first = int(ready[0])
    middle = first + int((len(evidence.times) - first) * _SEARCHED)
    early, late = slice(first, middle), slice(middle, len(evidence.times))
    before = chosen = TriedSettings.of(evidence.plan)
    noise = evidence.noise(early)
    best = _outcome(evidence, before, early, goal)
    needed = len(best.leads)
    for _ in range(_ROUNDS):
        # What settings that find no incident would miss is unknown.
        if best.a_week <= goal.alerts_a_week if goal.alerts_a_week is not None else not needed:
            break
        neighbours = chosen.neighbours(noise, alerts=evidence.plan.alert is not None)
        tried = [(_outcome(evidence, each, early, goal), each) for each in neighbours]
        kept = [
            (outcome, each)
            for outcome, each in tried
            if outcome.alerts <= best.alerts - max(1.0, _WORTH * best.alerts)
            and len(_outcome(evidence, each.harder(evidence.step), early, goal).leads) >= needed
        ]
        if not kept:
            break
        best, chosen = min(kept, key=lambda entry: _preference(entry[0], goal))
    outcomes = [tuple(_outcome(evidence, each, part, goal) for each in (before, chosen)) for part in (early, late)]
    return Tuned(evidence.plan, before, chosen, *outcomes)  # type: ignore[arg-type]


def _preference(outcome: Outcome, goal: Goal) -> tuple[float, float]:
    """Return what is to be small: the alerts that are too many, then what comes late.

    Without incidents the settings nearest to the goal are taken: fewer alerts may be fewer incidents.
    """
    lead = -float(np.median(outcome.leads)) if outcome.leads else 0.0
    if goal.alerts_a_week is None:
        return outcome.alerts, lead
    enough = outcome.a_week <= goal.alerts_a_week
    return (-outcome.a_week if enough else outcome.a_week + 1e9), lead


def _outcome(evidence: Evidence, settings: TriedSettings, part: slice, goal: Goal) -> Outcome:
    times = evidence.times[part]
    alerts = settings.alerts(evidence, part)
    if not len(times):
        return Outcome(0, 0.0, (), 0)
    begin, end = float(times[0]), float(times[-1])
    within = (each for each in goal.incidents if each.start <= end and each.end >= begin)
    incidents = [each for each in within if _may_meet(each, evidence)]
    matches = match(incidents, alerts, ahead=goal.ahead, end=end)
    leads = tuple(each.lead for each in matches if each.lead is not None)
    return Outcome(len(alerts), (end - begin) / WEEK, leads, len(incidents))


def _may_meet(incident: Incident, evidence: Evidence) -> bool:
    """Whether an incident concerns the query."""
    if incident.query not in ("", evidence.plan.name):
        return False
    return any(
        all(labels.get(name, value) == value for name, value in incident.labels.items()) for labels in evidence.labels
    )
