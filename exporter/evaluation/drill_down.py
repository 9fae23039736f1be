"""Asks which label values carry the change of an aggregate, with one query, when its alert fires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.explanation.registry import DRILL_DOWN, build
from exporter.alerting.explanation.why_input import CarriedChange, DrillDownInput
from exporter.correlation.attribution import Carrier, attribute_ratio, attribute_sum
from exporter.engine.series import labels_of
from exporter.errors import PrometheusError
from exporter.evaluation.inquiries import FiringAlert
from exporter.prometheus import PrometheusApi
from exporter.promql.drill_down import PART, DrillDownQuery, UnsplittableError, drill_down_query

__all__ = ["DrillDown"]

FloatArray = npt.NDArray[np.float64]

_POINTS = 10
"""Instants that are asked for: some before the anomaly, some in it."""
_WIDEST = 300.0
"""Seconds between two of them at most."""
_MOST_LEAVES = 100_000
_SEEN = 0.5
"""Share of the deviation that the values before must show, where no label value carries it."""
_FARTHEST = 2.0
"""How many times what was there before the expected values may be."""


class DrillDown:
    """Splits the aggregate of one query.

    Parameters
    ----------
    expr : str
    labels : sequence of str
        Labels to split it by.
    unit : Unit or None
        Of its values.
    interval : float, seconds
        Between slots.
    query_offset : float, seconds
        How long ago an instant must be before it is asked for.
    """

    names = ("drill_down",)

    def __init__(
        self, expr: str, labels: Sequence[str], unit: Unit | None, *, interval: float, query_offset: float
    ) -> None:
        self._expr, self._labels, self._unit = expr, tuple(labels), unit
        self._interval, self._query_offset = interval, query_offset

    def ask(self, api: PrometheusApi, alert: FiringAlert, timeout: float) -> dict[str, str]:
        """Return the annotation; see `Inquiry`."""
        return build(DRILL_DOWN, self._input(api, alert, timeout))

    def _input(self, api: PrometheusApi, alert: FiringAlert, timeout: float) -> DrillDownInput:
        try:
            query = drill_down_query(self._expr, self._labels, alert.series)
            step = max(self._interval, min((alert.at - alert.since) / 2.0, _WIDEST))
            end = alert.at - self._query_offset
            chunks = api.history(query.expr, end - (_POINTS - 1) * step, end, step, timeout=timeout, series=1)
            values: dict[bytes, list[tuple[FloatArray, FloatArray]]] = {}
            for chunk in chunks:
                for column, key in enumerate(chunk.keys):
                    values.setdefault(key, []).append((chunk.times, chunk.values[:, column]))
                if len(values) > _MOST_LEAVES:
                    return DrillDownInput(self._labels, failed=f"there are more than {_MOST_LEAVES} combinations")
        except PrometheusError as error:
            return DrillDownInput(self._labels, failed=error.message)
        except UnsplittableError as reason:
            return DrillDownInput(self._labels, failed=str(reason))
        during = alert.since - self._query_offset - 1e-3
        return compared(query, self._labels, values, alert, during=during, unit=self._unit)


def compared(
    query: DrillDownQuery,
    labels: Sequence[str],
    values: Mapping[bytes, Sequence[tuple[FloatArray, FloatArray]]],
    alert: FiringAlert,
    *,
    during: float,
    unit: Unit | None,
) -> DrillDownInput:
    """Return which label values carry the change.

    Parameters
    ----------
    values : mapping
        By label set, as JSON objects: instants and samples, NaN where there is none, in parts.
    during : float, Unix seconds
        Instants from here on are in the anomaly.
    """
    leaves: dict[tuple[str, ...], int] = {}
    numbers: list[list[float]] = []
    for key, parts in values.items():
        series = dict(labels_of(key))
        if any(name in series and series[name] != value for name, value in alert.series.items()):
            continue
        leaf = leaves.setdefault(tuple(series.get(name, "") for name in labels), len(leaves))
        if leaf == len(numbers):
            numbers.append([0.0] * 4)
        column = 2 if series.get(PART) == "denominator" else 0
        times, samples = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        for number, inside in ((column, times < during), (column + 1, times >= during)):
            # What is missing at an instant counts as nothing there.
            numbers[leaf][number] += float(np.nan_to_num(samples[inside]).sum() / max(inside.sum(), 1))
    if not leaves:
        return DrillDownInput(tuple(labels), failed="the query gives no series")
    before, now, before_total, now_total = np.maximum(np.array(numbers).T, 0.0)
    columns = {name: [leaf[place] for leaf in leaves] for place, name in enumerate(labels)}
    if query.ratio:
        return _of_ratio(columns, before, before_total, now, now_total, factor=query.factor, unit=unit)
    expected = before * _growth(before, now, alert)
    result = _of_sum(columns, expected, now, factor=query.factor, unit=unit)
    if not result.carriers and _began_before(before, now, alert):
        return DrillDownInput(tuple(labels), failed="the values compared with are already as they are now")
    return result


def _began_before(before: FloatArray, now: FloatArray, alert: FiringAlert) -> bool:
    """Return whether less than half of the deviation lies between the values before and now.

    So it is where the anomaly is older than the alert, as after a first start: `_growth` then takes the same share from
    each, and what carries the change cannot be seen.
    """
    if not alert.observed or not alert.expected or min(before.sum(), now.sum()) <= 0:
        return False
    change = float(now.sum() - before.sum()) / float(now.sum())
    return change / ((alert.observed - alert.expected) / alert.observed) < _SEEN


def _growth(before: FloatArray, now: FloatArray, alert: FiringAlert) -> float:
    """Return by what the values before have to be multiplied to be those expected now: the hour changes them all."""
    if not alert.observed or not alert.expected or before.sum() <= 0:
        return 1.0
    growth = alert.expected / alert.observed * float(now.sum() / before.sum())
    return growth if 1.0 / _FARTHEST <= growth <= _FARTHEST else 1.0


def _of_sum(
    columns: Mapping[str, Sequence[str]], expected: FloatArray, now: FloatArray, *, factor: float, unit: Unit | None
) -> DrillDownInput:
    carriers = attribute_sum(columns, expected, now)
    rest = _rest(len(now), carriers)
    return DrillDownInput(
        labels=tuple(columns),
        leaves=len(now),
        carriers=tuple(
            CarriedChange(
                carrier.values,
                carrier.change,
                factor * float(expected[carrier.leaves].sum()),
                factor * float(now[carrier.leaves].sum()),
            )
            for carrier in carriers
        ),
        change=float((now - expected).sum()),
        rest_before=factor * float(expected[rest].sum()),
        rest_now=factor * float(now[rest].sum()),
        unit=unit,
    )


def _of_ratio(
    columns: Mapping[str, Sequence[str]],
    before: FloatArray,
    before_total: FloatArray,
    now: FloatArray,
    now_total: FloatArray,
    *,
    factor: float,
    unit: Unit | None,
) -> DrillDownInput:
    carriers = attribute_ratio(columns, before, before_total, now, now_total)
    overall = _share(before, before_total)
    rest = _rest(len(now), carriers)

    def was(leaves: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> float:
        # What was not there before is compared with the rest.
        return _share(before[leaves], before_total[leaves]) if before_total[leaves].any() else overall

    return DrillDownInput(
        labels=tuple(columns),
        leaves=len(now),
        carriers=tuple(
            CarriedChange(
                carrier.values,
                carrier.change,
                factor * was(carrier.leaves),
                factor * _share(now[carrier.leaves], now_total[carrier.leaves]),
            )
            for carrier in carriers
        ),
        change=float((now - overall * now_total).sum()),
        rest_before=factor * was(rest),
        rest_now=factor * _share(now[rest], now_total[rest]),
        unit=unit,
        ratio=True,
    )


def _share(part: FloatArray, total: FloatArray) -> float:
    return float(part.sum() / total.sum()) if total.sum() > 0 else 0.0


def _rest(count: int, carriers: Sequence[Carrier]) -> npt.NDArray[np.bool_]:
    rest = np.ones(count, np.bool_)
    for carrier in carriers:
        rest[carrier.leaves] = False
    return rest
