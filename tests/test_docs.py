"""The documents say what the program does: every flag, metric, endpoint and file that they name is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from exporter.cli.main import parser
from exporter.config.load import load
from exporter.exposition import reference
from exporter.web.routes import build_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()


def flags() -> list[str]:
    return sorted(flag for action in parser()._actions for flag in action.option_strings if "." in flag)


def test_metrics_reference_is_in_step() -> None:
    assert reference.render() == METRICS, "python -m exporter.exposition.reference"


@pytest.mark.parametrize("flag", flags())
def test_flag_is_documented(flag: str) -> None:
    assert f"`{flag}`" in README


def test_documented_flags_exist() -> None:
    known = set(flags()) | {"--shard.index"}
    named = set(re.findall(r"`(--[a-z]+\.[a-z.-]+)", README))
    assert named <= known


def test_endpoints_are_documented() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> None:
            return None

    routes = {route.resource.canonical for route in build_app(Nothing()).router.routes() if route.resource}
    for path in routes - {"/"}:
        assert f"`{path}`" in README or f"`POST {path}`" in README, path


def test_metrics_that_documents_name_exist() -> None:
    known = set(re.findall(r"^\| `([a-z_]+)`", METRICS, re.MULTILINE))
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(
            r"\b(?:anomaly_exporter_[a-z_]+|expected_value[a-z_]*|observed_value)\b", file.read_text()
        ):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in known or base in known or name.endswith("_"), f"{file.name}: {name}"


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL), ids=lambda b: b.split("\n")[0])
def test_yaml_in_the_readme_is_yaml(block: str) -> None:
    assert isinstance(yaml.safe_load(block), dict)


def test_configuration_in_the_readme_loads(tmp_path: Path) -> None:
    blocks = [b for b in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "queries:" in b]
    assert blocks
    for block in blocks:
        file = tmp_path / "config.yaml"
        file.write_text(block)
        assert load(file).warnings == ()


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{f.name}" for f in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_to_files(document: str) -> None:
    file = ROOT / document
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), target


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_dependencies_have_their_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[<>=\[]", one)[0].strip() for one in [*project["dependencies"], *extras]}
    reasons = set(re.findall(r"^\| ([a-z][a-z0-9-]+) \|", README.split("## Dependencies")[1], re.MULTILINE)) - {
        "package"
    }
    assert reasons == names
