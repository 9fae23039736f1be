"""What `kubectl kustomize` makes of deploy/kubernetes, judged by the schemas of Kubernetes and of the operators."""

from __future__ import annotations

import functools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from exporter.cli.main import parser
from exporter.config.load import load
from tests.deploy.tools import DEPLOY, ROOT, documents, npm_tool, run

FOLDER = DEPLOY / "kubernetes"
BUILT = sorted(
    str(file.parent.relative_to(FOLDER))
    for file in FOLDER.rglob("kustomization.yaml")
    if "kind: Component" not in file.read_text()
)
CUSTOM = {"PodMonitor", "Prometheus", "PrometheusRule", "ServiceMonitor", "ScaledObject"}
# The oldest that has what is used, and the newest whose schema is known.
VERSIONS = ("1.30", "1.37")


@functools.cache
def minor_version() -> int:
    """The minor version of kubectl."""
    client = json.loads(run("kubectl", "version", "--client", "-o", "json"))["clientVersion"]
    return int(re.sub(r"\D.*", "", client["minor"]))


@functools.cache
def build(name: str) -> list[dict[str, Any]]:
    if minor_version() < 21:
        # Debian 12 has no newer one, so this is no reason to fail where servers are required.
        pytest.skip("kubectl is older than 1.21 and knows no components")
    return documents(run("kubectl", "kustomize", FOLDER / name))


def only(name: str, kind: str) -> dict[str, Any]:
    [found] = [one for one in build(name) if one["kind"] == kind]
    return found


def container(name: str, title: str = "anomaly-exporter") -> dict[str, Any]:
    containers = only(name, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return next(one for one in containers if one["name"] == title)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BUILT)
def test_resources_are_what_kubernetes_wants(name: str, version: str) -> None:
    for resource in build(name):
        if resource["kind"] not in CUSTOM:
            kubernetes_validate.validate(resource, version, strict=True)


def judge(resources: list[dict[str, Any]], folder: Path, code: int = 0) -> str:
    (folder / "node_modules").symlink_to(npm_tool("tsc").parent.parent)
    shutil.copy(ROOT / "tests" / "deploy" / "custom_resources.mjs", folder / "check.mjs")
    return run("node", folder / "check.mjs", stdin=json.dumps(resources), code=code)


def custom() -> list[dict[str, Any]]:
    return [one for name in BUILT for one in build(name) if one["kind"] in CUSTOM]


def test_custom_resources_are_what_their_operators_want(tmp_path: Path) -> None:
    assert {one["kind"] for one in custom()} == CUSTOM
    judge(custom(), tmp_path)


def test_custom_resources_are_really_checked(tmp_path: Path) -> None:
    bad = json.loads(json.dumps(custom()[0]))
    bad["spec"] = {"groups": [{"name": "a", "interval": "five minutes"}], "endpoints": 3}
    assert bad["kind"] in judge([bad], tmp_path, code=1)


