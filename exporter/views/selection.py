"""Which series of all queries a page lists, in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.evaluation.latest_verdicts import ABSENT, SCALE, Said
from exporter.web.pages.models import Labels, SeriesFilter, SeriesRow, StateFilter

__all__ = ["matching_rows", "row_of", "select"]

Rows = npt.NDArray[np.intp]


def select(said: Sequence[Said], wanted: SeriesFilter) -> tuple[list[SeriesRow], int]:
    """Return one page of series, the highest score first, and how many fit in all.

    Parameters
    ----------
    said : sequence of Said
        One a query, in the order of the configuration.
    wanted : SeriesFilter
    """
    chosen = [one for one in said if wanted.query in (None, one.plan.name)]
    rows = [_fitting(one, wanted) for one in chosen]
    which = np.concatenate([np.full(len(part), index) for index, part in enumerate(rows)] or [np.zeros(0, np.intp)])
    row = np.concatenate([*rows, np.zeros(0, np.intp)])
    scores = np.concatenate([*(one.verdict.score[part] for one, part in zip(chosen, rows, strict=True)), np.zeros(0)])
    order = np.argsort(-np.where(np.isnan(scores), -1.0, scores), kind="stable")
    begin = (wanted.page - 1) * wanted.size
    page = order[begin : begin + wanted.size]
    return [row_of(chosen[int(which[i])], int(row[i])) for i in page.tolist()], len(order)


def _fitting(said: Said, wanted: SeriesFilter) -> Rows:
    verdict = said.verdict
    here = np.fromiter((one is not None for one in said.names.labels), np.bool_, len(said.names.labels))
    # One that should be there and is not has a score and no sample.
    here &= ~np.isnan(verdict.observed) | ~np.isnan(verdict.score)
    if wanted.state is StateFilter.ANOMALOUS:
        here &= verdict.anomalous
    elif wanted.state is StateFilter.WARMING_UP:
        here &= ~verdict.ready
    rows: Rows = np.flatnonzero(here)
    words = wanted.text.lower().split()
    if words:
        texts = said.names.texts
        fits = [row for row in rows.tolist() if all(word in texts[row] for word in words)]
        rows = np.array(fits, np.intp)
    return rows


def matching_rows(said: Said, labels: Labels) -> list[int]:
    """Return the rows whose labels include `labels`, the highest score first; one with exactly these comes alone."""
    wanted = set(labels)
    rows = [row for row, one in enumerate(said.names.labels) if one is not None and wanted.issubset(one)]
    exact = [row for row in rows if len(said.names.labels[row] or ()) == len(wanted)]
    score = said.verdict.score
    return exact or sorted(rows, key=lambda row: -np.nan_to_num(score[row], nan=-1.0))


def row_of(said: Said, row: int) -> SeriesRow:
    """Return what is known of one series."""
    verdict, places = said.verdict, said.places[:, row]
    kinds = [detector.kind for detector in said.plan.detection.detectors]
    return SeriesRow(
        query=said.plan.name,
        labels=said.names.labels[row] or (),
        at=verdict.at,
        score=float(verdict.score[row]),
        observed=float(verdict.observed[row]),
        expected=float(verdict.expected[row]),
        lower=float(verdict.lower[row]),
        upper=float(verdict.upper[row]),
        votes=float(verdict.votes[row]),
        ready=bool(verdict.ready[row]),
        positions=np.where(places == ABSENT, np.nan, places / SCALE),
        unit=said.plan.unit,
        masked=bool(verdict.masked[row]),
        severities=tuple(zip(kinds, verdict.each[:, row].tolist(), strict=True)),
    )
