"""The rounds of the watch, with servers that fail as they are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendar import Calendar, Occurrence, TimeWindow, parse_matcher
from exporter.delivery import AlertmanagerSettings
from exporter.errors import AlertmanagerError, Reason, StateError
from exporter.http_client.client import HttpResponse
from exporter.silences import AlertStatus, SilenceWatcher
from exporter.silences.settings import SilenceSettings
from exporter.store import CreatedSilence

NOW = 1_798_761_600.0
SALE = Occurrence("sale", "silence", 1.0, (parse_matcher("a=b"),), TimeWindow(NOW - 60, NOW + 3600))


class Server:
    """An Alertmanager in a few lines."""

    def __init__(self, settings: AlertmanagerSettings) -> None:
        self.url = settings.url
        self.down = False
        self.silences: list[dict[str, Any]] = []
        self.cluster: dict[str, Any] = {"status": "disabled"}
        self.requests: list[str] = []

    def _answer(self, what: str, body: object, status: int = 200) -> HttpResponse:
        self.requests.append(what)
        if self.down:
            raise AlertmanagerError(self.url, Reason.TIMEOUT, "no complete answer in time")
        return HttpResponse(status, {}, json.dumps(body).encode())

    def get(self, path: str, params: Mapping[str, str] | None = None, **_: Any) -> HttpResponse:
        return self._answer(f"GET {path}", {"cluster": self.cluster} if path.endswith("status") else self.silences)

    def post_json(self, path: str, body: bytes, **_: Any) -> HttpResponse:
        answer = self._answer(f"POST {path}", {"silenceID": f"s{len(self.silences)}"})
        self.silences.append({**json.loads(body), "id": f"s{len(self.silences)}", "status": {"state": "active"}})
        return answer

    def delete(self, path: str, **_: Any) -> HttpResponse:
        answer = self._answer(f"DELETE {path}", {})
        for one in self.silences:
            if one["id"] == path.rpartition("/")[2]:
                one["status"] = {"state": "expired"}
        return answer

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


class Log:
    def __init__(self) -> None:
        self.created: dict[str, CreatedSilence] = {}
        self.broken = False

    def load(self) -> dict[str, CreatedSilence]:
        return dict(self.created)

    def record(self, silences: Any, *, at: float) -> None:
        if self.broken:
            raise StateError("full")
        self.created |= {silence.id: silence for silence in silences}


class World:
    def __init__(self, *urls: str) -> None:
        self.servers: dict[str, Server] = {}
        self.calendar = Calendar()
        self.log = Log()
        self.mono = 0.0
        self.registry = CollectorRegistry()
        self.watch = SilenceWatcher(
            connect=self._connect,
            calendar=lambda: self.calendar,
            created_log=self.log,  # type: ignore[arg-type]
            clock=lambda: NOW + self.mono,
            registry=self.registry,
            monotonic=lambda: self.mono,
        )
        self.watch.apply([AlertmanagerSettings(url=url) for url in urls], SilenceSettings(keep="10m"))

    def _connect(self, settings: AlertmanagerSettings) -> Server:
        self.servers[settings.url] = server = Server(settings)
        return server

    def round(self, after: float = 15.0) -> list[str]:
        self.mono += after
        self.watch._round()
        return [silence.id for silence in self.watch.index.silences]

    def errors(self, url: str) -> float | None:
        name = "anomaly_exporter_alertmanager_silence_errors_total"
        return self.registry.get_sample_value(name, {"alertmanager": url, "reason": "timeout"})


A, B = "http://a:9093", "http://b:9093"
HERS = {
    "id": "hers",
    "status": {"state": "active"},
    "matchers": [{"name": "a", "value": "b", "isRegex": False}],
    "startsAt": "2027-01-01T00:00:00Z",
    "endsAt": "2027-01-02T00:00:00Z",
    "createdBy": "eve",
    "comment": "",
}


def test_what_an_alertmanager_said_is_believed_for_a_while_when_it_is_down() -> None:
    world = World(A, B)
    world.servers[A].silences = [HERS]
    assert world.round() == ["hers"]
    book = world.watch.index
    world.servers[A].down = True
    assert world.round() == ["hers"]
    assert world.watch.index is book, "nothing changed, so nothing is worked out again"
    assert world.round(after=590.0) == []
    world.servers[A].down = False
    assert world.round() == ["hers"]
    assert (world.errors(A), world.errors(B)) == (2.0, 0.0)


def test_an_alertmanager_that_was_down_gets_its_silence_later() -> None:
    world = World(A, B)
    world.calendar = Calendar([], "UTC", [SALE])
    world.servers[B].down = True
    world.round()
    assert [len(world.servers[url].silences) for url in (A, B)] == [1, 0]
    world.servers[B].down = False
    world.round()
    world.round()
    assert [len(world.servers[url].silences) for url in (A, B)] == [1, 1]


def test_members_of_a_cluster_are_asked_once_and_the_next_one_if_the_first_fails() -> None:
    world = World(A, B)
    peers = [{"name": "x"}, {"name": "y"}]
    for url, name in ((A, "x"), (B, "y")):
        world.servers[url].cluster = {"name": name, "peers": peers}
    world.servers[B].silences = world.servers[A].silences
    world.calendar = Calendar([], "UTC", [SALE])
    world.round()
    world.round()
    assert len(world.servers[A].silences) == 1
    posts = [what for url in (A, B) for what in world.servers[url].requests if what.startswith("POST")]
    assert posts == ["POST /api/v2/silences"]


def test_what_could_not_be_noted_is_noted_later_and_ended_all_the_same() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    world.log.broken = True
    world.round()
    world.round()
    assert (len(world.servers[A].silences), world.log.created) == (1, {})
    world.log.broken = False
    world.calendar = Calendar()
    world.round()
    assert world.servers[A].silences[0]["status"] == {"state": "expired"}
    assert world.log.created["s0"].removed


def test_a_restart_goes_on_with_what_the_ledger_has() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    world.round()
    again = World(A)
    again.log, again.watch._log = world.log, world.log
    again.servers[A].silences = world.servers[A].silences
    again.round()
    # Its entry is gone meanwhile, so it goes too; there is nothing else to tell that it was ours.
    assert again.servers[A].silences[0]["status"] == {"state": "expired"}


def test_nobody_is_asked_about_clusters_without_need() -> None:
    world = World(A, B)
    world.round()
    assert world.servers[A].requests == ["GET /api/v2/silences"]


@pytest.mark.parametrize("body", [b"<html>", b"{}"])
def test_somebody_else_who_answers_is_an_error_and_not_an_empty_list(body: bytes) -> None:
    world = World(A)
    world.servers[A].silences = [HERS]
    world.round()
    world.servers[A].get = lambda *_, **__: HttpResponse(200, {}, body)  # type: ignore[method-assign]
    assert world.round() == ["hers"]


def test_how_alerts_stand_is_asked_while_any_fire_and_of_those_that_answer() -> None:
    world = World(A, B)
    names: set[str] = set()
    world.watch._alertnames = lambda: frozenset(names)
    silences = world.servers[A].get

    def get(path: str, params: Mapping[str, str] | None = None, **_: Any) -> HttpResponse:
        if not path.endswith("alerts"):
            return silences(path)
        assert params == {"filter": 'alertname=~"Slow"'}
        return HttpResponse(200, {}, b'[{"labels": {"alertname": "Slow"}, "status": {"state": "active"}}]')

    for server in world.servers.values():
        server.get = get  # type: ignore[method-assign]
    world.round()
    assert world.watch.status({"alertname": "Slow"}, 0.0) == tuple(
        AlertStatus(url, NOW + world.mono, "absent") for url in (A, B)
    )
    names.add("Slow")
    world.servers[B].get = lambda *_, **__: HttpResponse(502, {}, b"")  # type: ignore[method-assign]
    world.round()
    assert world.watch.status({"alertname": "Slow"}, 0.0) == (AlertStatus(A, NOW + world.mono, "active"),)
