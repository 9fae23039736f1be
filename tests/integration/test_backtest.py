"""`anomaly-exporter backtest` as its users run it, held against a daemon that ran over the same time."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import yaml
from playwright.sync_api import sync_playwright

from tests.integration.daemon import Exporter, configuration
from tests.integration.process import binary, eventually
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

DAY = 86400.0
START = 1_772_323_200.0
"""2026-03-01, the day that is replayed."""
BAD = START + 10 * 3600.0
"""When the service goes wrong, for an hour."""
EVIL = '<script>alert("x")</script>&'


def backtest(config: dict[str, Any], tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "exporter", "backtest", f"--config.file={file}", *flags]
    return subprocess.run(command, capture_output=True, check=False, timeout=240, text=True)


def samples(path: Path) -> dict[tuple[float, str, str], float]:
    """Return every sample of an OpenMetrics file by (instant, metric, labels)."""
    lines = path.read_text().splitlines()
    assert lines[-1] == "# EOF"
    found = {}
    for line in lines:
        if not line.startswith("#"):
            series, value, stamp = line.rsplit(" ", 2)
            metric, _, labels = series.partition("{")
            found[float(stamp), metric, labels.removesuffix("}")] = float(value)
    return found


# ---------------------------------------------------------------- beside a daemon


class Ahead:
    """Writes ``load`` of three hosts, always some seconds ahead: what a slot is answered never changes afterwards."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.bad = False
        """Whether host1 goes wrong from now on."""
        self._prometheus, self._rng = prometheus, np.random.default_rng(3)
        self._until = math.floor(time.time())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _push(self, times: np.ndarray) -> None:
        for number in range(3):
            values = 100 + self._rng.standard_normal(len(times)) + 200.0 * (self.bad and number == 1)
            self._prometheus.push([({"__name__": "load", "instance": f"host{number}"}, times, values)])

    def _feed(self) -> None:
        while not self._stopping.wait(0.3):
            until = math.floor(time.time()) + 8
            if until > self._until:
                self._push(np.arange(self._until + 1.0, until + 0.5))
                self._until = until

    def __enter__(self) -> Self:
        self._push(np.arange(self._until - 9 * DAY, self._until - 59.0, 60.0))
        self._push(np.arange(self._until - 59.0, self._until + 0.5))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()


