"""The daemon in this process, where a test can reach inside: what hangs, what dies, what fails half-way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from exporter.app import App, Options, build
from exporter.errors import ExporterError
from exporter.evaluation.evaluator import QueryEvaluator
from tests.faults.cycling import Source
from tests.integration.process import eventually
from tests.integration.recorder import Recorder
from tests.openapi import assert_described
from tests.simulated_time import SimulatedTime

CONFIG: dict[str, Any] = {
    "global": {"interval": "1s"},
    "baseline": {"window": "1d", "min_history": "1h"},
    "alerting": {"drain_timeout": "1s"},
    "queries": [{"name": "load", "expr": "load", "alert": {}}, {"name": "other", "expr": "other"}],
}


@pytest.fixture
def source() -> Source:
    return Source("a", "b")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    return SimulatedTime(monkeypatch)


@pytest.fixture
def app(tmp_path: Path, source: Source, clock: SimulatedTime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("exporter.app.reload.PrometheusApi", lambda *_, **__: source)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    app = build(Options(file, tmp_path / "state", listen_address="127.0.0.1:0"), clock=clock)
    app.start()
    with ExitStack() as stack:
        stack.callback(app.stop)
        as_time_passes(app, lambda: scored(app) == {"load", "other"})
        yield app


def as_time_passes(app: App, condition: Callable[[], bool]) -> None:
    """Let slots pass until something is so."""
    for _ in range(600):
        if condition():
            return
        clock = app._parts.clock
        assert isinstance(clock, SimulatedTime)
        clock.advance(0.5, app._parts.workers._schedule._scheduler)
        time.sleep(0.02)  # For the threads to do their work.
    raise AssertionError("it does not come")


def scored(app: App) -> set[str]:
    page = b"".join(app._parts.exposition.scrape("", "").body).decode()
    return {line.split('query="')[1].split('"')[0] for line in page.splitlines() if line.startswith("anomaly_score{")}


def value(app: App, name: str, **labels: str) -> float:
    return app.metrics.registry.get_sample_value(f"anomaly_exporter_{name}", labels) or 0.0


def slots(app: App, query: str = "load", count: int = 2) -> None:
    now = value(app, "cycles_total", query=query)
    as_time_passes(app, lambda: value(app, "cycles_total", query=query) >= now + count)


class Hang:
    """Makes the judgement of one query hang, once."""

    def __init__(self, app: App, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hanging, self.go_on = threading.Event(), threading.Event()
        engine = app.evaluators[query].learner.engine
        step = engine.step

        def hang(*args: Any, **options: Any) -> Any:
            if not self.hanging.is_set():
                self.hanging.set()
                assert self.go_on.wait(60)
            return step(*args, **options)

        monkeypatch.setattr(engine, "step", hang)
        as_time_passes(app, self.hanging.is_set)


def test_a_query_that_hangs_is_replaced_and_the_others_do_not_notice(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = Hang(app, "load", monkeypatch)
    slots(app, "other")
    old = app.evaluators["load"]
    # As if it had been silent for longer than it may.
    old._jobs._until = dict.fromkeys(old._jobs._until, time.monotonic() - 1)
    app.watch()
    assert app.evaluators["load"] is not old
    assert value(app, "worker_restarts_total", worker="cycle") == 1
    slots(app, "load", 3)
    slots(app, "other")
    hang.go_on.set()
    eventually(lambda: not old.stuck, 20.0)
    slots(app, "load")


def test_a_query_that_hangs_holds_up_neither_a_reload_nor_the_end(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.workers.PATIENCE", 0.3)
    hang = Hang(app, "load", monkeypatch)
    began = time.monotonic()
    app.reload()
    slots(app, "load", 2)
    again = Hang(app, "other", monkeypatch)
    app.stop()
    assert time.monotonic() - began < 40
    hang.go_on.set()
    again.go_on.set()


def test_a_dead_scheduler_is_started_again_and_one_that_keeps_dying_ends_the_process(app: App) -> None:
    for number in range(5):
        app._parts.workers._schedule._scheduler.shutdown(wait=False)
        app.watch()
        assert value(app, "worker_restarts_total", worker="scheduler") == number + 1
    slots(app)
    app._parts.workers._schedule._scheduler.shutdown(wait=False)
    with pytest.raises(ExporterError, match="again and again"):
        app.watch()


@pytest.mark.parts_fail
def test_a_page_that_cannot_be_shown_takes_neither_scores_nor_remote_write(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    written: list[str] = []
    monkeypatch.setattr(app._parts.latest, "put", wrong)
    monkeypatch.setattr(app._parts.remote_writes, "put", lambda query, *_: written.append(query))
    slots(app)
    assert scored(app) == {"load", "other"}
    assert "load" in written
    assert value(app, "cycle_parts_failed_total", query="load") >= 1
    assert value(app, "cycles_failed_total", query="load") == 0


def test_a_reload_that_fails_half_way_ends_the_process(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(QueryEvaluator, "take_over", wrong)
    with pytest.raises(ExporterError, match="half-way"):
        app.reload()
    assert value(app, "config_last_reload_successful") == 0
    with pytest.raises(ExporterError, match="half-way"):
        app.watch()


def test_nothing_is_deleted_for_its_age_while_the_clock_is_not_confirmed(
    app: App, clock: SimulatedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[float] = []
    monkeypatch.setattr(app._parts.store, "retain", deleted.append)
    app._parts.maintenance._retained_at = None
    app._reloader.maintain(clock() + 12 * 365 * 86400.0)
    assert deleted == []
    app._reloader.maintain(clock())
    assert len(deleted) == 1


def test_a_state_directory_that_is_used_is_told(app: App, tmp_path: Path) -> None:
    with pytest.raises(ExporterError):
        build(Options(tmp_path / "config.yaml", tmp_path / "state", listen_address="127.0.0.1:0"))


def test_the_api_is_served_as_its_document_and_the_documentation_say(app: App) -> None:
    url = f"http://127.0.0.1:{app.port}/api/v1"
    document = requests.get(f"{url}/openapi.json", timeout=10).json()
    routes = {
        (route.method, route.resource.canonical.removeprefix("/api/v1"))
        for route in app._web._app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/v1/") and route.method != "HEAD"
    }
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == routes - {("GET", "/openapi.json")}
    written = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for method, path in described:
        assert f"`{method} /api/v1{path}`" in written
    for path in ("/series", "/series?anomalous=false&limit=1", "/anomalies", "/status/config", "/status/buildinfo"):
        answer = requests.get(url + path, timeout=10)
        assert answer.status_code == 200
        assert_described(document, "GET", path, answer)
    (found,) = requests.get(f"{url}/series?query=load&match[]=instance=a", timeout=10).json()["data"]["series"]
    assert (found["query"], found["labels"], found["state"]) == (
        "load",
        {"__name__": "load", "instance": "a"},
        "scored",
    )
    for cursor in ("x", "0.5,1", "0..5,1,load", "-1,1,load", "0.5,-1,load", "nan,1,load"):
        answer = requests.get(f"{url}/series", params={"cursor": cursor}, timeout=10)
        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data"), cursor


def test_alertmanagers_that_a_file_names_are_used_as_it_changes(app: App, source: Source, tmp_path: Path) -> None:
    (tmp_path / "am.json").write_text("[]")
    queries = [{"name": "load", "expr": "load", "alert": {"for": "2s"}}]
    config = {**CONFIG, "alertmanagers": [{"file_sd": {"files": ["*.json"]}}], "queries": queries}
    app._reloader._config_file.write_text(yaml.safe_dump(config))
    app.reload()
    with Recorder() as first, Recorder() as second:
        (tmp_path / "am.json").write_text(f'[{{"targets": ["{first.address}"]}}]')
        as_time_passes(app, lambda: value(app, "alertmanager_targets", source=f"file_sd {tmp_path}/*.json") == 1)
        source.loud = {"a"}
        as_time_passes(app, lambda: any(request.method == "POST" for request in first.requests))
        # One that comes later gets what fires.
        (tmp_path / "more.json").write_text(f'[{{"targets": ["http://{second.address}/x"]}}]')
        as_time_passes(app, lambda: any(request.path == "/x/api/v2/alerts" for request in second.requests))
        page = requests.get(f"http://127.0.0.1:{app.port}/", timeout=60).text
        assert "2 found" in page
        assert f"http://{second.address}/x" in page


def test_an_event_without_an_end_is_shown_everywhere(app: App) -> None:
    # East of Greenwich this is the year 10000.
    event = {"match": ['query="load"'], "starts_at": "2020-01-01T00:00:00Z", "ends_at": "9999-12-31T23:59:59Z"}
    calendar = [
        {"name": "for-good", "action": "expect", "multiplier": 2.0, **event},
        {"name": "silent", "action": "silence", "timezone": "Asia/Tokyo", **event},
    ]
    with Recorder() as alertmanager:
        # With the clock of this test: where clocks differ, silences are left alone.
        alertmanager.answer, alertmanager.extra = b"[]", {"Date": formatdate(app._parts.clock(), usegmt=True)}
        config = {"timezone": "Asia/Tokyo", **CONFIG["global"]}
        config = {**CONFIG, "global": config, "calendar": calendar, "alertmanagers": [{"url": alertmanager.url}]}
        app._reloader._config_file.write_text(yaml.safe_dump(config))
        app.reload()
        slots(app, "load", 3)
        for path in ("/", "/api/v1/events", "/metrics", "/api/v1/series?query=load"):
            answer = requests.get(f"http://127.0.0.1:{app.port}{path}", timeout=60)
            assert answer.status_code == 200, (path, answer.text)
        as_time_passes(app, lambda: any(request.method == "POST" for request in alertmanager.requests))
        [silence, *_] = [request.body for request in alertmanager.requests if request.method == "POST"]
        assert b'"endsAt":"9999-12-31T23:59:59Z"' in silence
