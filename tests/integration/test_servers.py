"""The harness itself: what the other tests stand on."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import RunAlertmanager, RunPrometheus
from tests.integration.process import Process, eventually, free_port, owns
from tests.integration.remote_write import STALE, snappy, write_request
from tests.integration.servers import Alertmanager, Prometheus, VictoriaMetrics
from tests.integration.webhook import Target, Webhook

pytestmark = pytest.mark.integration


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def test_prometheus_keeps_what_was_pushed_over_a_restart(prometheus: Prometheus) -> None:
    now = round(time.time())
    times = now - 300.0 * np.arange(2000)
    prometheus.push([({"__name__": "load", "zone": zone}, times, np.arange(2000.0)) for zone in "ab"])
    assert prometheus.query("sum(count_over_time(load[8d]))", now)[0]["value"][1] == "4000"
    pid = prometheus.process.pid
    prometheus.stop()
    assert not prometheus.process.alive
    prometheus.start()
    assert prometheus.process.pid != pid
    assert prometheus.query('count_over_time(load{zone="a"}[8d])', now)[0]["value"][1] == "2000"


def test_pushed_numbers_arrive_bit_by_bit(prometheus: Prometheus) -> None:
    now = round(time.time())
    odd = [math.nan, math.inf, -math.inf, 1e-300, 0.1, -0.0]
    times = now - np.arange(len(odd))
    prometheus.push([({"__name__": "odd"}, times, odd)])
    rows = prometheus.query("odd[1m]", now)[0]["values"]
    assert [(at, text) for at, text in rows][::-1] == [
        (now, "NaN"), (now - 1, "+Inf"), (now - 2, "-Inf"), (now - 3, "1e-300"), (now - 4, "0.1"), (now - 5, "-0"),
    ]  # fmt: skip


def test_the_stale_marker_ends_a_series(prometheus: Prometheus) -> None:
    now = round(time.time())
    prometheus.push([({"__name__": "gone"}, [now - 10, now - 5], [1.0, STALE])])
    assert len(prometheus.query("gone", now - 6)) == 1
    assert prometheus.query("gone", now) == []


def test_prometheus_scrapes_the_target_and_tells_alertmanager_who_tells_the_webhook(
    run_prometheus: RunPrometheus, alertmanager: Alertmanager, webhook: Webhook, target: Target
) -> None:
    target.set('load{zone="a"}', 1.0)
    rule = {"alert": "LoadHigh", "expr": "load > 0.5", "labels": {"severity": "info"}}
    prometheus = run_prometheus(
        targets=[target.address],
        alertmanagers=[alertmanager.address],
        rules={"groups": [{"name": "demo", "interval": "1s", "rules": [rule]}]},
    )
    notes = webhook.wait_for(lambda notes: notes, timeout=40)
    assert notes[0].status == "firing"
    assert notes[0].alerts[0]["labels"]["zone"] == "a"
    assert alertmanager.alerts('alertname="LoadHigh"', active=True)
    assert prometheus.alerts()[0]["state"] == "firing"
    target.set('load{zone="a"}', None)
    webhook.wait_for(lambda notes: notes[-1].status == "resolved", timeout=40)


def test_alertmanager_forgets_alerts_when_killed_and_listens_on_the_same_port_again(
    run_alertmanager: RunAlertmanager, webhook: Webhook
) -> None:
    alertmanager = run_alertmanager(webhook=webhook.url)
    now = time.time()
    alert = {"labels": {"alertname": "A"}, "startsAt": stamp(now - 60), "endsAt": stamp(now + 600)}
    alertmanager.post([alert])
    webhook.wait_for(lambda notes: len(notes) == 1)
    silence = alertmanager.silence({"alertname": "A"}, starts_at=stamp(now), ends_at=stamp(now + 60))
    eventually(lambda: alertmanager.alerts(silenced=False) == [])
    assert [s["id"] for s in alertmanager.silences()] == [silence]
    url = alertmanager.url
    alertmanager.kill()
    alertmanager.start()
    assert alertmanager.url == url
    assert alertmanager.alerts() == []


def test_a_webhook_in_trouble_is_tried_again(alertmanager: Alertmanager, webhook: Webhook) -> None:
    webhook.status = 500
    now = time.time()
    alertmanager.post([{"labels": {"alertname": "A"}, "startsAt": stamp(now - 60), "endsAt": stamp(now + 600)}])
    eventually(lambda: 'notifications_failed_total{integration="webhook"' in alertmanager.ask("GET", "/metrics").text)
    webhook.status = 200
    webhook.wait_for(lambda notes: notes)


def test_victoriametrics_answers_at_once_what_was_pushed(victoria: VictoriaMetrics) -> None:
    now = round(time.time()) - 60
    victoria.push([({"__name__": "load", "zone": "a"}, [now - 60, now], [1.0, 2.0])])
    victoria.import_text(f'more{{zone="b"}} 5 {now * 1000}\n')
    assert victoria.query("load", now)[0]["value"][1] == "2"
    assert victoria.query("more", now)[0]["metric"] == {"__name__": "more", "zone": "b"}


def test_a_server_that_ends_at_once_is_an_error_even_if_another_one_answers_on_its_port(tmp_path: Path) -> None:
    def neighbour_answers() -> bool:
        eventually(lambda: not process.alive)
        return True

    process = Process(["false"], tmp_path / "log", neighbour_answers)
    with pytest.raises(RuntimeError, match="not ready"):
        process.start()


def test_a_port_belongs_to_the_process_that_listens_on_it(prometheus: Prometheus) -> None:
    assert owns(prometheus.process.pid, prometheus.port)
    assert not owns(os.getpid(), prometheus.port)
    assert not owns(prometheus.process.pid, free_port())


def test_free_ports_can_be_bound() -> None:
    assert len({free_port() for _ in range(5)}) > 1


def test_snappy_frames_state_the_length() -> None:
    assert snappy(b"") == b"\x00"
    assert snappy(b"a" * 300) == b"\xac\x02\xfc\x2b\x01\x00\x00" + b"a" * 300


def test_samples_outside_the_fixed_width_are_refused() -> None:
    with pytest.raises(ValueError, match="between 1971 and 2109"):
        write_request([({"__name__": "m"}, [0.0], [1.0])])
    with pytest.raises(ValueError, match="2 times but 1 values"):
        write_request([({"__name__": "m"}, [2e9, 2e9], [1.0])])
