"""Episodes over HTTP, on a real store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import requests
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import AuditEvent, Observation
from exporter.cli.main import main
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.silences import AlertStatus, Inhibition, Silencing
from exporter.store import Store
from exporter.web import WebConfigFile
from exporter.web.api import anomaly_endpoints
from tests.openapi import assert_described
from tests.store_values import NOW, a_step, a_transition, an_alert, append, clock, open_store

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
ALICE = ("alice", "secret")
READING = Observation(60.0, observed=9.0, expected=1.5, upper=2.0, score=0.75, z=4.5, votes=3.0)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "state") as store:
        yield store


class Api:
    """The API as alice uses it; every answer is what the document says."""

    def __init__(self, url: str, registry: CollectorRegistry) -> None:
        self.url = url + "/api/v1"
        self.registry = registry
        self.document = self("GET", "/openapi.json", document=False)

    def __call__(self, method: str, path: str, status: int = 200, *, document: bool = True, **options: Any) -> Any:
        answer = requests.request(method, self.url + path, auth=ALICE, timeout=10, **options)
        assert answer.status_code == status, answer.text
        if document:
            assert_described(self.document, method, path, answer)
        said = answer.json()
        return said["data"] if said.get("status") == "success" else said.get("error", said)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"anomaly_exporter_{name}", labels)


def alert_status(labels: Mapping[str, str], since: float) -> tuple[AlertStatus, ...]:
    by = Silencing("s1", "bob", "deploy", 90.0)
    root = Inhibition("f0", {"instance": "root"})
    return (AlertStatus("http://am:9093", since + 1.0, "suppressed", ("pager", labels["instance"]), (by,), (root,)),)


def annotations(query: str, fingerprint: str) -> dict[str, str]:
    storms = {("q", "f1"): {"summary": "many", "members": "3 of 9 series", "worst": "b is 9\na is 8"}}
    return storms.get((query, fingerprint), {"summary": "one"})


@pytest.fixture
def api(store: Store, serve, tmp_path: Path) -> Api:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: {HASH}}}\n")
    registry = CollectorRegistry()
    EpisodeFeedback(store, SelfMetrics(registry))
    endpoints = anomaly_endpoints(store.episodes, clock, alert_status, annotations)
    return Api(serve(web_config=WebConfigFile(tmp_path / "web.yml"), endpoints=endpoints).url, registry)


def opened(store: Store, *names: str, query: str = "q") -> None:
    for at, name in enumerate(names):
        details = {"labels": f'{{"instance": "{name}", "service": "s"}}'}
        append(store, [a_transition(name, AuditEvent.OPEN, float(at), details=details, query=query)])


def test_an_anomaly_says_everything(store: Store, api: Api) -> None:
    details = {"labels": '{"instance": "f1"}'}
    firing = a_transition(event=AuditEvent.FIRING, at=30.25, why="anomalous")
    store.alerts.commit("q", 60.0, a_step(an_alert(worst=READING), transitions=(a_transition(details=details), firing)))
    store.episodes.acknowledge("f1-1", at=70.0, who="bob", why="on it")
    expected = {
        "id": "f1-1",
        "query": "q",
        "labels": {"instance": "f1"},
        "status": "acknowledged",
        "opened_at": 1.5,
        "fired_at": 30.25,
        "resolved_at": None,
        "resolved_why": None,
        "summary": "é ☃",
        "worst_at": 60.0,
        "observed": 9.0,
        "expected": 1.5,
        "lower": None,
        "upper": 2.0,
        "score": 0.75,
        "z": 4.5,
        "votes": 3.0,
        "acknowledged": {"at": 70.0, "by": "bob", "comment": "on it"},
        "feedback": None,
        "alertmanagers": [
            {
                "alertmanager": "http://am:9093",
                "at": 31.25,
                "state": "suppressed",
                "receivers": ["pager", "f1"],
                "silenced_by": [{"id": "s1", "by": "bob", "comment": "deploy", "ends_at": 90.0, "annotations": {}}],
                "inhibited_by": [{"fingerprint": "f0", "labels": {"instance": "root"}}],
                "muted": [],
            }
        ],
        "storm": {"members": "3 of 9 series", "in_common": [], "worst": ["b is 9", "a is 8"]},
    }
    assert api("GET", "/anomalies") == {"anomalies": [expected], "next_cursor": None}
    one = api("GET", "/anomalies/f1-1")
    assert one["anomaly"] == expected
    assert [(step["event"], step["at"], step["who"], step["why"]) for step in one["transitions"]] == [
        ("open", 1.5, "exporter", "too high"),
        ("firing", 30.25, "exporter", "anomalous"),
        ("acknowledged", 70.0, "bob", "on it"),
    ]


@pytest.mark.parametrize(
    ("event", "why", "listed"),
    [
        (AuditEvent.RESOLVED, "normal", []),
        (AuditEvent.EXPIRED_SOURCE_DOWN, "source_down", ["suppressed"]),
        (AuditEvent.EXPIRED, "outage_tolerance", ["suppressed"]),
    ],
)
def test_what_is_not_sent_any_more_says_what_alertmanager_still_shows(
    store: Store, api: Api, event: AuditEvent, why: str, listed: list[str]
) -> None:
    opened(store, "f1")
    append(store, [a_transition(event=AuditEvent.FIRING, at=30.0), a_transition(event=event, at=60.0, why=why)])
    anomaly = api("GET", "/anomalies/f1-1")["anomaly"]
    assert (anomaly["resolved_at"], anomaly["resolved_why"]) == (60.0, why)
    assert [status["state"] for status in anomaly["alertmanagers"]] == listed


def test_hidden_characters_are_escapes_in_every_answer(store: Store, api: Api) -> None:
    opened(store, "f1")
    store.episodes.acknowledge("f1-1", at=70.0, who="bob", why="on\u202eit")
    answer = requests.get(api.url + "/anomalies/f1-1", auth=ALICE, timeout=10)
    assert b"on\\u202eit" in answer.content
    assert answer.json()["data"]["anomaly"]["acknowledged"]["comment"] == "on\u202eit"


def test_pages_follow_each_other(store: Store, api: Api) -> None:
    opened(store, *(f"f{n}" for n in range(7)))
    seen, cursor = [], None
    while True:
        page = api("GET", "/anomalies", params={"limit": "3", **({"cursor": cursor} if cursor else {})})
        seen.append([one["id"] for one in page["anomalies"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [["f6-1", "f5-1", "f4-1"], ["f3-1", "f2-1", "f1-1"], ["f0-1"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("query=other", ["x-1"]),
        ("status=acknowledged", ["b-1"]),
        ('match[]=instance="a"', ["a-1"]),
        ('match[]=instance=~"a|b"&match[]=service!="t"', ["b-1", "a-1"]),
        ("match[]=instance!=x&fired=false", ["c-1", "b-1", "a-1"]),
        ("until=1970-01-01T00:00:00.5Z", ["x-1", "a-1"]),
        ("since=1", ["c-1", "b-1", "x-1", "a-1"]),
        ("min_score=0.5", []),
        ("feedback=false alarm", ["c-1"]),
        ("fired=true", []),
    ],
)
def test_filters_choose(store: Store, api: Api, query: str, expected: list[str]) -> None:
    opened(store, "a", "b", "c")
    opened(store, "x", query="other")
    store.episodes.acknowledge("b-1", at=NOW, who="ann", why="")
    api("POST", "/anomalies/c-1/feedback", json={"verdict": "false alarm"})
    assert [one["id"] for one in api("GET", f"/anomalies?{query}")["anomalies"]] == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=all", "status: invalid enum value 'all'; one of: open, acknowledged, resolved"),
        ("feedback=good", "; one of: confirmed, expected, false alarm, new normal"),
        ("match[]=instance", "match[]: not a matcher: 'instance'"),
        ('match[]=a=~"("', "match[]: "),
        ("cursor=nonsense", "cursor: not one that an earlier answer gave"),
        ("cursor=1e999", "cursor: not one that an earlier answer gave"),
        ("min_score=2", "min_score: expected `float` <= 1"),
        ("min_score=nan", "min_score: expected `float`"),
        ("limit=1001", "limit: expected `int` <= 1000"),
    ],
)
def test_a_wrong_filter_is_named(api: Api, query: str, message: str) -> None:
    assert message in api("GET", f"/anomalies?{query}", 400)


def test_acknowledging_twice_is_acknowledging_once(store: Store, api: Api) -> None:
    opened(store, "a")
    first = api("POST", "/anomalies/a-1/acknowledge", json={"comment": "on it"})
    assert (first["status"], first["acknowledged"]) == (
        "acknowledged",
        {"at": NOW, "by": "alice", "comment": "on it"},
    )
    assert api("POST", "/anomalies/a-1/acknowledge", json={"comment": "again"}) == first
    append(store, [a_transition("a", AuditEvent.RESOLVED, 90.0)])
    # Whose first answer was lost must not be told that it failed.
    assert api("POST", "/anomalies/a-1/acknowledge", json={})["acknowledged"]["by"] == "alice"
    assert [one["event"] for one in api("GET", "/anomalies/a-1")["transitions"]] == ["open", "acknowledged", "resolved"]


def test_what_is_resolved_or_unknown_cannot_be_acknowledged(store: Store, api: Api) -> None:
    opened(store, "a")
    append(store, [a_transition("a", AuditEvent.RESOLVED, 90.0)])
    assert "it is resolved" in api("POST", "/anomalies/a-1/acknowledge", 409, json={})
    for method, path in (("POST", "/anomalies/b-1/acknowledge"), ("POST", "/anomalies/b-1/feedback")):
        body = {"verdict": "confirmed"} if path.endswith("feedback") else {}
        assert api(method, path, 404, json=body) == "there is no anomaly 'b-1'"
    assert api("GET", "/anomalies/b-1", 404) == "there is no anomaly 'b-1'"


def test_a_program_may_say_for_whom_it_acts_and_not_hide_itself(store: Store, api: Api) -> None:
    opened(store, "a", "b")
    said = api("POST", "/anomalies/a-1/acknowledge", json={"who": "bob"})
    assert said["acknowledged"]["by"] == "bob (via alice)"
    said = api("POST", "/anomalies/b-1/feedback", json={"who": "alice", "verdict": "confirmed"})
    assert said["feedback"]["by"] == "alice"


def test_feedback_is_counted_and_the_newest_word_holds(store: Store, api: Api) -> None:
    opened(store, "a", "b", "c", "d")
    for name, verdict in (("a", "confirmed"), ("b", "false alarm"), ("c", "new normal"), ("d", "false alarm")):
        api("POST", f"/anomalies/{name}-1/feedback", json={"verdict": verdict, "comment": "because"})
    assert api.metric("precision_ratio", query="q") == 0.5
    said = api("POST", "/anomalies/d-1/feedback", json={"verdict": "expected"})
    assert said["feedback"] == {"verdict": "expected", "at": NOW, "by": "alice", "comment": ""}
    assert api.metric("precision_ratio", query="q") == 0.75
    assert api.metric("feedback_total", query="q", verdict="false alarm") == 2
    assert api.metric("feedback_total", query="q", verdict="expected") == 1
    assert {lesson.episode: lesson.verdict for lesson in store.episodes.pending_feedback()} == {"c-1": "new normal"}


@pytest.mark.parametrize("body", [{}, {"verdict": "maybe"}, {"verdict": "confirmed", "comment": "x" * 2001}], ids=len)
def test_wrong_feedback_is_said(store: Store, api: Api, body: dict[str, str]) -> None:
    opened(store, "a")
    assert "body" in api("POST", "/anomalies/a-1/feedback", 400, json=body)
    assert store.audit.page().entries[0].event == "open"


def test_text_comes_back_as_it_was_said(store: Store, api: Api) -> None:
    opened(store, "a")
    text = "<script>alert(1)</script>'; DROP TABLE episodes; -- \u2603 \x00"
    api("POST", "/anomalies/a-1/acknowledge", json={"comment": text})
    assert api("GET", "/anomalies")["anomalies"][0]["acknowledged"]["comment"] == text


# ---------------------------------------------------------------------- from a shell


@pytest.fixture
def shell(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``shell("list", ...)`` runs the command as alice; returns exit code, standard output and standard error."""
    monkeypatch.setenv("ANOMALY_EXPORTER_PASSWORD", "secret")

    def run(action: str, *words: str, user: str | None = "alice") -> tuple[int, str, str]:
        login = [] if user is None else [f"--user={user}"]
        code = main(["anomalies", action, f"--url={api.url.removesuffix('/api/v1')}", *login, *words])
        return code, *capsys.readouterr()

    return run


