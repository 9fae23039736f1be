"""`anomaly-exporter suggest` and the presets against a real Prometheus."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import bcrypt
import numpy as np
import pytest
import yaml

from exporter.config.load import load
from exporter.config.model import Config
from exporter.presets import preset, preset_names
from tests.integration.conftest import RunPrometheus
from tests.integration.exporter_metrics import metrics_for
from tests.integration.remote_write import Series
from tests.integration.servers import Prometheus

DAY = 86400.0


def suggest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", "suggest", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def everything(prometheus: Prometheus) -> Prometheus:
    """A Prometheus with a quarter of an hour of every metric of every preset."""
    now = time.time()
    times = now - 900.0 + 15.0 * np.arange(61)
    for name in preset_names():
        chosen = preset(name)
        exprs = [query.fields["expr"] for query in chosen.queries]
        prometheus.push(metrics_for([*exprs, chosen.recognised_by[0]], times))
    return prometheus


def test_every_expression_of_every_preset_gives_series(everything: Prometheus) -> None:
    empty = {
        f"{name}: {query.name}"
        for name in preset_names()
        for query in preset(name).queries
        if not everything.query(query.fields["expr"])
    }
    assert empty == set()


def test_a_server_that_has_just_started_has_series(prometheus: Prometheus) -> None:
    exprs = [query.fields["expr"] for query in preset("node").queries]
    prometheus.push(metrics_for([*exprs, preset("node").recognised_by[0]], time.time() - np.array([2.0, 1.0])))
    result = suggest(f"--prometheus.url={prometheus.url}", "--preset=node", "--dry-run")
    assert (result.returncode, "node_load_per_core" in result.stdout) == (0, True), result.stderr


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_loaded_and_names_its_metrics(name: str) -> None:
    chosen = preset(name)
    config = Config.model_validate({"queries": [dict(query.fields) for query in chosen.queries]})
    assert len(config.plans()) == len(chosen.queries) > 0
    for query in chosen.queries:
        assert query.why.endswith(".")
        assert [metric for metric in query.needs if metric not in query.fields["expr"]] == []
    if chosen.group is not None:
        assert set(chosen.group["queries"]) <= {query.name for query in chosen.queries}


def test_all_presets_are_recognised_and_what_is_written_is_valid(everything: Prometheus, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    done = suggest(f"--prometheus.url={everything.url}", "--output", str(file), "--alertmanager.url=http://am:9093")
    assert done.returncode == 0, done.stderr
    config = load(file).config
    written = {query.name for query in config.queries}
    assert [f"{name}: {query.name}" for name in preset_names() for query in preset(name).queries
            if query.name not in written] == []  # fmt: skip
    assert {group.name for group in config.groups} >= {"machine", "redis"}
    assert [str(each.url) for each in config.alertmanagers] == ["http://am:9093"]
    assert f"next: anomaly-exporter check config {file}" in done.stdout
    again = suggest(f"--prometheus.url={everything.url}", "--output", str(file))
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def shop(now: float, days: float = 15.0) -> list[Series]:
    """Days of a counter with a status, of a histogram and of a gauge that no preset knows."""
    times = now - days * DAY + 120.0 * np.arange(int(days * DAY / 120))
    rng = np.random.default_rng(1)
    load_ = (40.0 + 20.0 * np.sin(2 * np.pi * times / DAY)) * rng.normal(1.0, 0.03, len(times))
    orders = np.cumsum(load_ * 120.0)
    labels = {"job": "shop", "instance": "a"}
    counter = {"__name__": "shop_orders_total", **labels}
    depth = 100.0 + 10.0 * rng.standard_normal(len(times))
    return [
        ({**counter, "status": "200"}, times, orders),
        ({**counter, "status": "500"}, times, orders * 0.001),
        *(
            ({"__name__": "shop_checkout_duration_seconds_bucket", "le": le, **labels}, times, orders * share)
            for le, share in (("0.1", 0.5), ("1", 0.999), ("+Inf", 1.0))
        ),
        ({"__name__": "shop_checkout_duration_seconds_count", **labels}, times, orders),
        ({"__name__": "shop_queue_depth", **labels}, times, depth),
        ({"__name__": "go_goroutines", **labels}, times, depth),
        # What recording rules write, and gauges that are rates and latencies already.
        ({"__name__": "job:shop_requests:rate5m", "job": "shop"}, times, load_),
        ({"__name__": "job:shop_duration_seconds_bucket:rate5m", "job": "shop", "le": "1"}, times, load_),
        ({"__name__": "shop_latency_p99_seconds", **labels}, times, depth / 1000.0),
        ({"__name__": "shop_payment_failure_ratio", **labels}, times, depth / 1e5),
    ]


def test_what_no_preset_covers_is_proposed_by_its_shape_with_what_was_seen(prometheus: Prometheus) -> None:
    prometheus.push(shop(time.time()))
    done = suggest(f"--prometheus.url={prometheus.url}", "--explain")
    assert done.returncode == 0, done.stderr
    queries = {query["name"]: query for query in yaml.safe_load(done.stdout)["queries"]}
    assert set(queries) == {
        "shop_orders_rate", "shop_orders_error_ratio", "shop_checkout_duration_seconds_p99",
        "shop_checkout_duration_seconds_count_rate", "shop_queue_depth",
        "job:shop_requests:rate5m", "shop_latency_p99_seconds", "shop_payment_failure_ratio",
    }  # fmt: skip
    # The smallest deviation is two standard deviations of the noise, which is ten here.
    assert 15.0 <= queries["shop_queue_depth"]["min_deviation"] <= 30.0
    assert queries["shop_orders_rate"]["direction"] == "both"
    about = done.stdout.split("- name: shop_orders_rate")[0]
    assert "season: " in about
    assert "Expected alerts: " in about
    assert "15 days of history" in about


def test_a_table_is_printed_and_nothing_is_written(prometheus: Prometheus) -> None:
    prometheus.push(shop(time.time(), days=0.2))
    done = suggest(f"--prometheus.url={prometheus.url}", "--dry-run", "--max-series=2")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["query", "series", "season"]
    assert sum("left out: 1 series are more than the 0 that --max-series leaves" in row for row in rows) == 6
    assert "2 queries, 2 series" in done.stdout


def test_what_was_away_until_just_now_is_proposed(prometheus: Prometheus) -> None:
    prometheus.push(shop(time.time() - 400.0, days=0.2))
    done = suggest(f"--prometheus.url={prometheus.url}", "--dry-run")
    assert "shop_orders_rate" in done.stdout, done.stderr


def test_the_file_of_a_server_behind_a_login_is_taken_over(run_prometheus: RunPrometheus, tmp_path: Path) -> None:
    users = {"basic_auth_users": {"bob": bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()}}
    prometheus = run_prometheus(web_config=users, auth=("bob", "s3cret"), prefix="/prom")
    prometheus.push(shop(time.time(), days=0.2))
    refused = suggest(f"--prometheus.url={prometheus.url}")
    assert refused.returncode == 1
    assert "--config.file" in refused.stderr
    (tmp_path / "password").write_text("s3cret\n")
    server = tmp_path / "server.yaml"
    server.write_text(
        f"# Ours.\nprometheus:\n  url: {prometheus.url}\n  basic_auth: {{username: bob, password_file: password}}\n"
    )
    done = suggest(f"--config.file={server}", f"--output={tmp_path / 'config.yaml'}")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "config.yaml").read_text()
    assert server.read_text() in written
    assert load(tmp_path / "config.yaml").config.queries


def test_a_server_that_is_away_or_empty_is_said(prometheus: Prometheus) -> None:
    assert suggest("--prometheus.url=http://127.0.0.1:9").returncode == 1
    done = suggest(f"--prometheus.url={prometheus.url}")
    assert (done.returncode, "nothing to suggest" in done.stderr) == (1, True)
    assert suggest("--prometheus.url=nonsense").returncode == 2