def test_a_replay_says_what_the_daemon_said_and_tells_what_it_told(
    prometheus: Prometheus, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    """Bit for bit: scores and bands as served, and labels and `startsAt` of the alert as Alertmanager has it."""
    config = configuration(prometheus.url, [alertmanager.url])
    served: dict[float, dict[str, tuple[float | None, ...]]] = {}
    with Ahead(prometheus) as ahead, Exporter(tmp_path / "exporter", config) as exporter:

        def look() -> bool:
            for one in exporter.ask("/api/v1/series").json()["data"]["series"]:
                told = tuple(one[name] for name in ("score", "expected", "lower", "upper", "observed", "votes"))
                served.setdefault(one["at"], {})[one["labels"]["instance"]] = told
            ahead.bad = bool(served)
            return bool(alertmanager.alerts())

        eventually(look, 120.0, every=0.2, what="an alert")
        lost = [exporter.sample(f"anomaly_exporter_cycles_{how}_total", query="load") for how in ("missed", "failed")]
    (alert,) = alertmanager.alerts()
    started = datetime.fromisoformat(alert["startsAt"]).timestamp()
    # What was learned before the first slot ends here: a grid of five minutes hangs on it.
    log = (exporter.directory / "log").read_text()
    learned = datetime.fromisoformat(re.findall(r'msg="history learned".* until=(\S+)', log)[0]).timestamp()

    scores = tmp_path / "scores.om"
    end = max(*served, started + 0.5)
    eventually(lambda: time.time() > end, 60.0, what="the end to be past")
    flags = (
        f"--from={learned + 1.0}",
        f"--to={end}",
        f"--output.openmetrics={scores}",
        "--format=json",
    )
    done = backtest(config, tmp_path, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    replayed = samples(scores)
    names = [
        "anomaly_score", "expected_value", "expected_value_lower", "expected_value_upper",
        "observed_value", "anomaly_votes",
    ]  # fmt: skip
    assert len(served) >= 3
    for at, rows in served.items():
        for instance, told in rows.items():
            again = tuple(replayed.get((at, name, f'query="load",instance="{instance}",job=""')) for name in names)
            assert again == told, (at, instance)
    (one,) = json.loads(done.stdout)["new"]["alerts"]
    assert one["labels"] == alert["labels"]
    # A daemon that has no time for a slot may be later; it is never sooner.
    later = started - one["fired_at"]
    assert abs(later) < 0.001 or (any(lost) and later > 0), (later, lost)


# ---------------------------------------------------------------- a day of the past


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Prometheus with nine days of two services, of which one goes wrong for an hour."""
    with Prometheus(tmp_path_factory.mktemp("past"), out_of_order_time_window="3650d") as server:
        rng = np.random.default_rng(5)
        times = np.arange(START - 9 * DAY, START + DAY + 1, 60.0)
        for service in ("good", EVIL):
            values = 100 + rng.standard_normal(len(times))
            if service == EVIL:
                values[(times >= BAD) & (times < BAD + 3600.0)] = 300.0
            server.push([({"__name__": "latency", "service": service}, times, values)])
        fires = times[(times >= BAD + 600.0) & (times < BAD + 3600.0)]
        for state, at in (("pending", fires - 300.0), ("firing", fires)):
            labels = {"__name__": "ALERTS", "alertname": "Slow", "alertstate": state, "severity": "page"}
            server.push([(labels, at, np.ones(len(at)))])
        yield server


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(past: Prometheus, tmp_path: Path) -> Run:
    """``run(*flags, **changes of the configuration)`` replays six hours around the incident."""

    def run(*flags: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        times = () if any(flag.startswith("--from") for flag in flags) else (f"--from={START + 6 * 3600}",)
        return backtest(slow(past, **changes), tmp_path, *times, f"--to={START + 12 * 3600}", *flags)

    return run


def slow(past: Prometheus, **changes: Any) -> dict[str, Any]:
    return {
        "global": {"interval": "1m"},
        "prometheus": {"url": past.url},
        "baseline": {"window": "8d"},
        "queries": [{"name": "latency", "expr": "latency", "direction": "above", "alert": {"for": "5m"}}],
        **changes,
    }


def test_alerts_and_past_alerts_in_words(run: Run) -> None:
    done = run("--against-alerts={severity='page'}", "--max-missed=0", "--min-lead-time=4m", "--max-alerts-per-week=28")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^latency +2 +720 +\S+ % +1 +28\.0 ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"2026-03-01 10:10 +5\d min +Slow +[45] min early +latency service=<script>", done.stdout)
    assert "Found 1 of 1 incident" in done.stdout
    assert all(len(line) <= 110 for line in done.stdout.splitlines())


def test_an_alert_of_an_aggregate_says_which_label_values_carried_the_change(run: Run) -> None:
    total = {"name": "total", "expr": "sum(latency)", "drill_down": ["service"], "alert": {"for": "5m"}}
    done = run(f"--from={BAD - 1800.0}", "--format=json", queries=[total])
    (alert,) = json.loads(done.stdout)["new"]["alerts"]
    assert alert["drill_down"].startswith("service=<script>")


def test_limits_that_are_broken_are_exit_code_1(run: Run, tmp_path: Path) -> None:
    incidents = tmp_path / "incidents.csv"
    quiet, bad = "2026-03-01T07:00:00Z,2026-03-01T07:30:00Z,quiet", "2026-03-01T10:10:00Z,2026-03-01T11:00:00Z,bad"
    incidents.write_text(f"start,end,name\n{quiet}\n{bad}\n")
    limits = ("--max-alerts-per-week=27", "--max-missed=0", "--min-lead-time=20m")
    done = run(f"--incidents={incidents}", *limits, "--format=json")
    assert done.returncode == 1
    assert [re.sub(r"told \+\d+ s", "told", text) for text in json.loads(done.stdout)["limits_broken"]] == [
        "latency: 28.00 alerts a week, 27 at most",
        "1 incidents missed, 0 at most",
        "incident bad: told before it began, +1200 s at least",
    ]


def test_a_configuration_is_held_against_the_old_one(run: Run, past: Prometheus, tmp_path: Path) -> None:
    """The old one waits for half an hour, and is quiet while the calendar says so."""
    window = {"starts_at": "2026-03-01T10:00:00Z", "ends_at": "2026-03-01T10:50:00Z", "match": ['query="latency"']}
    patient = [{"name": "latency", "expr": "latency", "alert": {"for": "30m"}}]
    calendar = [{"name": "known", "action": "silence", **window}]
    old = tmp_path / "old.yaml"
    old.write_text(yaml.safe_dump(slow(past, queries=patient, calendar=calendar)))
    incidents = tmp_path / "incidents.csv"
    incidents.write_text("start,end,name\n2026-03-01T10:00:00Z,2026-03-01T11:00:00Z,outage\n")
    done = run(f"--compare={old}", f"--incidents={incidents}")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"outage +5 min late +50 min late", done.stdout), done.stdout
    assert "outage: told 45 min earlier by the new one" in done.stdout


def test_scores_of_the_past_become_blocks_of_prometheus(run: Run, run_prometheus: Any, tmp_path: Path) -> None:
    """Those of a query and of a group: latency rises while what is left falls."""
    queries = [{"name": "latency", "expr": "latency"}, {"name": "left", "expr": "1000 - latency"}]
    scores, server = tmp_path / "scores.om", run_prometheus()
    groups = [{"name": "service", "by": ["service"], "queries": ["latency", "left"]}]
    done = run(f"--output.openmetrics={scores}", queries=queries, groups=groups)
    assert (done.returncode, done.stderr) == (0, "")
    server.stop()
    into = server.directory / "data"
    made = subprocess.run(
        [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(scores), str(into)],
        capture_output=True, check=False, timeout=120, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    server.start()
    for selector in ('anomaly_score{query="latency"}', 'anomaly_group_score{group="service"}'):
        bad = server.query(f"count_over_time(({selector} >= 0.5)[1h:1m])", at=BAD + 3590.0)
        found = [(one["metric"]["service"], float(one["value"][1])) for one in bad]
        assert [service for service, _ in found] == [EVIL], selector
        assert found[0][1] >= 50, selector


def test_the_report_as_html_in_a_browser(run: Run, tmp_path: Path) -> None:
    """One file that needs nothing else, whatever labels say."""
    report = tmp_path / "report.html"
    done = run("--against-alerts={severity='page'}", f"--output.html={report}")
    assert (done.returncode, done.stderr) == (0, "")
    assert EVIL not in report.read_text()
    said: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=binary("chromium")) as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.on("request", lambda request: said.append(request.url))
            page.goto(report.as_uri())
            assert page.get_by_role("heading", name=EVIL).count() == 1
            assert page.get_by_text("Found 1 of 1 incident").count() == 1
            assert page.evaluate("[...document.images].map(one => one.naturalWidth > 100)") == [True]
    assert [text for text in said if not text.startswith(("file:", "data:"))] == []


def test_what_is_missing_in_the_past_is_said(run: Run) -> None:
    """From six hours before the oldest sample to an hour after it."""
    done = run("--from", f"{START - 9.25 * DAY}", "--to", f"{START - 9 * DAY + 3600}")
    assert done.returncode == 0, done.stderr
    assert "slots (85.7 %) had no sample" in done.stdout.replace("\n", " "), done.stdout
    assert "too young to alert" in done.stdout


def test_a_prometheus_that_is_not_there_is_exit_code_1(tmp_path: Path) -> None:
    config = {"prometheus": {"url": "http://127.0.0.1:9"}, "queries": [{"name": "q", "expr": "up"}]}
    done = backtest(config, tmp_path, "--from=1d")
    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:9" in done.stderr
