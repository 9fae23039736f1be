"""Known events and silences from outside: real Prometheus, real Alertmanagers, the real daemon."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration

RunAlertmanager = Callable[..., Alertmanager]
ROUNDS = "anomaly_exporter_alertmanager_silences_read_timestamp_seconds"
HOST1 = 'instance="host1:9100"'


def moment(after: float) -> str:
    return datetime.fromtimestamp(time.time() + after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry(
    name: str, action: str, *match: str, begins: float = -60.0, ends: float = 3600.0, **more: Any
) -> dict[str, Any]:
    when = {"starts_at": moment(begins), "ends_at": moment(ends)}
    return {"name": name, "action": action, "match": list(match), **when, **more}


def config(prometheus: Prometheus, *alertmanagers: Alertmanager, **changes: Any) -> dict[str, Any]:
    urls = [one.url for one in alertmanagers]
    return configuration(prometheus.url, urls, silences={"interval": "1s"}, **changes)


def living(alertmanager: Alertmanager, author: str = "anomaly-exporter") -> list[dict[str, Any]]:
    """Return the silences of an author that are not over."""
    return [
        one for one in alertmanager.silences() if one["status"]["state"] != "expired" and one["createdBy"] == author
    ]


def masked(exporter: Exporter) -> float | None:
    return exporter.sample("anomaly_exporter_series", query="load", state="masked")


@pytest.fixture
def feed(prometheus: Prometheus, stack: ExitStack) -> Feed:
    return stack.enter_context(Feed(prometheus))


@pytest.fixture
def run_exporter(stack: ExitStack, tmp_path: Path) -> Callable[..., Exporter]:
    numbers = iter(range(100))
    return lambda settings, *flags: stack.enter_context(
        Exporter(tmp_path / f"exporter{next(numbers)}", settings, *flags)
    )


def test_silences_are_followed_made_kept_and_removed(
    prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, run_exporter: Callable[..., Exporter]
) -> None:
    theirs = alertmanager.silence(
        {"query": "load", "instance": "host1:9100"},
        starts_at=moment(-60),
        ends_at=moment(3600),
        created_by="alice",
        comment="disk swap",
    )
    settings = config(prometheus, alertmanager)
    exporter = run_exporter(settings)
    exporter.wait_for_scores()
    # What a person silenced is judged and not learned.
    eventually(lambda: masked(exporter) == 1, what="one series is masked")
    assert exporter.sample("anomaly_score", instance="host1:9100") is not None
    assert exporter.sample("anomaly_exporter_alertmanager_silences") == 1

    # An entry of the calendar is a silence, now and ahead of time.
    now, later = entry("upgrade", "silence", 'query="load"'), entry("tonight", "silence", HOST1, begins=7200, ends=9000)
    exporter.write({**settings, "calendar": [now, later]})
    assert exporter.reload().status_code == 200
    eventually(lambda: len(living(alertmanager)) == 2, what="two silences of ours")
    states = {one["comment"].split()[2]: one["status"]["state"] for one in living(alertmanager)}
    assert states == {"upgrade": "active", "tonight": "pending"}
    made = next(one for one in living(alertmanager) if "upgrade" in one["comment"])
    assert made["endsAt"].startswith(now["ends_at"].removesuffix("Z"))
    assert made["matchers"] == [{"name": "query", "value": "load", "isRegex": False, "isEqual": True}]
    eventually(lambda: masked(exporter) == len(exporter.samples("anomaly_score")), what="all series are masked")
    feed.factor[0] = 5.0
    eventually(lambda: alertmanager.alerts(silenced=True, active=False), 30.0, what="a silenced alert")
    feed.factor[0] = 1.0

    # A stop leaves them, a kill and a restart add none, and nor does a second exporter with the same file.
    before = {one["id"] for one in living(alertmanager)}
    exporter.kill()
    exporter.start()
    twin = run_exporter({**settings, "calendar": [now, later]})
    for one in (exporter, twin):
        begun = time.time()
        eventually(lambda one=one, begun=begun: (one.sample(ROUNDS) or 0) > begun + 1, what="another round")
    assert {one["id"] for one in living(alertmanager)} == before
    twin.stop()
    assert {one["id"] for one in living(alertmanager)} == before

    # A changed end changes the silence that is there; an entry that goes takes its silence with it.
    longer = {**now, "ends_at": moment(7200)}
    exporter.write({**settings, "calendar": [longer]})
    assert exporter.reload().status_code == 200
    eventually(lambda: len(living(alertmanager)) == 1, what="one silence of ours")
    eventually(lambda: living(alertmanager)[0]["endsAt"].startswith(longer["ends_at"][:-1]), what="the new end")
    assert living(alertmanager)[0]["id"] == made["id"]

    # While Alertmanager is away an entry goes; it hears of it when it is back. What is not ours was never touched.
    alertmanager.stop()
    exporter.write(settings)
    assert exporter.reload().status_code == 200
    alertmanager.start()
    eventually(lambda: not living(alertmanager), 30.0, what="no silence of ours")
    assert [one["id"] for one in living(alertmanager, "alice")] == [theirs]


def test_a_person_who_ends_a_silence_of_the_calendar_has_the_last_word(
    prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, run_exporter: Callable[..., Exporter]
) -> None:
    exporter = run_exporter(config(prometheus, alertmanager, calendar=[entry("upgrade", "silence", HOST1)]))
    (silence,) = eventually(lambda: living(alertmanager))
    assert alertmanager.ask("DELETE", f"/api/v2/silence/{silence['id']}").status_code == 200
    ended = time.time()
    eventually(lambda: (exporter.sample(ROUNDS) or 0) > ended + 2, what="two more rounds")
    assert living(alertmanager) == []


def test_a_cluster_gets_one_silence_and_separate_alertmanagers_get_one_each(
    prometheus: Prometheus,
    run_alertmanager: RunAlertmanager,
    run_cluster: Callable[..., list[Alertmanager]],
    feed: Feed,
    run_exporter: Callable[..., Exporter],
) -> None:
    cluster = run_cluster()
    alone = run_alertmanager()
    exporter = run_exporter(config(prometheus, *cluster, alone, calendar=[entry("upgrade", "silence", HOST1)]))
    for one in (*cluster, alone):
        eventually(lambda one=one: len(living(one)) == 1, 30.0, what="a silence")
    seen = time.time()
    eventually(lambda: min(exporter.samples(ROUNDS).values()) > seen + 2, what="two more rounds")
    assert [one["id"] for one in living(cluster[0])] == [one["id"] for one in living(cluster[1])]
    assert len(living(cluster[0])) == len(living(alone)) == 1
    # One member goes: the other one keeps the silence, and takes its end.
    cluster[0].kill()
    exporter.write(config(prometheus, *cluster, alone))
    assert exporter.reload().status_code == 200
    eventually(lambda: not living(cluster[1]) and not living(alone), 30.0, what="no silence")


def test_what_is_ignored_does_not_alert_and_what_is_expected_alerts_beyond_its_multiple(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Webhook,
    feed: Feed,
    run_exporter: Callable[..., Exporter],
) -> None:
    calendar = [
        entry("sale", "expect", HOST1, multiplier=3, comment="ask marketing"),
        entry("batch", "ignore", 'instance="host2:9100"'),
    ]
    exporter = run_exporter(config(prometheus, alertmanager, calendar=calendar))
    exporter.wait_for_scores()
    assert exporter.sample("anomaly_exporter_known_events", action="expect") == 1
    upper = exporter.sample("expected_value_upper", instance="host1:9100")
    usual = exporter.sample("expected_value_upper", instance="host0:9100")
    assert upper is not None
    assert usual is not None
    assert upper > 2 * usual
    feed.factor[1] = 2.5
    feed.factor[2] = 8.0
    eventually(lambda: (exporter.sample("anomaly_score", instance="host2:9100") or 0) > 0.5, what="host2 is anomalous")
    eventually(lambda: (exporter.sample("observed_value", instance="host1:9100") or 0) > 1.5 * usual)
    assert (exporter.sample("anomaly_score", instance="host1:9100") or 0) < 0.5
    feed.factor[1] = 12.0
    webhook.wait_for(lambda notes: notes, 30.0)
    (alert,) = webhook.notifications[0].alerts
    assert alert["labels"]["instance"] == "host1:9100"
    said = alert["annotations"]["calendar"]
    assert said.startswith("is expected at 3 times the usual value until ")
    assert said.endswith(" by sale: ask marketing")
    assert masked(exporter) == 2

    # Who silences it has seen it, and says what it was.
    alertmanager.silence(
        {"query": "load", "instance": "host1:9100"},
        starts_at=moment(-1),
        ends_at=moment(3600),
        created_by="alice",
        comment="False alarm: the load test",
    )

    def acknowledged() -> dict[str, Any]:
        (episode,) = exporter.ask("/api/v1/anomalies", params={"fired": "true"}).json()["data"]["anomalies"]
        return episode if episode["feedback"] else {}

    episode = eventually(acknowledged, what="an acknowledged episode")
    assert (episode["status"], episode["acknowledged"]["by"]) == ("acknowledged", "alice")
    assert (episode["feedback"]["verdict"], episode["feedback"]["by"]) == ("false alarm", "alice")
    counted = {"query": "load", "verdict": "false alarm"}
    eventually(lambda: exporter.sample("anomaly_exporter_feedback_total", **counted) == 1, what="it is counted")
    audit = exporter.ask(f"/api/v1/anomalies/{episode['id']}").json()["data"]["transitions"]
    assert [one["event"] for one in audit] == ["open", "firing", "acknowledged", "feedback"]
    # It is silenced, not over: it is sent as ever.
    assert [one["status"]["state"] for one in alertmanager.alerts(silenced=True)] == ["suppressed"]


SECRET = "it's a secret"


def deliver(exporter: Exporter, kind: str, body: dict[str, Any], secret: str = SECRET) -> Any:
    raw = json.dumps(body).encode()
    signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": kind, "X-Hub-Signature-256": signature, "Content-Type": "application/json"}
    return exporter.ask("/api/v1/webhooks/github", "POST", data=raw, headers=headers)


def test_deployments_of_github_are_events(
    prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, run_exporter: Callable[..., Exporter]
) -> None:
    rule = {"repository": "acme/.*", "environment": "production", "match": [HOST1], "duration": "10m"}
    settings = config(prometheus, alertmanager, webhooks={"github": {"secret": SECRET, "deployments": [rule]}})
    exporter = run_exporter(settings)
    deployment = {"id": 7, "environment": "production", "ref": "v1.2", "created_at": moment(-30)}
    body = {"repository": {"full_name": "acme/shop"}, "deployment": deployment}
    assert deliver(exporter, "deployment", body, "wrong").status_code == 403
    assert exporter.ask("/api/v1/events").json() == {"status": "success", "data": {"events": [], "total": 0}}
    assert deliver(exporter, "ping", {"zen": "Speak like a human."}).json()["data"] == {"event": None}
    first = deliver(exporter, "deployment", body).json()["data"]["event"]
    assert first["name"] == "github/acme/shop/7"
    assert first["active"]
    over = {**body, "deployment_status": {"state": "success", "created_at": moment(-5), "updated_at": moment(-5)}}
    ended = deliver(exporter, "deployment_status", over).json()["data"]["event"]
    assert abs(ended["ends_at"] - (time.time() - 5 + 300)) < 10
    # What comes again, or late, changes nothing.
    assert deliver(exporter, "deployment_status", over).json()["data"]["event"] == ended
    assert deliver(exporter, "deployment", body).json()["data"]["event"] == ended
    other = {**body, "repository": {"full_name": "other/shop"}}
    assert deliver(exporter, "deployment", other).json()["data"] == {"event": None}
    eventually(lambda: masked(exporter) == 1, what="the series of the deployment is masked")
    # Strangers change nothing.
    assert exporter.ask("/api/v1/events/github%2Facme%2Fshop%2F7", "DELETE").status_code == 403
    # Without the webhook in the configuration there is none.
    exporter.write(config(prometheus, alertmanager))
    assert exporter.reload().status_code == 200
    assert deliver(exporter, "deployment", body).status_code == 404


def test_events_are_announced_changed_kept_and_removed(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    feed: Feed,
    run_exporter: Callable[..., Exporter],
    tmp_path: Path,
) -> None:
    web = tmp_path / "web.yml"
    web.write_text(json.dumps({"basic_auth_users": {"alice": bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()}}))
    alice = ("alice", "pw")
    batch = {**entry("batch", "ignore", 'instance="host2:9100"'), "cron": "* * * * *", "duration": "1h"}
    calendar = [{name: value for name, value in batch.items() if name not in ("starts_at", "ends_at")}]
    exporter = Exporter(
        tmp_path / "guarded", config(prometheus, alertmanager, calendar=calendar), f"--web.config.file={web}"
    )
    exporter.process._ready = lambda: exporter.ask("/-/ready", auth=alice).status_code == 200

    def events(**params: str) -> list[dict[str, Any]]:
        answer = exporter.ask("/api/v1/events", params=params, auth=alice)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["events"])

    def announce(**changes: object) -> Any:
        body = {"name": "sale", "action": "silence", "match": [HOST1], "duration": "15m", "comment": "TV spot"}
        whole = {name: value for name, value in {**body, **changes}.items() if value is not None}
        return exporter.ask("/api/v1/events", "POST", json=whole, auth=alice)

    with exporter:
        made = announce().json()["data"]
        assert (made["who"], made["source"], made["active"]) == ("alice", "api", True)
        assert made["ends_at"] - made["starts_at"] == 900
        # A pipeline that tries again changes nothing; one that says something else does.
        assert announce().json()["data"] == made
        longer = announce(duration="30m").json()["data"]
        assert (longer["starts_at"], longer["ends_at"]) == (made["starts_at"], made["starts_at"] + 1800)
        assert [one["name"] for one in events()] == ["batch", "sale"]
        assert [one["name"] for one in events(source="api")] == ["sale"]
        assert events(active="false") == []
        eventually(lambda: len(living(alertmanager)) == 1, what="a silence")
        # It outlives a kill.
        exporter.kill()
        exporter.start()
        assert events(source="api") == [longer]
        for wrong, said in (
            ({"name": "batch"}, "the configuration has an entry"),
            ({"match": ['query="a']}, "match.0: not a matcher"),
            ({"match": ['query=~".*"']}, "match: every matcher"),
            ({"action": "expect"}, "expect needs a multiplier"),
            ({"action": "mute"}, "action"),
            ({"multiplier": 2}, "multiplier has no meaning"),
            ({"duration": None}, "give either ends_at or duration"),
            ({"duration": None, "ends_at": 1.0}, "ends before it begins"),
            ({"starts_at": time.time() * 1000}, "not milliseconds"),
            ({"duration": "9000d"}, "duration"),
            ({"name": "a b"}, "not a name"),
            ({"until": 1}, "until"),
        ):
            answer = announce(**wrong)
            assert answer.status_code in (400, 409), wrong
            assert said in answer.json()["error"], answer.text
        gone = exporter.ask(f"/api/v1/events/{made['id']}", "DELETE", auth=alice)
        assert gone.json()["data"]["name"] == "sale"
        assert exporter.ask("/api/v1/events/sale", "DELETE", auth=alice).status_code == 404
        eventually(lambda: not living(alertmanager), what="no silence")
        assert "/events/{id}" in exporter.ask("/api/v1/openapi.json", auth=alice).json()["paths"]


def ics(begins: float, ends: float) -> str:
    stamps = [datetime.fromtimestamp(time.time() + after, UTC).strftime("%Y%m%dT%H%M%SZ") for after in (begins, ends)]
    event = ["BEGIN:VEVENT", "UID:1", f"DTSTART:{stamps[0]}", f"DTEND:{stamps[1]}", "SUMMARY:Ferien", "END:VEVENT"]
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *event, "END:VCALENDAR", ""])


def test_a_calendar_file_that_changes_is_read_by_itself_and_a_broken_one_keeps_the_old(
    prometheus: Prometheus, feed: Feed, stack: ExitStack, tmp_path: Path
) -> None:
    holidays = {"name": "school", "ics_file": "school.ics", "summary": "ferien", "match": [HOST1], "action": "ignore"}
    exporter = Exporter(tmp_path / "exporter", config(prometheus, calendar=[holidays]), "--config.auto-reload")
    file = exporter.directory / "school.ics"
    file.write_text(ics(-3600.0, 3600.0))
    stack.enter_context(exporter)
    exporter.wait_for_scores()
    eventually(lambda: masked(exporter) == 1, what="the series of the file's event is masked")

    def replace(text: str) -> None:
        """Replace the file at once, as editors and the kubelet do."""
        (exporter.directory / "new").write_text(text)
        (exporter.directory / "new").replace(file)

    replace(ics(86400.0, 90000.0))
    eventually(lambda: masked(exporter) == 0, 30.0, what="the event is to come, and nothing is masked")
    replace(ics(-3600.0, 3600.0).replace("DTEND:", "DTEND:x"))
    eventually(lambda: exporter.sample("anomaly_exporter_config_last_reload_successful") == 0, 30.0)
    assert "school.ics" in (exporter.directory / "log").read_text()
    assert masked(exporter) == 0
    assert exporter.samples("anomaly_score")
    replace(ics(-3600.0, 3600.0))
    eventually(lambda: masked(exporter) == 1, 30.0, what="the mended file is in force")
    assert exporter.sample("anomaly_exporter_config_last_reload_successful") == 1
