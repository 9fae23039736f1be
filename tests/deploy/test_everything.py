"""No file is shipped that nothing checks."""

from __future__ import annotations

import subprocess

from tests.deploy.tools import ROOT

CHECKED = {
    "deploy/README.md": "test_docs: its links",
    "deploy/alertmanager/*": "amtool, and a real Alertmanager",
    "deploy/docker/Dockerfile": "dockerfile-utils, and built",
    "deploy/docker/Dockerfile.dockerignore": "test_docker: what is copied",
    "deploy/docker/bytecode.py": "the image is built",
    "deploy/docker/alertmanager.yml": "amtool",
    "deploy/docker/compose.yaml": "the schema of compose",
    "deploy/docker/exporter/config.yaml": "our own check",
    "deploy/docker/grafana/*/*.yaml": "test_docker: what they name",
    "deploy/helm/*/*.yaml": "helm",
    "deploy/helm/*/values.schema.json": "helm",
    "deploy/helm/*/rules/*.rules.yml": "test_prometheus: written from the templates",
    "deploy/helm/*/templates/*.yaml": "helm",
    "deploy/kubernetes/*/*.y*ml": "kubectl and the schemas",
    "deploy/kubernetes/*/*/*.yaml": "kubectl and the schemas",
    "deploy/prometheus/prometheus.yml": "promtool",
    "deploy/prometheus/parameters.yaml": "test_prometheus: what is written with them",
    "deploy/prometheus/rules/*.rules.yml": "promtool",
    "deploy/prometheus/templates/*.rules.yml": "test_prometheus: what is written from them",
    "deploy/prometheus/tests/*.test.yml": "promtool",
    "deploy/systemd/*.service": "systemd-analyze",
    "grafana_dashboards/*.json": "the types of Grafana, and a real Prometheus",
    "grafana_dashboards/*.py": "the JSON is in step",
}
"""By pattern: what judges the file."""


def test_every_file_is_judged_by_something() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "deploy", "grafana_dashboards"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    files = {ROOT / name for name in listed.stdout.split()} or set((ROOT / "deploy").rglob("*.*"))
    judged = {file for pattern in CHECKED for file in ROOT.glob(pattern)}
    assert files - judged == set()


def test_every_check_has_a_file() -> None:
    assert [pattern for pattern in CHECKED if not list(ROOT.glob(pattern))] == []


def test_every_resource_is_part_of_something_that_is_built() -> None:
    folder = ROOT / "deploy" / "kubernetes"
    kustomizations = "".join(file.read_text() for file in folder.rglob("kustomization.yaml"))
    alone = {"kustomization.yaml", "queries.yaml"}
    for file in folder.rglob("*.y*ml"):
        assert file.name in alone or f"{file.name}\n" in kustomizations, file