def test_a_shell_lists_what_is_not_over_and_says_what_to_do_about_it(store: Store, shell) -> None:
    opened(store, "a", "b", "c")
    append(store, [a_transition("c", AuditEvent.RESOLVED, 90.0)])
    code, out, _ = shell("ack", "b-1", "--comment", "on it")
    assert (code, out) == (0, 'b-1  1970-01-01T00:00:01Z  acknowledged  [alice]  q {instance="b", service="s"}\n')
    code, out, _ = shell("list")
    assert [line.split()[0] for line in out.splitlines()] == ["a-1", "b-1"]
    code, out, _ = shell("list", "--status=all", "--match", 'instance=~"a|c"', "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["c-1", "a-1"]
    code, out, _ = shell("list", "--limit=1")
    assert len(out.splitlines()) == 1
    code, out, _ = shell("feedback", "c-1", "false alarm")
    assert "[false alarm]" in out
    found = store.episodes.get("b-1")
    assert found is not None
    assert [(entry.event, entry.who, entry.why) for entry in found[1]][1:] == [("acknowledged", "alice", "on it")]


@pytest.mark.parametrize(
    ("words", "user", "said"),
    [
        (["ack", "nobody"], "alice", "the exporter answers 404: there is no anomaly 'nobody'\n"),
        (["ack", "a-1"], "alice", "the exporter answers 409: it is resolved: there is nothing left to acknowledge"),
        (["list"], "mallory", "the exporter answers 401: Unauthorized\n"),
        (["list", "--match", "x"], "alice", "the exporter answers 400: match[]: not a matcher: 'x'"),
        (["list"], None, "the exporter answers 401: Unauthorized\n"),
        (["list", "--url=ftp://x"], "alice", "--url: not an http:// or https:// URL with a host\n"),
        (["list", "--url=http://127.0.0.1:1"], "alice", "connection refused"),
        (["list", "--cert-file=x"], "alice", "cert_file and key_file belong together"),
    ],
    ids=str,
)  # fmt: skip
def test_what_goes_wrong_is_one_line(store: Store, shell, words: list[str], user: str | None, said: str) -> None:
    opened(store, "a")
    append(store, [a_transition("a", AuditEvent.RESOLVED, 90.0)])
    code, out, error = shell(*words, user=user)
    assert (code, out) == (1, "")
    assert said in error
    assert error.count("\n") == 1


def test_a_user_without_a_password_is_told(shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ANOMALY_EXPORTER_PASSWORD")
    assert shell("list")[2].startswith("a password is needed: --password-file")
    (tmp_path / "password").write_text("secret\n")
    assert shell("list", f"--password-file={tmp_path / 'password'}") == (0, "", "")


def test_other_peoples_text_does_not_steer_the_terminal(store: Store, shell) -> None:
    append(store, [a_transition("a", AuditEvent.OPEN, 1.0, details={"labels": json.dumps({"instance": "\x1b[2J\n"})})])
    assert shell("list")[1].endswith('{instance="\\x1b[2J\\n"}\n')


def test_an_acknowledgement_and_a_verdict_are_taken_back_by_further_transitions(store: Store, api: Api) -> None:
    opened(store, "a")
    api("POST", "/anomalies/a-1/acknowledge", json={})
    assert api("DELETE", "/anomalies/a-1/acknowledge")["status"] == "open"
    # And may be given again.
    assert api("POST", "/anomalies/a-1/acknowledge", json={"comment": "after all"})["status"] == "acknowledged"
    api("POST", "/anomalies/a-1/feedback", json={"verdict": "new normal"})
    assert [pending.episode for pending in store.episodes.pending_feedback()] == ["a-1"]
    assert api("DELETE", "/anomalies/a-1/feedback")["feedback"] is None
    assert store.episodes.pending_feedback() == []
    # What was not done is not taken back.
    api("DELETE", "/anomalies/a-1/feedback")
    events = [each["event"] for each in api("GET", "/anomalies/a-1")["transitions"]]
    assert events == ["open", "acknowledged", "unacknowledged", "acknowledged", "feedback", "feedback_withdrawn"]
    api("DELETE", "/anomalies/none/feedback", 404)


def test_without_users_anybody_acts_where_that_is_enabled(store: Store, serve) -> None:
    opened(store, "a")
    endpoints = anomaly_endpoints(store.episodes, clock, alert_status, annotations)
    closed = serve(endpoints=endpoints).url + "/api/v1/anomalies/a-1/acknowledge"
    refused = requests.post(closed, json={}, timeout=10)
    assert refused.status_code == 403
    assert "--web.enable-actions" in refused.json()["error"]
    url = serve(endpoints=endpoints, actions=True).url + "/api/v1/anomalies/a-1/acknowledge"
    # Not from a page of another site, nor as a form.
    assert requests.post(url, json={}, headers={"Sec-Fetch-Site": "cross-site"}, timeout=10).status_code == 403
    assert requests.post(url, json={}, headers={"Origin": "http://other"}, timeout=10).status_code == 403
    assert requests.post(url, data="{}", headers={"Content-Type": "text/plain"}, timeout=10).status_code == 415
    done = requests.post(url, json={"who": "eve"}, timeout=10).json()["data"]
    assert done["acknowledged"]["by"] == "eve (via anonymous at 127.0.0.1)"


def test_an_episode_that_is_rebuilt_knows_what_was_taken_back(store: Store, api: Api) -> None:
    opened(store, "a")
    api("POST", "/anomalies/a-1/acknowledge", json={})
    api("DELETE", "/anomalies/a-1/acknowledge")
    # The episode follows from its transitions, whichever were stored beside it.
    store.alerts.database.write(lambda con: con.execute("DELETE FROM episodes"))
    opened(store, "b")
    append(store, [a_transition("a", AuditEvent.FIRING, 90.0)])
    assert api("GET", "/anomalies/a-1")["anomaly"]["acknowledged"] is None
