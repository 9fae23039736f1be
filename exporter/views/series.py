"""Series of all queries by score: the list of the front page, and the pages of the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit, format_numbers
from exporter.alerting.explanation.limit import time_range
from exporter.alerting.suppressed import suppression_reason
from exporter.calendar.matchers import all_match
from exporter.engine.forecast.forecast import LEVELS, Forecast
from exporter.engine.peers.samples import PeerVerdicts
from exporter.json_numbers import finite_number
from exporter.settings import format_duration
from exporter.views.latest_verdicts import ABSENT, SCALE, LatestVerdict
from exporter.web.api.anomalies import parse_matchers
from exporter.web.api.series import (
    ForecastAnswer,
    HorizonForecast,
    PeerAnswer,
    SeriesCursor,
    SeriesPage,
    SeriesParameters,
    SeriesVerdict,
    State,
)
from exporter.web.pages.models import Labels, SeriesFilter, SeriesRow, StateFilter

__all__ = ["list_series", "matching_rows", "select_series", "series_row"]

_MOST_SCANNED = 20_000
"""Label sets that a request may look at: where few of them match, its page is shorter and has a cursor."""

_NUMBERS = ("score", "observed", "expected", "lower", "upper", "votes")

BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


# ---------------------------------------------------------------- front page


def select_series(latest: Sequence[LatestVerdict], filters: SeriesFilter) -> tuple[list[SeriesRow], int]:
    """Return a page of series, the highest score first, and the total number that fit.

    Parameters
    ----------
    latest : sequence of LatestVerdict
        Of each query, in the order of the configuration.
    """
    queries = [query for query in latest if filters.query in (None, query.plan.name)]
    rows = [_filtered(query, filters) for query in queries]
    which = np.concatenate([np.full(len(part), index) for index, part in enumerate(rows)] or [np.zeros(0, np.intp)])
    row = np.concatenate([*rows, np.zeros(0, np.intp)])
    scores = np.concatenate(
        [*(query.verdict.score[part] for query, part in zip(queries, rows, strict=True)), np.zeros(0)]
    )
    order = np.argsort(-np.where(np.isnan(scores), -1.0, scores), kind="stable")
    begin = (filters.page - 1) * filters.size
    page = order[begin : begin + filters.size]
    return [series_row(queries[int(which[i])], int(row[i])) for i in page.tolist()], len(order)


def _filtered(query: LatestVerdict, filters: SeriesFilter) -> Rows:
    verdict, names = query.verdict, query.names
    # A series that should be there and is missing has a score and no sample.
    selected = names.used & (~np.isnan(verdict.observed) | ~np.isnan(verdict.score))
    if filters.state is StateFilter.ANOMALOUS:
        selected &= verdict.anomalous
    elif filters.state is StateFilter.WARMING_UP:
        selected &= ~verdict.ready
    rows: Rows = np.flatnonzero(selected)
    words = filters.text.lower().split()
    if words:
        rows = np.array([row for row in rows.tolist() if all(word in names.texts[row] for word in words)], np.intp)
    return rows


def matching_rows(query: LatestVerdict, labels: Labels) -> list[int]:
    """Return the rows whose labels include `labels`, the highest score first; only an exact match if there is any."""
    subset = set(labels)
    matches = [
        (row, len(own)) for row, own in enumerate(query.names.labels) if own is not None and subset.issubset(own)
    ]
    exact = [row for row, size in matches if size == len(subset)]
    score = query.verdict.score
    return exact or sorted((row for row, _ in matches), key=lambda row: -np.nan_to_num(score[row], nan=-1.0))


def series_row(query: LatestVerdict, row: int) -> SeriesRow:
    """Return a series and its newest verdict for the pages."""
    verdict, positions = query.verdict, query.places[:, row]
    kinds = [detector.kind for detector in query.plan.detection.detectors]
    return SeriesRow(
        query=query.plan.name,
        labels=query.names.labels[row] or (),
        at=verdict.at,
        **{name: float(getattr(verdict, name)[row]) for name in _NUMBERS},
        ready=bool(verdict.ready[row]),
        positions=np.where(positions == ABSENT, np.nan, positions / SCALE),
        unit=query.plan.unit,
        masked=bool(verdict.masked[row]),
        suppressed=suppression_reason(int(query.suppressed[row])),
        severities=tuple(zip(kinds, verdict.each[:, row].tolist(), strict=True)),
        ahead=() if verdict.forecast is None else tuple(_ahead(verdict.forecast, row, query.plan.unit)),
    )


def _ahead(forecast: Forecast, row: int, unit: Unit | None) -> Iterator[tuple[str, str]]:
    """Yield the forecasts of a series as a name and a text each."""
    for horizon, value, lower, upper in zip(
        forecast.horizons.tolist(), forecast.value[:, row], forecast.lower[:, row], forecast.upper[:, row], strict=True
    ):
        if np.isfinite(value):
            middle, low, high = format_numbers([float(value), float(lower), float(upper)], unit)
            yield f"In {format_duration(horizon)}", f"{middle} ({low} to {high})"
    if forecast.limit is None or forecast.times is None or np.isnan(forecast.times[0, row]):
        return
    (limit,) = format_numbers([forecast.limit.value], unit)
    earliest, latest = float(forecast.times[0, row]), float(forecast.times[-1, row])
    if earliest <= 0.0:
        yield "Limit", f"{limit} is reached"
    elif np.isinf(earliest):
        yield "Limit", f"{limit} not within 30 days"
    else:
        yield "Limit", f"{limit} {time_range(earliest, latest)}"


# ---------------------------------------------------------------- API


def list_series(latest: Sequence[LatestVerdict], request: SeriesParameters) -> SeriesPage:
    """Return a page of series, the highest score first, with a cursor if more may follow; raises `ApiError`.

    Scores move between two pages. A series that moved up may be missed, and a series that moved down may come twice;
    nothing else can happen, whatever comes and goes.
    """
    matchers = parse_matchers(request.match)
    after = None if request.cursor is None else SeriesCursor.parse(request.cursor)
    # By name, so that a query that comes or goes does not move the others.
    queries = sorted(
        (query for query in latest if request.query in (None, query.plan.name)), key=lambda query: query.plan.name
    )
    scores = [np.where(np.isnan(query.verdict.score), -1.0, query.verdict.score) for query in queries]
    matches = [
        np.flatnonzero(_requested(query, request) & _after(score, query.plan.name, after))
        for query, score in zip(queries, scores, strict=True)
    ]
    if not matches:
        return SeriesPage((), None)
    which = np.repeat(np.arange(len(matches)), [len(rows) for rows in matches])
    rows = np.concatenate(matches)
    keys = np.concatenate([score[match] for score, match in zip(scores, matches, strict=True)])
    # Stable: queries in their order, and rows in theirs.
    order = np.argsort(-keys, kind="stable")
    page: list[SeriesVerdict] = []
    for scanned, i in enumerate(order.tolist()):
        if len(page) == request.limit or scanned == _MOST_SCANNED:
            last = order[scanned - 1]
            end = SeriesCursor(float(keys[last]), queries[which[last]].plan.name, int(rows[last]))
            return SeriesPage(page, str(end))
        query, row = queries[which[i]], int(rows[i])
        labels = dict(query.names.labels[row] or ())
        if all_match(matchers, labels):
            page.append(_series_verdict(query, row, labels))
    return SeriesPage(page, None)


def _after(score: npt.NDArray[np.float64], query: str, cursor: SeriesCursor | None) -> BoolArray:
    """Return which rows of a query come after a cursor."""
    if cursor is None:
        return np.ones(len(score), np.bool_)
    later = np.arange(len(score)) > cursor.row if query == cursor.query else np.full(len(score), query > cursor.query)
    after: BoolArray = (score < cursor.score) | ((score == cursor.score) & later)
    return after


def _requested(query: LatestVerdict, request: SeriesParameters) -> BoolArray:
    verdict = query.verdict
    matches = query.names.used.copy()
    if request.min_score is not None:
        matches &= verdict.score >= request.min_score
    if request.anomalous is not None:
        matches &= verdict.anomalous == request.anomalous
    if request.state is not None:
        absent = np.isnan(verdict.observed)
        matches &= {
            "no_data": absent,
            "masked": ~absent & verdict.masked,
            "warming_up": ~absent & ~verdict.masked & ~verdict.ready,
            "scored": ~absent & ~verdict.masked & verdict.ready,
        }[request.state]
    return matches


def _series_verdict(query: LatestVerdict, row: int, labels: dict[str, str]) -> SeriesVerdict:
    verdict = query.verdict
    state: State = "scored" if verdict.ready[row] else "warming_up"
    if verdict.masked[row]:
        state = "masked"
    if np.isnan(verdict.observed[row]):
        state = "no_data"
    numbers = {name: getattr(verdict, name)[row] for name in (*_NUMBERS, "z")}
    return SeriesVerdict(
        query=query.plan.name,
        labels=labels,
        at=verdict.at,
        state=state,
        anomalous=bool(verdict.anomalous[row]),
        suppressed=suppression_reason(int(query.suppressed[row])) or None,
        **{name: finite_number(value) for name, value in numbers.items()},
        forecast=None if verdict.forecast is None else _forecast(verdict.forecast, row),
        peers=None if verdict.peers is None else _beside_peers(verdict.peers, row),
    )


def _beside_peers(peers: PeerVerdicts, row: int) -> PeerAnswer | None:
    if np.isnan(peers.size[row]):
        return None
    severity = max(float(peers.above[row]), float(peers.below[row]))
    numbers = (getattr(peers, name)[row] for name in ("middle", "expected", "lower", "upper"))
    return PeerAnswer(finite_number(severity), int(peers.size[row]), *map(finite_number, numbers))


def _forecast(forecast: Forecast, row: int) -> ForecastAnswer:
    columns = (forecast.horizons, *(column[:, row] for column in (forecast.value, forecast.lower, forecast.upper)))
    horizons = [
        HorizonForecast(format_duration(horizon), finite_number(value), finite_number(lower), finite_number(upper))
        for horizon, value, lower, upper in zip(*(column.tolist() for column in columns), strict=True)
    ]
    times, probability = {}, None
    if forecast.times is not None and forecast.probability is not None and not np.isnan(forecast.times[0, row]):
        times = {f"{level:g}": finite_number(at) for level, at in zip(LEVELS, forecast.times[:, row], strict=True)}
        probability = finite_number(forecast.probability[row])
    return ForecastAnswer(horizons, times, probability)
