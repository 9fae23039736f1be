"""Scrape configuration and rules, by promtool; and that they name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scripts.rules import render, rule_files
from tests.deploy.tools import DEPLOY, METRICS, run

FOLDER = DEPLOY / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.rules.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.test.yml"))


def rules(file: Path) -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for file in RULES for rule in rules(file) if "alert" in rule]
RECORDED = {rule["record"] for file in RULES for rule in rules(file) if "record" in rule}


def test_there_are_rules() -> None:
    assert len(RULES) == len(TESTS) >= 3
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"page", "ticket"}  # type: ignore[index]


def test_configuration_and_rules_are_valid() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", FOLDER / "prometheus.yml")
    assert "SUCCESS" in run("promtool", "check", "rules", *RULES)


def test_rules_are_in_step_with_templates_and_parameters() -> None:
    assert {path: path.read_text() for path in render()} == render(), "make rules"


def test_every_parameter_is_used_and_every_one_that_is_used_is_there() -> None:
    parameters = yaml.safe_load((FOLDER / "parameters.yaml").read_text())
    texts = [(FOLDER / "templates" / file.name).read_text() for file in RULES]
    used = {name for text in texts for name in re.findall(r"@([a-z_]+)@", text)}
    assert used == set(parameters)


def test_other_parameters_are_in_every_rule(tmp_path: Path) -> None:
    changed = {"runbooks": "https://runbooks.example.org/ae", "job": "ae", "page": "critical", "ticket": "warning"}
    parameters = yaml.safe_load((FOLDER / "parameters.yaml").read_text())
    for name, text in rule_files({**parameters, **changed}).items():
        (tmp_path / name).write_text(text)
        for rule in rules(tmp_path / name):
            if "alert" in rule:
                assert rule["labels"]["severity"] in {"critical", "warning"}  # type: ignore[index]
                assert rule["annotations"]["runbook_url"].startswith(changed["runbooks"] + "#")  # type: ignore[index]
        assert 'job="anomaly-exporter"' not in text
    assert "SUCCESS" in run("promtool", "check", "rules", *sorted(tmp_path.glob("*.yml")))


def test_rules_do_what_they_say() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", *TESTS)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_alert_is_tested_firing_and_quiet(alert: str) -> None:
    checks = [
        check["exp_samples"]
        for file in TESTS
        for case in yaml.safe_load(file.read_text())["tests"]
        for check in case.get("promql_expr_test", [])
        if f'alertname="{alert}"' in check["expr"]
    ]
    assert any(checks), "never fires"
    assert not all(checks), "is never quiet"


@pytest.mark.parametrize(
    "rule", [rule for file in RULES for rule in rules(file)], ids=lambda r: r.get("alert") or r["record"]
)
def test_rule_reads_only_metrics_that_exist(rule: dict[str, str]) -> None:
    named = set(re.findall(r"\b(?:anomaly|expected|observed)_[a-z_]+\b|\b[a-z_]+:[a-z_]+:[a-z]+\b", rule["expr"]))
    assert named <= METRICS | RECORDED
