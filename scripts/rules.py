"""Write the shipped rules from their templates and parameters (``make rules``).

``@name@`` in deploy/prometheus/templates is a parameter of deploy/prometheus/parameters.yaml. Rule files of Prometheus
have no variables, and braces are those of its own templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["render", "rule_files"]

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
CHART = ROOT / "deploy" / "helm" / "anomaly-exporter"
OPERATOR = ROOT / "deploy" / "kubernetes" / "components" / "prometheus-operator" / "prometheusrule.yaml"

_HEAD = "# Written by `make rules` from {}. Do not edit by hand.\n"


def rule_files(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of every rule file by its name.

    Raises
    ------
    KeyError
        A template names a parameter that is not there.
    """
    head = _HEAD.format("deploy/prometheus/templates and parameters.yaml")
    return {
        file.name: head + re.sub(r"@([a-z_]+)@", lambda match: str(parameters[match[1]]), file.read_text())
        for file in sorted((PROMETHEUS / "templates").glob("*.rules.yml"))
    }


def render() -> dict[Path, str]:
    """Return the text of every file that is written."""
    texts = rule_files(yaml.safe_load((PROMETHEUS / "parameters.yaml").read_text()))
    files = {PROMETHEUS / "rules" / name: text for name, text in texts.items()}
    # A chart can only read files of its own, and fills in the parameters itself.
    files |= {CHART / "rules" / file.name: file.read_text() for file in (PROMETHEUS / "templates").glob("*.rules.yml")}
    return {**files, OPERATOR: _prometheus_rule(texts.values())}


def _prometheus_rule(texts: Any) -> str:
    """Return the same rules as a resource of the Prometheus Operator."""
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    # The second label is what the Prometheus of a kube-prometheus-stack looks for.
    labels = {"app.kubernetes.io/name": "anomaly-exporter", "release": "kube-prometheus-stack"}
    metadata = {"name": "anomaly-exporter", "labels": labels}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    whole = {**kind, "metadata": metadata, "spec": {"groups": groups}}
    body = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return _HEAD.format("deploy/prometheus/rules") + body


class _Dumper(yaml.SafeDumper):
    """Expressions of several lines stay so."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


if __name__ == "__main__":
    for path, content in render().items():
        path.write_text(content)
