"""SIGTERM at any moment, with servers that say nothing: a quick end, code 0, and a state that is whole."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import requests

from exporter.store import Store
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.proxy import Proxy
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

LONGEST = 12.0
"""Seconds; ten are promised, and this machine has other things to do."""


@pytest.fixture
def source(prometheus: Prometheus, stack: ExitStack) -> Proxy:
    stack.enter_context(Feed(prometheus)).factor[1] = 3.0
    return stack.enter_context(Proxy(prometheus.address))


@pytest.fixture
def sink(alertmanager: Alertmanager, stack: ExitStack) -> Proxy:
    return stack.enter_context(Proxy(alertmanager.address))


@pytest.fixture
def exporter(source: Proxy, sink: Proxy, tmp_path: Path) -> Exporter:
    config = configuration(source.url, [sink.url], alerting={"resend_delay": "2s", "drain_timeout": "2s"})
    config["queries"].append({"name": "sum", "expr": "sum(load)", "interval": "2s"})
    return Exporter(tmp_path / "exporter", config)


def is_whole(exporter: Exporter) -> bool:
    with Store.open(exporter.directory / "data", clock=time.time) as store:
        return not store.recovered and not store.damaged


def ends(exporter: Exporter) -> None:
    """SIGTERM now; before Python has come to our code it ends as any process does."""
    began = time.monotonic()
    exporter.signal(signal.SIGTERM)
    eventually(lambda: not exporter.process.alive, LONGEST, what="the end")
    took = time.monotonic() - began
    assert exporter.process.exit_code in (0, -signal.SIGTERM), exporter.process.tail()
    assert took < LONGEST


@pytest.mark.timeout(280)
def test_it_ends_at_any_moment(exporter: Exporter, source: Proxy, sink: Proxy) -> None:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng = np.random.default_rng(seed)
    with exporter:
        exporter.wait_for_scores()
        eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1, 30.0)
    codes = []
    for number in range(16):
        source.mode = "black hole" if number % 3 == 1 else "pass"
        sink.mode = "pass" if number % 3 == 2 else "black hole"
        source.cut()
        # Half of them while it starts, half while it serves.
        exporter.process.start(wait=number % 2 == 0)
        time.sleep(rng.uniform(0.0, 2.5))
        if number % 4 == 2:
            threading.Thread(target=_reload, args=(exporter,), daemon=True).start()
            time.sleep(rng.uniform(0.0, 0.3))
        ends(exporter)
        codes.append(exporter.process.exit_code)
        assert is_whole(exporter)
    assert codes.count(0) >= 6
    assert "Traceback" not in exporter.process.log.read_text()


def _reload(exporter: Exporter) -> None:
    with suppress(requests.RequestException):
        exporter.reload()


@pytest.mark.parametrize("instant", ["at rest", "in a query", "in history"])
def test_with_servers_that_say_nothing_it_ends_with_code_0(
    instant: str, exporter: Exporter, source: Proxy, sink: Proxy
) -> None:
    if instant == "in history":
        source.mode = "black hole"
    exporter.start()
    if instant != "in history":
        exporter.wait_for_scores()
    sink.mode = "black hole"
    sink.cut()
    if instant == "in a query":
        source.mode = "black hole"
        source.cut()
        eventually(lambda: not exporter.samples("anomaly_score"), 20.0)
    ends(exporter)
    assert exporter.process.exit_code == 0
    assert is_whole(exporter)


def test_a_second_request_to_end_ends_at_once(exporter: Exporter, sink: Proxy) -> None:
    exporter.start()
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1, 60.0)
    sink.mode = "black hole"
    sink.cut()
    exporter.signal(signal.SIGTERM)
    eventually(lambda: "stopping" in exporter.process.log.read_text(), 10.0)
    exporter.signal(signal.SIGINT)
    eventually(lambda: not exporter.process.alive, 5.0, what="the end")
    assert is_whole(exporter)
    # It is as safe as a kill.
    sink.mode = "pass"
    exporter.start()
    eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1, 60.0)
    exporter.stop()


def test_a_reload_is_answered_while_prometheus_says_nothing(exporter: Exporter, source: Proxy, sink: Proxy) -> None:
    with exporter:
        exporter.wait_for_scores()
        eventually(lambda: exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1, 30.0)
        source.mode = "black hole"
        source.cut()
        config = configuration(source.url, [sink.url])
        config["queries"][0] |= {"interval": "1h", "timeout": "20m", "min_deviation": 1.0}
        config["queries"].append({"name": "slow", "expr": "sum(load)", "interval": "1h", "timeout": "20m"})
        exporter.write(config)
        for _ in range(2):
            # The second one finds history under way, with twenty minutes of patience.
            assert exporter.ask("/-/reload", "POST", timeout=20.0).status_code == 200
            assert exporter.ask("/-/healthy").status_code == 200
        exporter.write(configuration(source.url, [sink.url]))
        assert exporter.ask("/-/reload", "POST", timeout=20.0).status_code == 200
        source.mode = "pass"
        source.cut()
        exporter.wait_for_scores()
        assert exporter.sample("anomaly_exporter_alerts", query="load", state="firing") == 1
        ends(exporter)


def test_an_address_in_use_is_told_at_once_although_prometheus_says_nothing(
    exporter: Exporter, source: Proxy, sink: Proxy, tmp_path: Path
) -> None:
    source.mode = "black hole"
    other = Exporter(tmp_path / "other", configuration(source.url, [sink.url]))
    other.process.argv = [arg.replace(str(other.port), str(exporter.port)) for arg in other.process.argv]
    with exporter:
        other.process.start(wait=False)
        eventually(lambda: not other.process.alive, 15.0, what="the end")
        assert other.process.exit_code == 1
        assert "in use" in other.process.tail()
        ends(exporter)
