"""One query on relatives of Prometheus: history within their limits, partial answers, a proxy that takes only GET."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import PrometheusError
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.faults.cycling import START, World
from tests.integration.dialects import Dialect, Mimir, Thanos, VictoriaMetricsCluster


class Client(PrometheusApi):
    """A client of a dialect that can be a world's source."""

    def __init__(self, url: str, **settings: Any) -> None:
        self._given = {"url": url, **settings}
        super().__init__(PrometheusSettings.model_validate(self._given, strict=False))

    def connect(self) -> Client:
        return Client(**self._given)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of evaluators, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr("exporter.evaluation.pauses.monotonic", lambda: now[0])
    return now


def world(directory: Path, dialect: Dialect, **settings: Any) -> World:
    return World(directory, Client(dialect.url, **settings))


TENANT = {"headers": {"X-Scope-OrgID": "team"}}


@pytest.mark.parametrize(
    ("dialect", "settings"),
    [
        (Mimir(longest=5 * 3600.0), TENANT),
        (Mimir(most_chunks=10.0), TENANT),
        (Mimir(most_samples=200.0), TENANT),
        (Thanos(longest=3 * 3600.0), {}),
        (Thanos(longest=3 * 3600.0, exhausted=500), {}),
        (VictoriaMetricsCluster(longest=2 * 3600.0), {}),
        (VictoriaMetricsCluster(longest=2 * 3600.0, get_only=True), {}),
    ],
    ids=["Mimir, range", "Mimir, chunks", "Mimir, frame", "Thanos, 422", "Thanos, 500", "VictoriaMetrics", "GET only"],
)
def test_history_is_read_within_the_limits_of_the_server(
    tmp_path: Path, dialect: Dialect, settings: dict[str, Any]
) -> None:
    with dialect.run():
        one = world(tmp_path, dialect, **settings)
        assert one.prepare()
        assert "longer ones are refused" in str(one.cycle.learner.history.remark)
        one.slot()
        assert one.scores() == 3
        assert one.metrics.registry.get_sample_value("anomaly_exporter_partial_answers_total", {"query": "load"}) == 0.0
        one.end()
    refused = [request.seconds for request in dialect.requests if dialect.refusal(request)]
    # Halved a few times, and remembered.
    assert len(refused) < 10


def test_a_full_queue_is_given_time_and_asked_for_less(tmp_path: Path, clock: list[float]) -> None:
    with Mimir(queue=3).run() as dialect:
        one = world(tmp_path, dialect, **TENANT)
        waits = []
        for _ in range(3):
            assert not one.prepare()
            waits.append(one.cycle.resting)
            assert not one.prepare()  # Not before the time is over: no request.
            clock[0] += waits[-1]
        assert "rate_limited" in str(one.cycle.trouble)
        assert one.prepare()
        assert one.cycle.trouble is None
        one.end()
    assert waits == [5.0, 10.0, 20.0]
    lengths = [request.seconds for request in dialect.requests if request.seconds]
    assert lengths[0] > lengths[1] > lengths[2] > lengths[3] > 0.0


def test_a_server_without_a_free_slot_is_asked_when_it_says(tmp_path: Path, clock: list[float]) -> None:
    with VictoriaMetricsCluster(busy=2).run() as dialect:
        one = world(tmp_path, dialect)
        for _ in range(2):
            assert not one.prepare()
            assert one.cycle.resting == 10.0
            clock[0] += 10.0
        assert one.prepare()
        one.end()


def test_no_store_and_no_such_tenant_are_no_missing_series(tmp_path: Path) -> None:
    """Neither is a failed request; who watches nothing says so, and nobody is paged for a series."""
    for dialect, settings, change in ((Thanos(), {}, {"unmatched": True}), (Mimir(), TENANT, {"tenant": "other"})):
        with dialect.run():
            one = world(tmp_path / type(dialect).__name__, dialect, **settings)
            assert one.prepare()
            one.slot(2)
            assert one.sample("judged_ratio") == 1.0
            for name, value in change.items():
                setattr(dialect, name, value)
            one.slot(3)
            assert one.sample("judged_ratio") == 0.0
            assert one.states() == {}
            one.end()


@pytest.mark.parametrize("dialect", [Thanos(), VictoriaMetricsCluster()], ids=["Thanos", "VictoriaMetrics"])
def test_a_store_that_is_down_is_a_partial_answer_and_no_missing_series(tmp_path: Path, dialect: Dialect) -> None:
    with dialect.run():
        one = world(tmp_path, dialect)
        assert one.prepare()
        one.slot()
        dialect.away = {"a"}
        one.slot(8)
        assert one.states() == {}
        assert "series may be missing" in str(one.cycle.remark)
        sample = one.metrics.registry.get_sample_value
        assert sample("anomaly_exporter_partial_answers_total", {"query": "load"}) == 8.0
        assert sample("anomaly_exporter_series_absent", {"query": "load"}) == 0.0
        one.end()


@pytest.mark.parametrize(
    ("dialect", "params"),
    [(Thanos(), {"partial_response": "false"}), (VictoriaMetricsCluster(), {"deny_partial_response": "1"})],
    ids=["Thanos", "VictoriaMetrics"],
)
def test_partial_answers_can_be_denied_by_a_parameter(dialect: Dialect, params: dict[str, str]) -> None:
    with dialect.run():
        api = Client(dialect.url, params=params)
        assert len(api.instant("load", 0.0, timeout=20.0).keys) == 3
        dialect.away = {"a"}
        with pytest.raises(PrometheusError, match="stor"):
            api.instant("load", 0.0, timeout=20.0)
        api.close()


def test_instants_that_the_server_cannot_evaluate_do_not_end_the_query(tmp_path: Path) -> None:
    """Two series had equal labels for a while: nothing is known of that time, and all else goes on."""

    class Twins(Dialect):
        bad = (math.inf, math.inf)

        def refusal(self, request: Any) -> Any:
            start = float(request.form.get("start", request.form.get("time", 0.0)))
            if start <= self.bad[1] and start + request.seconds >= self.bad[0]:
                return 422, {"status": "error", "errorType": "execution", "error": "duplicate series"}
            return None

    with Twins().run() as dialect:
        one = world(tmp_path, dialect)
        dialect.bad = (START - 50_000.0, START - 49_000.0)
        assert one.prepare()
        one.slot()
        assert one.scores() == 3
        # And in slots: those are counted as failed, and what comes after them is judged at once.
        dialect.bad = (one.now + 30.0, one.now + 150.0)
        one.slot(2)
        assert "duplicate series" in str(one.cycle.trouble)
        one.slot()
        assert one.cycle.trouble is None
        assert one.scores() == 3
        one.end()
