"""Inputs of a group: the deviations of each query, and those of several queries joined by entity.

An entity is what a group watches: one pod, one service; the set of values of the group's `by` labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels, SeriesTable, key_of
from exporter.engine.verdict import Verdict, Verdicts
from exporter.engine.vote import severity_of

__all__ = ["GroupMatrix", "GroupInput", "entities_of", "input_of", "inputs_of", "join"]

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]

_TOO_SMALL_TO_COUNT = 3.0
"""Standard deviations that a deviation below the query's smallest has at most: alone it never counts, and a
constant that has moved by its last digit must not count more than noise does."""

_NUMBERS = ("z", "growth", "noise", "observed", "expected", "least")


@dataclass(frozen=True, slots=True)
class GroupInput:
    """One query at one instant; arrays of shape (n,) by the rows of the query, NaN = missing.

    Attributes
    ----------
    at : float, Unix seconds
    z : ndarray
        Distance from the mean of this time of the week, in its standard deviations.
    growth : ndarray
        ln(observed / expected); 0 where both are zero, infinite where it has no meaning.
    noise : ndarray
        One standard deviation as part of what is expected: how far `growth` strays by itself.
    observed, expected : ndarray, source units
    least : ndarray, source units
        The smallest deviation that counts.
    anomalous : ndarray of bool
        Whether the query alone would alert.
    severity : ndarray
        Of the query's own vote, 1 at its threshold; NaN: it has no score.
    """

    at: float
    z: Floats
    growth: Floats
    noise: Floats
    observed: Floats
    expected: Floats
    least: Floats
    anomalous: npt.NDArray[np.bool_]
    severity: Floats

    def halved(self) -> GroupInput:
        """Return a copy in half the memory."""
        return replace(self, **{name: getattr(self, name).astype(np.float32) for name in (*_NUMBERS, "severity")})


def input_of(verdict: Verdict, min_deviation: float = 0.0, min_relative_deviation: float = 0.0) -> GroupInput:
    """Return the input of a verdict.

    Parameters
    ----------
    verdict : Verdict
    min_deviation : float, source units
    min_relative_deviation : float, part of the expected value
        Deviations that never count for the query.
    """
    return GroupInput(verdict.at, *_columns(verdict, min_deviation, min_relative_deviation))


def inputs_of(
    verdicts: Verdicts, min_deviation: float = 0.0, min_relative_deviation: float = 0.0, *, young: bool = False
) -> list[GroupInput]:
    """Return the input of each of several verdicts, as `input_of` does, all at once.

    Parameters
    ----------
    young : bool
        Series that are too young to alert are anomalous, too.
    """
    *columns, anomalous, severity = _columns(verdicts, min_deviation, min_relative_deviation)
    columns += [verdicts.score >= 0.5 if young else anomalous, severity]
    return [GroupInput(at, *rows) for at, *rows in zip(verdicts.times.tolist(), *columns, strict=True)]


def _columns(verdict: Verdict | Verdicts, min_deviation: float, min_relative_deviation: float) -> tuple[Any, ...]:
    """Return what is in a `GroupInput` after its time; arrays of shape (n,) or (t, n)."""
    with np.errstate(all="ignore"):
        deviation = verdict.observed - verdict.expected
        z = np.where(np.isnan(verdict.score) | np.isnan(deviation), np.nan, verdict.z)
        least = np.maximum(min_deviation, min_relative_deviation * np.abs(verdict.expected))
        z = np.where(np.abs(deviation) < least, np.clip(z, -_TOO_SMALL_TO_COUNT, _TOO_SMALL_TO_COUNT), z)
        ratio = verdict.observed / verdict.expected
        growth = np.where((verdict.observed > 0.0) & (verdict.expected > 0.0), np.log(ratio), np.inf)
        growth = np.where((verdict.observed == 0.0) & (verdict.expected == 0.0), 0.0, growth)
        noise = np.abs(deviation / (verdict.expected * z))
        noise = np.where(np.isfinite(noise), noise, 0.0)
    growth = np.where(np.isnan(z), np.nan, growth)
    anomalous = (verdict.score >= 0.5) & verdict.ready
    severity = severity_of(verdict.score)
    return z, growth, noise, verdict.observed, verdict.expected, least, anomalous, severity


def entities_of(table: SeriesTable, by: tuple[str, ...]) -> list[bytes | None]:
    """Return the entity of every row: the values of the labels `by`, as a JSON object; None where one is missing."""
    entities: list[bytes | None] = [None] * table.size
    keys: dict[Labels, bytes] = {}
    names = frozenset(by)
    for row, labels in table.items():
        chosen = tuple(pair for pair in labels if pair[0] in names)
        if len(chosen) == len(names):
            if chosen not in keys:
                keys[chosen] = key_of(chosen)
            entities[row] = keys[chosen]
    return entities


@dataclass(frozen=True, slots=True)
class GroupMatrix:
    """Inputs by entity and metric: arrays of shape (n, p), as in `GroupInput`; NaN = missing.

    `anomalous` is whether a series of the metric would alert, and `severity` the highest of its series; False and NaN
    where nothing is given.
    """

    z: FloatArray
    growth: FloatArray
    noise: FloatArray
    observed: FloatArray
    expected: FloatArray
    least: FloatArray
    anomalous: npt.NDArray[np.bool_] | np.bool_ = np.False_
    severity: FloatArray | float = np.nan


def join(inputs: Sequence[GroupInput | None], places: Sequence[Rows], size: int, *, since: float) -> GroupMatrix:
    """Put the inputs of the member queries side by side.

    Where several series of a query belong to one entity, the series farthest from its mean counts.

    Parameters
    ----------
    inputs : sequence of GroupInput or None, length p
        None: the query has none.
    places : sequence of ndarray of intp, length p
        The row of the entity of every row of each query; -1 where it belongs to none.
    size : int
        How many rows entities have.
    since : float, Unix seconds
        Older inputs are left out.
    """
    joined = np.full((len(_NUMBERS), size, len(inputs)), np.nan)
    anomalous, severity = np.zeros((size, len(inputs)), np.bool_), np.full((size, len(inputs)), np.nan)
    for metric, (values, place) in enumerate(zip(inputs, places, strict=True)):
        if values is None or values.at < since:
            continue
        rows = np.flatnonzero((place >= 0) & ~np.isnan(values.z[: len(place)]))
        # Of equal places the last one written stays. Stable, so that equal distances always give the same series.
        rows = rows[np.argsort(np.abs(values.z[rows]), kind="stable")]
        for layer, name in zip(joined, _NUMBERS, strict=True):
            layer[place[rows], metric] = getattr(values, name)[rows]
        anomalous[place[rows[values.anomalous[rows]]], metric] = True
        np.fmax.at(severity[:, metric], place[rows], values.severity[rows])
    z, growth, noise, observed, expected, least = joined
    return GroupMatrix(z, growth, noise, observed, expected, least, anomalous, severity)
