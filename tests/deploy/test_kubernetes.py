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

from exporter import __version__
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
        pytest.skip("kubectl is older than 1.21 and knows no components; sh scripts/validators.sh installs a newer one")
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
        if resource["kind"] not in {*CUSTOM, "DaskCluster"}:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_and_service_of_a_dask_cluster_are_what_kubernetes_wants(version: str) -> None:
    cluster = only("workers", "DaskCluster")
    assert cluster["apiVersion"] == "kubernetes.dask.org/v1"
    assert cluster["spec"].keys() == {"worker", "scheduler"}
    worker, scheduler = cluster["spec"]["worker"], cluster["spec"]["scheduler"]
    assert (worker.keys(), scheduler.keys()) == ({"replicas", "spec"}, {"spec", "service"})
    head = {"apiVersion": "v1", "metadata": {"name": "made-by-the-operator"}}
    for part in (worker, scheduler):
        kubernetes_validate.validate({**head, "kind": "Pod", "spec": part["spec"]}, version, strict=True)
        [only_container] = part["spec"]["containers"]
        assert only_container["image"] == f"anomaly-exporter-workers:{__version__}"
    kubernetes_validate.validate({**head, "kind": "Service", "spec": scheduler["service"]}, version, strict=True)
    labels = {"dask.org/cluster-name": cluster["metadata"]["name"], "dask.org/component": "scheduler"}
    assert scheduler["service"]["selector"] == labels
    # As the operator names the service.
    [job] = only("workers", "Job")["spec"]["template"]["spec"]["containers"]
    address = f"tcp://{cluster['metadata']['name']}-scheduler:{scheduler['service']['ports'][0]['port']}"
    assert parser("backtest").parse_args(job["args"]).workers == address


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
        assert "livenessProbe" in one


def test_the_exporter_never_takes_the_pod_of_a_prometheus_out_of_its_service() -> None:
    alone, beside = container("standalone"), container("sidecar")
    assert {"startupProbe", "readinessProbe"} <= set(alone)
    assert not {"startupProbe", "readinessProbe"} & set(beside)
    assert "readinessProbe" in container("sidecar", "prometheus")


@pytest.mark.parametrize("name", ["standalone", "pair", "shards", "sidecar", "sidecar-operator"])
def test_an_edit_of_the_configuration_is_loaded_and_is_no_rollout(name: str) -> None:
    maps = [one["metadata"]["name"] for one in build(name) if one["kind"] == "ConfigMap"]
    # A hash of the content in a name would change the template of the pods.
    assert set(maps) <= {"anomaly-exporter", "prometheus"}
    exporter = only(name, "Prometheus")["spec"]["containers"][0] if name == "sidecar-operator" else container(name)
    assert "--config.auto-reload" in exporter["args"]
    # A single file that is mounted by `subPath` is never updated.
    assert not any("subPath" in one for one in exporter["volumeMounts"])
    if name == "sidecar":
        assert "--enable-feature=auto-reload-config" in container(name, "prometheus")["args"]


@pytest.mark.parametrize("name", ["standalone", "pair", "shards", "sidecar", "sidecar-operator"])
def test_probes_ports_mounts_and_selectors_fit_together(name: str) -> None:
    resources = build(name)
    pods = [one["spec"]["template"] for one in resources if one["kind"] == "StatefulSet"]
    pods += [{"metadata": {"labels": {"operator.prometheus.io/name": one["metadata"]["name"]}}, "spec": one["spec"]}
             for one in resources if one["kind"] == "Prometheus"]  # fmt: skip
    for pod in pods:
        for one in pod["spec"]["containers"]:
            ports = {port["name"] for port in one["ports"]}
            assert {one[probe]["httpGet"]["port"] for probe in one if probe.endswith("Probe")} <= ports
            requested, limit = (quantity(one["resources"][kind]["memory"]) for kind in ("requests", "limits"))
            assert requested <= limit
    for one in resources:
        kind, spec = one["kind"], one.get("spec", {})
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
            selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= pod["metadata"]["labels"].items() for pod in pods), kind
        if kind == "Service":
            named = {port["name"] for pod in pods for one in pod["spec"]["containers"] for port in one["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= named
        if kind == "ServiceMonitor":
            [service] = [one for one in resources if one["kind"] == "Service"]
            assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert {one["port"] for one in spec["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}


def quantity(text: str) -> float:
    """Return bytes.

    >>> quantity("1Gi") == 2 * quantity("512Mi")
    True
    """
    number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]i)", text).groups()  # type: ignore[union-attr]
    return float(number) * 1024.0 ** ("KMG".index(unit[0]) + 1)


def test_what_watches_in_pairs_or_parts_is_spread_and_replaced_one_by_one() -> None:
    for name in ("pair", "shards"):
        spec = only(name, "StatefulSet")["spec"]
        [zones] = spec["template"]["spec"]["topologySpreadConstraints"]
        assert zones["topologyKey"] == "topology.kubernetes.io/zone"
        assert zones["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        assert spec["minReadySeconds"] >= 30
        assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Delete"}


def test_a_kube_prometheus_stack_finds_monitors_and_rules() -> None:
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert only("standalone", kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"


@pytest.mark.parametrize("name", ["standalone", "pair", "shards", "sidecar"])
def test_container_mounts_what_it_is_told_to_use(name: str) -> None:
    mounts = {one["mountPath"] for one in container(name)["volumeMounts"]}
    flags = {flag: value for flag, _, value in (one.partition("=") for one in container(name)["args"])}
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
    names, servers = policy["egress"]
    assert names["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert names["to"][1] == {"ipBlock": {"cidr": "169.254.20.10/32"}}
    assert {9090, 9093, 8428, 8480, 8481, 10902, 8080} == {one["port"] for one in servers["ports"]}
    [config] = [one["data"]["config.yaml"] for one in build("standalone") if one["kind"] == "ConfigMap"]
    used = {int(port) for port in re.findall(r"http://[\w.-]+:(\d+)", config)}
    assert used <= {one["port"] for one in servers["ports"]}
    assert {"namespaceSelector"} <= {key for one in policy["ingress"][0]["from"] for key in one}


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
    # No value is no opinion about scaling down, and not zero.
    assert trigger["ignoreNullValues"] == "false"


def test_external_metrics_have_a_server_and_may_be_read() -> None:
    api = only("autoscaling/prometheus-adapter", "APIService")
    service = api["spec"]
    assert api["metadata"]["name"] == "{version}.{group}".format(**service)
    role, binding = (only("autoscaling/prometheus-adapter", kind) for kind in ("ClusterRole", "ClusterRoleBinding"))
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"][0]["apiGroups"] == [service["group"]]
