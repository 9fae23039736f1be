"""The example, the check and the grammar, held against real servers."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli.check import add_parser
from exporter.config.load import load
from exporter.promql.lint import examine
from tests.integration.conftest import RunPrometheus
from tests.integration.process import Process, ask, binary, eventually, free_port
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"

# A container may have no disk and no network of its own; everything else has to be there.
_MAY_BE_EMPTY = {"node_disk_io_utilisation", "node_filesystem_utilisation", "node_network_receive_bytes"}


@pytest.fixture
def stock(run_prometheus: RunPrometheus, tmp_path: Path, stack: Any) -> Prometheus:
    """A Prometheus that scrapes itself and a node_exporter, as after an installation."""
    node = f"127.0.0.1:{free_port()}"
    exporter = Process(
        [binary("prometheus-node-exporter"), f"--web.listen-address={node}"],
        tmp_path / "node.log",
        lambda: ask("GET", f"http://{node}/metrics").status_code == 200,
    )
    exporter.start()
    stack.callback(exporter.stop)
    prometheus = run_prometheus(targets=[node])
    file = prometheus.directory / "prometheus.yml"
    config = yaml.safe_load(file.read_text())
    config["scrape_configs"].append({"job_name": "prometheus", "static_configs": [{"targets": [prometheus.address]}]})
    file.write_text(yaml.safe_dump(config))
    prometheus.reload()
    eventually(
        lambda: len(prometheus.query("rate(process_cpu_seconds_total[5m])")) == 2,
        60,
        what="two scrapes of both targets",
    )
    return prometheus


def test_every_query_of_the_example_works_on_a_stock_prometheus(stock: Prometheus) -> None:
    series = {plan.name: len(stock.query(plan.expr)) for plan in load(EXAMPLE, environ={}).config.plans()}
    assert {name for name, count in series.items() if count == 0} <= _MAY_BE_EMPTY


@pytest.fixture
def check() -> Any:
    parser = argparse.ArgumentParser(prog="anomaly-exporter")
    add_parser(parser.add_subparsers(required=True))

    def run(file: Path) -> int:
        args = parser.parse_args(["check", "config", str(file), "--query-prometheus"])
        return int(args.run(args))

    return run


def test_the_check_asks_prometheus(
    prometheus: Prometheus, check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"prometheus: {{url: '{prometheus.url}'}}\n"
        "queries:\n  - {name: one, expr: vector(1)}\n  - {name: none, expr: nothing_has_this_name}\n"
    )
    assert check(file) == 0
    said = capsys.readouterr()
    assert "one: 1 series\n" in said.out
    assert "none: 0 series\n" in said.out
    assert "none: warning: no series now" in said.err


def test_the_check_says_what_prometheus_refuses(
    prometheus: Prometheus, check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"prometheus: {{url: '{prometheus.url}'}}\n"
        "queries:\n  - {name: good, expr: vector(1)}\n  - {name: bad, expr: no_such_function(up)}\n"
    )
    assert check(file) == 1
    said = capsys.readouterr()
    assert "good: 1 series\n" in said.out
    assert "unknown function" in said.err
    assert "SUCCESS" not in said.out


def test_the_check_fails_where_prometheus_cannot_be_reached(
    check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, url = tmp_path / "config.yaml", f"http://127.0.0.1:{free_port()}"
    file.write_text(f"prometheus: {{url: '{url}'}}\nqueries:\n  - {{name: a, expr: vector(1)}}\n")
    assert check(file) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"a: {url}/")
    assert said.endswith(": connection refused\n")


EXPRESSIONS = r"""
sum by (job) (rate(a_total[5m])) > 0.5
100 * (1 - avg by(instance)(irate(node_cpu_seconds_total{mode="idle"}[5m])))
sum(rate(x{code=~"5.."}[5m])) / ignoring(code) sum(rate(x[5m]))
label_replace(up, "a", "$1", "instance", "(.*):.*")
topk(5, sum(rate(x[5m])) by (a))
quantile_over_time(0.9, x[1h:5m] offset 1w)
avg_over_time((a - b)[1h:])
count_values("version", build_info)
x{a="é",b!="",c!~"x.*"} unless on(a) y
vector(1) or on() vector(0)
-1 ^ 2
x % 2
x offset -1h
rate(x[5m] @ end())
x * on(a,b) group_right(c) y
{__name__=~"a.*", job="b"}
{job=""}
{}
x{a="b",}
sum by (a,) (x)
NaN
0x1F
.5
x{a=`b\d`}
avg(x) by (a) > bool avg(y) by (a)
a:b:c
rate(x[5m]) by (a)
sum(x
sum x
x[5m][5m]
on
offset
sum{a="b"}
x and
x > > y
x{a=1}
x{a b}
x,y
rate(x[0s])
x / y * z
x{a="\""}
x{a="\d"}
x # comment
x{instance=~"10\\.0\\.0\\..*:9100"}
rate(x)
sum(x[5m])
rate(x[5x])
""".strip().splitlines()


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_what_is_refused_without_a_server_is_what_prometheus_refuses(expr: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH")
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": "r", "expr": expr}]}]}))
    refused = subprocess.run([promtool, "check", "rules", str(rules)], capture_output=True, check=False).returncode != 0
    remarks = examine(expr)
    # Another server may know what this one refuses: only what none can read is an error, the rest is a warning.
    assert bool(remarks) is refused or not any(remark.fatal for remark in remarks)
    assert bool(remarks) or not refused