def test_rules_are_those_of_prometheus() -> None:
    [rule] = documents((FOLDER / "components" / "prometheus-operator" / "prometheusrule.yaml").read_text())
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.rules.yml"))
    assert rule["spec"]["groups"] == [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


@pytest.mark.parametrize("name", ["standalone", "pair", "shards", "sidecar"])
def test_pods_have_no_rights_that_they_do_not_need(name: str) -> None:
    pod = only(name, "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in pod["containers"]:
        security = one["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, one["name"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"memory"} == set(one["resources"]["limits"])
        assert {"readinessProbe", "livenessProbe"} <= set(one)


@pytest.mark.parametrize("name", ["standalone", "pair", "shards", "sidecar"])
def test_container_mounts_what_it_is_told_to_use(name: str) -> None:
    mounts = {one["mountPath"] for one in container(name)["volumeMounts"]}
    flags = dict(one.split("=", 1) for one in container(name)["args"])
    # The root of a volume belongs to root, and the store refuses a folder that is not its own.
    assert str(Path(flags["--storage.path"]).parent) in mounts
    assert {str(Path(flags["--config.file"]).parent), "/tmp"} <= mounts  # noqa: S108
    known = {flag for action in parser()._actions for flag in action.option_strings}
    assert set(flags) <= known
    volumes = {one["name"] for one in only(name, "StatefulSet")["spec"]["template"]["spec"]["volumes"]}
    claims = {one["metadata"]["name"] for one in only(name, "StatefulSet")["spec"]["volumeClaimTemplates"]}
    assert {one["name"] for one in container(name)["volumeMounts"]} <= volumes | claims


@pytest.mark.parametrize("name", ["standalone", "sidecar", "sidecar-operator"])
def test_configuration_loads(name: str, tmp_path: Path) -> None:
    [text] = [one["data"]["config.yaml"] for one in build(name) if "config.yaml" in one.get("data", {})]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert load(file).warnings == ()


def test_queries_for_autoscaling_load(tmp_path: Path) -> None:
    file = FOLDER / "autoscaling" / "queries.yaml"
    assert [one.name for one in load(file).config.queries] == ["deployment_cpu_cores"]


def test_network_policy_is_about_the_exporter_and_lets_it_ask_for_names() -> None:
    policy = only("standalone", "NetworkPolicy")["spec"]
    labels = only("standalone", "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert only("standalone", "Service")["spec"]["selector"].items() <= labels.items()
    assert policy["egress"][0]["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}


def test_sidecar_is_the_same_under_the_operator() -> None:
    spec = only("sidecar-operator", "Prometheus")["spec"]
    [exporter] = spec["containers"]
    assert {**exporter, "image": ""} == {**container("sidecar"), "image": ""}
    volumes = {one["name"] for one in spec["volumes"]}
    assert {one["name"] for one in exporter["volumeMounts"]} <= volumes
    [endpoint] = only("sidecar-operator", "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {one["name"] for one in exporter["ports"]}


def test_shards_are_as_many_as_there_are_pods() -> None:
    [count] = [one for one in container("shards")["args"] if one.startswith("--shard.count=")]
    assert int(count.partition("=")[2]) == only("shards", "StatefulSet")["spec"]["replicas"] == 3


def test_replicas_are_told_apart_by_a_label_that_rules_drop() -> None:
    [endpoint] = only("pair", "ServiceMonitor")["spec"]["endpoints"]
    [pods] = only("sidecar-operator", "PodMonitor")["spec"]["podMetricsEndpoints"]
    for scraped in (endpoint, pods):
        assert scraped["honorLabels"] is True
        by_pod = {
            one["targetLabel"]
            for one in scraped["relabelings"]
            if one.get("sourceLabels") == ["__meta_kubernetes_pod_name"]
        }
        assert by_pod == {"instance", "replica"}
    [job] = [
        one
        for one in yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
        if one["job_name"] == "anomaly-exporter"
    ]
    assert [one["target_label"] for one in job["relabel_configs"]] == ["replica"]


def test_autoscalers_read_the_metric_that_is_recorded() -> None:
    adapter = yaml.safe_load(only("autoscaling/prometheus-adapter", "ConfigMap")["data"]["config.yaml"])
    [rule] = adapter["externalRules"]
    [external] = [
        one["external"]
        for one in only("autoscaling/prometheus-adapter", "HorizontalPodAutoscaler")["spec"]["metrics"]
        if one["type"] == "External"
    ]
    assert rule["name"]["as"] == external["metric"]["name"]
    recorded = (DEPLOY / "prometheus" / "rules" / "anomaly-autoscaling.rules.yml").read_text()
    series = yaml.safe_load(recorded)["groups"][0]["rules"][-1]["record"]
    assert series in rule["seriesQuery"]
    trigger = only("autoscaling/keda", "ScaledObject")["spec"]["triggers"][1]["metadata"]
    assert f"max({series}{{" in trigger["query"]
    assert external["target"]["averageValue"] == trigger["threshold"] == "1"
