"""What the host does to a daemon: signals too early, closed standard streams, a full disk, a stopped process."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from exporter.store import Store
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Webhook

pytestmark = pytest.mark.integration


@pytest.fixture
def feed(prometheus: Prometheus, stack: ExitStack) -> Feed:
    return stack.enter_context(Feed(prometheus))


@pytest.fixture
def exporter(prometheus: Prometheus, alertmanager: Alertmanager, feed: Feed, tmp_path: Path) -> Exporter:
    return Exporter(tmp_path / "exporter", configuration(prometheus.url, [alertmanager.url]))


def heard(webhook: Webhook) -> list[tuple[str, str]]:
    return [(status, labels["instance"]) for status, labels in webhook.alerts()]


def test_a_reload_that_is_asked_for_too_early_ends_nothing(exporter: Exporter) -> None:
    exporter.process.start(wait=False)
    # The handlers are there before most of the program is imported.
    status = Path(f"/proc/{exporter.process.pid}/status")
    caught = lambda: int(status.read_text().split("SigCgt:")[1].split()[0], 16)  # noqa: E731
    eventually(lambda: caught() >> (signal.SIGHUP - 1) & 1, 20.0, every=0.001)
    assert "ready" not in exporter.process.log.read_text()
    exporter.hang_up()
    exporter.process.wait()
    eventually(lambda: "configuration reloaded" in exporter.process.log.read_text(), 20.0)
    exporter.stop()
    assert exporter.process.exit_code == 0


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "a closed pipe", "2>/dev/full"])
def test_it_works_without_standard_streams(closed: str, exporter: Exporter) -> None:
    argv = " ".join(f"'{arg}'" for arg in exporter.process.argv)
    # The pipe ends as soon as its reader has read a line.
    command = f"{argv} 2>&1 | head -n 1" if closed == "a closed pipe" else f"exec {argv} {closed}"
    shell = subprocess.Popen(["/bin/bash", "-c", command], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(exporter), 30.0)
        exporter.wait_for_scores()
        assert exporter.reload().status_code == 200
        exporter.wait_for_scores()
    finally:
        for pid in _children(shell.pid, str(exporter.config_file)):
            os.kill(pid, signal.SIGTERM)
        assert shell.wait(15) == 0
    with Store.open(exporter.directory / "data", clock=time.time) as store:
        assert not store.recovered


def _answers(exporter: Exporter) -> bool:
    try:
        return bool(exporter.ask("/-/ready").status_code == 200)
    except requests.RequestException:
        return False


def _children(shell: int, mark: str) -> list[int]:
    """The daemon: the shell's own process, or its child."""
    found = []
    for pid in [*Path(f"/proc/{shell}/task/{shell}/children").read_text().split(), str(shell)]:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if command[0] == sys.executable.encode() and any(mark in part.decode() for part in command):
            found.append(int(pid))
    return found


def test_with_a_full_disk_alerts_are_sent_and_the_audit_follows(
    exporter: Exporter, feed: Feed, webhook: Webhook
) -> None:
    with exporter:
        exporter.wait_for_scores()
        size = max(file.stat().st_size for file in (exporter.directory / "data").glob("anomaly.db*"))
        # No file may grow: what SQLite writes fails with "disk I/O error", as on a disk that is full.
        soft, hard = resource.prlimit(exporter.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(exporter.process.pid, resource.RLIMIT_FSIZE, (min(size, 4096), hard))
        eventually(lambda: exporter.samples("anomaly_exporter_store_errors_total"), 20.0)
        feed.factor[1] = 3.0
        webhook.wait_for(lambda _: ("firing", "host1:9100") in heard(webhook), 30.0)
        feed.factor[1] = 1.0
        webhook.wait_for(lambda _: ("resolved", "host1:9100") in heard(webhook), 30.0)
        assert exporter.ask("/-/healthy").status_code == 200
        assert exporter.samples("anomaly_score")
        resource.prlimit(exporter.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        errors = sum(exporter.samples("anomaly_exporter_store_errors_total").values())
        eventually(lambda: _slots(exporter, 4), 20.0)
        assert sum(exporter.samples("anomaly_exporter_store_errors_total").values()) <= errors + 1
    assert exporter.process.exit_code == 0
    assert heard(webhook) == [("firing", "host1:9100"), ("resolved", "host1:9100")]
    with Store.open(exporter.directory / "data", clock=time.time) as store:
        assert not store.recovered
        events = [str(one.event) for one in reversed(store.audit.page().entries)]
    assert events == ["open", "firing", "resolved"]


def _slots(exporter: Exporter, count: int, begun: dict[int, float] = {}) -> bool:  # noqa: B006 - of this test.
    now = exporter.sample("anomaly_exporter_cycles_total", query="load") or 0.0
    return now >= begun.setdefault(exporter.process.pid, now) + count


def test_a_process_that_hardly_gets_to_run_and_then_stands_still_goes_on(
    exporter: Exporter, feed: Feed, webhook: Webhook
) -> None:
    with exporter:
        exporter.wait_for_scores()
        feed.factor[1] = 3.0
        webhook.wait_for(lambda _: ("firing", "host1:9100") in heard(webhook), 60.0)
        # A neighbour that takes the processor, and then a virtual machine that is moved.
        for pause in (0.95, 0.95, 0.95, 0.95, 5.0):
            exporter.signal(signal.SIGSTOP)
            time.sleep(pause)
            exporter.signal(signal.SIGCONT)
            time.sleep(0.02)
        eventually(lambda: (exporter.sample("anomaly_exporter_cycles_missed_total", query="load") or 0) >= 3, 60.0)
        _judges(exporter, "load")
        assert heard(webhook) == [("firing", "host1:9100")]
        feed.factor[1] = 1.0
        webhook.wait_for(lambda _: ("resolved", "host1:9100") in heard(webhook), 60.0)
        assert heard(webhook) == [("firing", "host1:9100"), ("resolved", "host1:9100")]


def _judges(exporter: Exporter, query: str) -> None:
    """Wait until a slot after now is judged."""
    now, newest = time.time(), "anomaly_exporter_last_success_timestamp_seconds"
    eventually(lambda: (exporter.sample(newest, query=query) or 0.0) > now, 60.0, what=f"a slot of {query}")


def test_a_flood_of_failures_is_a_line_a_minute(exporter: Exporter, prometheus: Prometheus) -> None:
    with exporter:
        exporter.wait_for_scores()
        prometheus.stop()
        failed = "anomaly_exporter_cycles_failed_total"
        eventually(lambda: (exporter.sample(failed, query="load") or 0) >= 12, 40.0)
        lines = exporter.process.log.read_text().splitlines()
        complaints = [line for line in lines if "the query failed" in line]
        # One for each reason: a server that ends may refuse in more than one way.
        reasons = {word for line in complaints for word in line.split() if word.startswith("reason=")}
        assert 1 <= len(complaints) == len(reasons)
