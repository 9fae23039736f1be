"""The wheel, the source distribution, the workflows, and how a release is cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
import yaml

import hatch_build
from exporter import __version__
from exporter.presets import preset_names
from scripts.release import release
from tests.deploy.tools import ROOT, run

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent
TRACKED = (
    "exporter",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "pyproject.toml",
    "config.example.yaml",
    "Makefile",
    "hatch_build.py",
)


def copy(target: Path, *more: str) -> Path:
    """Copy what a package is built of."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*TRACKED, *more):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            target.mkdir(exist_ok=True, parents=True)
            shutil.copy(source, target / name)
    return target


def build(folder: Path) -> dict[str, bytes]:
    """Build both packages; return them by name."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    command = [sys.executable, "-m", "hatchling", "build"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=120)
    return {file.name: file.read_bytes() for file in sorted((folder / "dist").iterdir())}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy(tmp_path_factory.mktemp("packages") / "a")
    build(folder)
    return folder / "dist"


def test_a_build_elsewhere_gives_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    again = build(copy(tmp_path / "elsewhere"))
    assert again == {file.name: file.read_bytes() for file in packages.iterdir()}
    stem = f"prometheus_anomaly_exporter-{__version__}"
    assert set(again) == {f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"}


def test_the_checks_of_the_package_index_pass(packages: Path) -> None:
    files = sorted(packages.iterdir())
    assert run(sys.executable, "-m", "twine", "check", "--strict", *files).count("PASSED") == 2
    assert "OK" in run(sys.executable, "-m", "check_wheel_contents", *packages.glob("*.whl"))


def test_the_wheel_has_the_chart_library_with_its_licence(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(f"{hatch_build.FOLDER}/{name}") for name in hatch_build.FILES.values()}
    assert b"leeoniya/uPlot" in content["uPlot.iife.min.js"]
    assert b"Permission is hereby granted" in content["uPlot.LICENSE"]


def test_another_chart_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its checksum is"):
        hatch_build.unpack(b"something else", tmp_path / "lib")
    assert not (tmp_path / "lib").exists()


def test_the_wheel_runs_and_has_its_data(packages: Path, tmp_path: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "from exporter.cli.main import main; raise SystemExit(main(['--version']))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == f"anomaly-exporter {__version__}"
    have = {str(file.relative_to(tmp_path / "exporter")) for file in (tmp_path / "exporter").rglob("*.*")}
    source = {
        str(file.relative_to(ROOT / "exporter"))
        for file in (ROOT / "exporter").rglob("*.*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in source if name not in have} == set()
    assert {f"presets/{name}.yaml" for name in preset_names()} <= have


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_are_valid_and_pinned(file: Path) -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", file)
    run(str(TOOLS / "zizmor"), "--offline", "--no-progress", file)
    assert run(str(TOOLS / "actionlint"), "-shellcheck=", file) == ""
    for job in yaml.safe_load(file.read_text())["jobs"].values():
        actions = [step["uses"] for step in job["steps"] if "uses" in step]
        assert [action for action in actions if len(action.split("@")[1]) != 40] == []


def test_a_workflow_that_leaks_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    text = WORKFLOWS[0].read_text().replace("persist-credentials: false", "persist-credentials: true")
    bad.write_text(text + "      - run: echo ${{ github.head_ref }}\n")
    assert "template-injection" in run(str(TOOLS / "zizmor"), "--offline", "--no-progress", bad, code=None)


def test_a_workflow_that_names_what_is_not_there_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text(WORKFLOWS[0].read_text().replace("matrix.python", "matrix.pythn"))
    assert '"pythn" is not defined' in run(str(TOOLS / "actionlint"), bad, code=1)


def test_a_release_sets_the_version_everywhere(tmp_path: Path) -> None:
    root = copy(tmp_path / "project", "deploy")
    before = (root / "CHANGELOG.md").read_text()
    changed = {str(file.relative_to(root)) for file in release(root, "9.8.7", date(2027, 1, 2))}
    assert {"CHANGELOG.md", "exporter/__init__.py", "deploy/docker/Dockerfile", "deploy/docker/compose.yaml"} <= changed
    after = (root / "CHANGELOG.md").read_text()
    assert "## Unreleased\n\n## 9.8.7 / 2027-01-02\n\n- [" in after
    assert len(after) - len(before) == len("\n## 9.8.7 / 2027-01-02\n")
    left = [file for file in (root / "deploy").rglob("*") if file.is_file() and f":{__version__}" in file.read_text()]
    assert left == []


@pytest.mark.parametrize(("version", "why"), [("v1.2", "not a version"), (__version__ + "x", "not a version")])
def test_what_is_no_version_changes_nothing(version: str, why: str, tmp_path: Path) -> None:
    root = copy(tmp_path / "project", "deploy")
    with pytest.raises(ValueError, match=why):
        release(root, version, date(2027, 1, 2))
    assert (root / "CHANGELOG.md").read_bytes() == (ROOT / "CHANGELOG.md").read_bytes()
