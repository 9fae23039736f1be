"""What a series is judged against is what its page and the API show of it."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.views.baseline import read_baseline
from exporter.views.latest_verdicts import LatestVerdicts
from exporter.web.api import ApiError, baseline_endpoint
from exporter.web.api.baseline import BaselineParameters
from exporter.web.api.endpoint import Labels
from exporter.web.pages.heat_map import week_map
from tests.faults.cycling import START, World, plan_of


@pytest.fixture
def world(tmp_path):
    one = World(tmp_path / "state", plan=plan_of(baseline={"window": "15d", "min_history": "1h", "season": "weekly"}))
    one.latest = LatestVerdicts()
    assert one.prepare()
    object.__setattr__(one.cycle.context.ports, "on_verdict", one.latest.put)
    one.slot(2)
    yield one
    one.end()


def test_every_hour_of_the_week_is_there_with_what_it_is_judged_by(world: World) -> None:
    request = BaselineParameters(query="load", labels=Labels(instance="a"))
    baseline = read_baseline(world.cycle, world.latest.get("load"), request)
    assert [(each.weekday, each.hour) for each in baseline.buckets] == [(h // 24, h % 24) for h in range(168)]
    engine = world.cycle.learner.engine
    row = engine.table.row((("__name__", "load"), ("instance", "a")))
    now = baseline.buckets[baseline.current]
    summary = engine.bucket_summary(np.array([row]), engine.at)
    assert (now.mean, now.stddev, now.q1, now.q3) == (summary.mean[0], summary.std[0], summary.q1[0], summary.q3[0])
    assert now.scope == "week"
    assert now.updated_at == engine.at
    before = baseline.buckets[baseline.current - 1]
    assert before.updated_at == engine.at // 3600 * 3600
    assert 100.0 < now.mean + 10 < 120.0
    assert now.visits == pytest.approx(now.sample_count / 60.0, abs=0.02)
    assert baseline.at > START


def test_what_is_not_there_or_several_is_refused(world: World) -> None:
    latest = world.latest.get("load")
    with pytest.raises(ApiError, match="2 series"):
        read_baseline(world.cycle, latest, BaselineParameters(query="load"))
    with pytest.raises(ApiError, match="no series"):
        read_baseline(world.cycle, latest, BaselineParameters(query="load", labels=Labels(instance="z")))
    with pytest.raises(ApiError, match="no query"):
        read_baseline(None, None, BaselineParameters(query="other"))


def test_labels_are_parameters_of_their_own() -> None:
    endpoint = baseline_endpoint(lambda request: request)
    request = endpoint.read_parameters({}, [("query", "cpu"), ("instance", "a"), ("label.query", "x")])
    assert request.labels == {"instance": "a", "query": "x"}


def test_the_map_has_the_highest_mean_darkest_and_says_where_the_series_is_now(world: World) -> None:
    request = BaselineParameters(query="load", labels=Labels(instance="a"))
    baseline = read_baseline(world.cycle, world.latest.get("load"), request)
    week = week_map(baseline, None)
    assert [day for day, _ in week] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    cells = [cell for _, day in week for cell in day]
    assert [index for index, cell in enumerate(cells) if cell.current] == [baseline.current]
    means = [each.mean for each in baseline.buckets]
    assert cells[int(np.argmax(means))].shade == 7
    assert cells[int(np.argmin(means))].shade == 0
