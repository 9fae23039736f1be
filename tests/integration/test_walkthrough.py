"""docs/walkthrough.md: the session of a new user, run; with ``--screenshots`` it is written from what was printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.fleet import DAY, Fleet
from demo.servers import target
from tests.integration.conftest import RunAlertmanager, RunPrometheus
from tests.integration.process import binary, eventually, free_port

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parent.parent.parent / "docs" / "walkthrough.md"
HEAD = """\
# From an empty folder to an alert

A session against a Prometheus that has eight days of a [Traefik](presets.md#traefik) with two services. A test runs
it (`tests/integration/test_walkthrough.py`), and this page is what it printed; only ports are as they are by default.
"""


@dataclass(frozen=True)
class Step:
    """A command as it is read, what is said before it, and what its output has to contain."""

    about: str
    command: str
    expected: str
    until: float = 0.0
    """Seconds for which it is run again until its output is as expected."""


STEPS = (
    Step(
        "## What is there\n\n`suggest` reads, recognises and replays. Nothing is written yet:",
        "anomaly-exporter suggest --prometheus.url=http://localhost:9090 --dry-run",
        r"traefik_error_ratio +2 .*\n(.*\n)+4 queries, 7 series",
    ),
    Step(
        "Into a file:",
        "anomaly-exporter suggest --prometheus.url=http://localhost:9090 "
        "--alertmanager.url=http://localhost:9093 --output config.yaml",
        r"config.yaml: 4 queries, 7 series",
    ),
    Step("One of its queries:", "grep -B4 -A12 'name: traefik_error_ratio' config.yaml", r"Seen: 2 series"),
    Step(
        "## Start\n\nFive minutes are long for a test, so this session asks every five seconds and alerts after ten:",
        "sed -i 's/for: .*m$/for: 10s/; s/^queries:/global: {interval: 5s, timeout: 4s}\\n\\nqueries:/' config.yaml",
        r"^$",
    ),
    Step("", "anomaly-exporter check config config.yaml --query-prometheus", r"traefik_latency_p99"),
    Step(
        "",
        "anomaly-exporter --config.file=config.yaml --storage.path=data/ 2>log &\ncurl -s localhost:9877/-/ready",
        r"^Anomaly Exporter is Ready\.\n$",
        until=240.0,
    ),
    Step(
        "Every series has a score and a band:",
        "curl -s localhost:9877/metrics | grep -E '^(anomaly_score|expected_value_upper).*traefik_error_ratio'",
        r'anomaly_score\{.*service="api@docker".*\} 0',
        until=60.0,
    ),
    Step(
        "## The first alert\n\nThe service `api` begins to answer 500. Alertmanager has it:",
        "amtool alert query --alertmanager.url=http://localhost:9093 query=traefik_error_ratio",
        r"traefik_error_ratio of service=api@docker",
        until=240.0,
    ),
    Step(
        "The exporter lists it, and its alert says why:",
        "anomaly-exporter anomalies list --url=http://localhost:9877",
        r"traefik_error_ratio",
    ),
    Step(
        "",
        "amtool alert query --alertmanager.url=http://localhost:9093 query=traefik_error_ratio --output=json "
        "|\n    python3 -m json.tool | sed -n '/annotations/,/}/p'",
        r'"why":',
    ),
)


def test_the_session_of_the_walkthrough(
    run_prometheus: RunPrometheus, run_alertmanager: RunAlertmanager, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    binary("amtool")
    now = time.time() // 60 * 60
    fleet = Fleet(now - 8 * DAY, now + DAY / 8, now, jobs=("traefik",))
    broken = [float("inf")]
    server = target(lambda: _page(fleet, broken[0]), 0)
    request.addfinalizer(server.server_close)
    request.addfinalizer(server.shutdown)
    address = f"127.0.0.1:{server.server_address[1]}"
    job = {"job_name": "traefik", "static_configs": [{"targets": [address], "labels": {"instance": "traefik:1"}}]}
    prometheus = run_prometheus(scrape_interval="5s", config={"scrape_configs": [job]})
    past = fleet.times < now
    own = {"job": "traefik", "instance": "traefik:1"}
    prometheus.push(
        ({"__name__": row.name, **own, **row.labels}, fleet.times[past], row.values[past])
        for row in fleet.rows["traefik"]
    )
    alertmanager = run_alertmanager()
    ports = {
        "9090": prometheus.url.rpartition(":")[2],
        "9093": alertmanager.url.rpartition(":")[2],
        "9877": str(free_port()),
    }
    printed = []
    try:
        for step in STEPS:
            if "first alert" in step.about:
                broken[0] = time.time()
            printed.append(_run(step, tmp_path, ports))
    finally:
        subprocess.run(["sh", "-c", "kill $(cat pid)"], cwd=tmp_path, check=False, capture_output=True)
    text = HEAD + "".join(_section(step, output) for step, output in zip(STEPS, printed, strict=True))
    if request.config.getoption("--screenshots"):
        PAGE.write_text(text)
    assert re.findall(r"^\$ .*", PAGE.read_text(), re.MULTILINE) == re.findall(r"^\$ .*", text, re.MULTILINE)


def _run(step: Step, folder: Path, ports: dict[str, str]) -> str:
    command = step.command
    for name, port in ports.items():
        command = command.replace(f"localhost:{name}", f"127.0.0.1:{port}")
    flag = f"--web.listen-address=127.0.0.1:{ports['9877']}"
    background, _, command = command.rpartition(" 2>log &\n")
    if background:
        start = f"{background} {flag} 2>log & echo $! >pid"
        subprocess.run(["bash", "-c", start], cwd=folder, env=_environment(), check=True)

    def attempt() -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert re.search(step.expected, output), output
        return output or " "

    output = eventually(attempt, step.until, every=1.0) if step.until else attempt()
    for name, port in ports.items():
        output = output.replace(f"127.0.0.1:{port}", f"localhost:{name}")
    return output


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "110", "TZ": "UTC"}


def _section(step: Step, output: str) -> str:
    about = f"\n{step.about}\n" if step.about else ""
    commands = re.sub(r"^(?! )", "$ ", step.command, flags=re.MULTILINE)
    lines = "\n".join(line.rstrip() for line in output.rstrip().splitlines())
    return f"{about}\n```console\n{commands}\n{lines}".rstrip() + "\n```\n"


def _page(fleet: Fleet, broken: float) -> str:
    """Return the metrics of now; 20 requests a second more fail since `broken`."""
    now = time.time()
    lines = []
    for line in fleet.page("traefik", now).splitlines():
        name, _, value = line.rpartition(" ")
        failing = 'service="api@docker",code="500"' in name and name.startswith("traefik_service_requests_total")
        more = 20.0 * max(0.0, now - broken) if failing else 0.0
        lines.append(f"{name} {float(value) + more}\n")
    return "".join(lines)
