"""An expression on trial: what is wrong with a form, and what it would have made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from exporter.config.model import Config
from exporter.prometheus import Frame
from exporter.views.explore import Explorer
from exporter.web.pages.explore_models import ExploreForm
from exporter.web.pages.models import Chart, ChartPart, DisplayError

NOW = 1_790_000_000.0


class Api:
    def __init__(self, count: int = 2) -> None:
        self.keys = [f'{{"instance":"{number}"}}'.encode() for number in range(count)]

    def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
        return SimpleNamespace(keys=self.keys)  # type: ignore[return-value]

    def close(self) -> None:
        pass


class Charts:
    """Has one series that was anomalous for three minutes and for twenty."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []

    def data(self, source, plan, labels, count, within, part, *, now) -> Chart:
        self.asked.append((plan, labels, count, within))
        times = np.arange(within.start, within.end, 60.0)
        score = np.full(len(times), 0.1)
        score[100:104], score[300:321] = 0.9, 0.8
        return Chart(ChartPart.BAND, "x", "", "UTC", times, {"observed": score, "score": score})


def explorer(charts: Charts, count: int = 2) -> Explorer:
    return Explorer(charts, lambda _: Api(count), Config, lambda: NOW)  # type: ignore[arg-type, return-value]


def test_it_counts_what_would_have_alerted() -> None:
    charts = Charts()
    page = explorer(charts).page(ExploreForm("up", for_="5m", days=1, series="instance=1"))
    assert page.trial is not None
    assert [round(end - begin) for begin, end in page.trial.alerts] == [1200]
    assert page.trial.anomalous == 25
    ((_, labels, count, within),) = charts.asked
    assert (labels, count, within.length) == ((("instance", "1"),), 2, 86400.0)
    assert len(explorer(charts).page(ExploreForm("up", for_="1m", days=1)).trial.alerts) == 2


def test_settings_of_the_form_are_those_that_judge() -> None:
    charts = Charts()
    form = ExploreForm(
        "up", direction="above", detectors=("zscore", "stl"), quorum=1, min_deviation=2.0, min_relative_deviation=0.1
    )
    explorer(charts).page(form)
    plan = charts.asked[0][0]
    assert (plan.direction, plan.min_deviation, plan.min_relative_deviation) == ("above", 2.0, 0.1)
    assert [detector.kind for detector in plan.detection.detectors] == ["zscore", "stl"]
    assert plan.detection.quorum == 1


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (ExploreForm("up", detectors=("none",)), "none"),
        (ExploreForm("up", direction="sideways"), "direction"),
        (ExploreForm("up", min_deviation=-1.0), "min_deviation"),
    ],
)
def test_what_is_wrong_is_said_by_field(form: ExploreForm, message: str) -> None:
    with pytest.raises(DisplayError, match=message):
        explorer(Charts()).page(form)


def test_too_many_series_are_refused_before_anything_is_read() -> None:
    charts = Charts()
    page = explorer(charts, 201).page(ExploreForm("up"))
    assert "at most 200" in page.trouble
    assert charts.asked == []
    assert "no series now" in explorer(charts, 0).page(ExploreForm("up")).trouble
