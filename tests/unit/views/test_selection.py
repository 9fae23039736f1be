from __future__ import annotations

import numpy as np
import pytest

from exporter.config.model import Config
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.verdict import Verdicts
from exporter.evaluation.latest_verdicts import LatestVerdicts, Said
from exporter.views.selection import matching_rows, select
from exporter.web.pages.models import SeriesFilter, StateFilter

NAN = float("nan")


def said(query: str, scores: dict[str, float], **changes: list[bool]) -> Said:
    """Return what a query said of series that differ by one label."""
    plan = Config.model_validate({"queries": [{"name": query, "expr": query}]}).plans()[0]
    table = SeriesTable(len(scores))
    table.find([key_of((("instance", name), ("job", query))) for name in scores])
    verdicts = Verdicts(np.array([60.0]), np.full((1, len(scores)), 5.0), len(plan.detection.detectors))
    verdicts.score[:] = list(scores.values())
    verdicts.ready[:] = changes.get("ready", [True] * len(scores))
    verdicts.observed[:, changes.get("missing", [False] * len(scores))] = np.nan
    latest = LatestVerdicts()
    latest.put(plan, verdicts[0], table)
    found = latest.get(query)
    assert found is not None
    return found


CPU = said("cpu", {"a": 0.1, "b": 0.9, "c": NAN, "d": 0.4}, ready=[True, True, False, False])
DISK = said("disk", {"A": 0.95, "b": 0.0, "gone": NAN, "absent": 0.7}, missing=[False, False, True, True])


def names(wanted: SeriesFilter) -> list[str]:
    return [f"{one.query} {dict(one.labels)['instance']}" for one in select([CPU, DISK], wanted)[0]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (SeriesFilter(), ["disk A", "cpu b", "disk absent", "cpu d", "cpu a", "disk b", "cpu c"]),
        (SeriesFilter(query="cpu"), ["cpu b", "cpu d", "cpu a", "cpu c"]),
        (SeriesFilter(query="none"), []),
        (SeriesFilter(state=StateFilter.ANOMALOUS), ["disk A", "cpu b", "disk absent"]),
        (SeriesFilter(state=StateFilter.WARMING_UP), ["cpu d", "cpu c"]),
        (SeriesFilter(text='instance="a"'), ["disk A", "cpu a"]),
        (SeriesFilter(text="DISK b"), ["disk A", "disk absent", "disk b"]),
        (SeriesFilter(text="nothing"), []),
        (SeriesFilter(page=2, size=3), ["cpu d", "cpu a", "disk b"]),
        (SeriesFilter(page=9, size=3), []),
    ],
    ids=["all", "query", "no such query", "anomalous", "warming up", "label", "words", "no match", "page", "beyond"],
)
def test_series_are_listed_by_score(wanted, found):
    assert names(wanted) == found


def test_all_that_fit_are_counted():
    assert select([CPU, DISK], SeriesFilter(size=2))[1] == 7
    assert select([], SeriesFilter()) == ([], 0)


def test_labels_find_the_series_that_has_them_the_worst_first():
    assert matching_rows(CPU, [("job", "cpu")]) == [1, 3, 0, 2]
    assert matching_rows(CPU, [("job", "cpu"), ("instance", "c")]) == [2]
    assert matching_rows(CPU, []) == [1, 3, 0, 2]
    assert matching_rows(CPU, [("job", "x")]) == []
