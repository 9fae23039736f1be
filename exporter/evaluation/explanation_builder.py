"""From a verdict to the explanations of its alerts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Observation
from exporter.alerting.explanation.explanation import Explanation, explain_series
from exporter.alerting.explanation.formatting import format_numbers
from exporter.alerting.explanation.input import (
    DetectorVote,
    ExplanationInput,
    HourStatistics,
    LevelChange,
    LevelDrift,
    LimitAhead,
)
from exporter.alerting.explanation.limit import limit_reason
from exporter.alerting.explanation.links import generator_url
from exporter.config.plan import QueryPlan
from exporter.correlation.co_occurrence import CoOccurrences
from exporter.engine.detectors import Collective, Detector, ReasonContext
from exporter.engine.row_details import RowDetails
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.engine.vote import severity_of
from exporter.evaluation.context import EvaluationContext

__all__ = ["ExplanationBuilder", "votes_of"]

Rows = npt.NDArray[np.intp]

_SCOPES: tuple[Literal["week", "day", "all"], ...] = ("week", "day", "all")
_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_MISSING = "it was there at nearly all past instants of this time of the week"
_FIRST_DAY = "far from all that it has shown in its first hours"
_ZERO = "it has never been zero at this hour of the week"
_ADDS_UP = Collective.model_fields["kind"].default
_LASTING = 3600.0
"""Seconds that an anomaly lasts before the level is checked for a shift."""


class ExplanationBuilder:
    """The explanations of one slot of one query. What all rows share is looked up once.

    Parameters
    ----------
    details : callable
        Returns what is known of anomalous rows, shape (m,), ascending, beside their verdict.
    multiple : ndarray, shape (size,), optional
        Of the ordinary value that is expected of each row.
    """

    def __init__(
        self,
        plan: QueryPlan,
        context: EvaluationContext,
        verdict: Verdict,
        table: SeriesTable,
        details: Callable[[Rows], RowDetails],
        multiple: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self._plan, self._context, self._verdict, self._table = plan, context, verdict, table
        self.at = verdict.at
        self.generator_url = generator_url(context.settings.source_url, plan.expr)
        """The page of the expression in Prometheus."""
        self._templates = {} if plan.alert is None else plan.alert.annotations
        self._look_up = details
        self._multiple = multiple
        self._details: RowDetails | None = None
        self._co_occurrences: dict[float, CoOccurrences] = {}

    def prepare(self, rows: Sequence[int]) -> None:
        """Look up the facts of all anomalous rows that will be explained at once."""
        if rows:
            self._details = self._look_up(np.unique(np.array(rows, np.intp)))

    def explain(
        self,
        row: int,
        labels: Mapping[str, str],
        since: float,
        *,
        in_storm: bool = False,
        recovered: bool = False,
        shape: str = "",
    ) -> Explanation:
        """Explain the alert of a row.

        Parameters
        ----------
        labels : mapping
            Of the alert.
        since : float, Unix seconds
            When the series became anomalous.
        in_storm : bool
            It represents many series of its query, so only those of other queries count as co-occurring.
        recovered : bool
            The alert is over: what the series was compared with is not of interest.
        shape : str
            What the alert said before: how it began stands where the newest samples do not reach back to that.
        """
        plan, verdict = self._plan, self._verdict
        near = self._near(since)
        co_occurrent, count = near.elsewhere(plan.name) if in_storm else near.besides(plan.name, row)
        source = ExplanationInput(
            query=plan.name,
            labels=labels,
            series=dict(self._table.labels(row)),
            at=verdict.at,
            since=since,
            observed=float(verdict.observed[row]),
            expected=float(verdict.expected[row]),
            lower=float(verdict.lower[row]),
            upper=float(verdict.upper[row]),
            score=float(verdict.score[row]),
            z=float(verdict.z[row]),
            cast=0 if verdict.votes[row] != verdict.votes[row] else int(verdict.votes[row]),
            quorum=plan.detection.quorum,
            unit=plan.unit,
            zone=plan.zone,
            when="" if recovered else _hour_of(self._of(row).week),
            past=None if recovered else self._past(row),
            moved=None if recovered else self._moved(row, since),
            co_occurrent=co_occurrent,
            co_occurrent_count=count,
            external_url=self._context.settings.external_url,
            missing_since=float(verdict.missing_since[row]) if verdict.absent[row] else None,
            in_storm=in_storm,
            limit=self._limit(row),
        )
        source = replace(source, votes=self._votes(row, source))
        if not recovered:
            source = replace(source, **self._shape(row, source))
            above = source.observed > source.expected
            if not source.shape and shape in (("jump", "build-up") if above else ("drop",)):
                source = replace(source, shape=shape)
        return explain_series(source, self._templates)

    def observation(self, row: int) -> Observation:
        """Return the numbers of a row."""
        verdict = self._verdict
        names = ("observed", "expected", "lower", "upper", "score", "z", "votes")
        return Observation.of(verdict.at, **{name: getattr(verdict, name)[row] for name in names})

    def _votes(self, row: int, source: ExplanationInput) -> tuple[DetectorVote, ...]:
        verdict = self._verdict
        for kind, reason, here in (("missing_series", _MISSING, verdict.absent), ("never_zero", _ZERO, verdict.zero)):
            if here[row]:
                severity = float(severity_of(verdict.score[row]))
                return (DetectorVote(kind, severity, int(verdict.votes[row]), reason, alone=True),)
        if verdict.first_day is not None and verdict.first_day[row]:
            severity = float(severity_of(verdict.score[row]))
            return (DetectorVote("first_day", severity, int(verdict.votes[row]), _FIRST_DAY, alone=True),)
        detectors = self._plan.detection.detectors
        votes = votes_of(detectors, verdict.each[:, row].tolist(), source, self._siblings(row))
        if source.limit is None:
            return votes
        alone = not source.cast >= source.quorum
        severity = float(severity_of(verdict.score[row])) if alone else 1.0
        reached = DetectorVote("limit", severity, self._plan.detection.quorum, limit_reason(source), alone=alone)
        return (reached,) if alone else (*votes, reached)

    def _siblings(self, row: int) -> str:
        """Return where the siblings of a row are, and where it would be among them, as a clause; empty: unknown."""
        peers = self._verdict.peers
        if peers is None or not peers.size[row] > 1.0:
            return ""
        middle, expected = format_numbers([float(peers.middle[row]), float(peers.expected[row])], self._plan.unit)
        place = "where it usually is as well" if middle == expected else f"and {expected} is its usual place then"
        return f"the median of the {int(peers.size[row])} is {middle}, {place}"

    def _limit(self, row: int) -> LimitAhead | None:
        """Return the limit that a row will reach, where it is near."""
        verdict, forecast = self._verdict, self._verdict.forecast
        if verdict.near_limit is None or not verdict.near_limit[row]:
            return None
        if forecast is None or forecast.limit is None or forecast.times is None or forecast.probability is None:
            return None
        limit, times = forecast.limit, forecast.times[:, row]
        return LimitAhead(
            limit.value,
            limit.above is not None,
            float(times[0]),
            float(times[-1]),
            float(forecast.probability[row]),
            limit.within,
        )

    def _of(self, row: int) -> RowDetails:
        if self._details is None or row not in self._details.rows:
            self.prepare([row])
        assert self._details is not None  # noqa: S101 - looked up above.
        return self._details

    def _past(self, row: int) -> HourStatistics:
        details = self._of(row)
        summary, place = details.summary, details.place(row)
        columns = (summary.visits, summary.mean, summary.std, summary.q1, summary.q3)
        return HourStatistics(_SCOPES[summary.scope[place]], *(float(column[place]) for column in columns))

    def _moved(self, row: int, since: float) -> LevelChange | None:
        if self._verdict.at - since < _LASTING:
            return None
        shift = self._of(row).shift_of(row)
        return None if shift is None else LevelChange(shift.before, shift.after, shift.seconds)

    def _shape(self, row: int, source: ExplanationInput) -> dict[str, Any]:
        """Return the shape of an anomaly, and where it is a drift from what to what."""
        if source.missing_since is not None:
            return {"shape": "missing"}
        if self._verdict.zero[row]:
            return {"shape": "drop"}
        if source.limit is not None:
            return {"shape": "limit ahead"}
        # What lies beyond a multiple is judged, and kept, as divided by it.
        multiple = 1.0 if self._multiple is None else max(float(self._multiple[row]), 1.0)
        upper = source.upper / multiple
        half = 0.5 * (upper - source.lower)
        if not half > 0.0:
            # A band with one edge.
            half = np.nanmax([upper - source.expected, source.expected - source.lower, 0.0])
        if not 0.0 < half < math.inf:
            return {"shape": "level shift"} if source.moved is not None else {}
        adds_up = any(vote.kind == _ADDS_UP and vote.severity >= 1.0 for vote in source.votes)
        shape = self._of(row).shape_of(row, float(half), adds_up=adds_up)
        if shape is not None and shape[0].kind == "drift":
            drift, level = shape
            since = 3600.0 * (source.at // 3600.0 - drift.hours)
            before, after = (level + half * way for way in (drift.before, drift.after))
            return {"shape": "drift", "drift": LevelDrift(before, after, since)}
        kind = "" if shape is None else shape[0].kind
        # A jump that lasts is a level.
        lasting = kind == "jump" and source.at - source.since >= _LASTING
        return {"shape": "level shift" if source.moved is not None or lasting else kind}

    def _near(self, since: float) -> CoOccurrences:
        if since not in self._co_occurrences:
            self._co_occurrences[since] = self._context.ports.co_occurrence.near(self._plan.name, since)
        return self._co_occurrences[since]


def _hour_of(hour: int) -> str:
    """Return the name of an hour of the week.

    >>> _hour_of(147)
    'Sundays 03:00-04:00'
    """
    day, hour = divmod(hour, 24)
    return f"{_DAYS[day]} {hour:02}:00-{(hour + 1) % 24:02}:00"


def votes_of(
    detectors: Sequence[Detector], severities: Sequence[float], case: ExplanationInput, siblings: str = ""
) -> tuple[DetectorVote, ...]:
    """Return the votes of all detectors, each with its reason, from what else is in the explanation."""
    past = case.past
    quartiles = None if past is None or math.isnan(past.q1) else format_numbers([past.q1, past.q3], case.unit)
    context = ReasonContext(
        below=case.observed < case.expected,
        z=case.z,
        hours=_compared_hours(case),
        quartiles=None if quartiles is None else (quartiles[0], quartiles[1]),
        siblings=siblings,
    )
    return tuple(
        DetectorVote(detector.kind, severity, detector.votes, detector.reason(context))
        for detector, severity in zip(detectors, severities, strict=True)
    )


def _compared_hours(case: ExplanationInput) -> str:
    """Return the name of the hours that a sample was compared with."""
    if case.past is None:
        return case.when or "this time of the week"
    if case.past.scope == "all":
        return "all values so far"
    return case.when if case.past.scope == "week" else f"this hour of the day, {case.when.partition(' ')[2]}"
