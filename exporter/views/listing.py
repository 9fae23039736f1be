"""Series of all queries for the API, page by page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.calendar.matchers import all_match
from exporter.evaluation.latest_verdicts import Said
from exporter.web.api.series import Asked, JudgedSeries, Place, State

__all__ = ["list_series"]

_MOST_SCANNED = 20_000
"""Label sets that one request may look at: where few of them match, its page is shorter and says where to go on."""

BoolArray = npt.NDArray[np.bool_]


def list_series(said: Sequence[Said], asked: Asked) -> tuple[list[JudgedSeries], Place | None]:
    """Return one page of series, the highest score first, and where it ended if more may follow.

    Scores move while somebody pages. A series that moved up meanwhile may be missed, and one that moved down come
    twice; nothing else can happen, whatever comes and goes.

    Parameters
    ----------
    said : sequence of Said
        One a query.
    asked : Asked
    """
    # By name, so that a query that comes or goes does not move the others.
    asked_of = sorted((one for one in said if asked.query in (None, one.plan.name)), key=lambda one: one.plan.name)
    scores = [np.where(np.isnan(one.verdict.score), -1.0, one.verdict.score) for one in asked_of]
    fitting = [
        np.flatnonzero(_fitting(one, asked) & _after(score, one.plan.name, asked.after))
        for one, score in zip(asked_of, scores, strict=True)
    ]
    if not fitting:
        return [], None
    which = np.repeat(np.arange(len(fitting)), [len(rows) for rows in fitting])
    rows = np.concatenate(fitting)
    keys = np.concatenate([score[rows] for score, rows in zip(scores, fitting, strict=True)])
    # Stable: queries in their order, and rows in theirs.
    order = np.argsort(-keys, kind="stable")
    page: list[JudgedSeries] = []
    for scanned, i in enumerate(order.tolist()):
        if len(page) == asked.limit or scanned == _MOST_SCANNED:
            last = order[scanned - 1]
            return page, Place(float(keys[last]), asked_of[which[last]].plan.name, int(rows[last]))
        one, row = asked_of[which[i]], int(rows[i])
        labels = dict(one.names.labels[row] or ())
        if all_match(asked.matchers, labels):
            page.append(_judged(one, row, labels))
    return page, None


def _after(score: npt.NDArray[np.float64], query: str, place: Place | None) -> BoolArray:
    """Return which rows of a query come after a place in the list."""
    if place is None:
        return np.ones(len(score), np.bool_)
    later = np.arange(len(score)) > place.row if query == place.query else np.full(len(score), query > place.query)
    after: BoolArray = (score < place.score) | ((score == place.score) & later)
    return after


def _fitting(said: Said, asked: Asked) -> BoolArray:
    verdict = said.verdict
    fits = said.names.used.copy()
    if asked.least_score is not None:
        fits &= verdict.score >= asked.least_score
    if asked.anomalous is not None:
        fits &= verdict.anomalous == asked.anomalous
    if asked.state is not None:
        absent = np.isnan(verdict.observed)
        fits &= {
            "no_data": absent,
            "masked": ~absent & verdict.masked,
            "warming_up": ~absent & ~verdict.masked & ~verdict.ready,
            "scored": ~absent & ~verdict.masked & verdict.ready,
        }[asked.state]
    return fits


def _judged(said: Said, row: int, labels: dict[str, str]) -> JudgedSeries:
    verdict = said.verdict
    state: State = "scored" if verdict.ready[row] else "warming_up"
    if verdict.masked[row]:
        state = "masked"
    if np.isnan(verdict.observed[row]):
        state = "no_data"
    return JudgedSeries(
        query=said.plan.name,
        labels=labels,
        at=verdict.at,
        state=state,
        anomalous=bool(verdict.anomalous[row]),
        score=_number(verdict.score[row]),
        observed=_number(verdict.observed[row]),
        expected=_number(verdict.expected[row]),
        lower=_number(verdict.lower[row]),
        upper=_number(verdict.upper[row]),
        votes=_number(verdict.votes[row]),
        z=_number(verdict.z[row]),
    )


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
