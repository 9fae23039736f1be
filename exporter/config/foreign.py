"""Files of other programs that are given as a configuration: what they are, and where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

__all__ = ["ForeignFile", "foreign_file"]


_EXPRESSIONS = "put the expressions to watch under queries:, as name and expr"


class ForeignFile(Enum):
    """A kind of file; the value says what it is and what to do with it."""

    VMANOMALY = "this is a configuration of vmanomaly; `anomaly-exporter migrate FILE` converts it"
    ANOMALY_RULES = "these are rules of promql-anomaly-detection; `anomaly-exporter migrate FILE` converts them"
    RULES = f"this is a rule file of Prometheus: it stays there; {_EXPRESSIONS}"
    PROMETHEUS = (
        "this is a configuration of Prometheus: it stays there; "
        "`anomaly-exporter suggest --prometheus.url=URL` writes a first configuration from what that Prometheus has"
    )
    ALERTMANAGER = "this is a configuration of Alertmanager: it stays there; put its url under alertmanagers:"
    DASHBOARD = f"this is a dashboard of Grafana; {_EXPRESSIONS}"
    PROVISIONING = f"this is a provisioning file of Grafana; {_EXPRESSIONS}"


def foreign_file(data: Mapping[str, Any]) -> ForeignFile | None:
    """Return whose file it is by its sections; None where it may be a configuration of this program."""
    names = set(data)
    if "queries" in names:
        return None
    of_models = names & {"models", "model", "schedulers", "scheduler"}
    if data.get("kind") == "VMAnomaly" or ("reader" in names and of_models):
        return ForeignFile.VMANOMALY
    if names & {"scrape_configs", "scrape_config_files"} or "scrape_interval" in _section(data, "global"):
        return ForeignFile.PROMETHEUS
    if {"route", "receivers"} <= names:
        return ForeignFile.ALERTMANAGER
    if "panels" in names or "panels" in _section(data, "dashboard"):
        return ForeignFile.DASHBOARD
    if "apiVersion" in names and (names & {"datasources", "contactPoints", "policies"} or _has_org(data)):
        return ForeignFile.PROVISIONING
    rules = [rule for group in rule_groups(data) for rule in rules_of(group)]
    if any("anomaly_name" in _section(rule, "labels") for rule in rules):
        return ForeignFile.ANOMALY_RULES
    return ForeignFile.RULES if any({"record", "alert"} & set(rule) for rule in rules) else None


def rule_groups(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the groups of a rule file, or of a PrometheusRule of the operator."""
    groups = data.get("groups", _section(data, "spec").get("groups"))
    return [group for group in groups if isinstance(group, Mapping)] if isinstance(groups, list) else []


def rules_of(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rules of a group."""
    rules = group.get("rules")
    return [rule for rule in rules if isinstance(rule, Mapping)] if isinstance(rules, list) else []


def _has_org(data: Mapping[str, Any]) -> bool:
    return any("orgId" in group or "folder" in group for group in rule_groups(data))


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = data.get(name)
    return section if isinstance(section, Mapping) else {}
