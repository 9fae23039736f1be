"""The demo ends its servers whoever asks it to end, and however it was started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from rich.console import Console

from demo.__main__ import _table, _where
from demo.servers import target

PROGRAM = """\
import signal, sys, time
from demo import __main__ as demo

def run(running, begin, **_):
    running.callback(print, "servers ended", flush=True)
    print("up", flush=True)
    time.sleep(60)

signal.signal(signal.SIGINT, signal.SIG_IGN)  # As a shell does for what it starts in the background.
demo._run = run
sys.argv[1:] = []
sys.exit(demo.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_and_its_servers_even_in_the_background(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines() == ["servers ended", "", "Stopped everything."]


def test_addresses_and_scores_fit_into_a_small_terminal() -> None:
    # A server that answers every path is one of Debian's: it has the classic page, and here no page of Alertmanager.
    server = target(lambda: "The Debian package of the alertmanager", 0)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        where = _where({"prometheus": url, "alertmanager": url, "exporter": url})
    finally:
        server.shutdown()
        server.server_close()
    assert f"{url}/classic/graph?g0.expr=anomaly_score" in where.plain
    assert f"{url}/api/v2/alerts" in where.plain
    row = {"anomaly_score": 0.5, "observed_value": 1.0, "expected_value_lower": 10.123, "expected_value_upper": 20.456}
    scores = {(query, service): row for query in ("requests", "latency_p99", "cpu") for service in "abc"}
    paper = Console(width=80, height=24, record=True, quiet=True)
    lines = [*paper.render_lines(where), *paper.render_lines(_table(scores))]
    assert len(lines) <= 19
