"""The image and the composition: as their schemas want them, and of files that are there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.config.load import load
from tests.deploy.tools import DEPLOY, ROOT, npm_tool, run

FOLDER = DEPLOY / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def test_dockerfile_is_valid() -> None:
    run(str(npm_tool("dockerfile-utils")), "lint", FOLDER / "Dockerfile")


def test_dockerfile_is_really_checked(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.replace("EXPOSE 9877", "EXPOS 9877"))
    assert "EXPOS" in run(str(npm_tool("dockerfile-utils")), "lint", bad, code=1)


def test_dockerfile_copies_what_is_there_and_not_ignored() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert {"!" + source.rstrip("/"), "!" + source.split("/")[0]} & set(ignored)


def test_image_has_no_root_and_checks_its_health() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert "USER 65532:65532" in last
    assert "/-/healthy" in last
    assert "RUN" not in last


def test_composition_is_valid() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(sys.executable, "-m", "check_jsonschema", *schema, FOLDER / "compose.yaml")


def test_composition_is_really_checked(tmp_path: Path) -> None:
    bad = tmp_path / "compose.yaml"
    bad.write_text((FOLDER / "compose.yaml").read_text().replace("read_only: true", "read_onyl: true"))
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", bad, code=1)


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_hardened_and_mounts_files_that_are_there(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        assert not source.startswith(".") or (FOLDER / source).exists(), source


def test_services_find_each_other() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = re.findall(r"'targets': \['([a-z-]+):", str(scraped))
    datasource = yaml.safe_load((FOLDER / "grafana" / "datasources" / "prometheus.yaml").read_text())
    urls = [datasource["datasources"][0]["url"]]
    config = load(FOLDER / "exporter" / "config.yaml").config
    urls += [config.prometheus.url, *(one.url for one in config.alertmanagers)]
    hosts = {*targets, *(re.sub(r"https?://([^:/]+).*", r"\1", str(url)) for url in urls)}
    assert hosts - {"localhost"} <= set(SERVICES)


def test_grafana_is_given_the_dashboards() -> None:
    provider = yaml.safe_load((FOLDER / "grafana" / "dashboards" / "anomaly-exporter.yaml").read_text())["providers"][0]
    path = provider["options"]["path"]
    assert f"../../grafana_dashboards:{path}:ro" in SERVICES["grafana"]["volumes"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana_dashboards" / home.removeprefix(path + "/")).exists()
    assert json.loads((ROOT / "grafana_dashboards" / "anomalies.json").read_text())["uid"]


def test_configurations_are_valid() -> None:
    assert load(FOLDER / "exporter" / "config.yaml").warnings == ()
    assert "SUCCESS" in run("amtool", "check-config", FOLDER / "alertmanager.yml")


def test_version_is_the_same_everywhere() -> None:
    assert SERVICES["anomaly-exporter"]["image"] == f"anomaly-exporter:{__version__}"
    for file in (DEPLOY / "kubernetes").rglob("kustomization.yaml"):
        for image in yaml.safe_load(file.read_text()).get("images", []):
            assert image["newTag"] == __version__
    assert (
        f"image: anomaly-exporter:{__version__}"
        in (DEPLOY / "kubernetes" / "sidecar-operator" / "prometheus.yaml").read_text()
    )
