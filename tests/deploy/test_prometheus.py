"""Scrape configuration and rules, by promtool; and that they name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

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
