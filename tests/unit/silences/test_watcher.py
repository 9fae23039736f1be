"""The rounds of the watch, with servers that fail as they are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate
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
        self.alerts: list[dict[str, Any]] = []
        self.date: float | None = None
        self.filters = False  # Whether it leaves expired silences out where it is asked to.
        self.cluster: dict[str, Any] = {"status": "disabled"}
        self.requests: list[str] = []

    def _answer(self, what: str, body: object, status: int = 200) -> HttpResponse:
        self.requests.append(what)
        if self.down:
            raise AlertmanagerError(self.url, Reason.TIMEOUT, "no complete answer in time")
        date = {} if self.date is None else {"Date": formatdate(self.date, usegmt=True)}
        return HttpResponse(status, date, json.dumps(body).encode())

    def get(self, path: str, params: Mapping[str, str] | None = None, **_: Any) -> HttpResponse:
        if path.endswith("status"):
            return self._answer(f"GET {path}", {"cluster": self.cluster})
        if path.startswith("/api/v2/alerts"):
            return self._answer(f"GET {path}", [] if path.endswith("groups") else self.alerts)
        if path.startswith("/api/v2/silence/"):
            return self._single(path)
        expired = (params or {}).get("expired") != "false"
        listed = [silence for silence in self.silences if expired or silence["status"]["state"] != "expired"]
        broken = any("sets" in silence for silence in (listed if self.filters else self.silences))
        return self._answer(f"GET {path}", "several sets" if broken else listed, 500 if broken else 200)

    def _single(self, path: str) -> HttpResponse:
        found = [silence for silence in self.silences if path.endswith(f"/{silence['id']}")]
        if not found:
            return self._answer(f"GET {path}", "not found", 404)
        return self._answer(f"GET {path}", found[0], 500 if "sets" in found[0] else 200)

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
        self.alertnames: set[str] = set()
        self.log = Log()
        self.mono = 0.0
        self.registry = CollectorRegistry()
        self.watch = SilenceWatcher(
            connect=self._connect,
            calendar=lambda: self.calendar,
            created_log=self.log,  # type: ignore[arg-type]
            clock=lambda: NOW + self.mono,
            registry=self.registry,
            alertnames=lambda: frozenset(self.alertnames),
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
    again.log, again.watch._created._log = world.log, world.log
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
        if path.endswith("groups"):
            return HttpResponse(404, {}, b"404 page not found")
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


SETS = {**HERS, "id": "many", "sets": 2}
SLOW = {"alertname": "Slow", "pod": "p"}


def silenced_by(*identities: str) -> dict[str, Any]:
    return {"labels": SLOW, "status": {"state": "suppressed", "silencedBy": [*identities]}}


def test_a_silence_that_the_list_cannot_be_made_of_takes_no_other_away() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    server = world.servers[A]
    server.silences = [HERS]
    world.round()
    assert world.watch.troubles() == {A: None}
    server.silences.append(SETS)
    for _ in range(80):  # Twenty minutes: longer than silences of one that is down are believed.
        assert world.round() == ["hers", "s1"]
    assert "several sets" in str(world.watch.troubles()[A])
    # It can still be asked for each of them, so what ends is noticed, and what the calendar needs is made.
    server.silences[0] = {**HERS, "status": {"state": "expired"}, "endsAt": "2027-01-01T00:10:00Z"}
    server.silences.pop(1)
    world.round()
    assert {silence.id: silence.expired for silence in world.watch.index.silences} == {"hers": True, "s1": True}
    server.silences = [HERS]
    world.round()
    assert world.watch.troubles() == {A: None}


def test_where_silences_cannot_be_listed_the_status_of_our_alerts_says_what_is_silenced() -> None:
    world = World(A)
    world.alertnames = {"Slow"}
    server = world.servers[A]
    server.silences = [HERS, SETS]
    server.alerts = [silenced_by("many", "hers")]
    world.round()
    index = world.watch.index
    covering = {silence.id.partition("/")[0] for silence in index.covering(SLOW, NOW + world.mono)}
    assert covering == {"many"}  # That of somebody else is for other labels, whatever the Alertmanager says.
    assert {silence.id.partition("/")[0] for silence in index.silences} == {"hers", "many"}
    assert not list(index.covering({"alertname": "Slow", "pod": "q"}, NOW + world.mono))
    world.round()
    assert world.watch.index is index, "nothing changed, so nothing is worked out again"
    [status] = world.watch.status(SLOW, 0.0)
    assert [(silencing.id, silencing.by) for silencing in status.silenced_by] == [("many", None), ("hers", "eve")]
    server.alerts = []
    assert world.round() == ["hers"]


def test_expired_silences_are_left_out_where_only_they_break_the_list() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    server = world.servers[A]
    server.filters = True
    world.round()
    server.silences += [HERS, {**SETS, "status": {"state": "expired"}}]
    # Somebody ended ours, which the list without expired ones does not say.
    server.silences[0] = {**server.silences[0], "status": {"state": "expired"}, "endsAt": "2027-01-01T00:00:30Z"}
    world.round()
    assert world.watch.troubles() == {A: None}
    world.round()
    assert {silence.id: silence.expired for silence in world.watch.index.silences} == {"hers": False, "s0": True}
    assert len(server.silences) == 3, "it is not made again"


def test_what_people_wrote_beside_our_silence_stays_when_it_is_renewed() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    world.round()
    server = world.servers[A]
    server.silences[0]["annotations"] = {"ticket": "OPS-1"}
    longer = Occurrence("sale", "silence", 1.0, SALE.matchers, TimeWindow(NOW - 60, NOW + 7200))
    world.calendar = Calendar([], "UTC", [longer])
    world.round()
    assert server.silences[-1]["annotations"] == {"ticket": "OPS-1"}
    world.round()
    assert world.watch.index.silences[-1].annotations == {"ticket": "OPS-1"}


def test_a_receiver_that_is_no_alertmanager_has_no_silences(caplog: pytest.LogCaptureFixture) -> None:
    world = World(A, B)
    world.calendar = Calendar([], "UTC", [SALE])
    world.servers[A].get = lambda *_, **__: HttpResponse(404, {}, b"404 page not found")  # type: ignore[method-assign]
    with caplog.at_level("INFO"):
        world.round()
        world.round()
    assert [record.message for record in caplog.records].count("a receiver of alerts has no silences") == 1
    assert [len(world.servers[url].silences) for url in (A, B)] == [0, 1]
    assert world.watch.troubles() == {A: None, B: None}
    name = "anomaly_exporter_alertmanager_silence_errors_total"
    assert not world.registry.get_sample_value(name, {"alertmanager": A, "reason": "http"})


def test_silences_are_left_as_they_are_while_clocks_differ() -> None:
    world = World(A)
    world.calendar = Calendar([], "UTC", [SALE])
    server = world.servers[A]
    server.date = NOW
    world.round()
    assert [one["status"]["state"] for one in server.silences] == ["active"]
    # Ours is set back by a day: the sale has not begun by it, and is on by theirs.
    world.mono -= 86400.0
    world.calendar = Calendar()
    server.date = NOW + 30
    world.round()
    assert [one["status"]["state"] for one in server.silences] == ["active"]
    world.mono += 86400.0
    world.round()
    assert [one["status"]["state"] for one in server.silences] == ["expired"]
