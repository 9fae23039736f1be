"""The Helm chart: by default what kustomize makes, and nothing that its schema does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from exporter import __version__
from exporter.config.load import load
from tests.deploy.registry import registry
from tests.deploy.test_kubernetes import CUSTOM, build
from tests.deploy.tools import DEPLOY, documents, run

CHART = DEPLOY / "helm" / "anomaly-exporter"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
Resources = dict[tuple[str, str], dict[str, Any]]


def template(*flags: str, release: str = "anomaly-exporter", code: int = 0) -> str:
    return run("helm", "template", release, CHART, "--namespace=monitoring", *flags, code=code)


def resources(rendered: list[dict[str, Any]]) -> Resources:
    """By kind and name; configurations as data, and what has no order in order."""
    named = {(one["kind"], one["metadata"]["name"]): one for one in json.loads(json.dumps(rendered))}
    for one in named.values():
        if one["kind"] == "ConfigMap":
            one["data"] = {name: yaml.safe_load(text) for name, text in one["data"].items()}
        for pod in [one["spec"]["template"]["spec"]] if one["kind"] == "StatefulSet" else []:
            for container in pod["containers"]:
                container["args"].sort()
                container["env"].sort(key=lambda variable: variable["name"])
        if one["kind"] == "NetworkPolicy":
            for rule in one["spec"]["egress"]:
                rule["ports"].sort(key=lambda port: (port["port"], port["protocol"]))
    return named


@pytest.mark.parametrize(
    ("flags", "kustomized"),
    [([], "standalone"), (["--set=pair=true"], "pair"), (["--set=shards=3"], "shards")],
    ids=["standalone", "pair", "shards"],
)
def test_chart_is_what_kustomize_makes(flags: list[str], kustomized: str) -> None:
    expected, rendered = resources(build(kustomized)), resources(documents(template(*flags)))
    assert rendered.keys() == expected.keys()
    for name in expected:
        assert rendered[name] == expected[name], name


def test_chart_is_valid_and_of_this_version() -> None:
    assert "0 chart(s) failed" in run("helm", "lint", "--strict", CHART)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_a_chart_is_published_and_installed_from_a_registry(tmp_path: Path) -> None:
    run("helm", "package", CHART, "--destination", tmp_path)
    packed = tmp_path / f"anomaly-exporter-{__version__}.tgz"
    with registry() as host:
        printed = run("helm", "push", packed, f"oci://{host}/charts", "--plain-http")
        # What the release signs; `sed` of the workflow takes it from the same line.
        assert re.search(r"^Digest: sha256:[0-9a-f]{64}$", printed, re.MULTILINE)
        source = f"oci://{host}/charts/anomaly-exporter"
        flags = ("--version", __version__, "--plain-http", "--namespace=monitoring")
        pulled = run("helm", "template", "anomaly-exporter", source, *flags)
    assert pulled[pulled.index("---") :] == template()


def test_rules_have_the_parameters_of_those_of_prometheus() -> None:
    parameters = yaml.safe_load((DEPLOY / "prometheus" / "parameters.yaml").read_text())
    assert {**VALUES["rules"], "job": "anomaly-exporter"} == parameters


def test_values_reach_what_they_are_about(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        yaml.safe_dump(
            {
                "image": {"repository": "registry.example.org/ae", "tag": "1.2.3"},
                "memory": {"request": "1Gi", "limit": "4Gi"},
                "port": 8000,
                "priorityClassName": "monitoring",
                "externalUrl": "https://anomaly.example.org",
                "extraArgs": ["--web.enable-lifecycle"],
                "operator": {"release": "prometheus"},
                "rules": {"runbooks": "https://runbooks.example.org", "page": "critical"},
                "networkPolicy": {"enabled": False},
            }
        )
    )
    made = resources(documents(template(f"--values={values}", release="ae")))
    assert {name for _, name in made} == {"ae"}
    assert ("NetworkPolicy", "ae") not in made
    pod = made["StatefulSet", "ae"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["priorityClassName"] == "monitoring"
    assert container["image"] == "registry.example.org/ae:1.2.3"
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    assert container["ports"][0]["containerPort"] == made["Service", "ae"]["spec"]["ports"][0]["port"] == 8000
    flags = {"--web.listen-address=:8000", "--web.external-url=https://anomaly.example.org", "--web.enable-lifecycle"}
    assert flags <= set(container["args"])
    assert made["ServiceMonitor", "ae"]["metadata"]["labels"]["release"] == "prometheus"
    rules = made["PrometheusRule", "ae"]
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "ticket"}
    assert all(rule["annotations"]["runbook_url"].startswith("https://runbooks.example.org#") for rule in alerts)
    assert 'job="ae"' in next(rule["expr"] for rule in alerts if rule["alert"] == "AnomalyExporterDown")
    for one in made.values():
        if one["kind"] not in CUSTOM | {"ConfigMap"}:
            kubernetes_validate.validate(one, "1.37", strict=True)


def test_configuration_of_the_chart_loads(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(VALUES["config"]))
    assert load(file).warnings == ()


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--set=memroy.limit=1Gi", "memroy"),
        ("--set=memory.limits=1Gi", "limits"),
        ("--set=memory.limit=plenty", "limit"),
        ("--set=rules.widespred_share=0.5", "widespred_share"),
        ("--set=rules.extreme_score=97", "extreme_score"),
        ("--set=port=80", "port"),
        ("--set=pair=true,shards=2", "choose one"),
    ],
)
def test_what_the_chart_does_not_know_is_refused(flag: str, named: str) -> None:
    assert named in template(flag, code=1)


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    def names(schema: dict[str, Any], values: dict[str, Any]) -> None:
        assert schema["additionalProperties"] is False
        assert schema["properties"].keys() - {"global"} == values.keys()
        for name, part in schema["properties"].items():
            if part.get("additionalProperties") is False:
                names(part, values[name])

    names(json.loads((CHART / "values.schema.json").read_text()), VALUES)
