"""``scale-hint`` as a person uses it: alerts on standard input, a real Prometheus, and commands that nobody runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.main import main
from exporter.cli.scale_hint import Workload, firing, replicas_for, workloads
from exporter.errors import ExporterError
from tests.integration.servers import Prometheus


def alert(status: str = "firing", **labels: str) -> dict[str, object]:
    return {"status": status, "labels": {"alertname": "AnomalyDetected", "query": "latency", **labels}}


CHECKOUT = alert(namespace="shop", deployment="checkout")


Hint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Hint:
    """Run the command on these alerts; returns exit code, standard output and standard error."""

    def run(config: Path, alerts: object, *flags: str) -> tuple[int, str, str]:
        file = tmp_path / "alerts.json"
        file.write_text(json.dumps(alerts))
        code = main(["scale-hint", f"--config.file={config}", f"--input={file}", *flags])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("prometheus: {url: 'http://127.0.0.1:1'}\nqueries: [{name: a, expr: up}]\n")
    return file


def cluster(prometheus: Prometheus) -> None:
    """Three busy pods of checkout, two lazy ones of the stateful set cart, and some with names that are alike."""
    now = time.time()
    # Beyond now, so that a rate has samples on both sides whenever it is asked for.
    times = np.arange(now - 600, now + 120, 15.0)

    def pod(name: str, busy: float) -> list[tuple[dict[str, str], np.ndarray, np.ndarray]]:
        where = {"namespace": "shop", "pod": name, "container": "app"}
        used = {"__name__": "container_cpu_usage_seconds_total", **where}
        requested = {"__name__": "kube_pod_container_resource_requests", "resource": "cpu", **where}
        return [(used, times, (times - times[0]) * busy * 2.0), (requested, times, np.full(len(times), 2.0))]

    def replicas(metric: str, kind: str, name: str, count: float) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
        return {"__name__": metric, "namespace": "shop", kind: name}, times, np.full(len(times), count)

    series = [replicas("kube_deployment_spec_replicas", "deployment", "checkout", 3.0)]
    series += [replicas("kube_statefulset_replicas", "statefulset", "cart", 2.0)]
    series += [replicas("kube_deployment_spec_replicas", "deployment", "idle", 2.0)]
    for name in ("abcde", "fghij", "klmno"):
        series += pod(f"checkout-6d4cf56db6-{name}", 0.83)
        series += pod(f"checkout-canary-6d4cf56db6-{name}", 0.01)
    series += [*pod("cart-0", 0.4), *pod("cart-1", 0.4)]
    prometheus.push(series)


@pytest.mark.integration
def test_what_is_anomalous_and_busy_gets_a_command(prometheus: Prometheus, config: Path, hint: Hint) -> None:
    cluster(prometheus)
    config.write_text(f"prometheus: {{url: '{prometheus.url}'}}\nqueries: [{{name: a, expr: up}}]\n")
    alerts = [CHECKOUT, CHECKOUT, alert(namespace="shop", statefulset="cart"), alert(instance="a:9100")]
    code, said, wrong = hint(config, alerts)
    assert (code, wrong) == (0, "")
    assert said.splitlines() == [
        "# deployment checkout in shop: 3 replicas, 83% busy; 5 would be 50% busy",
        "kubectl --namespace=shop scale deployment/checkout --current-replicas=3 --replicas=5",
        "# statefulset cart in shop: 2 replicas, 40% busy, which is not above 80%: more would not help",
    ]
    # As a person would: a pipe.
    command = [sys.executable, "-m", "exporter", "scale-hint", f"--config.file={config}"]
    piped = subprocess.run(command, input=json.dumps(alerts), capture_output=True, text=True, check=True, timeout=60)
    assert piped.stdout == said

    _, said, _ = hint(config, [CHECKOUT], "--max-replicas=3")
    assert said == "# deployment checkout in shop: 3 replicas, 83% busy; there are as many as --max-replicas allows\n"
    own = 'vector(0.95) + 0 * count(up{a="$namespace",b="$workload"} or vector(1))'
    assert hint(config, [CHECKOUT], "--utilisation", own)[1].endswith("--replicas=6\n")

    code, _, wrong = hint(config, [alert(namespace="shop", deployment=name) for name in ("idle", "gone")])
    assert code == 1
    assert wrong.splitlines() == [
        "deployment gone in shop: Prometheus does not know its replicas",
        "deployment idle in shop: Prometheus does not know its utilisation",
    ]


def test_prometheus_that_is_down_is_said(config: Path, hint: Hint) -> None:
    code, said, wrong = hint(config, [CHECKOUT])
    assert (code, said) == (1, "")
    assert "checkout in shop: " in wrong
    assert "refused" in wrong


def test_nothing_to_go_by_is_wrong_usage(config: Path, hint: Hint, tmp_path: Path) -> None:
    assert hint(config, [alert(instance="a")])[0] == 2
    assert hint(config, [alert("resolved", namespace="shop", deployment="checkout")])[0] == 2
    assert "gone.yaml" in hint(tmp_path / "gone.yaml", [CHECKOUT])[2]
    with pytest.raises(SystemExit) as ended:
        hint(config, [CHECKOUT], "--busy=80")
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "text",
    [[CHECKOUT], {"version": "4", "alerts": [CHECKOUT, alert("resolved", namespace="a", deployment="b")]}, CHECKOUT],
    ids=["api", "webhook", "one"],
)
def test_alerts_are_read_in_every_form(text: object) -> None:
    assert workloads(firing(json.dumps(text).encode())) == [Workload("shop", "deployment", "checkout")]


def test_status_of_the_api_is_an_object() -> None:
    active = {**CHECKOUT, "status": {"state": "active"}}
    assert len(firing(json.dumps([active]).encode())) == 1


@pytest.mark.parametrize("text", ["", "nothing", "3", "[3]", '[{"a": 1}]', '[{"labels": {"a": 3}}]', '{"alerts": 3}'])
def test_what_is_no_alert_is_refused(text: str) -> None:
    with pytest.raises(ExporterError):
        firing(text.encode())


@pytest.mark.parametrize("name", ["a; rm -rf /", "$(reboot)", "A", "", "-a", "a" * 300, 'a"}', "a\nb"])
def test_label_that_is_no_name_never_becomes_a_command(name: str) -> None:
    assert workloads([{"namespace": "shop", "deployment": name}, {"namespace": name, "deployment": "a"}]) == []


@pytest.mark.parametrize(
    ("replicas", "utilisation", "wanted"),
    [
        (3, 0.83, 5),
        (3, 0.8, 3),
        (1, 0.81, 2),
        (4, 1.0, 8),
        (8, 1.0, 10),
        (12, 0.9, 12),
        (0, 0.9, 0),
        (3, float("nan"), 3),
    ],
)
def test_replicas_bring_utilisation_to_the_target(replicas: int, utilisation: float, wanted: int) -> None:
    assert replicas_for(replicas, utilisation, busy=0.8, target=0.5, most=10) == wanted


def test_expression_is_about_the_pods_of_this_workload_alone() -> None:
    expr = Workload("shop", "deployment", "check.out").utilisation_expr('{pod=~"$pods"}')
    assert expr == r'{pod=~"check\\.out-[a-z0-9]+-[a-z0-9]{5}"}'
