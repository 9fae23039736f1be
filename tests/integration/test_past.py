"""The past of a series out of a real Prometheus: as it was said at the time, or judged again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.views.charts import chart_data
from exporter.views.history import ChartSubject, SeriesHistory
from exporter.web.pages.models import Chart, ChartPart, DisplayError, TimeRange
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

END = 1_764_000_000.0
DAY, STEP = 86400.0, 300.0
RANGE = TimeRange(END - DAY / 2, END)
ODD = 'a"b\\c\nd'


def here(function, argument):
    return function(argument)


def drawn_from(past: SeriesHistory, subject: ChartSubject, within: TimeRange, part: ChartPart) -> Chart:
    return chart_data(past, subject, within, part, here)


def plan(expr: str = "load") -> QueryPlan:
    return Config.model_validate({"queries": [{"name": "load", "expr": expr, "interval": "5m"}]}).plans()[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """Four weeks of three series; the last of them had an outage in the last hours."""
    with Prometheus(tmp_path_factory.mktemp("past")) as prometheus:
        at = np.arange(END - 29 * DAY, END + 1.0, STEP)
        rng = np.random.default_rng(1)
        for instance in ("a", "b", ODD):
            values = 100.0 + 20.0 * np.sin(at / DAY * 2 * np.pi) + rng.standard_normal(len(at))
            values = np.where((at > END - 7200) & (instance == ODD), 30.0, values)
            prometheus.push([({"__name__": "load", "instance": instance, "job": "x"}, at, values)])
        yield prometheus


@pytest.fixture
def past():
    one = SeriesHistory(partial(PrometheusApi, user_agent="test"), here)
    yield one
    one.close()


def subject(server: Prometheus, instance: str = ODD, expr: str = "load", of: int = 3) -> ChartSubject:
    labels = [("__name__", "load"), ("instance", instance), ("job", "x")]
    if expr != "load":
        labels = labels[1:]
    return ChartSubject(PrometheusSettings(url=server.url), plan(expr), labels, of)


@pytest.mark.parametrize(
    "expr", ["load", "sum by (instance, job) (load)", "topk(3, load) + 0", "label_replace(load, 'y', '', 'x', '') * 1"]
)
def test_the_outage_is_judged_again_whether_the_expression_can_be_narrowed_or_not(past, server, expr):
    chart = drawn_from(past, subject(server, expr=expr), RANGE, ChartPart.BAND)
    outage = chart.times > END - 7200
    assert "judged anew" in chart.source
    assert chart.times[-1] == END
    assert len(chart.times) == 145
    assert np.all(chart.lines["score"][outage] >= 0.5)
    assert np.count_nonzero(chart.lines["score"][~outage] >= 0.5) <= 3
    assert np.all(chart.lines["lower"][outage] > 60.0)
    assert np.all(chart.lines["votes"][outage] >= 3)


def test_labels_that_only_one_series_has_are_enough(past, server):
    whole = subject(server)
    part = ChartSubject(whole.source, whole.plan, [("instance", ODD)], 3)
    line = drawn_from(past, part, RANGE, ChartPart.BAND).lines["observed"]
    np.testing.assert_array_equal(line, drawn_from(past, whole, RANGE, ChartPart.BAND).lines["observed"])
    with pytest.raises(DisplayError, match="no samples"):
        drawn_from(past, ChartSubject(whole.source, whole.plan, [("job", "x")], 3), RANGE, ChartPart.BAND)


def test_a_second_look_judges_the_same(past, server):
    first = drawn_from(past, subject(server), RANGE, ChartPart.BAND)
    second = drawn_from(past, subject(server), RANGE, ChartPart.BAND)
    for name, line in first.lines.items():
        np.testing.assert_array_equal(line, second.lines[name])


def test_what_was_said_at_the_time_is_shown_where_it_was_scraped(past, server):
    at = np.arange(RANGE.start - STEP, END + 1.0, STEP)
    said = {
        "observed_value": 99.0,
        "expected_value": 77.0,
        "expected_value_lower": 70.0,
        "anomaly_score": 0.25,
        "anomaly_votes": 2.0,
    }
    labels = {"query": "load", "instance": "b", "job": "x"}
    server.push(({"__name__": name, **labels}, at, np.full(len(at), value)) for name, value in said.items())
    chart = drawn_from(past, subject(server, "b"), RANGE, ChartPart.BAND)
    assert "scraped" in chart.source
    assert set(chart.lines["expected"]) == {77.0}
    assert set(chart.lines["observed"]) == {99.0}
    assert set(chart.lines["lower"]) == {70.0}
    assert np.all(np.isnan(chart.lines["upper"]))
    # It was not scraped before.
    earlier = TimeRange(RANGE.start - DAY, RANGE.end - DAY)
    assert "judged anew" in drawn_from(past, subject(server, "b"), earlier, ChartPart.BAND).source


def test_four_weeks_lie_under_the_present_one(past, server):
    chart = drawn_from(past, subject(server, "a"), RANGE, ChartPart.WEEKS)
    assert len(chart.lines) == 5
    now = chart.lines["now"]
    for line in chart.lines.values():
        assert line.shape == chart.times.shape
        np.testing.assert_allclose(line, now, atol=10.0)


def test_a_decomposition_adds_up_and_finds_the_day(past, server):
    chart = drawn_from(past, subject(server, "a"), RANGE, ChartPart.DECOMPOSITION)
    parts = chart.lines["trend"] + chart.lines["daily"] + chart.lines["weekly"] + chart.lines["residual"]
    np.testing.assert_allclose(parts, chart.lines["observed, hourly mean"], atol=1e-6)
    assert 38.0 < np.ptp(chart.lines["daily"]) < 42.0
    np.testing.assert_allclose(chart.lines["trend"], 100.0, atol=2.0)


@pytest.mark.parametrize(
    ("instance", "within", "part", "of", "expr", "says"),
    [
        ("gone", RANGE, ChartPart.BAND, 3, "load", "no samples of this series"),
        ("a", TimeRange(END - 40 * DAY, END - 39 * DAY), ChartPart.WEEKS, 3, "load", "no samples of this series"),
        ("a", TimeRange(END - 27 * DAY, END - 26 * DAY), ChartPart.DECOMPOSITION, 3, "load", "needs two weeks"),
        ("a", RANGE, ChartPart.BAND, 1_000_000, "topk(3, load)", "too many to read"),
        ("a", RANGE, ChartPart.BAND, 3, "load +", "did not give the history: bad_data"),
    ],
    ids=["gone", "before history", "too young", "too many", "wrong expression"],
)
def test_what_cannot_be_drawn_says_why(past, server, instance, within, part, of, expr, says):
    with pytest.raises(DisplayError, match=says):
        drawn_from(past, subject(server, instance, expr, of), within, part)


def test_a_server_that_is_away_is_said(past):
    away = ChartSubject(PrometheusSettings(url="http://127.0.0.1:9"), plan(), [("job", "x")], 1)
    with pytest.raises(DisplayError, match="did not give the history: refused") as said:
        drawn_from(past, away, RANGE, ChartPart.BAND)
    assert said.value.status == 502


def test_a_chart_that_ends_now_goes_on_with_forecasts(server, past):
    fields = {
        "name": "load",
        "expr": "load",
        "interval": "5m",
        "forecast": {"horizons": ["6h"], "limit": {"above": 200}},
    }
    planned = Config.model_validate({"queries": [fields]}).plans()[0]
    about = replace(subject(server, "a"), plan=planned)
    chart = chart_data(past, about, RANGE, ChartPart.BAND, here, END + 30.0)
    ahead = chart.times > END
    assert chart.times[-1] == pytest.approx(END + DAY / 4)
    assert np.isnan(chart.lines["observed"][ahead]).all()
    usual = 100.0 + 20.0 * np.sin(chart.times[ahead] / DAY * 2 * np.pi)
    assert np.abs(chart.lines["forecast"][ahead] - usual).max() < 1.5
    assert (chart.lines["forecast_lower"][ahead] < usual).mean() > 0.9
    assert chart.limit == 200.0
    earlier = chart_data(past, about, RANGE, ChartPart.BAND, here, END + DAY)
    assert "forecast" not in earlier.lines
