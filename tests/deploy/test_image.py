"""The image: built by the shipped Dockerfile, and run as an orchestrator runs it, beside a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.image import Container, Store, store
from tests.deploy.tools import ROOT
from tests.integration.process import binary, eventually

CONFIG = """\
global: {interval: 1s}
prometheus: {url: "http://127.0.0.1:9090"}
queries:
  - name: targets
    expr: up
"""
SCRAPES = {
    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
    "scrape_configs": [
        {"job_name": "ae", "honor_labels": True, "static_configs": [{"targets": ["127.0.0.1:9877"]}]},
        {"job_name": "prometheus", "static_configs": [{"targets": ["127.0.0.1:9090"]}]},
    ],
}
LARGEST = 500
"""Megabytes."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def images() -> Iterator[Store]:
    with store() as made:
        made.build()
        yield made


def test_image_has_what_the_lock_says_and_the_program(images: Store) -> None:
    files = images.files()
    has = {
        match[1].lower().replace("_", "-")
        for path in files
        if (match := re.match(r"app/([\w.]+)-[^/]+\.dist-info$", path))
    }
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE))
    assert has - locked == {"prometheus-anomaly-exporter"}
    assert {
        "numpy",
        "scipy",
        "scikit-learn",
        "statsmodels",
        "prometheus-client",
        "requests",
        "pyyaml",
        "apscheduler",
    } <= has
    assert [path for path in files if re.search(r"^(usr/)?bin/(ba|da)?sh$|/pip/|app/.*/tests/", path)] == []


def test_image_is_small_and_checks_its_health(images: Store) -> None:
    image = images.inspect()
    size = image["Size"] / 1e6
    print(f"the image has {size:.0f} MB with its stand-in for the base")
    assert size < LARGEST
    assert image["Config"]["User"] == "65532:65532"
    assert "/-/healthy" in str(image["HealthCheck"] if "HealthCheck" in image else image["Healthcheck"])


def test_container_is_scraped_scores_and_ends_well(images: Store, tmp_path: Path) -> None:
    prometheus = binary("prometheus")
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    tmp_path.chmod(0o755)
    # A name of its own: another attempt would find the container of the first.
    container = Container(images, tmp_path.name, folder)
    process = container.status()
    assert set(process["Uid"].split()) == {"65532"}
    assert (int(process["CapBnd"], 16), process["NoNewPrivs"]) == (0, "1")

    (tmp_path / "prometheus.yml").write_text(json.dumps(SCRAPES))
    command = container.beside(
        prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        "--web.listen-address=127.0.0.1:9090",
    )  # fmt: skip
    with (tmp_path / "prometheus.log").open("wb") as log, subprocess.Popen(command, stderr=log) as server:
        try:
            ask = "http://127.0.0.1:9090/api/v1/query?query=anomaly_score{query=%22targets%22}"
            rows = eventually(lambda: json.loads(container.get(ask))["data"]["result"], timeout=120.0, every=0.5)
            assert {row["metric"]["job"] for row in rows} <= {"ae", "prometheus"}
            assert all(0.0 <= float(row["value"][1]) <= 1.0 for row in rows)
            eventually(lambda: images.podman("healthcheck", "run", container.name) is not None, timeout=60.0, every=1.0)
            refused = images.podman(
                "exec", container.name, "/usr/bin/python3", "-c",
                "try: open('/app/x', 'w')\nexcept OSError as fault: print(fault.strerror)",
            )  # fmt: skip
            assert refused.strip() == "Read-only file system"
            assert container.stop() == 0
        finally:
            server.terminate()
