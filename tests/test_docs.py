"""The documents say what the program does: every flag, metric, endpoint and file that they name is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.cli.main import COMMANDS, parser
from exporter.config.load import load
from exporter.web.routes import build_app
from grafana_dashboards.exporter import NOT_SHOWN
from scripts import metrics_reference

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def flags() -> list[str]:
    return sorted(flag for action in parser()._actions for flag in action.option_strings if "." in flag)


def test_metrics_reference_is_in_step() -> None:
    assert metrics_reference.render() == METRICS, "make reference"


@pytest.mark.parametrize("flag", flags())
def test_flag_is_documented(flag: str) -> None:
    assert f"`{flag}`" in COMMAND_LINE


def test_documented_flags_exist() -> None:
    known = set(flags()) | {"--shard.index"}
    named = set(re.findall(r"`(--[a-z]+\.[a-z.-]+)", COMMAND_LINE))
    assert named <= known


def test_endpoints_are_documented() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> None:
            return None

    routes = {route.resource.canonical for route in build_app(Nothing()).router.routes() if route.resource}
    for path in routes - {"/"}:
        assert f"`{path}`" in COMMAND_LINE or f"`POST {path}`" in COMMAND_LINE, path


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


@pytest.mark.parametrize(
    "document", ["README.md", "deploy/README.md", *(f"docs/{f.name}" for f in sorted((ROOT / "docs").glob("*.md")))]
)
def test_links_lead_to_files(document: str) -> None:
    file = ROOT / document
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), target


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_dependencies_have_their_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = dict(project["optional-dependencies"])
    # Extras of earlier versions: a command that names one still installs.
    assert [extras.pop(name) for name in ("charts", "drift", "forest", "holidays")] == [[], [], [], []]
    requirements = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    names = {re.split(r"[<>=\[]", requirement)[0].strip() for requirement in requirements}
    row = r"^\| ([a-z][a-z0-9-]+)(?: \(extra `[a-z]+`\))? \|"
    reasons = set(re.findall(row, (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)) - {"package"}
    assert reasons == names


def test_fields_of_the_configuration_that_documents_name_exist() -> None:
    reference_text = (ROOT / "docs" / "configuration.md").read_text()
    sections = re.findall(r"^## .*?`<(\w+)>`\n(.*?)(?=^## |\Z)", reference_text, re.MULTILINE | re.DOTALL)
    fields = {section: set(re.findall(r"^\[? ?([a-z_]+):", body, re.MULTILINE)) for section, body in sections}
    for file in DOCUMENTS:
        for section, field in re.findall(r"`([a-z_]+)\.([a-z_]+)", file.read_text()):
            assert section not in fields or field in fields[section], f"{file.name}: {section}.{field}"


ALERTS = [
    rule
    for file in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.rules.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_has_its_runbook(alert: dict[str, Any]) -> None:
    file, _, anchor = alert["annotations"]["runbook_url"].rpartition("/")[2].partition("#")
    assert (file, anchor) == ("operations.md", alert["alert"].lower())
    assert f"\n### {alert['alert']}\n" in OPERATIONS


def test_runbook_has_no_alert_that_is_not_there() -> None:
    known = {alert["alert"] for alert in ALERTS} | {"AnomalyDetected"}
    assert set(re.findall(r"^### (Anomaly\w+)$", OPERATIONS, re.MULTILINE)) == known


def test_every_metric_of_the_exporter_is_explained() -> None:
    table = OPERATIONS.split("## Its own metrics")[1].split("\n## ")[0]
    explained = {f"anomaly_exporter_{name}" for name in re.findall(r"`([a-z_]+)`", table)}
    own = set(re.findall(r"^\| `(anomaly_exporter_[a-z_]+)`", METRICS, re.MULTILINE))
    assert own <= explained, "docs/operations.md, section Its own metrics"


def test_every_metric_of_the_exporter_has_a_panel_or_a_reason() -> None:
    own = set(re.findall(r"^\| `anomaly_exporter_([a-z_]+)`", METRICS, re.MULTILINE))
    dashboards = "".join(file.read_text() for file in (ROOT / "grafana_dashboards").glob("*.json"))
    names = re.findall(r"anomaly_exporter_([a-z_]+)", dashboards)
    drawn = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    # A panel in grafana_dashboards/exporter.py, or an entry of NOT_SHOWN there.
    assert own - drawn == NOT_SHOWN.keys() - drawn
    assert NOT_SHOWN.keys() <= own


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda file: file.name)
def test_anchors_lead_to_headings(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", document.read_text()):
        headings = re.findall(
            r"^#+ (.+)$", (document.parent / target if target else document).read_text(), re.MULTILINE
        )
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


@pytest.mark.parametrize("document", ["tuning.md", "migration.md"])
def test_configurations_in_the_guides_load(document: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / document).read_text()
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "queries:" in block]
    for block in blocks:
        file = tmp_path / "config.yaml"
        file.write_text(block)
        load(file)


def test_commands_are_documented() -> None:
    assert [name for name in COMMANDS if f"`anomaly-exporter {name}" not in COMMAND_LINE] == []


def test_every_page_is_a_click_away_from_the_readme() -> None:
    pages = {f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")}
    assert pages - set(re.findall(r"\]\(([^)#]+)", README)) == set()
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    assert {page.removeprefix("docs/") for page in pages} - set(
        re.findall(r"[\w-]+\.md$", navigation, re.MULTILINE)
    ) == set()


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 140


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_promql_in_the_documents_is_promql(document: Path) -> None:
    for block in re.findall(r"```promql\n(.*?)```", document.read_text(), re.DOTALL):
        for line in block.splitlines():
            promql_parser.parse(line.split("   #")[0])
